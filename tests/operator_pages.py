"""Pages of the operators: `python -m tests.operator_pages` writes them from the table and its docstrings.

`python -m tests.operator_pages pictures [NAME ...]` draws their pictures, all of them or those that are named;
`python -m tests.operator_pages costs FILE` writes what `streamproc bench operators --out FILE` measured into
docs/performance.md.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2

from streamproc.cli.stitch import stitch as stitch_command
from streamproc.model import EdgeMap
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.parameters import described
from streamproc.operators.pipeline_file import parse
from streamproc.operators.stitching import stitch
from streamproc.operators.table import Operator, Parameter, Value
from tests.operator_examples import EXAMPLES

DOCS: Final = Path(__file__).parents[1] / "docs"
FOLDER: Final = DOCS / "operators"
INDEX: Final = DOCS / "operators.md"
PERFORMANCE: Final = DOCS / "performance.md"
BEGIN: Final = "<!-- written by `python -m tests.operator_pages`, do not edit below -->\n"
COSTS: Final = "<!-- written by `python -m tests.operator_pages costs`, do not edit below -->\n"

HEAVY: Final = frozenset({
    "sliding_window", "eyes", "denoise", "grabcut", "compression_report", "watershed", "people", "face_tag",
})  # fmt: skip
MEDIUM: Final = frozenset({
    "akaze", "bilateral", "blob", "brisk", "color_moments", "deblur", "faces", "frequency_filter", "hough_circles",
    "hough_lines", "hough_lines_standard", "kmeans", "lbp", "mser", "onnx_detector", "optical_flow", "shi_tomasi",
    "sift", "skeleton", "super_resolution", "template_match", "yunet",
})  # fmt: skip

TAKES: Final = {
    "gray": "grey", "color": "colour", "float": "float 0..1", "boxes": "boxes of another step",
    "tracks": "tracks of another step", "vitals": "`vitals`",
}  # fmt: skip
RESULTS: Final = {
    "EdgeMap": "edges", "Points": "points", "Boxes": "boxes", "Histogram": "counts", "Statistics": "statistics",
    "Figures": "figures", "Labels": "labels", "Vitals": "figures",
}  # fmt: skip
ACROSS: Final = {
    "exact": "exact: the tiles of a frame give, bit for bit, what the whole frame gives",
    "rounding": "up to rounding: tiles may differ from the whole frame by what floats round away",
    "no": "not exact: see the text; `on = \"frame\"` gives the whole frame's result",
}  # fmt: skip
STITCH: Final = "stitch"  # no step of a pipeline, but a page of its own
KERNELS: Final = ["; ".join([" ".join(["1"] * size)] * size) for size in (3, 15)]
HEADING: Final = re.compile(r"^(Args|Returns|Raises|References):$")
NEXT_REFERENCE: Final = re.compile(r"((?:19|20)\d\d(?: \([^)]*\))?)[.;] (?=[A-Z]|https)")
COMMON_ERROR: Final = re.compile(r"BadPixels: (Another shape or type|Pixels of another .*|Not \(rows, cols\) uint8)\.")
NEW_WORDS: Final = 6
"""That a docstring must add to the table of parameters to be told beside it."""


# --- docstrings -----------------------------------------------------------------------------------------------


def sections(function: Any) -> dict[str, str]:
    """A docstring of Google's style in parts: "summary", "text" and what stands under each heading, dedented."""
    lines = (inspect.getdoc(function) or "").splitlines()
    parts: dict[str, list[str]] = {"summary": lines[:1]}
    name = "text"
    for line in lines[1:]:
        heading = HEADING.match(line)
        if heading:
            name = heading[1]
        else:
            parts.setdefault(name, []).append(line if name == "text" else line.removeprefix("    "))
    return {name: "\n".join(listed).strip() for name, listed in parts.items()}


def argument(args: str, name: str) -> str:
    """What a docstring says of one argument, as one line."""
    match = re.search(rf"^{name}: (.*?)(?=^\w+: |\Z)", args, re.DOTALL | re.MULTILINE)
    return one_line(match[1]) if match else ""


def one_line(text: str) -> str:
    """Text without line breaks, ending in a full stop."""
    joined = " ".join(text.split())
    return joined if not joined or joined.endswith((".", ":")) else joined + "."


def references(text: str) -> list[str]:
    """One line for each paper or page."""
    parted = NEXT_REFERENCE.sub(r"\1.\n", " ".join(text.split()))
    listed = [line.rstrip(".;") for line in parted.splitlines() if line]
    return [re.sub(r"https://\S+", lambda found: f"<{found[0]}>", line) + "." for line in listed]


def capital(text: str) -> str:
    """The same text with a large first letter, unless it begins with a name of code."""
    return text if re.match(r"\w*[._(*]|\w+ \*", text) else text[:1].upper() + text[1:]


# --- facts ----------------------------------------------------------------------------------------------------


def halo_by_default(operator: Operator) -> int | None:
    """Pixels; None where it depends on a file."""
    if any(parameter.required and parameter.file for parameter in operator.parameters):
        shared = operator.halo.__name__ in {"object_halo", "sliding_halo", "no_halo"}
        return operator.halo(operator.defaults()) if shared else None
    return operator.halo(operator.defaults())


def halo_in_words(operator: Operator) -> str:
    """The halo and what it depends on, tried out."""
    default = halo_by_default(operator)
    if default is None:
        return one_line((inspect.getdoc(operator.halo) or "").splitlines()[0])
    ways = [way for parameter in operator.parameters if (way := _dependence(operator, parameter))]
    return f"{default} px" + (" with the defaults; " + "; ".join(ways) if ways else "")


def _dependence(operator: Operator, parameter: Parameter) -> str:
    ends = _ends(parameter)
    halos = [operator.halo({**operator.defaults(), parameter.name: value}) for value in ends.values()]
    if len(set(halos)) < 2:
        return ""
    (first, low), (last, high) = zip(ends, (halos[0], halos[-1]), strict=True)
    return f"`{parameter.name}` {first} makes it {low} px, {last} makes it {high} px"


def _ends(parameter: Parameter) -> dict[str, Value]:
    """The smallest and the largest value of a number or a kernel, by how it is told."""
    if parameter.name == "kernel":
        return dict(zip(("of 3x3", "of 15x15"), KERNELS, strict=True))
    kind = type(parameter.default)
    ends = (min(parameter.choices), max(parameter.choices)) if parameter.choices else (parameter.low, parameter.high)
    if kind not in {int, float} or None in ends:
        return {}
    return {f"{end:g}": int(end) if kind is int else float(end) for end in ends if isinstance(end, int | float)}


def result_of(operator: Operator) -> str:
    """What a measure or a follower tells in events, as a link."""
    hints = typing.get_type_hints(operator.finish or operator.run)
    made = hints["return"].__name__
    if operator.kind == "follower":
        says = sections(operator.run).get("Returns", "")
        made = "Boxes" if says.startswith(("Boxes", "The boxes")) else "Figures"
    return f"[{RESULTS[made]}](../operators.md#what-events-tell)"


def gives(operator: Operator) -> str:
    if operator.kind == "transform":
        return one_line(sections(operator.run).get("Returns", "")).rstrip(".")
    told = result_of(operator)
    match operator.gives:
        case "gray":
            return told + "; a step on the whole frame may take them as its picture"
        case "boxes" | "tracks" | "vitals":
            return f"{told}; followers may take its {operator.gives}"
        case _:
            return told


def cost(operator: Operator) -> str:
    if operator.name in HEAVY:
        return "heavy"
    return "medium" if operator.name in MEDIUM else "light"


def facts(operator: Operator) -> list[tuple[str, str]]:
    on_tiles = operator.scope == "tile"
    told = [
        ("family", operator.family),
        ("kind", operator.kind),
        ("works on", 'tiles, or the whole frame with `on = "frame"`' if on_tiles else "the whole frame"),
        ("takes", ", ".join(TAKES[kind] for kind in operator.accepts)),
        ("gives", gives(operator)),
    ]
    if on_tiles:
        told += [("halo", halo_in_words(operator)), ("across seams", ACROSS[operator.exact])]
    elif operator.kind != "follower":
        told += [("across seams", "it never sees one: tiles are put together first")]
    if operator.kind == "follower":
        kept = "with the frame's events: another worker goes on" if operator.durable else "in the worker that runs it"
        told += [("remembers", f"{capital(argument(sections(operator.run).get('Args', ''), 'memory'))} Kept {kept}")]
    if operator.needs:
        package, extra = operator.needs
        told += [("needs", f'{package}: `pip install "streamproc[{extra}]"`')]
    return [*told, ("[cost](../operators.md#cost)", cost(operator)), ("version", str(operator.version))]


# --- pages ----------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def value_in_words(parameter: Parameter) -> str:
    value = parameter.default
    if parameter.required:
        return "must be given"
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"`{value}`" if value else "none"
        case tuple():
            return str([[round(x), round(y)] for x, y in value])
        case _:
            return f"{value:g}"


def page(operator: Operator) -> str:
    """The whole page of an operator."""
    said, example = sections(operator.run), EXAMPLES[operator.name]
    text = [f"# {operator.name}", f"**{capital(operator.meaning)}**", said["summary"], said.get("text", "")]
    text += [
        f"![{operator.name}: left the frame, right {example.shows}]({operator.name}.jpg)",
        f"Left the frame, right {example.shows}. Made by the pipeline below.",
        table(["", ""], facts(operator)),
        *parameters(operator, argument(said.get("Args", ""), "params")),
        *pipeline(operator),
        *in_events(operator, said),
        *errors(said.get("Raises", "")),
        *listed("References", references(said.get("References", ""))),
        "[All operators](../operators.md)",
    ]
    return "\n\n".join(part for part in text if part) + "\n"


def parameters(operator: Operator, more: str) -> list[str]:
    if not operator.parameters:
        return ["It has no parameters."]
    head = ["parameter", "default", "allowed", "meaning"]
    return ["## Parameters", table(head, _rows(operator)), _addition(operator, more)]


def _rows(operator: Operator) -> list[list[str]]:
    return [[f"`{one.name}`", value_in_words(one), described(one), one.meaning] for one in operator.parameters]


def _addition(operator: Operator, more: str) -> str:
    """What a docstring says of parameters, if the table does not say it already."""
    known, told = (set(re.findall(r"\w{3,}", text.lower())) for text in (str(_rows(operator)), more))
    return capital(more) if len(told - known) >= NEW_WORDS else ""


def pipeline(operator: Operator) -> list[str]:
    lines = ["## In a pipeline", f"```toml\n{EXAMPLES[operator.name].steps}```"]
    files = [f"`{one.name}`" for one in operator.parameters if one.file]
    if files:
        verb = "name files" if len(files) > 1 else "names a file"
        lines.append(f"{' and '.join(files)} {verb} of your own; relative names begin at the pipeline file.")
    return lines


def in_events(operator: Operator, said: Mapping[str, str]) -> list[str]:
    if operator.kind == "transform":
        return []
    total = sections(operator.finish) if operator.finish else {}
    if "Returns" in total:
        parts = [total["summary"], total.get("text", ""), _result(total["Returns"])]
    else:
        parts = [*_own_result(operator, said), total.get("summary", "")]
    more = _addition(operator, argument(total.get("Args", ""), "params"))
    return ["## In events", f"Told as {result_of(operator)}.", *parts, more]


def _own_result(operator: Operator, said: Mapping[str, str]) -> list[str]:
    """What a measure says of its result, unless tiles give something else than the frame."""
    made = typing.get_type_hints(operator.run)["return"]
    if made is EdgeMap or (operator.finish and typing.get_type_hints(operator.finish)["return"] is not made):
        return []
    told = _result(said.get("Returns", ""))
    partial = rf"^[^.]*`{operator.finish.__name__}`[^.]*\. " if operator.finish else r"^\b$"
    return [re.sub(partial, "", told)]


def _result(returns: str) -> str:
    return capital(one_line(returns).removeprefix("Figures: "))


def errors(raises: str) -> list[str]:
    told = re.split(r"\n(?=\w+: )", raises)
    return listed("Errors", [one_line(one) for one in told if one and not COMMON_ERROR.fullmatch(one_line(one))])


def listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {item}" for item in items)] if items else []


def stitch_page() -> str:
    """Of the command that joins pictures: what a function and a command say instead of a row."""
    said = sections(stitch)
    rows = [
        [f"`--{name.replace('_', '-')}`", f"{value.default}", f"{option.min} to {option.max}", option.help]
        for name, value in inspect.signature(stitch_command).parameters.items()
        for option in getattr(typing.get_type_hints(stitch_command, include_extras=True)[name], "__metadata__", ())
        if getattr(option, "max", None) is not None
    ]
    told = [
        ("family", "stitching"),
        ("works on", "2 to 16 overlapping pictures"),
        ("in a pipeline", "no: frames of several cameras never meet in one step; `streamproc stitch` joins pictures"),
        ("gives", "a PNG; with `--json` also where each picture lies, its homography, and how many points agreed"),
        ("across seams", "it never sees one: pictures are whole"),
    ]
    text = [
        f"# {STITCH}",
        "**Several cameras' pictures of one scene joined into one**",
        said["summary"],
        said["text"],
        f"![{STITCH}: left three pictures, right all of them as one]({STITCH}.jpg)",
        "Left three pictures that overlap by a third, right what they are joined into.",
        table(["", ""], told),
        "## Options",
        table(["option", "default", "allowed", "meaning"], rows),
        "## On the command line",
        "```sh\nstreamproc stitch left.png middle.png right.png --out all.png\n```",
        *errors(said["Raises"]),
        *listed("References", references(said["References"])),
        "[All operators](../operators.md)",
    ]
    return "\n\n".join(text) + "\n"


def index() -> str:
    """The tables of all operators, one for each family."""
    families: dict[str, list[Operator]] = {}
    for operator in BUILT_IN.values():
        families.setdefault(operator.family, []).append(operator)
    parts: list[str] = []
    for family, operators in families.items():
        rows = [
            [
                f"[{one.name}](operators/{one.name}.md)",
                one.meaning,
                "tiles" if one.scope == "tile" else "frame",
                one.exact if one.scope == "tile" else "",
                _short_halo(one) if one.scope == "tile" else "",
                cost(one),
            ]
            for one in operators
        ]
        parts += [f"### {capital(family)}", table(["operator", "what it does", "on", "seams", "halo", "cost"], rows)]
    joins = f"[`streamproc {STITCH}`](operators/{STITCH}.md)"
    parts += ["### Stitching", table(["command", "what it does"], [[joins, "several cameras' pictures into one"]])]
    return "\n\n".join(parts) + "\n"


def costs(measured: Mapping[str, Any]) -> str:
    """The table of what operators cost, from what `streamproc bench operators` measured."""
    head = ["family", "operator", "plain, ms", "whole, ms", "tiles and merging, ms", "whole / plain", "tiles / plain"]
    families, rows = list(dict.fromkeys(one["family"] for one in measured["operators"])), []
    for one in sorted(measured["operators"], key=lambda one: families.index(one["family"])):
        tiled = None if one["tiled_ms"] is None else one["tiled_ms"] + (one["merge_ms"] or 0)
        figures = (one["plain_ms"], one["whole_ms"], tiled, one["whole_ratio"], one["tiled_ratio"])
        told = ["-" if figure is None else f"{figure:.2f}" for figure in figures]
        rows.append([one["family"], f"[{one['name']}](operators/{one['name']}.md)", *told])
    where = "{frame}, {grid} tiles, OpenCV {opencv}, Python {python}, `--seconds {seconds:g}`:".format_map(measured)
    return f"{where}\n\n{table(head, rows)}\n"


def _short_halo(operator: Operator) -> str:
    halo = halo_by_default(operator)
    return "its files'" if halo is None else str(halo)


def pages() -> dict[Path, str]:
    """All text that is written: every page, and the overview with its tables made anew."""
    kept = INDEX.read_text(encoding="utf-8").partition(BEGIN)[0]
    written = {FOLDER / f"{name}.md": page(operator) for name, operator in BUILT_IN.items()}
    return {INDEX: kept + BEGIN + "\n" + index(), **written, FOLDER / f"{STITCH}.md": stitch_page()}


def write_pages() -> None:
    FOLDER.mkdir(exist_ok=True)
    texts = pages()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    for path in FOLDER.iterdir():
        if path.stem not in {*BUILT_IN, STITCH}:
            path.unlink()


def write_costs(measured: Path) -> None:
    kept = PERFORMANCE.read_text(encoding="utf-8").partition(COSTS)[0]
    told = costs(json.loads(measured.read_text(encoding="utf-8")))
    PERFORMANCE.write_text(f"{kept}{COSTS}\n{told}", encoding="utf-8")


def write_pictures(names: Sequence[str]) -> None:
    from tests.operator_pictures import draw, outcome, stitched, write
    from tests.operator_scenes import write_files

    cv2.setNumThreads(1)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        if not names or STITCH in names:
            write(FOLDER / f"{STITCH}.jpg", stitched())
        for name in [name for name in names if name != STITCH] or ([] if names else BUILT_IN):
            made = parse(EXAMPLES[name].steps, name, folder=Path(folder))
            seen = outcome(made, EXAMPLES[name].frames())
            picture = draw(name, BUILT_IN[name].kind == "transform", seen)
            write(FOLDER / f"{name}.jpg", picture)


if __name__ == "__main__":
    if sys.argv[1:2] == ["pictures"]:
        write_pictures(sys.argv[2:])
    elif sys.argv[1:2] == ["costs"]:
        write_costs(Path(sys.argv[2]))
    else:
        write_pages()
