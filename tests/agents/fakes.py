"""A batch that keeps what was sent, and messages as Faust gives them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from streamproc.agents.batches import Batch
from streamproc.model import TileHeader
from streamproc.wire import Headers, tile_headers


class SentBatch:
    """Stands for a Batch: same `events`, `floors` and `send`."""

    def __init__(self, messages: list[Any], tenure: int) -> None:
        self.tenure = tenure
        self.events = [SimpleNamespace(message=message, value=message.value, acked=False) for message in messages]
        for event in self.events:
            event.ack = lambda event=event: setattr(event, "acked", True)
        self.floors: dict[int, int | None] = {}
        self.sent: list[dict[str, Any]] = []

    def send(self, **record: Any) -> None:
        self.sent.append(record)

    def on(self, topic: str) -> list[dict[str, Any]]:
        """What was sent to a topic, by the end of its name."""
        return [record for record in self.sent if record["topic"].endswith(topic)]


def batch_of(*messages: Any, tenure: int = 1) -> Batch:
    """A fake batch where a Batch is asked for."""
    return cast("Batch", SentBatch(list(messages), tenure))


def message(
    value: bytes | None,
    *,
    headers: Headers | None = None,
    topic: str = "streamproc.tiles",
    partition: int = 0,
    offset: int = 0,
    generation: int = 1,
) -> Any:
    """A record as Faust gives it."""
    return SimpleNamespace(
        key=b"key",
        value=value,
        headers=headers or [],
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=1_700_000_000.5,
        generation_id=generation,
    )


def tile_message(header: TileHeader, payload: bytes, **more: Any) -> Any:
    """A tile record."""
    return message(payload, headers=tile_headers(header), **more)
