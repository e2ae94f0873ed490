"""Everything at once on one machine: broker, topics, workers, producer, until each frame has its outcome."""

from streamproc.demo.collect import EventLog
from streamproc.demo.outputs import write_outputs
from streamproc.demo.run import DemoOptions, DemoResult, run_demo

__all__ = ["DemoOptions", "DemoResult", "EventLog", "run_demo", "write_outputs"]
