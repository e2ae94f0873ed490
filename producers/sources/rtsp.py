"""RTSP cameras (RFC 2326), media over TCP inside the RTSP connection, over UDP, or over TLS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from producers.sources.streams import StreamSource

if TYPE_CHECKING:
    from producers.sources.address import Address

_REORDER_US = 500_000  # how long a UDP packet that is missing is waited for


class RtspSource(StreamSource):
    """One RTSP camera: `rtsp://` over TCP, `rtspu://` over UDP, `rtsps://` over TLS."""

    protocols: ClassVar[str] = "rtsp,rtsps,rtp,udp,tcp,tls"
    form: ClassVar[str | None] = "rtsp"

    def _url(self) -> str:
        scheme = "rtsp" if self.address.scheme == "rtspu" else self.address.scheme
        return replace(self.address, scheme=scheme).url

    def _options(self) -> dict[str, str]:
        return super()._options() | {
            "rtsp_transport": "udp" if self.address.scheme == "rtspu" else "tcp",
            "allowed_media_types": "video",
            "max_delay": str(_REORDER_US),
            # The session description names the codec; FFmpeg's probing would wait for a key frame, without a word.
            "analyzeduration": "1",
            "probesize": "32",
        }

    def describe(self) -> str:
        """One line for a person."""
        return f"camera {self.name}, RTSP over {'UDP' if self.address.scheme == 'rtspu' else 'TCP'}, live"


def is_rtsp(address: Address) -> bool:
    """The address is one that `RtspSource` reads."""
    return address.scheme in {"rtsp", "rtspu", "rtsps"}
