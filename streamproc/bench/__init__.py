"""Speed, beside a plain loop of the same kernels on the same cores, and beside plain library calls."""

from streamproc.bench.measure import measure_all
from streamproc.bench.operators import choose, measure_operators
from streamproc.bench.render import render, render_operators

__all__ = ["choose", "measure_all", "measure_operators", "render", "render_operators"]
