"""A video of a camera and a time range: each frame for as long as it lasted, with what was found on it."""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from streamproc.cloudevents import event_time
from streamproc.errors import StreamprocError
from streamproc.evidence.frames import Sight, look
from streamproc.evidence.picture import draw_sight, objects_of
from streamproc.evidence.sources import Sources
from streamproc.evidence.store import EventStore, Frame, Told
from streamproc.evidence.video import Video
from streamproc.model import FrameKey, Pixels
from streamproc.operators import drawing

MAX_FPS: Final = 60
MAX_SIDE: Final = 1920
BATCH_BYTES: Final = 96 * 2**20  # of decoded pixels held at once
BATCH_FRAMES: Final = 32
TRAIL: Final = 32  # last places of a track that are drawn
TRAIL_NS: Final = 3 * 10**9  # and how old they may be
PAUSE_NS: Final = 2 * 10**9  # a picture that is older is not shown as if it were live
MAX_TRACKS: Final = 500
CAPTION_LINES: Final = 2


class Shot(NamedTuple):
    """A frame and how many pictures of the video it fills; `pause` is the picture from which on it is out of date."""

    frame: Frame
    times: int
    pause: int


@dataclass(slots=True)
class Clip:
    """What became of the frames.

    Attributes:
        frames: Frames of the range.
        shown: Of them in the video; others lasted for less than one of its pictures.
        incomplete: Of those shown, some of whose tiles are not there.
        gone: Of those shown, of which no tile is left.
        told: Why pixels are not there, the first few lines.
        pictures: Of the video.
        stopped: It ends before the range does, because it was asked to.
    """

    fps: Fraction
    width: int
    height: int
    frames: int = 0
    shown: int = 0
    incomplete: int = 0
    gone: int = 0
    told: list[str] = field(default_factory=list)
    pictures: int = 0
    stopped: bool = False


def usual_fps(captured_ns: Sequence[int]) -> Fraction:
    """Frames a second of ascending capture times, a whole number of 1 to 60.

    It is 1 over the median interval; twice that where more than one interval in twenty is shorter than three quarters
    of the median, so that frames which came unevenly are not left out.
    """
    steps = [after - before for before, after in itertools.pairwise(captured_ns) if after > before]
    if not steps:
        return Fraction(1)
    usual = statistics.median(steps)
    uneven = sum(step < 0.75 * usual for step in steps) > 0.05 * len(steps)
    return Fraction(min(MAX_FPS, max(1, round((2 if uneven else 1) * 10**9 / usual))))


def shots(frames: Sequence[Frame], fps: Fraction) -> Iterator[Shot]:
    """How long each frame is shown, so that the video runs as the capture times did.

    Args:
        frames: By capture time, ascending.
        fps: Of the video.

    Yields:
        Frames in order; one that ends before the next picture of the video is left out. The last lasts one picture.
    """
    if not frames:
        return
    start_ns = frames[0].captured_ns
    pause = max(1, round(PAUSE_NS * fps / 10**9))
    at = 0
    for number, frame in enumerate(frames):
        last = number == len(frames) - 1
        end = at + 1 if last else round((frames[number + 1].captured_ns - start_ns) * fps / 10**9)
        if end > at:
            yield Shot(frame, end - at, pause)
            at = end


class Trails:
    """Where tracks have been lately; bounded in places, age and number."""

    def __init__(self) -> None:
        self._places: dict[str, deque[tuple[int, float, float]]] = {}

    def add(self, told: Told) -> list[tuple[drawing.Colour, list[tuple[float, float]]]]:
        """Take a frame's objects; gives the lines to draw on it."""
        now_ns = told.data["captured_ns"]
        for one in objects_of(told.data):
            if one.track is not None and (one.track in self._places or len(self._places) < MAX_TRACKS):
                x1, y1, x2, y2 = one.box
                place = (now_ns, (x1 + x2) / 2, (y1 + y2) / 2)
                self._places.setdefault(one.track, deque(maxlen=TRAIL)).append(place)
        self._places = {track: found for track, found in self._places.items() if now_ns - found[-1][0] <= TRAIL_NS}
        lines = []
        for track, found in self._places.items():
            recent = [(x, y) for when, x, y in found if now_ns - when <= TRAIL_NS]
            if len(recent) > 1:
                lines.append((drawing.colour_of(track), recent))
        return lines


def size_for(width: int, height: int) -> tuple[int, int]:
    """Width and height of the pictures without their caption: even, at most 1920 pixels, at least 320 wide."""
    share = min(1.0, MAX_SIDE / max(width, height))
    if width * share < 320:
        share = max(1, 320 // width)
    even = [max(2, 2 * round(side * share / 2)) for side in (width, height)]
    return max(320, even[0]), even[1]


def make_clip(
    video: Callable[[int, int], Video],
    sources: Sources,
    evidence: EventStore,
    results: EventStore,
    *,
    fps: Fraction,
    max_frame_pixels: int,
    seen: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
) -> Clip:
    """Write a video of all frames of a store.

    Args:
        video: Opens the file, given width and height.
        sources: Where tiles may be.
        evidence: Events that say where the tiles of each frame stand.
        results: Events that say what was found: the same, or those of another run over the same frames.
        fps: Of the video.
        max_frame_pixels: Frames above this are refused.
        seen: Called after each frame.
        stop: Asked after each picture; when it says so, the video ends there and is whole.

    Raises:
        StreamprocError: There are no frames, or the video cannot be written.
    """
    frames = sorted(evidence.frames(), key=lambda frame: (frame.captured_ns, frame.key.run, frame.key.sequence))
    if not frames:
        raise StreamprocError("there are no frames to make a video of")
    drawn_by = _drawn_by(evidence, results)
    first = evidence.read(frames[0].key).data
    width, height = size_for(max(1, first["width"]), max(1, first["height"]))
    full_height = height + drawing.caption_px(width, CAPTION_LINES)
    clip = Clip(fps=fps, width=width, height=full_height + full_height % 2, frames=len(frames))
    trails = Trails()
    with video(clip.width, clip.height) as out:
        for shot, sight, place in _sights(shots(frames, fps), sources, evidence, max_frame_pixels=max_frame_pixels):
            result = drawn_by(shot.frame)
            told = result or Told({**place.event, "data": {**place.data, "objects": []}}, [])
            picture = drawing.draw_paths(draw_sight(sight, told), trails.add(told))
            lines = _caption(told, sight, is_told=result is not None)
            _show(out, shot, drawing.fit(picture, width, height), lines, clip, stop)
            _count(clip, sight)
            seen()
            clip.stopped = stop()
            if clip.stopped:
                break
        clip.pictures = out.frames
    return clip


def _sights(
    wanted: Iterable[Shot], sources: Sources, evidence: EventStore, *, max_frame_pixels: int
) -> Iterator[tuple[Shot, Sight, Told]]:
    """Frames with their pixels, a few at a time."""
    batch: list[tuple[Shot, Told]] = []
    size = 0
    for shot in wanted:
        told = evidence.read(shot.frame.key)
        pixels = 3 * told.data["width"] * told.data["height"]
        if batch and (len(batch) == BATCH_FRAMES or size + pixels > BATCH_BYTES):
            yield from _seen(batch, sources, max_frame_pixels)
            batch, size = [], 0
        batch.append((shot, told))
        size += pixels
    yield from _seen(batch, sources, max_frame_pixels)


def _seen(
    batch: list[tuple[Shot, Told]], sources: Sources, max_frame_pixels: int
) -> Iterator[tuple[Shot, Sight, Told]]:
    sights = look(sources, [told.data for _, told in batch], max_frame_pixels=max_frame_pixels)
    yield from ((shot, sight, told) for (shot, told), sight in zip(batch, sights, strict=True))


def _drawn_by(evidence: EventStore, results: EventStore) -> Callable[[Frame], Told | None]:
    """Finds what was found on a frame: by its key, or else by capture time and sequence, which other runs keep."""
    if evidence is results:
        return lambda frame: results.read(frame.key)
    places: dict[tuple[str, int, int], FrameKey] = {}
    for key, captured_ns in results.frames():
        places.setdefault((key.camera, captured_ns, key.sequence), key)

    def found(frame: Frame) -> Told | None:
        key = places.get((frame.key.camera, frame.captured_ns, frame.key.sequence))
        return None if key is None else results.read(key)

    return found


def _caption(told: Told, sight: Sight, *, is_told: bool) -> list[str]:
    data = told.data
    labels = [one.label for one in objects_of(data)]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels))[:6])
    happened = "; ".join(f"{one['data']['step']}: {one['data']['what']}" for one in told.happened[:4])
    missing = f"{len(sight.lost)} tiles missing" if sight.lost else ""
    pixels = "no pixels are left" if sight.seen is None else missing
    outcome = f"{data['outcome']}" if is_told else "no event of the other run"
    first = [event_time(data["captured_ns"]), f"{data['camera']}/{data['run']}/{data['sequence']}", outcome, pixels]
    return ["  ".join(part for part in first if part), "  ".join(part for part in (counts, happened) if part)]


def _show(out: Video, shot: Shot, picture: Pixels, lines: list[str], clip: Clip, stop: Callable[[], bool]) -> None:
    """Add a picture for as long as it lasts; when that is long, say that nothing came."""
    live = min(shot.times, shot.pause)
    out.add(_filled(drawing.caption(picture, lines), clip), live, stop=stop)
    if shot.times > live and not stop():
        words = f"no frame for {float(shot.times / clip.fps):.1f} s after this one"
        still = drawing.caption(drawing.dimmed(picture), [lines[0], words])
        out.add(_filled(still, clip), shot.times - live, stop=stop)


def _filled(picture: Pixels, clip: Clip) -> Pixels:
    return picture if picture.shape[:2] == (clip.height, clip.width) else drawing.fit(picture, clip.width, clip.height)


def _count(clip: Clip, sight: Sight) -> None:
    clip.shown += 1
    clip.gone += sight.seen is None
    clip.incomplete += sight.seen is not None and bool(sight.lost)
    for line in sight.told:
        if len(clip.told) < 5 and line not in clip.told:
            clip.told.append(line)
