"""Workers of one command, as far as it shows without starting any."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamproc.settings import load_settings
from streamproc.supervise import Workers, WorkerSpec


class Child:
    """A process that has ended; remembers the environment it was given."""

    environments: list[dict[str, str]]

    def __init__(self, _command: list[str], *, env: dict[str, str], **_options: Any) -> None:
        self.environments.append(env)

    def poll(self) -> int:
        return 0

    def wait(self, timeout: float) -> int:
        assert timeout > 0
        return 0


def test_a_name_in_the_group_is_no_workers_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Child.environments = []
    monkeypatch.setattr(subprocess, "Popen", Child)
    monkeypatch.setenv("STREAMPROC_INSTANCE_ID", "gate-1")
    monkeypatch.setenv("STREAMPROC_SETTINGS", "")
    settings = load_settings(prefix="lab.", batch_tiles=8)
    assert settings.instance_id == "gate-1"
    with Workers(settings, [WorkerSpec(), WorkerSpec()], folder=tmp_path) as workers:
        workers.restart(0)
    assert len(Child.environments) == 3
    for variables in Child.environments:
        assert (variables["STREAMPROC_PREFIX"], variables["STREAMPROC_BATCH_TILES"]) == ("lab.", "8")
        assert {"STREAMPROC_INSTANCE_ID", "STREAMPROC_SETTINGS"}.isdisjoint(variables)
