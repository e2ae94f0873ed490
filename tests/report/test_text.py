"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from streamproc.report import text


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (text.count(1440), "1,440"),
        (text.count(2.5), "2.50"),
        (text.count(1234.5), "1,234"),
        (text.count(float("nan")), text.DASH),
        (text.plural(1, "frame"), "1 frame"),
        (text.plural(0, "frame"), "0 frames"),
        (text.size(0), "0 bytes"),
        (text.size(71_345_112), "71.3 MB"),
        (text.size(812_000), "812 kB"),
        (text.size(5e15), "5000.0 TB"),
        (text.milliseconds(None), text.DASH),
        (text.milliseconds(3.14), "3.1 ms"),
        (text.milliseconds(31.4), "31 ms"),
        (text.milliseconds(1240), "1.24 s"),
        (text.seconds(11.44), "11.4 s"),
        (text.seconds(75), "1 min 15 s"),
        (text.percent(0.0734), "7.3 %"),
        (text.percent(None), text.DASH),
        (text.percent(0.0), "0.0 %"),
        (text.percent(1.0), "100.0 %"),
        (text.percent(1e-5), "< 0.1 %"),
        (text.percent(0.99999), "> 99.9 %"),
        (text.moment(1_769_860_800_250_000_000), "2026-01-31 12:00:00.250 UTC"),
        (text.moment(0), text.DASH),
        (text.moment(10**40), text.DASH),
        (text.short("abcdef", 4), "abc…"),
        (text.short("abcd", 4), "abcd"),
    ],
)
def test_texts(found: str, wanted: str) -> None:
    assert found == wanted
