"""The suite can fail: each planted bug turns the verdict red, and the same fault without the bug leaves it green."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.judge import Verdict
from tests.chaos.patches import BUGS
from tests.chaos.plans import PLANTED

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

AT_ONCE = 4  # trials mostly wait for deadlines


@pytest.fixture(scope="module")
def verdicts(
    one_broker: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, bool], Future[Verdict]]]:
    """Verdicts by (bug, whether it was planted), under way."""
    folder = tmp_path_factory.mktemp("planted")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            (bug, planted): pool.submit(
                case.plan,
                one_broker,
                folder / f"{bug}-{'planted' if planted else 'fault-alone'}",
                bug if planted else "",
            )
            for bug, case in PLANTED.items()
            for planted in (True, False)
        }


def test_there_is_a_fault_for_each_bug() -> None:
    assert set(PLANTED) == set(BUGS)


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_turns_the_verdict_red(bug: str, verdicts: dict[tuple[str, bool], Future[Verdict]]) -> None:
    verdict = verdicts[bug, True].result()
    assert verdict.faults.keys() & PLANTED[bug].faults, verdict


@pytest.mark.parametrize("bug", PLANTED)
def test_the_same_fault_without_the_bug_leaves_it_green(
    bug: str, verdicts: dict[tuple[str, bool], Future[Verdict]]
) -> None:
    verdict = verdicts[bug, False].result()
    assert not verdict.faults, verdict
    assert verdict.acked > 0
