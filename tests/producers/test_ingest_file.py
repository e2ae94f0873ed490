"""The list of cameras: what is refused and how, secrets, differences, and when it is read again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.cameras_file import CameraSpec, FileWatch, changes, parse_cameras, read_cameras, shown_source, signature
from producers.changed_only import ChangedOnly
from streamproc.errors import SettingError
from tests.producers.staged import SECRET, spec


def parse(*cameras: dict[str, Any], **more: Any) -> dict[str, CameraSpec]:
    entries = [{"name": f"cam-{number}", "source": "builtin", **camera} for number, camera in enumerate(cameras)]
    return parse_cameras({"camera": entries, **more}, where="cameras.toml", variable={"PASSWORD": SECRET}.get)


def test_a_camera_takes_defaults_and_may_say_otherwise() -> None:
    found = parse({"fps": 5}, {}, defaults={"fps": 2, "codec": "png", "drop": "keyframe-only"})
    assert [one.fps for one in found.values()] == [5.0, 2.0]
    assert {(one.codec, one.drop) for one in found.values()} == {("png", "keyframe-only")}


def test_cameras_that_are_not_enabled_do_not_run_and_their_variables_need_not_be_set() -> None:
    source = "rtsp://user:${UNSET}@host/"
    assert list(parse({"enabled": False, "source": source}, {})) == ["cam-1"]
    with pytest.raises(SettingError, match=r"'cam-0': source: .*'UNSET' of the environment, which is not set"):
        parse({"source": source})


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"fsp": 3}, "camera 'cam-0': fsp: there is no such key; the keys are name, source,"),
        ({"fps": "fast"}, "camera 'cam-0': fps: give a number above 0 and up to 10000, max, or source"),
        ({"fps": 0}, "camera 'cam-0': fps: give a number"),
        ({"fps": True}, "camera 'cam-0': fps: give a number"),
        ({"grid": "3"}, "camera 'cam-0': grid: grid '3' is neither ROWSxCOLUMNS"),
        ({"codec": "gif"}, "camera 'cam-0': codec: use 'jpeg', 'png' or 'raw'$"),
        ({"drop": "all"}, "camera 'cam-0': drop: .*'keyframe-only'"),
        ({"mask": 3}, "camera 'cam-0': mask: write a list, "),
        ({"mask": [3]}, "camera 'cam-0': mask.0: write a table, { x = 0.0, "),
        ({"mask": [{"x": 0.1, "w": 1}]}, "camera 'cam-0': mask.0.w: there is no such key; the keys are x, y, width,"),
        (
            {"mask": [{"x": 0.5, "y": 0.0, "width": 0.6, "height": 1.0}]},
            r"camera 'cam-0': mask.0: the rectangle leaves the picture: x \+ width and y \+ height must be at most 1",
        ),
        ({"mask": [{"x": 0.0, "y": 0.9, "width": 0.6, "height": 0.2}]}, "camera 'cam-0': mask.0: the rectangle leaves"),
        ({"mask": [{"x": True, "y": 0, "width": 0, "height": 0}]}, "camera 'cam-0': mask.0.x: give a number$"),
        ({"mask": [{"x": 0, "y": 0, "width": 1, "height": 1}] * 65}, "camera 'cam-0': mask: give at most 64 regions"),
        ({"mask": [{"x": 0.1}]}, "camera 'cam-0': mask.0: give x, y, width and height of a rectangle, or a polygon"),
        ({"mask": [{"polygon": [[0, 0], [1, 1]]}]}, "camera 'cam-0': mask.0.polygon: give at least 3 corners$"),
        ({"mask": [{"polygon": [[0, 0, 0]] * 3}]}, "camera 'cam-0': mask.0.polygon.0: give at most 2 numbers$"),
        ({"include": [{"polygon": [[0, 0], [1, 1], [2, 0]]}]}, "camera 'cam-0': include.0.polygon.2.0: .*at most 1$"),
        ({"enabled": "yes"}, "camera 'cam-0': enabled: write true or false$"),
        ({"changed_only": 1}, "camera 'cam-0': changed_only: write true or false$"),
        ({"changed_only": True, "full_every_s": True}, "camera 'cam-0': full_every_s: give a number$"),
        (
            {"changed_only": True, "full_every_s": 0.0001},
            "camera 'cam-0': full_every_s: give a number of at least 0.1$",
        ),
        ({"changed_only": True, "change_level": "12"}, "camera 'cam-0': change_level: give a number$"),
        ({"full_every_s": 2}, "camera 'cam-0': full_every_s: is of use with changed_only = true alone"),
        (
            {"change_level": 3, "changed_only": False},
            "camera 'cam-0': change_level: is of use with changed_only = true",
        ),
        ({"gap_s": float("nan")}, "camera 'cam-0': gap_s: give a number$"),
        ({"gap_s": True}, "camera 'cam-0': gap_s: give a number$"),
        ({"fps_expected": 0}, "camera 'cam-0': fps_expected: give a number above 0$"),
        ({"open_timeout_s": "4"}, "camera 'cam-0': open_timeout_s: give a number$"),
        ({"read_timeout_s": 61}, "camera 'cam-0': read_timeout_s: give a number of at most 60$"),
        ({"name": "a/b"}, "camera number 1: name: use letters, digits"),
        ({"name": 7}, "camera number 1: name: write a text in quotes$"),
        ({"source": "ftp://host/"}, "camera 'cam-0': source: .*rtsp"),
        ({"source": ""}, "camera 'cam-0': source: is empty$"),
        ({"source": "x" * 2001}, "camera 'cam-0': source: has more than 2000 characters$"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_camera_and_key(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=f"^cameras.toml: {words}") as caught:
        parse(entry)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.35, 0.7, 1 / 3])
def test_a_rectangle_may_reach_the_border_whatever_its_shares_round_to(share: float) -> None:
    width = math.nextafter(1 - share, 1)
    (found,) = parse({"mask": [{"x": share, "y": 0, "width": width, "height": 1}]}).values()
    assert found.mask[0].width == width


def test_defaults_of_changed_only_are_for_the_cameras_that_are_sent_so() -> None:
    defaults = {"change_level": 8, "full_every_s": 2}
    found = parse({"changed_only": True}, {}, defaults=defaults)
    assert [one.changed for one in found.values()] == [ChangedOnly(level=8, full_every_s=2), None]
    found = parse({"changed_only": False}, {}, defaults={**defaults, "changed_only": True})
    assert [one.changed for one in found.values()] == [None, ChangedOnly(level=8, full_every_s=2)]
    with pytest.raises(SettingError, match="defaults: change_level: is of use with changed_only = true alone, and no"):
        parse({}, {"changed_only": False}, defaults=defaults)


def test_a_camera_without_name_or_source_is_refused() -> None:
    with pytest.raises(SettingError, match="camera number 1: name: is missing"):
        parse_cameras({"camera": [{"source": "builtin"}]}, where="f", variable=lambda _: None)
    with pytest.raises(SettingError, match="camera 'a': source: is missing"):
        parse_cameras({"camera": [{"name": "a"}]}, where="f", variable=lambda _: None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "names no camera"),
        ({"camera": []}, "names no camera"),
        ({"camera": {"name": "a"}}, "camera: write each camera as a table"),
        ({"cameras": []}, "cameras: there is no such part"),
        ({"camera": [], "defaults": {"source": "builtin"}}, "defaults: source: every camera has its own"),
        ({"camera": [{"name": "a", "source": "b"}] * 2}, "camera 'a': name: another camera has it"),
        ({"camera": [{"name": "a", "source": "b"}] * 1001}, "names 1001 cameras, at most 1000"),
        ({"camera": [{"name": n, "source": "-"} for n in "ab"]}, "'b': source: 'a' reads standard input already"),
    ],
)
def test_a_list_of_another_shape_is_refused(content: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_cameras(content, where="cameras.toml", variable=lambda _: None)


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    with pytest.raises(SettingError, match="does not exist"):
        read_cameras(file, variable=lambda _: None)
    for content in (b"[[camera]\n", b"\xff\xfe", b"a" * (4 * 2**20 + 1)):
        file.write_bytes(content)
        with pytest.raises(SettingError, match=r"cameras\.toml"):
            read_cameras(file, variable=lambda _: None)


def test_no_secret_is_shown() -> None:
    literal, named = f"rtsp://user:{SECRET}@host/a?token={SECRET}", "rtsp://user:${PASSWORD}@host/"
    found = parse({"source": literal}, {"source": named})
    shown = [shown_source(one, variable={"PASSWORD": SECRET}.get) for one in found.values()]
    assert shown[1] == "rtsp://user:***@host/"
    assert SECRET not in f"{found} {shown}"
    for source in (literal + " ", f"rtsp://user:{SECRET}@host:port/", f"rtsp://user:{SECRET}@", f"x://u:{SECRET}@h/"):
        with pytest.raises(SettingError) as caught:
            parse({"source": source})
        assert SECRET not in str(caught.value)


# --- differences -------------------------------------------------------------------------------

LISTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(running=LISTS, wanted=LISTS)
def test_what_changes_say_leads_from_one_list_to_the_other(running: dict[str, int], wanted: dict[str, int]) -> None:
    before = {name: spec(name, fps=fps) for name, fps in running.items()}
    after = {name: spec(name, fps=fps) for name, fps in wanted.items()}
    found = changes(before, after)
    kept = {name: one for name, one in before.items() if name not in (*found.removed, *found.changed)}
    assert {**kept, **{name: after[name] for name in (*found.added, *found.changed)}} == after
    assert bool(found) == (before != after)
    assert all(before[name] == after[name] for name in kept)


@given(looks=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30))
def test_a_file_is_read_when_it_is_another_and_still(looks: list[str | None]) -> None:
    watch, read, last = FileWatch("a"), "a", "a"
    for seen in looks:
        expected = seen is not None and seen == last and seen != read
        assert watch.look(seen) == expected
        read = seen if expected and seen is not None else read
        last = seen  # type: ignore[assignment] # None is a look, too


def test_every_way_to_write_a_file_changes_how_it_looks(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    assert signature(file) is None
    file.write_bytes(msgspec.toml.encode({"a": 1}))
    first = signature(file)
    assert signature(file) == first
    other.write_bytes(msgspec.toml.encode({"a": 2}))
    other.rename(file)
    assert signature(file) not in (None, first)
