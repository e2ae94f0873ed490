"""The viewer as a process on a real broker: what it tells of a real pipeline, how soon, and through what outages."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from producers.publish import publish
from producers.sources import open_source
from streamproc.broker import LocalCluster
from streamproc.cloudevents import decode_frame_event, event_key
from streamproc.model import Grid
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.operators.pixels import announced
from streamproc.provision import create_topics, wait_for_group
from streamproc.reader import TopicReader
from streamproc.settings import Settings, load_settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics
from tests.cli import Running, started
from tests.view.serving import run
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

CAMERAS = ("gate", "hall", "yard", "roof")
FPS = 10
FRAMES = 60


@contextmanager
def viewer(settings: Settings, *options: str | Path) -> Iterator[tuple[Running, str]]:
    """`streamproc view` on a free port, and its URL."""
    with started(
        *("view", "--port", "0", "--no-open", "--json", *options),
        STREAMPROC_BOOTSTRAP=settings.bootstrap,
        STREAMPROC_PREFIX=settings.prefix,
    ) as process:
        wait_until(lambda: "\n" in process.out or bool(process.err), "it serves", timeout_s=60)
        process.check()
        yield process, json.loads(process.out.splitlines()[0])["url"]


def produce(settings: Settings, camera: str) -> None:
    with open_source("synthetic:320x240", settings) as source:
        publish(
            source,
            settings,
            camera=camera,
            run="run-1",
            codec="jpeg",
            grid=Grid(1, 1),
            fps=FPS,
            limit=FRAMES,
            pipeline_halo=default_pipeline().halo,
            partitions=settings.partitions,
        )


def write_foreign(settings: Settings) -> None:
    """Records of somebody else on both topics."""
    topics, producer = Topics(settings.prefix), Producer({"bootstrap.servers": settings.bootstrap})
    for topic in (topics.events, topics.edges):
        foreign: list[tuple[bytes | None, list[tuple[str, str | bytes | None]] | None]] = [
            (b"hello", None),
            (b"{}", [("ce_type", b"io.streamproc.frame.v1"), ("ce_id", b"1")]),
            (b"\xff" * 1000, [("picture", b"\xc1"), ("content-type", b"text/html")]),
            (None, None),
        ]
        for value, headers in foreign:
            producer.produce(topic, value=value, headers=headers, partition=0)
    assert producer.flush(10) == 0


class Watching:
    """One browser that takes everything at once: how old events were, and which pictures came."""

    def __init__(self) -> None:
        self.ages_ms: dict[tuple[str, int], float] = {}
        self.pictures: Counter[tuple[str, str]] = Counter()

    async def watch(self, client: aiohttp.ClientSession) -> None:
        """Until all frames of all cameras were told of."""
        async with client.ws_connect("/api/live") as live:
            while len(self.ages_ms) < len(CAMERAS) * FRAMES:
                message = await live.receive(timeout=30)
                if message.type is aiohttp.WSMsgType.BINARY:
                    about = json.loads(message.data[4 : 4 + int.from_bytes(message.data[:4], "big")])
                    self.pictures[about["camera"], about["kind"]] += 1
                    await live.send_json({"type": "got", "n": 1})
                    continue
                told = json.loads(message.data)
                if told["type"] == "event":
                    event = told["event"]
                    self.ages_ms[event["camera"], event["sequence"]] = time.time() * 1000 - event["emitted_ms"]
                    if event["sequence"] == FRAMES - 1 and all((one, FRAMES - 1) in self.ages_ms for one in CAMERAS):
                        return


def read_plainly(settings: Settings, stop: Event) -> list[float]:
    """How old frame events are for one who does nothing but read, ms: the pipeline's and the broker's part."""
    ages_ms: list[float] = []
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        ends = {number: reader.bounds(number)[1] for number in reader.partitions()}
        for record in reader.follow(ends, stop=stop.is_set):
            if record is not None and event_key(record.headers) is not None and record.value != b"{}":
                emitted_ns = decode_frame_event(record.value).emitted_ns
                ages_ms.append((time.time_ns() - emitted_ns) / 1e6)
    return sorted(ages_ms)


async def ask(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json() if answer.content_type == "application/json" else await answer.read()


async def check_past(client: aiohttp.ClientSession) -> None:
    """What pages ask of the log, over what the pipeline has just written."""
    newest = await ask(client, "/api/events?camera=hall&type=frame&limit=500")
    assert [event["sequence"] for event in newest["events"]] == list(range(FRAMES - 1, -1, -1))
    event = newest["events"][FRAMES // 2]
    whole = await ask(client, f"/api/events/{event['id']}?camera=hall")
    assert (whole["id"], whole["data"]["sequence"]) == (event["id"], event["sequence"])
    for edges in (0, 1):
        png = await ask(client, f"/api/events/{event['id']}/picture?camera=hall&edges={edges}")
        assert announced(png)[0] == "png"
    span = await ask(client, "/api/span?camera=hall")
    assert span["to_ms"] - span["from_ms"] > 1000 * (FRAMES / FPS - 3)
    middle = (span["from_ms"] + span["to_ms"]) // 2
    for path, codec in (("/api/at?kind=preview", "jpeg"), ("/api/at?kind=edges", "png"), ("/api/frame?", "jpeg")):
        async with client.get(f"{path}&camera=hall&ms={middle}") as answer:
            assert announced(await answer.read())[0] == codec
            about = json.loads(answer.headers["X-Frame"])
        assert about["published_ms"] <= middle < about["published_ms"] + 2000
    series = await ask(client, "/api/series?camera=hall&minutes=5")
    assert sum(series["frames"]) == FRAMES
    await ask(client, "/api/events/none?camera=hall", 404)


def test_four_cameras_are_seen_live_and_in_the_past(topics_ready: Callable[..., Settings], tmp_path: Path) -> None:
    settings = topics_ready(preview_per_s=5)
    seen, stop = Watching(), Event()
    plain_ms: list[float] = []

    async def look(url: str) -> None:
        async with aiohttp.ClientSession(url) as client:
            loop = asyncio.get_running_loop()
            watching = asyncio.create_task(seen.watch(client))
            await asyncio.sleep(0.2)
            write_foreign(settings)
            with ThreadPoolExecutor(len(CAMERAS) + 1) as threads:
                reading = loop.run_in_executor(threads, read_plainly, settings, stop)
                try:
                    await asyncio.gather(*(loop.run_in_executor(threads, produce, settings, one) for one in CAMERAS))
                    await watching
                finally:
                    stop.set()
                plain_ms.extend(await reading)
            state = await ask(client, "/api/state")
            assert [(one["name"], one["outcomes"]) for one in state["cameras"]] == [
                (name, {"complete": FRAMES}) for name in sorted(CAMERAS)
            ]
            await check_past(client)

    with (
        Workers(settings, [WorkerSpec()], folder=tmp_path) as workers,
        viewer(settings) as (process, url),
    ):
        wait_for_group(settings, members=1, timeout_s=60, check=workers.check)
        run(lambda: look(url), limit_s=120)
        process.send(signal.SIGTERM)
        done, _ = process.ended(timeout_s=15)
    assert (done.code, done.err) == (143, "")
    ages = sorted(seen.ages_ms.values())
    assert len(ages) > 0.5 * len(CAMERAS) * FRAMES  # of plain frames that come at once the newest are told
    p95, plain_p95 = (found[int(0.95 * len(found))] for found in (ages, plain_ms))
    assert p95 < plain_p95 + 100, (p95, plain_p95)
    assert {key for key, count in seen.pictures.items() if count >= 3} == {
        (camera, kind) for camera in CAMERAS for kind in ("preview", "edges")
    }
    with viewer(settings) as (process, url):  # a page that opens later is not empty

        async def later() -> None:
            async with aiohttp.ClientSession(url) as client:
                state: Any = {}
                while [one["outcomes"] for one in state.get("cameras", ())] != [{"complete": FRAMES}] * len(CAMERAS):
                    await asyncio.sleep(0.1)
                    state = await ask(client, "/api/state")
                async with client.ws_connect("/api/live") as live:
                    while (await live.receive(timeout=5)).type is not aiohttp.WSMsgType.BINARY:
                        pass

        run(later, limit_s=60)
        process.interrupt()
        assert process.ended(timeout_s=15)[0].code == 130


def guarded(_node: int, properties: dict[str, str]) -> dict[str, str]:
    """A broker that asks for rights, and gives them to everybody as long as nobody says otherwise."""
    return {
        **properties,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }


def right(topic: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    """Of everybody, for one topic."""
    return AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)


def everything() -> AclBindingFilter:
    whatever: Any = None  # its types ask for words
    return AclBindingFilter(
        ResourceType.ANY,
        whatever,
        ResourcePatternType.ANY,
        whatever,
        whatever,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def rights(admin: AdminClient) -> list[AclBinding]:
    """What is denied now; the client's answers to changes themselves may never come."""
    found: list[AclBinding] = admin.describe_acls(everything()).result(10)
    return found


def test_missing_topics_missing_rights_and_a_broker_that_goes_are_told_and_waited_out(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path / "broker", amend=guarded)
    bootstrap = cluster.start(port=0).status.bootstrap
    assert bootstrap is not None
    settings = load_settings(bootstrap=bootstrap, partitions=2)
    topics = Topics(settings.prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        with viewer(settings) as (process, url):
            wait_until(
                lambda: re.search("events does not exist.*topics create", told(url)) is not None,
                "missing",
                timeout_s=15,
            )
            create_topics(settings)
            wait_until(lambda: told(url) == "ready", "topics are there", timeout_s=30)
            seen = right(topics.edges, AclOperation.DESCRIBE, AclPermissionType.ALLOW)
            admin.create_acls([seen, right(topics.edges, AclOperation.READ, AclPermissionType.DENY)])
            wait_until(lambda: len(rights(admin)) == 2, "it may be seen and not be read", timeout_s=30)
            cluster.stop(graceful_s=0)
            wait_until(lambda: bootstrap in told(url) and told(url) != "ready", "the broker is gone", timeout_s=30)
            cluster.start()
            wait_until(lambda: "edges" in told(url) and "rights" in told(url), "no right to read", timeout_s=30)
            admin.delete_acls([everything()])
            wait_until(lambda: not rights(admin), "everybody may read", timeout_s=15)
            wait_until(lambda: told(url) == "ready", "it has its right", timeout_s=30)
            process.send(signal.SIGTERM)
            assert process.ended(timeout_s=15)[0].code == 143
    finally:
        cluster.stop(graceful_s=0, delete_data=True)


def told(url: str) -> str:
    """What the viewer says of itself."""
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
