from __future__ import annotations

import pytest

from streamproc.broker.ports import HOST, choose_ports
from streamproc.broker.readiness import ask, wait_until_ready
from streamproc.errors import BrokerError


def test_nobody_there_is_no_answer_and_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(f"{HOST}:{choose_ports(0, 1)[0]}", wait_s=0.5) is None
    assert capfd.readouterr() == ("", "")


def test_waiting_ends_in_time_with_words() -> None:
    port = choose_ports(0, 1)[0]
    with pytest.raises(BrokerError, match=r"not ready within 0.3 s \(no answer\)"):
        wait_until_ready([port], bootstrap=f"{HOST}:{port}", cluster_id="x", ready_s=0.3, check_alive=lambda: None)
