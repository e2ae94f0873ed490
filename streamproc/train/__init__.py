"""Training of classifiers: pictures in folders to an ONNX file that the operator `classify` runs."""

from streamproc.train.fitting import Kind
from streamproc.train.report import require_report_libraries, write_report
from streamproc.train.training import Trained, train

__all__ = ["Kind", "Trained", "require_report_libraries", "train", "write_report"]
