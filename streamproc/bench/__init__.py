"""Speed, beside a plain loop of the same kernels on the same cores."""

from streamproc.bench.measure import measure_all
from streamproc.bench.render import render

__all__ = ["measure_all", "render"]
