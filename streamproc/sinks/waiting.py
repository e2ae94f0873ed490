"""How far a sink's target is behind the log, partition by partition. Times are arguments."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.lag import Lag, Standing


class Waiting:
    """Records of the log that are not at the target yet, and since when the oldest of them waits.

    Args:
        ends: The offset after the last record, by partition, as asked for at the beginning.
        now_s: When that was, Unix time.
    """

    def __init__(self, ends: Mapping[int, int], *, now_s: float) -> None:
        self._heard = {partition: (end, now_s) for partition, end in ends.items()}
        self._last_s: dict[int, float] = {}  # of the record read last
        self._collected_s: dict[int, float] = {}  # of the first record since the last batch
        self._in_batch_s: dict[int, float] = {}  # of the first record of the batch that is written
        self._lag = Lag[int]()

    def read(self, partition: int, timestamp_s: float) -> None:
        """A record was read that follows those before."""
        self._last_s[partition] = timestamp_s
        self._collected_s.setdefault(partition, timestamp_s)

    def begin_batch(self) -> None:
        """All that was read is being written."""
        self._in_batch_s, self._collected_s = self._collected_s, {}

    def end_batch(self) -> None:
        """It is written."""
        self._in_batch_s = {}

    def go_back(self) -> None:
        """Reading begins somewhere else."""
        self._last_s, self._collected_s, self._in_batch_s = {}, {}, {}

    def look(self, positions: Mapping[int, int], ends: Mapping[int, int], *, now_s: float) -> tuple[int, float]:
        """Records that wait, and seconds that the oldest has waited.

        Args:
            positions: Next offset by partition, as noted at the target.
            ends: Of those partitions of which the broker tells them now.
            now_s: Unix time.
        """
        self._heard |= {partition: (end, now_s) for partition, end in ends.items()}
        standings = {partition: self._standing(partition, at) for partition, at in positions.items()}
        waited_s = self._lag.look(standings, now_s)
        return sum(one.unread for one in standings.values()), max(waited_s.values(), default=0.0)

    def _standing(self, partition: int, at: int) -> Standing:
        end, heard_s = self._heard.get(partition, (0, 0.0))
        waits = (of.get(partition) for of in (self._in_batch_s, self._collected_s, self._last_s))
        since_s = next((moment_s for moment_s in waits if moment_s is not None), None)
        return Standing(next=at, end=end, heard_s=heard_s, since_s=since_s)
