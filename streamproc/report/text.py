"""Numbers and times as a person reads them. Plain text; the page escapes it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def count(value: float) -> str:
    """1440 as "1,440"; fractions with up to two digits."""
    if not math.isfinite(value):
        return DASH
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def plural(number: int, noun: str) -> str:
    """1 as "1 frame", 2 as "2 frames"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(value: float) -> str:
    """Bytes in decimal units: 71_345_112 as "71.3 MB"."""
    for unit in _BYTE_UNITS[:-1]:
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_BYTE_UNITS[-1]}"


def milliseconds(value: float | None) -> str:
    """31.42 as "31 ms", 1240 as "1.24 s"; None as a dash."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 10:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def seconds(value: float) -> str:
    """12.3 as "12.3 s", 75 as "1 min 15 s"."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def percent(share: float | None) -> str:
    """0.0734 as "7.3 %"; None as a dash. Almost nothing and almost all are never rounded to none and all."""
    if share is None or not math.isfinite(share):
        return DASH
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def moment(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as "2026-01-31 12:00:00.250 UTC"; a dash if that is no date."""
    if nanoseconds <= 0:
        return DASH
    try:
        when = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return DASH
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} UTC"


def short(text: str, length: int) -> str:
    """`text` cut to `length` characters, the last one an ellipsis if something is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"
