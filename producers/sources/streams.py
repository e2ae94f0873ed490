"""Streams that FFmpeg reads, through PyAV: what RTSP cameras, HLS and films behind a URL have in common.

PyAV and not OpenCV's FFmpeg, because it takes options and time limits for each stream alone (OpenCV reads one
environment variable for the whole process), gives presentation times, RTCP times and key frames, and keeps FFmpeg's
log, which holds whole URLs, off stderr. Its errors hold the URL too: their text is never used.
"""

from __future__ import annotations

import errno
import ssl
import struct
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from producers.sources.live import KEY_FRAME_TIMEOUT_S, SameForm, ThreadedSource
from producers.sources.stream_clock import StreamClock
from streamproc.errors import CameraLost, SourceError
from streamproc.model import Frame, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.sources.address import Address
    from producers.sources.live import _Handover
    from streamproc.errors import LostReason

_PROBE_US = 1_000_000  # of stream read before the first frame; FFmpeg's 5 s would make a camera late
_PROBE_BYTES = 2_000_000
_DECODER_THREADS = 2
_MOST_KEYS_IN_VAIN = 5  # key frames in a row that gave no picture
_SECURE = frozenset({"rtsps", "https", "hls+https"})
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTDOWN, errno.EIO})


class StreamSource(ThreadedSource):
    """A stream behind a URL.

    Attributes:
        address: With its credentials.
        length: Known from the first frame on, for what has an end.
    """

    protocols: ClassVar[str]
    """What FFmpeg may open for this stream: never `file`, `concat`, `data` and the like."""
    form: ClassVar[str | None] = None
    """FFmpeg's name of the only format, None to choose among `forms` by what is there."""
    forms: ClassVar[str] = ""
    live: ClassVar[bool] = True
    """Its end is a loss."""

    def __init__(self, address: Address, *, max_pixels: int, open_timeout_s: float, read_timeout_s: float) -> None:
        super().__init__(
            address.masked, max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
        self.longest_wait_s = max(self.longest_wait_s, KEY_FRAME_TIMEOUT_S)
        self.address = address
        _library()

    def _options(self) -> dict[str, str]:
        """FFmpeg's options; none comes from the user."""
        options = {
            "protocol_whitelist": self.protocols,
            "analyzeduration": str(_PROBE_US),
            "probesize": str(_PROBE_BYTES),
            "fpsprobesize": "0",
            "max_pixels": str(self._max_pixels),
            "timeout": str(round(self.read_timeout_s * 1_000_000)),
        }
        if self.forms:
            options["format_whitelist"] = self.forms
        if self.address.scheme in _SECURE:
            options |= _tls_options()
        return options

    def _identity(self) -> str:
        return self.address.url

    def _url(self) -> str:
        return self.address.url

    def _read(self, handover: _Handover) -> Iterator[Frame]:
        av = _library()
        answered = False
        try:
            with av.open(
                self._url(),
                "r",
                format=self.form,
                options=self._options(),
                timeout=(self.open_timeout_s, self.read_timeout_s),
                metadata_errors="replace",
            ) as container:
                self._answered(handover)
                answered = True
                yield from self._decoded(av, container, handover)
                if self._endless(container):
                    raise CameraLost("ended", f"{self.name} ended its stream: it is switched off, or starts anew")
        except av.FFmpegError as error:
            if not self._unwanted(handover):
                raise self._lost(av, error, answered=answered) from None

    def _endless(self, container: Any) -> bool:
        return self.live or container.duration is None

    def _decoded(self, av: Any, container: Any, handover: _Handover) -> Iterator[Frame]:
        video = next(iter(container.streams.video), None)
        if video is None or video.codec_context is None:
            raise CameraLost("malformed", f"{self.name} has no video that can be decoded: look at the camera's codec")
        context = video.codec_context
        if context.width and context.height:
            self._require_size(context.width, context.height)
        context.options = {"max_pixels": str(self._max_pixels)}
        context.thread_type, context.thread_count = "SLICE", _DECODER_THREADS
        self.length = None if self._endless(container) else _frames_of(av, container, video)
        clock, form = StreamClock(paced=self.live, endless=self._endless(container)), SameForm(self.name)
        keys_in_vain, seen = 0, False
        for packet, waited_s in _timed(container.demux(video)):
            if self._unwanted(handover):
                return
            clock.note(packet.pts, _rtcp_ns(packet) if self.live else None, waited_s=waited_s)
            pictures = _pictures(av, packet)
            handover.heard_s = time.monotonic()
            keys_in_vain = 0 if pictures else keys_in_vain + packet.is_keyframe
            at_end = packet.size == 0  # the demuxer's last one, to get what the decoder still holds
            if keys_in_vain >= _MOST_KEYS_IN_VAIN or (at_end and seen and not (pictures or form.known)):
                message = f"{self.name} has no frame that can be decoded, or none of {self._max_pixels} pixels or less"
                raise CameraLost("malformed", message)
            seen = True
            for picture in pictures:
                self._require_size(picture.width, picture.height)
                pixels = _pixels(picture)
                form.require(pixels)
                captured_ns, kind = clock.time_of(
                    picture.pts, picture.time_base, now_ns=time.time_ns(), now_s=time.monotonic()
                )
                yield Frame(pixels=pixels, captured_ns=captured_ns, clock=kind, keyframe=bool(picture.key_frame))

    def _lost(self, av: Any, error: Any, *, answered: bool) -> CameraLost:
        """What FFmpeg's error means; its text holds the URL and is not used."""
        reason, words = _meaning(av, error, answered=answered)
        if reason == "unreachable" and self.address.scheme in _SECURE:
            words += ", and that its certificate is trusted (SSL_CERT_FILE names an authority's file)"
        return CameraLost(reason, f"{self.name} {words}")


def _meaning(av: Any, error: Any, *, answered: bool) -> tuple[LostReason, str]:
    kinds = av.error
    if isinstance(error, (kinds.TimeoutError, kinds.ExitError)):
        return ("stalled", "stopped sending: look at the camera") if answered else ("timeout", "did not answer in time")
    if not answered:
        return _meaning_at_opening(kinds, error)
    if isinstance(error, (kinds.InvalidDataError, kinds.PatchWelcomeError)):
        return "malformed", "sends what cannot be read: look at the camera's codec"
    return "ended", "broke off the connection"


def _meaning_at_opening(kinds: Any, error: Any) -> tuple[LostReason, str]:
    if isinstance(error, (kinds.HTTPUnauthorizedError, kinds.HTTPForbiddenError)):
        return "unauthorized", "refuses the user or password, or needs one: check them"
    if isinstance(error, (kinds.HTTPClientError, kinds.HTTPServerError)):
        return "refused", "refuses the request: check the path of the URL"
    if isinstance(error, kinds.ConnectionRefusedError):
        return "refused", "refuses the connection: check host and port, and that the camera is on"
    if getattr(error, "errno", 0) in _UNREACHABLE:
        return "unreachable", "cannot be reached: check the name of the host and the network"
    if isinstance(error, (kinds.ConnectionResetError, kinds.BrokenPipeError, kinds.EOFError)):
        return "refused", "closed the connection before it gave a stream"
    return "malformed", "is no stream that can be read: check the URL"


def _timed(packets: Iterator[Any]) -> Iterator[tuple[Any, float]]:
    """Each packet and how long it was waited for, seconds."""
    asked_s = time.monotonic()
    for packet in packets:
        yield packet, time.monotonic() - asked_s
        asked_s = time.monotonic()


def _pictures(av: Any, packet: Any) -> list[Any]:
    """Decoded pictures of a packet; none if it is damaged, as after loss: the next key frame mends that."""
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []


def _frames_of(av: Any, container: Any, video: Any) -> int | None:
    """Of what has an end: the container's word, or by duration and rate; None if it tells neither."""
    rate = video.average_rate or video.guessed_rate
    return max(0, video.frames or round(container.duration / av.time_base * rate if rate else 0)) or None


def _pixels(picture: Any) -> Pixels:
    form = "gray" if picture.format.name in {"gray", "gray8"} else "bgr24"
    return np.ascontiguousarray(picture.to_ndarray(format=form), dtype=np.uint8)


def _rtcp_ns(packet: Any) -> int | None:
    """The sender's wall clock for this packet (AVProducerReferenceTime: int64 microseconds, int flags)."""
    if not packet.has_sidedata("prft"):
        return None
    data = bytes(packet.get_sidedata("prft"))
    return int(struct.unpack_from("=q", data)[0]) * 1000 if len(data) >= 8 else None


def _tls_options() -> dict[str, str]:
    """Certificates are verified against the system's authorities, or those that SSL_CERT_FILE names."""
    file = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} | ({"ca_file": file} if file else {})


def _library() -> Any:
    try:
        import av
        import av.logging
    except ImportError:
        raise SourceError("RTSP, HLS and films behind a URL need PyAV: pip install 'streamproc[cameras]'") from None
    av.logging.set_level(None)  # FFmpeg's log holds URLs with their passwords
    return av
