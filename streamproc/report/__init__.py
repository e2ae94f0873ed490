"""One page that says what a run did: `write_report` makes `report.html`, which loads nothing."""

from streamproc.report.happenings import told_frames
from streamproc.report.values import Report, ReportError, Sample, Stage
from streamproc.report.write import MAX_SAMPLES, write_report

__all__ = ["MAX_SAMPLES", "Report", "ReportError", "Sample", "Stage", "told_frames", "write_report"]
