"""How long a worker may believe that its partitions are still its own.

The coordinator gives a worker's partitions away when it has heard no heartbeat for the session timeout. A worker that
was frozen or cut off does not know; what it then sends would stand in the log twice. So events are only sent while the
last answered heartbeat is young, and only with so little time for delivery that none arrives after the session could
have ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.publisher import ROOM_S

MARGIN_S = 0.5
EARLIER_S = 0.5


@dataclass(slots=True)
class Lease:
    """The right to emit, from the last heartbeat that the coordinator has answered; times are monotonic.

    Attributes:
        session_timeout_s: Kafka's.
    """

    session_timeout_s: float
    _asked_s: float = float("-inf")

    @property
    def length_s(self) -> float:
        """How long one answered heartbeat lets a worker emit."""
        return self.session_timeout_s / 2

    @property
    def delivery_timeout_s(self) -> float:
        """How long an event may then be on its way."""
        return self.session_timeout_s - self.length_s - MARGIN_S - ROOM_S

    @property
    def expire_s(self) -> float:
        """When all events that are under way are given up together; before the client gives up single ones."""
        return self.delivery_timeout_s - EARLIER_S

    def confirm(self, asked_s: float) -> None:
        """The coordinator has answered a heartbeat that was sent then: the session lasted longer than that."""
        self._asked_s = max(self._asked_s, asked_s)

    def holds(self, now_s: float) -> bool:
        """Whether partitions are certainly still this worker's, until what is sent now is delivered or given up."""
        return now_s < self._asked_s + self.length_s
