"""The one place where a worker is wired together: settings in, a Faust app with its agents out."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types.auth import CredentialsT

from streamproc.agents.assemble import Aggregation, add_assemble_agent
from streamproc.agents.batches import Crash, Tenure, Window
from streamproc.agents.extract import Extractor, add_extract_agent
from streamproc.agents.lease import Lease
from streamproc.agents.readback import read_again, read_back
from streamproc.agents.transport import StreamApp
from streamproc.metrics import Metrics
from streamproc.operators.pipeline import Pipeline
from streamproc.publisher import Publisher, RenewablePublisher
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.tracing import Tracer

Role = Literal["extract", "aggregate", "all"]
ROLES: dict[str, Role] = {"extract": "extract", "aggregate": "aggregate", "all": "all"}

FETCH_BYTES = 2 * 2**20  # for one partition and request: the largest record, or some forty tiles
POLL_RECORDS = 128  # records of one poll are delivered even if the stream's queue fills meanwhile
log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
LET_GO_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """A worker's app and what it is made of.

    Attributes:
        windows: Batches in flight by agent, for draining; filled when the agents start.
        extractor: To be closed when all has ended.
        aggregation: To be told how far tiles have come.
        events: Events go out through it; to be closed.
    """

    app: StreamApp
    publisher: Publisher
    pools: tuple[ThreadPoolExecutor, ...]
    windows: list[Window]
    extractor: Extractor | None
    aggregation: Aggregation | None
    events: RenewablePublisher | None


def create_app(
    settings: Settings,
    *,
    role: Role,
    pipeline: Pipeline,
    partitions: int,
    metrics: Metrics,
    publisher: Publisher,
    crash: Crash,
    tracer: Tracer | None = None,
) -> Wiring:
    """Wire a worker.

    Args:
        settings: Where the broker is, and every bound.
        role: Which agents run here.
        pipeline: What extract agents do with a tile.
        partitions: Of the topics, all alike.
        metrics: The process's metrics.
        publisher: Started; results and dead letters go out through it.
        crash: Told once when a result could not be delivered; the worker must end without committing.
        tracer: Where the spans of frames that are traced go; None is nowhere.
    """
    _expect(metrics, role)
    app = _faust_app(settings)
    app.lease = Lease(settings.session_timeout_s)
    app.before_revoke = partial(finish, app, windows := list[Window](), timeout_s=LET_GO_S)
    tenure = Tenure()
    app.on_partitions_assigned.connect(partial(_assigned, tenure, metrics, gone_s := list[float]()), weak=False)
    pools: list[ThreadPoolExecutor] = []

    def window(pool: ThreadPoolExecutor, **handlers: Any) -> Window:
        windows.append(
            Window(pool=pool, publisher=publisher, crash=crash, size=settings.window_batches, tenure=tenure, **handlers)
        )
        return windows[-1]

    aggregation: Aggregation | None = None
    extractor: Extractor | None = None
    events: RenewablePublisher | None = None
    if role in {"extract", "all"}:
        pools.append(ThreadPoolExecutor(settings.worker_threads, thread_name_prefix="extract"))
        extractor = Extractor(
            settings=settings, pipeline=pipeline, partitions=partitions, metrics=metrics, tracer=tracer
        )
        add_extract_agent(app, extractor, make_window=partial(window, pools[-1]))
    if role in {"aggregate", "all"}:
        pools.append(ThreadPoolExecutor(1, thread_name_prefix="assemble"))
        make_window = partial(window, pools[-1], delivered=metrics.stage_seconds.labels("deliver").observe)
        aggregation, events = _aggregation(
            app, settings, pipeline=pipeline, metrics=metrics, tracer=tracer, make_window=make_window, crash=crash
        )
    app.on_partitions_revoked.connect(partial(_revoked, tenure, gone_s, aggregation, pools[-1], events), weak=False)
    return Wiring(
        app=app,
        publisher=publisher,
        pools=tuple(pools),
        windows=windows,
        extractor=extractor,
        aggregation=aggregation,
        events=events,
    )


def _aggregation(
    app: StreamApp,
    settings: Settings,
    *,
    pipeline: Pipeline,
    metrics: Metrics,
    tracer: Tracer | None,
    make_window: Callable[..., Window],
    crash: Crash,
) -> tuple[Aggregation, RenewablePublisher]:
    """Add the agent that assembles; also what its events go out through."""
    events = RenewablePublisher(partial(_events_publisher, settings, app.lease))
    aggregation = Aggregation(
        settings,
        pipeline=pipeline,
        metrics=metrics,
        read_back=partial(read_back, settings),
        read_again=partial(read_again, settings),
        lease=app.lease,
        tracer=tracer,
    )
    lost = partial(_lost, app, aggregation, events, crash)
    add_assemble_agent(app, aggregation, settings=settings, make_window=partial(make_window, fenced=events, lost=lost))
    return aggregation, events


def _expect(metrics: Metrics, role: Role) -> None:
    """Show from the start, at 0, what a worker may count: `increase()` sees the first then."""
    if role in {"extract", "all"}:
        metrics.deadletters.expect("extract")
        metrics.decoders_lost.expect()
    if role in {"aggregate", "all"}:
        metrics.deadletters.expect("assemble")
        metrics.tiles.expect()
        metrics.stage_seconds.expect()


def _events_publisher(settings: Settings, lease: Lease) -> Publisher:
    """One whose records are delivered while the lease holds, in order and without a gap, or not at all."""
    return Publisher(
        settings,
        client_id="streamproc-events",
        delivery_timeout_s=lease.delivery_timeout_s,
        expire_s=lease.expire_s,
    )


def _lost(app: StreamApp, aggregation: Aggregation, events: RenewablePublisher, crash: Crash, tenure: int) -> None:
    """An event was not delivered in time: emit no more, and take all partitions anew."""
    aggregation.end(tenure)
    events.renew()
    consumer: Any = app.consumer  # ours, but Faust's type
    watched(app.loop.create_task(consumer.rejoin()), crash)


def watched(task: asyncio.Task[Any], crash: Crash) -> asyncio.Task[Any]:
    """End the worker when a task beside its agents ends with an error, which nobody would see."""

    def look(done: asyncio.Task[Any]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("a watching task failed", exc_info=error)
            crash(error)

    task.add_done_callback(look)
    return task


async def finish(app: StreamApp, windows: Sequence[Window], *, timeout_s: float) -> None:
    """Take nothing more, then settle what is under way: what would be begun now, somebody else does again."""
    try:
        if not app.consumer.assignment():
            return
    except ConsumerNotStarted:
        return
    app.consumer.stop_flow()
    app.flow_control.suspend()
    app.flow_control.clear()
    await settle(windows, timeout_s=timeout_s)


async def end_events(wiring: Wiring) -> None:
    """Emit nothing more, before the group is left: who takes over reads back what was emitted at once."""
    if wiring.windows:
        over = wiring.windows[0].tenure.revoke(wiring.app.consumer_generation_id)  # what ends later is not acknowledged
        if wiring.aggregation is not None:
            wiring.aggregation.end(over)
    if wiring.events is not None:
        await asyncio.get_running_loop().run_in_executor(None, wiring.events.flush_or_renew, LET_GO_S)


async def settle(windows: Sequence[Window], *, timeout_s: float) -> None:
    """Wait, for a bounded time, until what is under way is delivered and acknowledged."""
    deadline_s = time.monotonic() + timeout_s
    while any(window.busy for window in windows) and time.monotonic() < deadline_s:
        await asyncio.sleep(0.02)


async def _revoked(
    tenure: Tenure,
    gone_s: list[float],
    aggregation: Aggregation | None,
    pool: ThreadPoolExecutor,
    events: RenewablePublisher | None,
    app: StreamApp,
    *_: object,
    **_kw: object,
) -> None:
    """Before partitions go to another worker: emit no more, and let it find in the log what was emitted."""
    over = tenure.revoke(app.consumer_generation_id)
    gone_s[:] = [time.monotonic()]
    if aggregation is None or events is None:
        return
    aggregation.end(over)
    loop = asyncio.get_running_loop()
    await asyncio.wait({loop.run_in_executor(pool, aggregation.let_go)}, timeout=LET_GO_S)
    await loop.run_in_executor(None, events.flush_or_renew, LET_GO_S)


async def _assigned(
    tenure: Tenure, metrics: Metrics, gone_s: list[float], app: StreamApp, _partitions: object, **_kw: object
) -> None:
    tenure.assign()
    metrics.rebalances.inc()
    while gone_s:
        metrics.rebalance_seconds.observe(time.monotonic() - gone_s.pop())
    consumer: Any = app.consumer  # ours, but Faust's type
    app.loop.create_task(consumer.beat())


def _faust_app(settings: Settings) -> StreamApp:
    """A Faust app with the defaults that lose data or memory overridden; see docs/architecture.md for each."""
    request_timeout_s = max(40.0, settings.session_timeout_s + 10)
    return StreamApp(
        Topics(settings.prefix).group,
        broker=[f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        store="memory://",
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        broker_max_poll_records=POLL_RECORDS,
        broker_commit_interval=settings.commit_interval_s,
        broker_commit_every=1_000_000,
        consumer_group_instance_id=settings.instance_id,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=settings.session_timeout_s * 2,
        broker_request_timeout=request_timeout_s,
        stream_buffer_maxsize=settings.buffer_bytes,
        stream_wait_empty=False,
        stream_ack_cancelled_tasks=False,
        stream_recovery_delay=0,
        worker_redirect_stdouts=False,
    )


def _credentials(settings: Settings) -> CredentialsT | None:
    protocol = settings.security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = _ssl_context(settings) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context=context)
    password = settings.security_password
    return faust.SASLCredentials(
        username=settings.security_username,
        password=password.get_secret_value() if password else None,
        mechanism=settings.security_sasl_mechanism,
        ssl_context=context,
    )


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.security_ca_file) if settings.security_ca_file else None)
    if settings.security_cert_file and settings.security_key_file:
        context.load_cert_chain(str(settings.security_cert_file), str(settings.security_key_file))
    return context
