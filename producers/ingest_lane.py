"""The way of one camera's frames to Kafka: they wait without a number, get one, are cut, encoded and sent, in order.

All cameras share one sender and a few encoding threads (`Crew`); a lane is served by one of them at a time, frame by
frame in turns, so one busy camera delays the others by a frame at most. Memory: each lane may hold its share of
`Settings.producer_queue_bytes`, together with its share of what waits to be sent, and at least one frame.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.deliveries import SELDOM_S, Saved
from producers.ingest_run import Counts, Run
from producers.runs import new_run
from producers.waiting import WaitingRoom, cost
from streamproc.errors import LedgerError, RecordRefused, StreamprocError
from streamproc.ledger import line_of
from streamproc.model import Frame, FrameKey
from streamproc.topics import Topics, tile_key, tile_partition
from streamproc.wire import tile_headers

if TYPE_CHECKING:
    from producers.cameras_file import CameraSpec
    from producers.ingest_run import Outlet
    from streamproc.model import TileHeader

_BLOCK_FRAMES = 4  # more would wait in vain where reading waits anyway
_WAIT_S = 0.1
_STOP_S = 10.0  # longest wait for room once all is to end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Placed(Frame):
    """A frame that waits, and the run it was read in."""

    run: Run


class Lane:
    """One camera's way. `begin`, `offer` and `thin` are for the one thread that reads the camera.

    Args:
        spec: The camera.
        outlet: Shared by all.

    Attributes:
        waited_s: Time so far that `offer` has waited for room.
    """

    def __init__(self, spec: CameraSpec, outlet: Outlet) -> None:
        self._spec, self._outlet = spec, outlet
        self._topic = Topics(outlet.settings.prefix).tiles
        self._live = True
        self._stream_fps: float | None = None
        self._changed = threading.Condition()  # guards the room and all below
        self._room = WaitingRoom(
            spec.drop,
            bound_bytes=outlet.settings.producer_queue_bytes,
            most_frames=_BLOCK_FRAMES if spec.drop == "block" else None,
        )
        self._lanes = 1
        self._in_service = False
        self._closed = False
        self._next_run = new_run("live")
        self._run: Run | None = None
        self._runs: list[Run] = []  # the current one, and earlier ones with reports under way
        self._past = Counts()
        self._tell_next_s = 0.0
        self._grid_told = ""
        self.waited_s = 0.0

    def begin(self, *, live: bool, stream_fps: float | None) -> None:
        """A source is opened. Runs go on over connections, as long as the pictures have the same form.

        Args:
            live: Pictures of another form begin a new run; those of films and folders do not.
            stream_fps: Set for a film that is read as fast as possible: its own speed.
        """
        with self._changed:
            if live != self._live and self._run is None:
                self._next_run = new_run("live" if live else "file")
            self._live, self._stream_fps = live, None if live else stream_fps

    def share(self, lanes: int) -> None:
        """So many lanes share the memory from now on."""
        with self._changed:
            self._lanes = max(1, lanes)
            self._room.rebound(self._outlet.settings.producer_queue_bytes // self._lanes)
            self._changed.notify_all()

    def position(self) -> tuple[str, int]:
        """The run and the number that the next frame gets, as far as is known."""
        with self._changed:
            return (self._next_run, 0) if self._run is None else (self._run.id, self._run.numbered)

    def thin(self, frame: Frame) -> None:
        """Count a frame that was read and is not wanted, because fewer a second are."""
        run = self._run_for(frame)
        run.deliveries.thin(frame)
        self._release(run)

    def offer(self, frame: Frame) -> None:
        """Let a frame wait, or go, by the camera's policy; under `block` this waits for room.

        Raises:
            StreamprocError: Frames like this one cannot be cut as asked; it counts as failed.
        """
        run = self._run_for(frame)
        try:
            run.cutter.prepare(frame)
        except StreamprocError as error:
            run.deliveries.spoil(frame, error)
            self._release(run)
            raise
        placed = _Placed(
            pixels=frame.pixels,
            captured_ns=frame.captured_ns,
            clock=frame.clock,
            keyframe=frame.keyframe,
            receipt=frame.receipt,
            run=run,
        )
        self._place(placed)

    def close(self) -> None:
        """No frame is offered any more; a wait for room ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def finish(self, *, timeout_s: float) -> None:
        """After `close`: wait until what waits is sent, then count the rest as failed."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while (self._room.waits or self._in_service) and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(min(left_s, _WAIT_S))
            left = self._room.clear()
        for frame in left:
            self._unsent(frame)

    def give_up(self) -> None:
        """No more reports will come: what is not acknowledged has failed."""
        for run in self._all_runs():
            run.deliveries.give_up(f"topic {self._topic}: records were not acknowledged when reading ended")
            run.traces.give_up()

    @property
    def settled(self) -> bool:
        """Nothing waits here, and no record has its report to come."""
        with self._changed:
            idle = not (self._room.waits or self._in_service)
        return idle and all(run.deliveries.settled for run in self._all_runs())

    @property
    def held_bytes(self) -> int:
        """Of frames that wait."""
        return self._room.held_bytes

    def counts(self) -> Counts:
        """What became of the frames so far."""
        with self._changed:
            total = Counts()
            for part in (self._past, *(run.counts() for run in self._runs)):
                total.add(part)
            return total

    def serve(self) -> bool:
        """Number, cut and send the frame that waits longest; whether another waits. One thread at a time.

        Raises:
            LedgerError: The ledger cannot be written; nothing may be sent without it.
        """
        with self._changed:
            frame = self._room.call()
        try:
            if frame is not None:
                self._serve(frame)
        finally:
            with self._changed:
                if frame is not None:
                    self._room.leave(cost(frame))
                    _run_of(frame).held -= 1
                more = self._in_service = self._room.waits  # out of the lock another thread may be asked to serve
                self._changed.notify_all()
        return more

    def _place(self, placed: _Placed) -> None:
        started_s = time.monotonic()
        with self._changed:
            offer = self._room.offer(placed, queued_bytes=self._queued_bytes())
            while not (offer.taken or offer.dropped):
                if self._closed:
                    break
                self._changed.wait(_WAIT_S)
                offer = self._room.offer(placed, queued_bytes=self._queued_bytes())
            wakes = offer.taken and not self._in_service
            self._in_service = self._in_service or wakes
        self.waited_s += time.monotonic() - started_s
        if wakes:
            self._outlet.crew.put(self)
        for gone in offer.dropped:
            _run_of(gone).deliveries.drop(gone, self._spec.drop)
            self._release(_run_of(gone))
        if not (offer.taken or offer.dropped):
            self._unsent(placed)

    def _unsent(self, frame: Frame) -> None:
        run = _run_of(frame)
        run.deliveries.unsent(frame, StreamprocError("reading ended before the frame was sent"))
        self._release(run)

    def _queued_bytes(self) -> int:
        return self._outlet.sender.queued_bytes // self._lanes

    def _run_for(self, frame: Frame) -> Run:
        """The run that a frame just read belongs to, held until it is released."""
        with self._changed:
            run = self._current(frame)
            run.held += 1
            self._past.frames_read += 1
            return run

    def _release(self, run: Run) -> None:
        with self._changed:
            run.held -= 1

    def _current(self, frame: Frame) -> Run:
        """The run for a frame like this one; with the lock held."""
        run, form = self._run, frame.pixels.shape
        if run is not None and isinstance(run.deliveries.problem, LedgerError):
            raise run.deliveries.problem
        if run is None or run.deliveries.problem is not None or (self._live and run.form != form):
            run = self._begin(form)
        return run

    def _begin(self, form: tuple[int, ...]) -> Run:
        before, name = self._run, self._spec.name
        run = Run(
            self._spec,
            self._outlet,
            run=self._next_run,
            form=form,
            stream_fps=self._stream_fps,
            notice=self._tell_grid,
        )
        if self._outlet.ledger is not None:
            self._outlet.ledger.begin(name, run.id)
        if before is not None and (problem := before.deliveries.problem) is not None:
            self._tell(f"camera {name}: run {before.id} ended, goes on as {run.id}: {problem}")
        for one in [one for one in self._runs if one.deliveries.settled and not one.held]:
            self._past.add(one.counts())
            self._runs.remove(one)
        self._run = run
        self._runs.append(run)
        self._next_run = new_run("live" if self._live else "file")
        return run

    def _tell(self, line: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._tell_next_s:
            self._tell_next_s = now_s + SELDOM_S
            self._outlet.notice(line)

    def _tell_grid(self, line: str) -> None:
        """Once, and not again for each run."""
        if line != self._grid_told:
            self._grid_told = line
            self._outlet.notice(f"camera {self._spec.name}: {line}")

    def _all_runs(self) -> list[Run]:
        with self._changed:
            return list(self._runs)

    def _serve(self, frame: Frame) -> None:
        with self._changed:
            run = _run_of(frame)
            if run.deliveries.problem is not None:  # a hole in its numbers: frames that follow would wait for it
                run = self._current(frame)
            run.held += 1
        try:
            self._send_frame(run, frame)
        finally:
            self._release(run)

    def _send_frame(self, run: Run, frame: Frame) -> None:
        key = FrameKey(self._spec.name, run.id, run.numbered)
        began_ns = time.time_ns()
        try:
            preview = run.previews.chosen(run.numbered, frame.captured_ns)
            with self._changed:
                pressure = self._room.pressure(queued_bytes=self._queued_bytes())
            encoded = run.cutter.encode(frame, key, preview=preview, pressure=pressure)
        except StreamprocError as error:
            run.deliveries.spoil(frame, error)
            return
        encoded_ns = time.time_ns()
        line = line_of(encoded.tiles[0][0], encoded.pixels) if self._outlet.ledger is not None else None
        try:
            saved = Saved(encoded.unchanged, encoded.held)
            run.deliveries.expect(key, len(encoded.tiles), line, saved=saved, receipt=frame.receipt)
        except LedgerError as error:
            run.deliveries.unsent(frame, error)
            raise
        run.numbered += 1
        trace = run.traces.begin(encoded.tiles, encode_ns=(began_ns, encoded_ns))
        for index, (header, payload) in enumerate(encoded.tiles):
            try:
                self._send(run, index, header, payload, trace)
            except StreamprocError as error:
                run.deliveries.refuse(key.sequence, len(encoded.tiles) - index, error)
                run.traces.report(key.sequence, error, tiles=len(encoded.tiles) - index)
                return

    def _send(self, run: Run, index: int, header: TileHeader, payload: bytes, trace: bytes | None) -> None:
        self._wait_to_send(run, len(payload))
        sequence, size = header.sequence, len(payload)

        def report(error: Exception | None, offset: int | None) -> None:
            if error is None and offset is not None:
                run.cutter.delivered(sequence, index, offset)
            run.deliveries.report(sequence, size, error)
            run.traces.report(sequence, error)

        self._outlet.sender.send(
            topic=self._topic,
            partition=tile_partition(self._spec.name, index, self._outlet.partitions),
            key=tile_key(header),
            value=payload,
            headers=tile_headers(header, trace=trace),
            on_delivery=report,
            timeout_s=self._outlet.settings.delivery_timeout_s,
        )

    def _wait_to_send(self, run: Run, size: int) -> None:
        """Until the sender has room; half of the memory is for frames that may still be dropped."""
        most = self._outlet.settings.producer_queue_bytes // 2
        deadline_s = time.monotonic() + self._outlet.settings.delivery_timeout_s
        while (queued := self._outlet.sender.queued_bytes) and queued + size > most:
            now_s = time.monotonic()
            if self._outlet.stop.is_set():
                deadline_s = min(deadline_s, now_s + _STOP_S)
            if now_s > deadline_s or run.deliveries.problem is not None:
                raise RecordRefused(f"topic {self._topic}: the queue of unsent records stayed full; is the broker up?")
            time.sleep(0.005)


def _run_of(frame: Frame) -> Run:
    if not isinstance(frame, _Placed):
        raise TypeError("a frame without a run")
    return frame.run
