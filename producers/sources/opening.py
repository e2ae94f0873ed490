"""From what a user writes to the source that is meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from producers.sources.address import Address, mask, parse_address
from producers.sources.builtin import BuiltinSource
from producers.sources.containers import looks_like_video
from producers.sources.folder import FolderSource, pictures_among
from producers.sources.headers import sniff
from producers.sources.hls import SEGMENT_TIMEOUT_S, HlsSource, is_hls
from producers.sources.live import OPEN_TIMEOUT_S, READ_TIMEOUT_S, LiveSource
from producers.sources.mjpeg import MjpegSource
from producers.sources.picture import PICTURE_SUFFIXES, PictureSource
from producers.sources.rtsp import RtspSource, is_rtsp
from producers.sources.source import Notice, Notices, Source
from producers.sources.stdin import StdinSource, parse_stdin
from producers.sources.synthetic import SyntheticSource, parse_size
from producers.sources.tilefolder import TileFolderSource, find_tiles
from producers.sources.v4l2 import V4l2Source
from producers.sources.video import VIDEO_SUFFIXES, VideoSource
from producers.sources.watched import WatchedSource, parse_watch
from streamproc.errors import SourceError, UsageError
from streamproc.settings import value_of

if TYPE_CHECKING:
    from streamproc.settings import Settings

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DEVICE = re.compile(r"[0-9]{1,3}|/dev/video[0-9]{1,3}")
_PLAYLISTS = frozenset({".m3u8", ".m3u"})
_GLOB = re.compile(r"[*?\[]")


def open_source(
    spec: str,
    settings: Settings,
    *,
    tiles_pattern: str | None = None,
    notice: Notice | None = None,
    open_timeout_s: float = OPEN_TIMEOUT_S,
    read_timeout_s: float | None = None,
) -> Source:
    """Open what `spec` names.

    A picture, a folder or glob of pictures, a film, a folder of tile files, `builtin` or `synthetic[:WxH]`; or a live
    source: `rtsp://`, `rtspu://`, `rtsps://`, `http://`, `https://`, `hls+http://`, `hls+https://`, `/dev/videoN` or
    `N`, `watch:FOLDER`, `-` or `stdin:…`. A live source is not connected to before it is iterated.

    Args:
        spec: As the user wrote it.
        settings: For the largest frame.
        tiles_pattern: Names of tile files, such as `{name}_{row}_{col}.png`; `spec` is then their folder.
        notice: Takes one line for each kind of thing decided for the user; logged if None.
        open_timeout_s: Of a camera, until its first frame.
        read_timeout_s: Of a camera, from frame to frame; None: 4 s, and 15 s for playlists, which come in segments.

    Raises:
        SourceError: There is no such thing, or it cannot be read.
        UsageError: `tiles_pattern`, the size in `synthetic:WxH`, a URL or another specification is wrong.
    """
    notices = Notices(notice)
    if tiles_pattern is not None and not Path(spec).is_dir():
        raise UsageError(f"--tiles-pattern needs a folder of tile files, {mask(spec)!r} is none")
    if spec == "builtin":
        return BuiltinSource()
    if spec == "synthetic" or spec.startswith("synthetic:"):
        width, height = parse_size(spec)
        return SyntheticSource(width, height, max_pixels=settings.max_frame_pixels)
    live = _live(spec, settings.max_frame_pixels, notices, open_timeout_s, read_timeout_s)
    return live or _open_path(spec, settings.max_frame_pixels, tiles_pattern, notices)


def _live(
    spec: str, max_pixels: int, notices: Notices, open_timeout_s: float, read_timeout_s: float | None
) -> LiveSource | None:
    """The live source that `spec` names; None if it names none."""
    if _SCHEME.match(spec):
        address = parse_address(spec, variable=value_of)
        return _open_url(address, max_pixels, open_timeout_s, read_timeout_s)
    if spec == "-" or spec.startswith("stdin:"):
        return StdinSource(parse_stdin(spec), max_pixels=max_pixels)
    if spec.startswith("watch:"):
        folder, after = parse_watch(spec)
        return WatchedSource(folder, after=after, max_pixels=max_pixels, notices=notices)
    if _DEVICE.fullmatch(spec) and not Path(spec).is_file():
        return V4l2Source(
            Path(spec if spec.startswith("/") else f"/dev/video{int(spec)}"),
            max_pixels=max_pixels,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s or READ_TIMEOUT_S,
        )
    return None


def _open_url(address: Address, max_pixels: int, open_timeout_s: float, read_timeout_s: float | None) -> LiveSource:
    """By scheme and ending alone: what the other side answers must not choose a reader that follows it elsewhere."""
    steady_s = read_timeout_s or READ_TIMEOUT_S
    if is_rtsp(address):
        return RtspSource(address, max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=steady_s)
    suffix = Path(address.target.partition("?")[0]).suffix.lower()
    playlist = is_hls(address) or suffix in _PLAYLISTS
    if playlist or suffix in VIDEO_SUFFIXES - {".mjpg", ".mjpeg"}:
        silent_s = read_timeout_s or (SEGMENT_TIMEOUT_S if playlist else READ_TIMEOUT_S)
        return HlsSource(address, max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=silent_s)
    return MjpegSource(address, max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=steady_s)


def _open_path(spec: str, max_pixels: int, tiles_pattern: str | None, notices: Notices) -> Source:
    path = Path(spec)
    try:
        if not spec:
            raise SourceError("the source is an empty name: give a picture, a film or a folder")
        if path.is_dir():
            return _open_folder(path, max_pixels, tiles_pattern, notices)
        if path.is_file():
            return _open_file(path, max_pixels, notices)
        if path.exists():
            raise SourceError(f"{spec} is neither a file nor a folder: give a picture, a film or a folder")
        if _GLOB.search(spec):
            return _open_glob(spec, max_pixels, notices)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        raise SourceError(f"{spec} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    raise SourceError(f"{spec} does not exist: give a picture, a film, a folder, 'builtin' or 'synthetic'")


def _open_file(path: Path, max_pixels: int, notices: Notices) -> Source:
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise SourceError(f"{path} is empty: copy it again")
    if suffix in PICTURE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and sniff(head)):
        return PictureSource(path, max_pixels=max_pixels, notices=notices)
    if suffix in VIDEO_SUFFIXES or looks_like_video(head):
        return VideoSource(path, max_pixels=max_pixels)
    raise SourceError(
        f"{path} is no picture or film known here ({suffix or 'no'} ending):"
        f" expected one of {', '.join(sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))}"
    )


def _open_folder(path: Path, max_pixels: int, tiles_pattern: str | None, notices: Notices) -> Source:
    files = pictures_among(sorted(path.iterdir()), where=f"folder {path}", notices=notices)
    tiles = find_tiles(files, pattern=tiles_pattern)
    if tiles is None:
        return FolderSource(files, name=str(path), max_pixels=max_pixels, notices=notices)
    if tiles_pattern is None:
        notices.tell(
            "tiles",
            f"{path}: {len(files)} tile files make one picture of {tiles.grid};"
            f" give '{path}/*{files[0].suffix}' to read them as frames of their own",
        )
    return TileFolderSource(tiles, name=str(path), max_pixels=max_pixels, notices=notices)


def _open_glob(spec: str, max_pixels: int, notices: Notices) -> Source:
    pattern = Path(spec)
    inside = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
    found = [file for file in Path(pattern.anchor or ".").glob(str(inside)) if not file.is_dir()]
    if not found:
        raise SourceError(f"no file matches {spec}")
    files = pictures_among(found, where=spec, notices=notices)
    return FolderSource(files, name=spec, max_pixels=max_pixels, notices=notices)
