"""HLS (RFC 8216) and films behind a URL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from producers.sources.streams import StreamSource

if TYPE_CHECKING:
    from producers.sources.address import Address

SEGMENT_TIMEOUT_S = 15.0
"""A live playlist grows by a segment at a time, often of 6 s: silence can only be told later here."""


class HlsSource(StreamSource):
    """A playlist (`.m3u8`), or a film, behind `http://` or `https://`. What has an end ends quietly."""

    protocols: ClassVar[str] = "http,https,tcp,tls,crypto"
    forms: ClassVar[str] = (
        "hls,mpegts,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,ogg,asf,h264,hevc,mjpeg,mpjpeg,ivf"
    )
    live: ClassVar[bool] = False
    bursts = True

    def _url(self) -> str:
        return replace(self.address, scheme=self.address.scheme.removeprefix("hls+")).url

    def describe(self) -> str:
        """One line for a person."""
        return f"stream {self.name}"


def is_hls(address: Address) -> bool:
    """The address says by its scheme that it is one that `HlsSource` reads."""
    return address.scheme in {"hls+http", "hls+https"}
