"""What the code of an operator keeps from picture to picture, whether or not its answers show it.

Looked at are the values of its module and of the modules of its package that this one names, and what its functions
hold: variables of the functions around them, defaults, attributes. Caches are left out: `functools.cache`, `lru_cache`,
`threading.local`, and `streamproc.operators.loaded`; each is bounded or its author's own choice, and what they hold
follows from what they were asked for. Values of types of other packages are not looked into, but for arrays,
containers and sources of random numbers.
"""

from __future__ import annotations

import functools
import itertools
import random
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np
import xxhash

from streamproc.operators.loaded import Loaded
from streamproc.operators.table import Operator

PLAIN: Final = (bool, int, float, complex, str, bytes, bytearray, type(None), range, itertools.count)
CACHES: Final = (type(functools.lru_cache(lambda: None)), threading.local, Loaded)


def kept(operator: Operator) -> dict[str, bytes]:
    """A digest of each value that the operator's code could have written to, by the name of its place."""
    calls = [call for call in (operator.run, operator.halo, operator.finish, operator.back, operator.check) if call]
    modules = list(_modules([_module_of(call) for call in calls]))
    packages = {_package(module.__name__) for module in modules}
    look = _Look(packages)
    found = {f"{call.__module__}.{_name(call)}": look.digest(call) for call in calls if hasattr(call, "__module__")}
    for module in modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("__"):
                found[f"{module.__name__}.{name}"] = look.digest(value)
    return found


def changed(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> list[str]:
    """Names of the places that differ."""
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def _modules(names: list[str]) -> Iterator[ModuleType]:
    """The modules of those names, and those of the same packages that stand in them or that what is in them is from."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        module = sys.modules.get(name)
        if name in seen or module is None:
            continue
        seen.add(name)
        yield module
        named = [_module_of(value) for value in list(vars(module).values())]
        names += [other for other in named if other and _package(other) == _package(name)]


def _module_of(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    found = getattr(value, "__module__", None) if callable(value) else type(value).__module__
    return found if isinstance(found, str) else ""


def _package(module: str) -> str:
    return module.partition(".")[0]


def _name(call: Any) -> str:
    return str(getattr(call, "__qualname__", type(call).__qualname__))


class _Look:
    """One look at many values; each object is looked into once, so that circles end."""

    def __init__(self, packages: set[str]) -> None:
        self._packages = packages
        self._seen: dict[int, object] = {}  # the objects too: an id may be given again

    def digest(self, value: object) -> bytes:
        """Of a value and of all that it holds."""
        if isinstance(value, PLAIN):
            return xxhash.xxh3_128_digest(f"{type(value).__name__} {value!r}".encode())
        if isinstance(value, CACHES) or id(value) in self._seen:
            return b""
        self._seen[id(value)] = value
        if isinstance(value, np.ndarray) and value.dtype != np.object_:
            return xxhash.xxh3_128_digest(f"{value.shape} {value.dtype}".encode() + value.tobytes())
        parts = [self.digest(part) for part in self._parts(value)]
        return xxhash.xxh3_128_digest(b" ".join(sorted(parts) if isinstance(value, set | frozenset) else parts))

    def _parts(self, value: Any) -> Iterator[object]:
        """What a value holds that may change."""
        if isinstance(value, Mapping):
            yield from itertools.chain.from_iterable(list(value.items()))
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield from list(value)
        elif isinstance(value, np.ndarray):
            yield value.tolist()
        elif isinstance(value, random.Random):
            yield value.getstate()
        elif isinstance(value, np.random.Generator):
            yield value.bit_generator.state
        elif isinstance(value, FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, MethodType | functools.partial):
            yield from _bound(value)
        elif isinstance(value, CellType):
            yield from _content(value)
        elif _package(_module_of(value)) in self._packages and not isinstance(value, ModuleType):
            yield from _attributes(value)

    def _of_function(self, function: FunctionType) -> Iterator[object]:
        if _package(function.__module__ or "") in self._packages:
            yield from (function.__defaults__, function.__kwdefaults__, function.__dict__)
            yield from function.__closure__ or ()


def _bound(call: Any) -> Iterator[object]:
    if isinstance(call, MethodType):
        yield from (call.__self__, call.__func__)
    else:
        yield from (call.func, call.args, call.keywords)


def _content(cell: CellType) -> Iterator[object]:
    try:
        yield cell.cell_contents
    except ValueError:  # of a name that is not bound yet
        return


def _attributes(value: Any) -> Iterator[object]:
    """Of an object: those in its dictionary and its slots; of a class those that are not Python's own."""
    held: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for part in type(value).__mro__:
        slots = vars(part).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            held[name] = getattr(value, name, None)
    for name in sorted(held):
        if not (name.startswith("__") and name.endswith("__")):
            yield from (name, held[name])
