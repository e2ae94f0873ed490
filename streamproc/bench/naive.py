"""Faust as its first page suggests: kernels inside the agent, one `await send` for each tile.

With `--delivered` the agent also awaits that the result is delivered before it goes on, which is the promise that
streamproc makes: otherwise Faust acknowledges the tile while its result may still be lost.

Run as `python -m streamproc.bench.naive`; a comparison for the benchmark, never used by workers.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import cv2
import faust
from faust.types import StreamT

from streamproc import wire
from streamproc.bench.loops import decoded
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import default_pipeline, load


def _app(bootstrap: str, source: str, target: str, pipeline: Pipeline, *, delivered: bool) -> faust.App:
    app = faust.App(
        f"naive-{source}",
        broker=f"kafka://{bootstrap}",
        web_enabled=False,
        store="memory://",
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_max_request_size=4 * 2**20,
        datadir=tempfile.mkdtemp(prefix="naive-"),
    )
    tiles = app.topic(source, value_type=bytes, value_serializer="raw")
    results = app.topic(target, value_type=bytes, value_serializer="raw")

    async def extract(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            headers = event.message.headers or []
            header = wire.read_tile_header(headers.items() if isinstance(headers, dict) else headers)
            found = pipeline.run(decoded(header, event.value), header.sequence)
            sent = await results.send(key=event.key, value=wire.encode_results(found))
            if delivered:
                await sent

    app.agent(tiles, name="naive")(extract)
    return app


async def _main(bootstrap: str, source: str, target: str, pipeline: Pipeline, *, delivered: bool) -> None:
    app = _app(bootstrap, source, target, pipeline, delivered=delivered)
    app.finalize()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.start()
    await stop.wait()


if __name__ == "__main__":
    cv2.setNumThreads(1)
    _bootstrap, _source, _target, _file, *_options = sys.argv[1:]
    _pipeline = load(Path(_file)) if _file else default_pipeline()
    asyncio.run(_main(_bootstrap, _source, _target, _pipeline, delivered="--delivered" in _options))
