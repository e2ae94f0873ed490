"""Frames of the past through another pipeline, on topics and with workers of their own."""

from streamproc.rerun.run import RerunOptions, RerunResult, run_rerun

__all__ = ["RerunOptions", "RerunResult", "run_rerun"]
