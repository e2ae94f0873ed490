"""What is written before anything starts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from compose.plan import Local, processes_of
from compose.prepare import adapted, bound_told, camera_list, camera_toml, child_variables, pipeline_file
from compose.services import read_project
from producers.cameras_file import read_cameras
from streamproc.errors import PipelineError, SettingError, UsageError

FOLDER = Path(__file__).parent.parent.parent / "compose"


def test_a_camera_of_the_users_becomes_a_list_that_nobody_else_may_read(tmp_path: Path) -> None:
    said = {"SOURCE": "rtsp://user:p%22w@gate.local/1", "CAMERA": "gate", "FPS": "7.5"}
    path = camera_list(said, FOLDER, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (camera,) = read_cameras(path, variable=lambda _: None).values()
    assert (camera.name, camera.source, camera.fps) == ("gate", "rtsp://user:p%22w@gate.local/1", 7.5)
    assert camera_list({}, FOLDER, tmp_path) == FOLDER / "cameras.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text('[[camera]]\nname = "a"\nsource = "builtin"\n')
    assert camera_list({"CAMERAS": str(mine)}, FOLDER, tmp_path) == mine


def test_files_are_named_by_their_whole_path_and_the_builtin_camera_has_a_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("film é.mp4").touch()
    assert f'source = "{tmp_path}/film \\u00e9.mp4"' in camera_toml("film é.mp4", name="a", fps="")
    assert f'source = "watch:{tmp_path}/in"' in camera_toml("watch:in", name="a", fps="")
    assert f'source = "{tmp_path}/*.png"' in camera_toml("*.png", name="a", fps="")
    assert 'source = "synthetic:640x480"' in camera_toml("synthetic:640x480", name="a", fps="")
    assert "fps = 10" in camera_toml("builtin", name="a", fps="")
    for live in ("rtsp://a/b", "http://a/mjpeg", "synthetic:640x480", "/dev/null"):
        assert "fps = 10" in camera_toml(live, name="a", fps="")
        assert "fps = 25" in camera_toml(live, name="a", fps="25")
        assert "at most 10 frames a second" in (bound_told({"SOURCE": live}) or "")
    for film in ("film é.mp4", "https://a/film.MP4?x=1"):
        assert "fps" not in camera_toml(film, name="a", fps="")  # it would only be slower
        assert bound_told({"SOURCE": film}) is None
    assert bound_told({}) is None
    assert bound_told({"SOURCE": "rtsp://a/b", "FPS": "25"}) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"CAMERA": "no blanks"}, "CAMERA=no blanks: use letters"),
        ({"FPS": "fast"}, "FPS=fast: give a number"),
        ({"FPS": "0"}, "FPS=0: give a number"),
        ({"SOURCE": "no-such-film.mp4"}, "SOURCE=no-such-film.mp4 does not exist: give a film"),
        ({"SOURCE": "-"}, "standard input cannot be read here"),
    ],
)
def test_what_cannot_be_is_refused_by_name(said: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        camera_list(said, FOLDER, tmp_path)


def test_a_list_and_a_pipeline_that_are_wrong_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no-such-list"):
        camera_list({"CAMERAS": str(tmp_path / "no-such-list")}, FOLDER, tmp_path)
    with pytest.raises(SettingError) as refused:
        camera_list({"SOURCE": "rtsp://user:secret@[bad/1"}, FOLDER, tmp_path)
    assert "secret" not in str(refused.value)
    with pytest.raises(PipelineError, match="no-such-pipeline"):
        pipeline_file({"PIPELINE": str(tmp_path / "no-such-pipeline")}, FOLDER)
    assert pipeline_file({}, FOLDER) == FOLDER / "pipeline.toml"


def test_children_are_not_told_the_source_for_it_may_hold_a_password() -> None:
    said = {"SOURCE": "rtsp://a:b@c/d", "MAKEFLAGS": "-- SOURCE=rtsp://a:b@c/d", "MAKEOVERRIDES": "x", "PATH": "/bin"}
    assert child_variables(said) == {"PATH": "/bin"}


def test_grafana_gets_its_folders_port_and_data_source_here_and_a_password_of_its_own(tmp_path: Path) -> None:
    services = read_project((FOLDER / "compose.yaml").read_text(), {"GRAFANA_PORT": "3100"}).services
    program = tmp_path / "share" / "bin" / "grafana"
    program.parent.mkdir(parents=True)
    program.touch()
    local = Local(folder=FOLDER, data=tmp_path, bootstrap="127.0.0.1:9092", programs={"grafana": str(program)})
    (planned,) = processes_of(services["grafana"], services, local)
    process = adapted(planned, services["grafana"], services, local, [])
    assert process.argv[:3] == (str(program), "server", "--homepath")
    assert process.environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert process.environment["GF_SERVER_HTTP_PORT"] == "3100"
    assert process.url == "http://127.0.0.1:3100"
    assert process.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(
        FOLDER.parent / "dashboards" / "streamproc-overview.json"
    )
    password = Path(process.environment["GF_SECURITY_ADMIN_PASSWORD__FILE"])
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert len(password.read_text()) >= 20
    home = Path(process.environment["GF_PATHS_PROVISIONING"])
    (source,) = yaml.safe_load((home / "datasources" / "streamproc.yml").read_text())["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"
    (provider,) = yaml.safe_load((home / "dashboards" / "streamproc.yml").read_text())["providers"]
    assert provider["options"]["path"] == str(FOLDER.parent / "dashboards")
    again = adapted(planned, services["grafana"], services, local, [])
    assert Path(again.environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text() == password.read_text()
