"""The local broker is looked after."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from compose.kafka_keeper import KafkaKeeper
from streamproc.broker import Change, ClusterStatus, LocalCluster, NodeStatus
from streamproc.broker.state import State
from streamproc.errors import BrokerError


@dataclass
class Cluster:
    log: Path
    state: State = "running"
    refuses: int = 0
    starts: int = 0

    def status(self) -> ClusterStatus:
        node = NodeStatus(id=1, pid=7, alive=self.state == "running", port=9, log=self.log)
        return ClusterStatus(state=self.state, bootstrap="h:9", folder=self.log, detail="", nodes=(node,))

    def start(self, *, ready_s: float) -> Change:
        assert 0 < ready_s <= 60
        self.starts += 1
        if self.starts <= self.refuses:
            raise BrokerError("port 9 is in use")
        self.state = "running"
        return Change(changed=True, status=self.status())


@dataclass
class Life:
    cluster: Cluster
    now_s: float = 0.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        broker = cast("LocalCluster", self.cluster)
        self.keeper = KafkaKeeper(broker, told=self.told.append, clock=lambda: self.now_s)

    def until(self, second: float) -> None:
        while self.now_s < second:
            self.now_s += 0.5
            self.keeper.look()


def test_one_that_ends_is_told_with_its_last_words_and_started_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("out of memory\n")
    life = Life(Cluster(log))
    life.until(10)
    assert not life.told
    life.cluster.state = "stopped"
    life.until(11)
    assert life.told == [f"kafka ended after 11 s: out of memory (log: {log}); it is started again in 1 s"]
    life.until(13)
    assert life.told[1:] == ["kafka runs again at h:9"]
    assert life.cluster.starts == 1
    life.until(100)
    assert len(life.told) == 2


def test_pauses_grow_to_half_a_minute_and_begin_anew_after_a_steady_minute(tmp_path: Path) -> None:
    life = Life(Cluster(tmp_path / "none", refuses=8))
    life.cluster.state = "stopped"
    life.until(200)
    assert life.told[1].startswith("kafka cannot be started again: port 9 is in use; it is started again in 2 s")
    assert [line.rsplit(" ", 2)[1] for line in life.told[:9]] == ["1", "2", "4", "8", "16", "30", "30", "30", "30"]
    assert life.told[9:] == ["kafka runs again at h:9"]
    life.until(300)
    life.cluster.state = "stopped"
    life.until(301)
    assert life.told[-1].endswith("started again in 1 s")
