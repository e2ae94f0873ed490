"""From a stream's own times to capture times by our wall clock. Pure: all clocks come in as arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from streamproc.model import Clock

_REMEMBERED = 256  # packets between demuxer and decoder
_MENDED_NS = 2_000_000_000  # more than probing takes; a larger step is the camera's own
_SET_NS = 500_000_000  # our clock against one that nobody sets, between two frames: more than it is ever slewed
DRIFT_NS = 3_000_000_000
"""A count that is further from our wall clock than that, beyond what buffering explains, is begun anew."""
_WINDOW_S = 30.0  # longer than networks stall and than segments of HLS are; two in a row have to agree
_MOST_BUFFERED_NS = 60_000_000_000  # ahead of us at the live end of a playlist: some of its segments, read at once
_WAITING = 0.25  # share of a window; who waits less for frames has old ones before him, and their lateness says nothing


class StreamClock:
    """Capture times of one connection.

    Presentation times are counted from our clock at the first frame; times from RTCP are the camera's own wall clock.
    Both are passed on as they are, but for three things. The first frames of a paced stream lay waiting while it was
    probed, so later ones seem to come from the future, by that wait: the count is moved back by as much. When our clock
    is set, the count goes with it. And a count that has left our clock, because the stream's is slow, fast or was set,
    is begun anew: see `_Drift`. All these steps can be seen in the times.

    Args:
        paced: Frames come as they are captured; else in bursts, ahead of their times.
        endless: It has no end, so its times and ours pass alike; those of a film do not, however fast it is read.
    """

    def __init__(self, *, paced: bool, endless: bool) -> None:
        self._paced = paced
        self._drift = _Drift(usual_ns=0 if paced else None) if endless else None
        self._first: tuple[Fraction, int] | None = None
        self._begun = False  # a frame was given
        self._wall_ns = 0  # our clock less the one that nobody sets
        self._rtcp_ns: dict[int, int] = {}

    def note(self, pts: int | None, rtcp_ns: int | None, *, waited_s: float) -> None:
        """A packet arrived.

        Args:
            pts: Its presentation time.
            rtcp_ns: When it was sent by the camera's wall clock, nanoseconds since 1970; None if not known.
            waited_s: How long it was waited for.
        """
        if self._drift is not None:
            self._drift.waited_s += waited_s
        if pts is None or rtcp_ns is None or not 0 < rtcp_ns < 2**63:
            return
        while len(self._rtcp_ns) >= _REMEMBERED:
            del self._rtcp_ns[next(iter(self._rtcp_ns))]
        self._rtcp_ns[pts] = rtcp_ns

    def time_of(self, pts: int | None, time_base: Fraction | None, *, now_ns: int, now_s: float) -> tuple[int, Clock]:
        """When the frame was captured, nanoseconds since 1970, and by which clock.

        The first frame of a stream that has times is of their clock even if it has none itself, as FFmpeg gives none to
        the first packet of an RTSP connection: the count begins by our clock in either case.

        Args:
            pts: Presentation time in units of `time_base` seconds.
            time_base: None where the stream has no times.
            now_ns: Our wall clock.
            now_s: A clock that nobody sets.
        """
        begun, self._begun = self._begun, True
        if pts is not None and (rtcp_ns := self._rtcp_ns.pop(pts, None)) is not None:
            return rtcp_ns, "rtcp"
        if pts is None or time_base is None:
            return now_ns, "wall" if begun or time_base is None else "pts"
        at_s = pts * time_base
        if self._first is None:
            self._first = at_s, now_ns
        first_s, first_ns = self._first
        first_ns += self._was_set_ns(now_ns, now_s)
        captured_ns = first_ns + round((at_s - first_s) * 1_000_000_000)
        off_ns = captured_ns - now_ns
        if not (self._paced and 0 < off_ns <= _MENDED_NS):
            off_ns = self._drift.frame(off_ns, now_s=now_s) if self._drift is not None else 0
        self._first = first_s, first_ns - off_ns
        captured_ns -= off_ns
        return (captured_ns, "pts") if 0 < captured_ns < 2**63 else (now_ns, "wall")

    def _was_set_ns(self, now_ns: int, now_s: float) -> int:
        """By how much our clock was set since the last frame; 0 for a stream with an end, whose times are its own."""
        wall_ns = now_ns - round(now_s * 1_000_000_000)
        step_ns, self._wall_ns = wall_ns - (self._wall_ns or wall_ns), wall_ns
        return step_ns if self._drift is not None and abs(step_ns) > _SET_NS else 0


class _Drift:
    """Finds that a count of times has left our wall clock, whatever the reason.

    Lateness of networks goes away and a wrong clock does not: so of each half minute only the frame that is the least
    late counts, and two half minutes in a row have to agree. Lateness while the reader hardly waited for frames says
    nothing either: it is behind by its own slowness, or held up by who takes them.

    Args:
        usual_ns: How far ahead of our clock the count runs; None learns it from the first half minute.

    Attributes:
        waited_s: For frames, in this half minute.
    """

    def __init__(self, *, usual_ns: int | None) -> None:
        self._usual_ns = usual_ns
        self._before_ns = 0  # off, in the half minute before
        self._since_s: float | None = None
        self._ahead_ns: int | None = None
        self.waited_s = 0.0

    def frame(self, ahead_ns: int, *, now_s: float) -> int:
        """By how much the count has to be moved back from this frame on, nanoseconds; nearly always 0.

        Args:
            ahead_ns: The frame's time by the count less our wall clock.
            now_s: A clock that nobody sets.
        """
        if self._since_s is None:
            self._since_s = now_s
        self._ahead_ns = ahead_ns if self._ahead_ns is None else max(ahead_ns, self._ahead_ns)
        length_s = now_s - self._since_s
        if length_s < _WINDOW_S:
            return 0
        most_ns, waited_s = self._ahead_ns, self.waited_s
        self._since_s, self._ahead_ns, self.waited_s = now_s, None, 0.0
        return self._judged(most_ns, idle=waited_s >= _WAITING * length_s)

    def _judged(self, ahead_ns: int, *, idle: bool) -> int:
        usual_ns = min(max(0, ahead_ns), _MOST_BUFFERED_NS) if self._usual_ns is None else self._usual_ns
        if idle:
            self._usual_ns = usual_ns
        off_ns, before_ns = ahead_ns - usual_ns, self._before_ns
        self._before_ns = off_ns if idle or off_ns > 0 else 0
        agreed_ns = min(self._before_ns, before_ns, key=abs) if self._before_ns * before_ns > 0 else 0
        if abs(agreed_ns) <= DRIFT_NS:
            return 0
        self._before_ns = 0
        return agreed_ns
