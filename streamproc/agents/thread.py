"""The thread of Faust's consumer: its fetches, its heartbeats, its connections."""

from __future__ import annotations

import time
from typing import Any

import aiokafka
from aiokafka.conn import CloseReason
from faust.transport.drivers import aiokafka as driver

FETCH_MIN_BYTES = 256 * 1024
FETCH_WAIT_MS = 25


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, which lets the broker gather records for a moment before it answers a fetch.

    Faust asks for 1 byte, so under load every few records cost a request. `AIOKafkaConsumer` takes both values as
    arguments, but Faust 0.15.3 does not pass them on (faust/transport/drivers/aiokafka.py, line 596).
    """

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = FETCH_MIN_BYTES
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        use_no_broken_connection(consumer._client)
        return consumer

    async def on_start(self) -> None:
        """Note each heartbeat that the coordinator answers."""
        await super().on_start()
        coordinator: Any = self._ensure_consumer()._coordinator
        app: Any = self.app  # a StreamApp, but Faust's type
        lease, heartbeat = app.lease, coordinator._do_heartbeat

        async def noted() -> bool:
            asked_s = time.monotonic()
            answered: bool = await heartbeat()
            if answered:
                lease.confirm(asked_s)
            return answered

        coordinator._do_heartbeat = noted

    async def beat(self) -> None:
        """Send a heartbeat now."""
        await self._ensure_consumer()._coordinator._do_heartbeat()

    async def rejoin(self) -> None:
        """Give partitions up and take them anew."""
        self._ensure_consumer()._coordinator.request_rejoin()


def use_no_broken_connection(client: Any) -> None:
    """Let a client take a connection that has just broken for none at all, and make a new one.

    On uvloop writing to it raises a RuntimeError; aiokafka expects an OSError (aiokafka/conn.py, 0.14, line 423), and
    its task that keeps the cluster's metadata ends by it: whatever waits for metadata then waits for ever.
    """
    get = client._get_conn

    async def get_sound(*args: Any, **options: Any) -> Any:
        connection = await get(*args, **options)
        if connection is not None and connection._writer is not None and connection._writer.transport.is_closing():
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            return None
        return connection

    client._get_conn = get_sound
