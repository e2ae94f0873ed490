"""TOML to a `Pipeline`, or one line that says what is wrong, where, and what is right."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from streamproc.errors import PipelineError
from streamproc.operators.catalogue import OPERATORS
from streamproc.operators.files import named_file
from streamproc.operators.parameters import checked, require_order
from streamproc.operators.pipeline import FRAME, Pipeline, Step, given
from streamproc.operators.plugins import PluginOperator
from streamproc.operators.table import PIXEL_KINDS, Operator, Parameter, Value

STEP_KEYS = ("operator", "name", "input", "every", "on")
MAX_STEPS = 64
MAX_NAME = 64
NAME = re.compile(r"[A-Za-z0-9_-]+")  # of steps: they become keys of events and names of pictures
MAX_EVERY = 1_000_000
MOST_NAMES = 24  # that a message lists
LISTED = "streamproc operators lists them"

DEFAULT_PIPELINE = """\
# The pipeline that runs when none is named: `streamproc pipeline default` prints it.
name = "default"

[[step]]
operator = "gray"

[[step]]
name = "edges"
operator = "canny"
low = 50
high = 150

[[step]]
operator = "orb"
limit = 500

[[step]]
operator = "statistics"

[[step]]
operator = "gray_histogram"

[[step]]
operator = "faces"
every = 5
"""


def default_pipeline() -> Pipeline:
    """Return the pipeline that runs when none is named."""
    return parse(DEFAULT_PIPELINE, "default pipeline")


def load(path: Path) -> Pipeline:
    """Read a pipeline file.

    Raises:
        PipelineError: It cannot be read, or `parse` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise PipelineError(f"{path}: cannot be read: {reason}") from error
    return parse(text, str(path), folder=path.resolve().parent)


def parse(text: str, source: str = "pipeline", *, folder: Path | None = None) -> Pipeline:
    """Make a pipeline from TOML.

    Args:
        text: See `pipeline.py` for its form.
        source: Name of the file, for messages.
        folder: Where files that parameters name are looked for; None: the working folder.

    Raises:
        PipelineError: One line naming file, step, value, and what is allowed.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"{source}: not TOML: {error}") from error
    _refuse_unknown(table, ("name", "step"), source)
    name = _text(table.get("name", "unnamed"), f"{source}: name")
    rows = table.get("step", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PipelineError(f"{source}: steps are written as [[step]] tables")
    if len(rows) > MAX_STEPS:
        raise PipelineError(f"{source}: {len(rows)} steps, at most {MAX_STEPS} are allowed")
    steps: list[Step] = []
    for index, row in enumerate(rows, start=1):
        steps.append(_step(row, f"{source}: step {index}", steps, folder or Path.cwd()))
    pipeline = Pipeline(name=name, steps=tuple(steps))
    if not pipeline.measures and not pipeline.whole:
        raise PipelineError(f"{source}: no step gives a result; add a measure, such as canny or statistics ({LISTED})")
    return pipeline


def _step(row: Mapping[str, Any], where: str, above: list[Step], folder: Path) -> Step:
    if "operator" not in row:
        raise PipelineError(f"{where}: operator is missing ({LISTED})")
    wanted = row["operator"]
    if not isinstance(wanted, str) or wanted not in OPERATORS:
        raise PipelineError(f"{where}: unknown operator {wanted!r}{_instead(wanted, OPERATORS)}")
    operator = OPERATORS[wanted]
    name = _text(row.get("name", wanted), f"{where}: name")
    if not NAME.fullmatch(name):
        raise PipelineError(f"{where}: name must be letters, digits, _ or -, got {name!r}")
    where = f'{where} "{name}"'
    if name == FRAME or any(step.name == name for step in above):
        taken = ", ".join([FRAME, *(step.name for step in above)])
        raise PipelineError(f'{where}: the name is taken, give another by name = "..." (taken: {taken})')
    _refuse_unknown(row, (*STEP_KEYS, *operator.defaults()), where)
    parameters = {one.name: _value(row, one, where) for one in operator.parameters}
    files = {one.name: str(parameters[one.name]) for one in operator.parameters if one.file and parameters[one.name]}
    found = {key: named_file(folder, path, f"{where}: {key}") for key, path in files.items()}
    below = _input(row.get("input"), operator, where, above)
    step = Step(
        name=name,
        operator=operator,
        parameters={**parameters, **{key: str(file.path) for key, file in found.items()}},
        input=below,
        every=_every(row.get("every", 1), operator, where),
        on=_on(row.get("on"), operator, where, next((step for step in above if step.name == below), None)),
        files={key: file.digest for key, file in found.items()},
    )
    try:
        require_order(operator.parameters, parameters)
        _ = step.halo  # reads texts that stand for more than themselves: kernels
    except PipelineError as error:
        raise PipelineError(f"{where}: {error}") from None
    _refuse_labels_that_never_come(step, where, above)
    return step


def _refuse_labels_that_never_come(step: Step, where: str, above: list[Step]) -> None:
    """Hold a step's label against those of the finder that it rests on, where these are known."""
    by_name = {other.name: other for other in above}
    finder = by_name.get(step.input)
    # Who follows boxes in another package may give them other names.
    while finder and finder.operator.accepts == ("boxes",) and not isinstance(finder.operator, PluginOperator):
        finder = by_name.get(finder.input)
    if finder is None or not finder.operator.labels:
        return
    for key, label in ((one.name, step.parameters[one.name]) for one in step.operator.parameters if one.label):
        if label and label not in finder.operator.labels:
            found = " or ".join(f'"{one}"' for one in finder.operator.labels)
            raise PipelineError(f'{where}: {key} must be {found} or empty, step "{finder.name}" finds no {label!r}')


def _value(row: Mapping[str, Any], parameter: Parameter, where: str) -> Value:
    if parameter.required and parameter.name not in row:
        raise PipelineError(f"{where}: {parameter.name} is missing: {parameter.meaning}")
    return checked(row.get(parameter.name, parameter.default), parameter, f"{where}: {parameter.name}")


def _input(wanted: object, operator: Operator, where: str, above: list[Step]) -> str:
    if set(operator.accepts).isdisjoint(PIXEL_KINDS):
        return _finder(wanted, operator, where, above)
    transforms = [step.name for step in above if step.operator.kind == "transform"]
    masks = [step.name for step in above if step.operator.kind == "measure" and step.operator.gives in PIXEL_KINDS]
    nodes = [FRAME, *transforms]
    name = nodes[-1] if wanted is None else wanted
    if not isinstance(name, str) or name not in [*nodes, *masks]:
        measured = any(step.name == name for step in above)
        why = "is a measure, it has no pixels" if measured else "is no transform above this step"
        raise PipelineError(f"{where}: input {name!r} {why}{_instead(name, nodes)}")
    stands = Pipeline(name="", steps=tuple(above)).kind_of(name)
    kind = stands and given(operator, stands)
    if kind not in operator.accepts:
        takes, others = " or ".join(operator.accepts), ", ".join(node for node in nodes if node != name)
        raise PipelineError(f'{where}: takes {takes} pixels, input "{name}" gives {kind}; other inputs: {others}')
    return name


def _finder(wanted: object, operator: Operator, where: str, above: list[Step]) -> str:
    """The step whose findings an operator takes: the one that is named, or the nearest above that has them."""
    takes = " or ".join(operator.accepts)
    finders = [step.name for step in above if step.operator.gives in operator.accepts]
    if not finders:
        givers = ", ".join(row.name for row in OPERATORS.values() if row.gives in operator.accepts)
        raise PipelineError(
            f"{where}: takes {takes}, and no step above gives them; put one of these before it: {givers}"
        )
    name = finders[-1] if wanted is None else wanted
    if not isinstance(name, str) or name not in finders:
        raise PipelineError(f"{where}: input {name!r} gives no {takes}{_instead(name, finders)}")
    return name


def _on(wanted: object, operator: Operator, where: str, below: Step | None) -> Literal["tile", "frame"]:
    """Where a step works: on tiles if it can and nothing was said."""
    if wanted not in (None, "tile", "frame"):
        raise PipelineError(f'{where}: on must be "tile" or "frame", got {wanted!r}')
    why = ""
    if operator.scope == "frame" or operator.kind == "follower":
        why = f"{operator.name} needs the whole frame"
    elif below is not None and (below.on == "frame" or below.operator.kind != "transform"):
        why = f'its input "{below.name}" is known of the whole frame only'
    if why and wanted == "tile":
        raise PipelineError(f'{where}: on = "tile" cannot be: {why}')
    return "frame" if why or wanted == "frame" else "tile"


def _every(value: object, operator: Operator, where: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_EVERY:
        raise PipelineError(f"{where}: every must be a whole number from 1 to {MAX_EVERY}, got {value!r}")
    if value != 1 and operator.kind == "transform":
        raise PipelineError(f"{where}: every is not for transforms: they run when another step needs them")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise PipelineError(f"{where} must be text of 1 to {MAX_NAME} printable characters, got {value!r}")
    return value


def _refuse_unknown(row: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    known = list(allowed)
    for key in row:
        if key not in known:
            raise PipelineError(f"{where}: unknown key {key!r}{_instead(key, known)}")


def _instead(wrong: object, right: Iterable[str]) -> str:
    names = list(right)
    near = difflib.get_close_matches(str(wrong), names, n=1, cutoff=0.7)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"{hint} ({LISTED if len(names) > MOST_NAMES else 'allowed: ' + ', '.join(names)})"
