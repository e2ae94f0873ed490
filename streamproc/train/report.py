"""The report of a training: a page, the confusion matrix as a picture, and the figures for machines."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import UsageError
from streamproc.train.training import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED: Final = 60  # labels; beyond, they would be written over one another
MOST_COUNTED: Final = 20  # labels; beyond, counts do not fit into cells
_MOST_CHARS: Final = 18
_SHOWN_SKIPPED: Final = 50
_DPI: Final = 120
_CHAR_IN: Final = 0.1  # width of a letter

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border-radius: 6px; }
.figure { font-size: 2rem; font-weight: 600; }
</style>
<h1>{{ title }}</h1>
<p><span class="figure">{{ accuracy }} %</span> of held-out pictures are named right
(&plusmn; {{ deviation }}, standard deviation over {{ splits|length }} random halves:
{{ splits|join(", ") }}).</p>
<table>
<tr><th>pictures</th><td>{{ pictures }}</td></tr>
<tr><th>fitting the model that was written, on all pictures</th><td>{{ fit }} s</td></tr>
<tr><th>training and judging in all</th><td>{{ total }} s</td></tr>
<tr><th>one picture at run time, without its features</th><td>{{ run }} µs</td></tr>
<tr><th>model file</th><td>{{ kilobytes }} kB</td></tr>
<tr><th>held-out answers unlike scikit-learn's</th><td>{{ differing }}</td></tr>
<tr><th>seed</th><td>{{ seed }}</td></tr>
</table>
<h2>What is taken for what</h2>
<p>Held-out pictures of all halves: rows are what a picture is, columns what the model says.</p>
<img alt="confusion matrix" src="data:image/png;base64,{{ picture }}">
<h2>Labels</h2>
<table>
<tr><th>label</th><th>pictures</th><th>precision</th><th>recall</th></tr>
{% for row in labels %}<tr><td>{{ row.label }}</td><td>{{ row.pictures }}</td>
<td>{{ "-" if row.precision is none else "%.4f"|format(row.precision) }}</td>
<td>{{ "-" if row.recall is none else "%.4f"|format(row.recall) }}</td></tr>
{% endfor %}</table>
{% if skipped %}<h2>Left out</h2>
<p>{{ skipped_count }} files gave no picture.</p>
<ul>{% for line in skipped %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
</html>
"""


def write_report(trained: Trained, folder: Path) -> Path:
    """Write `report.html`, `confusion.png` and `report.json` into a folder, which is made if it is not there.

    Returns:
        The page; it needs no other file.

    Raises:
        UsageError: The folder cannot be written to, or matplotlib or Jinja2 is not installed.
    """
    picture = confusion_picture(trained.confusion, trained.examples.labels)
    page = _page(trained, picture)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "confusion.png").write_bytes(picture)
        (folder / "report.json").write_text(json.dumps(trained.as_json(), indent=2) + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {folder}: {error.strerror}") from error
    return folder / "report.html"


def require_report_libraries() -> None:
    """Refuse a report before a long training rather than after it.

    Raises:
        UsageError: A package is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UsageError(f"the report needs {error.name}: pip install 'streamproc[recognition]'") from error


def _page(trained: Trained, picture: bytes) -> str:
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    return template.render(
        title=f"{trained.kind} classifier of {trained.examples.name}",
        accuracy=f"{100 * trained.accuracy:.2f}",
        deviation=f"{100 * trained.deviation:.2f}",
        splits=[f"{100 * value:.2f}" for value in trained.accuracies],
        pictures=len(trained.examples.truth),
        fit=f"{trained.fit_s:.2f}",
        total=f"{trained.total_s:.1f}",
        run=f"{trained.run_us:.0f}",
        kilobytes=f"{trained.model_bytes / 1000:.0f}",
        differing=trained.differing,
        seed=trained.seed,
        picture=base64.b64encode(picture).decode(),
        labels=trained.by_label,
        skipped=trained.examples.skipped[:_SHOWN_SKIPPED],
        skipped_count=len(trained.examples.skipped),
    )


def confusion_picture(confusion: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """Draw a confusion matrix: a cell is darker the larger its share of its row.

    Args:
        confusion: (L, L) counts; rows are what a picture is, columns what was said.
        labels: L names.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = _side_in(labels)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # labels may have letters that matplotlib's font lacks
        figure = Figure(figsize=(side + 0.6, side), layout="constrained", dpi=_DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="the model says", ylabel="the picture is")
        _name(axes, labels)
        if len(labels) <= MOST_COUNTED:
            _count(axes, confusion, shares)
        figure.colorbar(image, ax=axes, shrink=0.8, label="share of the row")
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _side_in(labels: Sequence[str]) -> float:
    return min(14.0, max(4.0, 2.0 + 0.42 * len(labels)))


def _name(axes: Axes, labels: Sequence[str]) -> None:
    if len(labels) > MOST_NAMED:
        return
    half = _MOST_CHARS // 2
    short = [label if len(label) <= _MOST_CHARS else f"{label[:half]}…{label[1 - half :]}" for label in labels]
    cell_in = 0.7 * _side_in(labels) / len(labels)
    upright = 90 if max(len(label) for label in short) * _CHAR_IN > cell_in else 0
    axes.set_xticks(range(len(labels)), short, rotation=upright)
    axes.set_yticks(range(len(labels)), short)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)  # a label may have dollar signs


def _count(axes: Axes, confusion: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, col), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if shares[row, col] > 0.5 else "black"
            axes.text(col, row, str(count), ha="center", va="center", color=colour, fontsize=8)
