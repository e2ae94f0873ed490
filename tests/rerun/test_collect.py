"""A rerun notices when nothing moves any more, and names itself within bounds."""

from __future__ import annotations

import time

import pytest

from streamproc.errors import StreamprocError, UsageError
from streamproc.rerun.collect import Patience
from streamproc.rerun.run import DEADLINE_S, settings_of
from streamproc.settings import load_settings


def test_patience_ends_only_when_nothing_moves() -> None:
    patience = Patience(0.05)
    for count in range(4):
        patience.look(count, under_way=3)
        time.sleep(0.03)
    time.sleep(0.06)
    with pytest.raises(StreamprocError, match="3 frames have no outcome"):
        patience.look(3, under_way=3)


def test_a_rerun_has_topics_and_a_group_of_its_own_and_no_port() -> None:
    own = settings_of(load_settings(metrics_port=9100), "night", partitions=5)
    assert (own.prefix, own.partitions, own.metrics_port) == ("streamproc.rerun.night.", 5, 0)


def test_a_deadline_that_is_set_is_kept() -> None:
    assert settings_of(load_settings(), "n", partitions=1).frame_deadline_s == DEADLINE_S
    assert settings_of(load_settings(frame_deadline_s=60), "n", partitions=1).frame_deadline_s == 60


def test_a_name_that_makes_topics_too_long_is_refused_with_the_length_that_fits() -> None:
    with pytest.raises(UsageError, match="at most 72 characters"):
        settings_of(load_settings(), "n" * 73, partitions=1)
