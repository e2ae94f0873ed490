"""The local Kafka of `make up`: a broker that ends is told and started again at its address."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from compose.plan import STEADY_S, pause_s
from streamproc.broker import LocalCluster
from streamproc.errors import BrokerError
from streamproc.supervise import last_words

LOOK_S: Final = 1.0
_READY_S: Final = 30.0


class KafkaKeeper:
    """Looks after a local broker that is ours; nothing is done for one that others started.

    Args:
        cluster: It runs.
        told: Told in one line when it has ended, and when it runs again.
        clock: Monotonic seconds.
    """

    def __init__(
        self, cluster: LocalCluster, *, told: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._told, self._clock = cluster, told, clock
        self._started_s = self._looked_s = clock()
        self._next_s: float | None = None  # when it is started again; None while it runs
        self._restarts = 0

    def look(self) -> None:
        """Notice that it has ended, and start it again when that is due; at most one look a second."""
        now_s = self._clock()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if self._next_s is None:
            status = self._cluster.status()
            if status.state == "running":
                return
            if now_s - self._started_s >= STEADY_S:
                self._restarts = 0
            words = "".join(
                f": {last_words(node.log)} (log: {node.log})" for node in status.nodes[:1] if node.log.exists()
            )
            self._later(f"kafka ended after {now_s - self._started_s:.0f} s{words}", now_s)
        elif now_s >= self._next_s:
            self._start_again()

    def _start_again(self) -> None:
        self._restarts += 1
        try:
            status = self._cluster.start(ready_s=_READY_S).status
        except BrokerError as error:
            self._later(f"kafka cannot be started again: {error}", self._clock())
            return
        self._next_s, self._started_s = None, self._clock()
        self._told(f"kafka runs again at {status.bootstrap}")

    def _later(self, words: str, now_s: float) -> None:
        pause = pause_s(self._restarts)
        self._next_s = now_s + pause
        self._told(f"{words}; it is started again in {pause:g} s")
