"""The page as a whole: what stands on it, that it loads nothing, and that no frame or name can break it."""

from __future__ import annotations

import base64
import builtins
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamproc.errors import StreamprocError
from streamproc.model import Grid
from streamproc.report import MAX_SAMPLES, Report, ReportError, write_report
from streamproc.report.page import _environment
from tests.report.making import drawn, event_of, report_of, sample_of
from tests.report.reading import Page, read

HOSTILE = """</script></style><img src=x onerror=alert(1)>"'{{ 7 * 7 }}"""
MOST_BYTES = 6_000_000


def written(report: Report, folder: Path) -> tuple[Page, str]:
    path = write_report(report, folder)
    assert path == folder / "report.html"
    html = path.read_text(encoding="utf-8")
    page = read(html)
    assert page.wrong == []
    assert len(html.encode()) < MOST_BYTES
    return page, html


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    face = {"label": "face", "score": 7.25, "box": [30, 20, 90, 88], "track": "t-1", "source": "faces"}
    samples = [
        sample_of(0, drawn(320, 200), grid=Grid(2, 3), objects=[face]),
        sample_of(3, drawn(320, 200, seed=2)[..., 0].copy(), grid=Grid(2, 2)),
        sample_of(
            5,
            drawn(320, 200),
            grid=Grid(2, 2),
            outcome="partial",
            missing=[(1, 0)],
            reason="deadline: 3 of 4",
        ),
    ]
    shown: dict[Any, Any] = {one.event["data"]["sequence"]: one.event for one in samples}
    report = report_of([shown.get(index) or event_of(index) for index in range(24)], samples)
    return (*written(report, folder), folder)


def test_the_verdict_stands_first(whole: tuple[Page, str, Path]) -> None:
    page, _, _ = whole
    assert page.one("p", "headline").text == "1 of 24 frames partial"
    assert page.all("title")[0].text.startswith("1 of 24 frames partial")
    assert "warn" in page.one("div", "verdict").attributes["class"]


def test_every_number_of_the_run_stands_on_the_page(whole: tuple[Page, str, Path]) -> None:
    page, _, _ = whole
    figures = {name.text: value.text for name, value in zip(page.all("dt"), page.all("span", "value"), strict=False)}
    assert list(figures) == [
        "Frames",
        "Tiles",
        "Data",
        "Speed",
        "Latency, median",
        "Latency, p99",
        "Objects",
        "Edge density",
    ]
    assert figures["Frames"] == "24"
    assert figures["Tiles"] == "288"
    assert figures["Data"] == "8.9 MB"
    assert figures["Speed"].endswith("frames/s")
    assert figures["Latency, median"].endswith("ms")
    assert figures["Objects"] == "1"
    for told in (
        "23 complete",
        "1 partial",
        "face 7.25",
        "deadline: 3 of 4",
        "streamproc demo --source builtin",
    ):
        assert told in page.text


def test_a_sampled_frame_shows_its_evidence(whole: tuple[Page, str, Path]) -> None:
    page, html, _ = whole
    first = page.all("article")[0]
    event = event_of(0, pixels=drawn(320, 200))
    assert "Frame 0" in first.text
    assert "complete" in first.text
    assert "2026-01-31 12:00:04.000 UTC" in first.text
    assert "streamproc.tiles [0] 0" in first.text
    assert event["data"]["evidence"]["pipeline"] in first.text
    assert "canny v1" in first.text
    for hop in ("publish", "wait", "extract", "gather", "assemble"):
        assert hop in first.text
    full = re.findall(r'<code title="([0-9a-f]{64})">', html)
    assert len(full) == 2
    assert all(digest[:16] in page.text for digest in full)


def test_nothing_is_loaded_from_anywhere(whole: tuple[Page, str, Path]) -> None:
    page, html, _ = whole
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not page.all("link")
    assert not page.all("iframe")
    style = page.one("style").text + "".join(one.attributes.get("style", "") for one in page.elements)
    assert "@import" not in style
    assert not re.search(r"url\((?!#)", html)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_policy_allows_the_pages_own_script_alone(whole: tuple[Page, str, Path]) -> None:
    page, _, _ = whole
    (policy,) = [
        one.attributes["content"]
        for one in page.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(page.one("script").text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:")


def test_the_page_can_be_read_without_seeing_it(whole: tuple[Page, str, Path]) -> None:
    page, _, _ = whole
    assert page.one("html").attributes["lang"] == "en"
    pictures = [one for one in page.all("img") if "src" in one.attributes]
    assert len(pictures) == 11  # four for each frame, and no edges of the partial one
    assert all(len(one.attributes["alt"]) > 20 for one in pictures)
    assert all("alt" in one.attributes for one in page.all("img"))
    assert all(one.attributes.get("scope") in {"col", "row"} for one in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("h1")) == 1
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch(r"h[1-6]", one.tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for svg in page.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or svg.attributes.get("aria-label")


def test_ids_are_unique_and_every_reference_is_kept(whole: tuple[Page, str, Path]) -> None:
    page, html, _ = whole
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    plain = [one for one in ids if not one.startswith("arrow-")]
    assert len(plain) == len(set(plain))
    targets = re.findall(r'(?:href="|url\()#([^")]+)', html)
    labels = [one.attributes["aria-labelledby"] for one in page.elements if "aria-labelledby" in one.attributes]
    assert targets
    assert set(targets) | set(labels) <= set(ids)


def test_plots_take_their_colours_from_the_page(whole: tuple[Page, str, Path]) -> None:
    page, html, _ = whole
    assert len(page.all("svg", "plot")) == 4
    assert "#0a0b" not in html
    assert "#0a0c" not in html
    style = page.one("style").text
    assert all(f"--{name}:" in style for name in set(re.findall(r"var\(--([a-z0-9-]+)\)", html)))


def test_pictures_lie_beside_the_page(whole: tuple[Page, str, Path]) -> None:
    _, _, folder = whole
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    assert names == [
        "00-frame000000-edges.png",
        "00-frame000000-features.jpg",
        "00-frame000000-original.jpg",
        "00-frame000000-tiles.jpg",
        "01-frame000003-edges.png",
        "01-frame000003-features.jpg",
        "01-frame000003-original.jpg",
        "01-frame000003-tiles.jpg",
        "02-frame000005-features.jpg",
        "02-frame000005-original.jpg",
        "02-frame000005-tiles.jpg",
    ]
    edges = cv2.imread(str(folder / "pictures" / names[0]), cv2.IMREAD_UNCHANGED)
    assert edges is not None
    assert edges.shape == (200, 320)
    assert set(np.unique(edges)) == {0, 255}


def test_the_same_values_make_the_same_bytes(tmp_path: Path) -> None:
    report = report_of([event_of(index) for index in range(9)], [sample_of(0, drawn(64, 64), grid=Grid(1, 1))])
    first = write_report(report, tmp_path / "a").read_bytes()
    assert write_report(report, tmp_path / "b").read_bytes() == first
    assert write_report(report, tmp_path / "a").read_bytes() == first


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    thing = {"label": HOSTILE, "score": 1.0, "box": [1, 1, 9, 9], "track": HOSTILE, "source": HOSTILE}
    sample = sample_of(0, drawn(64, 64), grid=Grid(2, 2), camera=HOSTILE, objects=[thing], reason=HOSTILE)
    event = json.loads(json.dumps(sample.event))
    event["data"]["latency_ms"][f"{HOSTILE}$x_1$"] = 3.0
    event["data"]["features"][HOSTILE] = {"points": [[1, 2, 3]]}
    event["data"]["evidence"] = {
        "topic": HOSTILE,
        "offsets": {HOSTILE: [1, 2]},
        "pipeline": HOSTILE,
        "operators": {HOSTILE: HOSTILE},
    }
    other = {"type": HOSTILE}
    report = report_of(
        [event, other, event_of(1, outcome="partial", reason=HOSTILE)],
        [sample, sample_of(1, drawn(32, 32), grid=Grid(1, 1), outcome="partial", camera=HOSTILE)],
        title=HOSTILE,
        source=HOSTILE,
        command=HOSTILE,
        grid=HOSTILE,
        codec=HOSTILE,
        counters={HOSTILE: 1},
        tiles={HOSTILE: 1},
        versions={HOSTILE: HOSTILE},
        problems=[HOSTILE],
    )
    page, html = written(report, tmp_path)
    assert len(page.all("script")) == 1
    assert all("onerror" not in one.attributes for one in page.elements)
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert "<img src=x" not in html
    assert "</script></style><img" in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_a_run_without_events_says_so(tmp_path: Path) -> None:
    page, _ = written(report_of([], stages=()), tmp_path)
    assert page.one("p", "headline").text == "No frames"
    assert "bad" in page.one("div", "verdict").attributes["class"]
    assert not page.all("svg", "plot")
    assert not (tmp_path / "pictures").exists()


def test_frames_without_an_event_are_counted(tmp_path: Path) -> None:
    counters = {"frames_published": 7, "tiles_published": 84, "bytes_published": 1_000}
    page, _ = written(report_of([event_of(index) for index in range(4)], counters=counters), tmp_path)
    assert page.one("p", "headline").text == "3 of 7 frames without an event"
    assert "not accounted for" in page.text
    assert len(page.all("rect", "o-silent")) == 4  # three frames and the key below them


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (1, 1, Grid(1, 1)),
        (6000, 40, Grid(1, 12)),
        (40, 5000, Grid(9, 1)),
        (20_000, 1, Grid(1, 3)),
        (961, 7, Grid(1, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_of_any_shape_are_shown(tmp_path: Path, width: int, height: int, grid: Grid, channels: int) -> None:
    pixels = np.full((height, width, 3) if channels == 3 else (height, width), 128, np.uint8)
    sample = sample_of(0, pixels, grid=grid)
    page, _ = written(report_of([dict(sample.event)], [sample]), tmp_path)
    shown = [one for one in page.all("img") if one.attributes.get("src")]
    assert len(shown) == 4
    for one in shown:
        assert 1 <= int(one.attributes["width"]) <= 960
        assert 1 <= int(one.attributes["height"]) <= 960


def test_ten_thousand_events_make_a_small_page(tmp_path: Path) -> None:
    events = [event_of(index, outcome="complete" if index % 997 else "expired") for index in range(10_000)]
    page, html = written(report_of(events), tmp_path)
    assert page.one("p", "headline").text == "11 of 10,000 frames expired"
    assert len(html) < 400_000


def test_noise_in_every_sample_stays_below_the_bound(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    samples = [
        sample_of(index, rng.integers(0, 256, (1400, 1400, 3)).astype(np.uint8), grid=Grid(4, 4))
        for index in range(MAX_SAMPLES + 2)
    ]
    page, html = written(report_of([dict(one.event) for one in samples], samples), tmp_path)
    assert len(page.all("article")) == MAX_SAMPLES
    assert "Frame 0" in page.all("article")[0].text
    assert f"Frame {len(samples) - 1}" in page.all("article")[-1].text
    assert len(html) > 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"features": None, "edges": None, "objects": None, "latency_ms": None, "evidence": None},
        {
            "features": {"orb": {"points": "none"}},
            "objects": [{"box": [1, 2]}, 5],
            "latency_ms": {"total": "x"},
        },
        {"features": {"orb": {"points": [[1e300, -1e300, 1], [float("nan"), 2, 3], ["a"], []]}}},
        {"objects": [{"label": "x", "score": 1, "box": [-1e9, -1e9, 1e12, 1e300]}]},
        {"sequence": 10**400, "captured_ns": 10**30, "emitted_ns": -5, "missing_tiles": [[9, 9], [0], None]},
        {"outcome": "nonsense", "latency_ms": {"a": -5, "b": 1e308, "total": float("inf")}},
        {"latency_ms": {f"hop{index}": 1.0 for index in range(30)}},
    ],
    ids=lambda data: ",".join(data) or "empty",
)
def test_events_that_say_little_or_nonsense_are_shown(tmp_path: Path, data: dict[str, Any]) -> None:
    sample = sample_of(0, drawn(80, 60), grid=Grid(2, 2))
    event = {"type": "io.streamproc.frame.v1", "data": data}
    changed = type(sample)(event=event, pixels=sample.pixels, edges=None, cores=sample.cores, halo=2)
    page, _ = written(report_of([event, event_of(2)], [changed]), tmp_path)
    assert "Frame" in page.one("article").text


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *rest, **named)

    _environment.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ReportError, match=rf"{library}: pip install 'streamproc\[demo\]'") as raised:
        write_report(report_of([event_of(0)]), tmp_path / "out")
    assert isinstance(raised.value, StreamprocError)
    assert not (tmp_path / "out").exists()
