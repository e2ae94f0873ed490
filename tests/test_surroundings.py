"""Certificates and disks: what is read of them, and gauges that follow them."""

from __future__ import annotations

import datetime as dt
import logging
import shutil
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.broker import ClusterStatus, LocalCluster, find_folder
from streamproc.certificates import certificate_ends
from streamproc.errors import BrokerError, SettingError
from streamproc.metrics import Metrics
from streamproc.settings import load_settings
from streamproc.surroundings import Surroundings, certificate_end, local_path, room_at, surroundings
from tests.certificates import private, self_signed
from tests.waiting import wait_until

KEY = ec.generate_private_key(ec.SECP256R1())
BEGIN = dt.datetime(1951, 1, 1, tzinfo=dt.UTC)


def pem(end: dt.datetime) -> bytes:
    """A certificate that ends then."""
    return self_signed(KEY, begin=BEGIN, end=end)


SOON = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
LATER = dt.datetime(2062, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
SECRET = private(KEY)


@settings(max_examples=40)
@given(st.datetimes(min_value=dt.datetime(1952, 1, 1), max_value=dt.datetime(9999, 12, 31)))  # noqa: DTZ001 - made UTC
def test_the_end_is_what_cryptography_reads(end: dt.datetime) -> None:
    """Two-digit years until 2049 and four-digit ones from 2050 on are written differently (RFC 5280)."""
    made = pem(end.replace(tzinfo=dt.UTC))
    assert certificate_ends(made) == [x509.load_pem_x509_certificate(made).not_valid_after_utc.timestamp()]


def test_a_chain_has_as_many_ends_and_keys_are_passed_over() -> None:
    assert certificate_ends(SECRET + pem(LATER) + b"comment\n" + pem(SOON)) == [LATER.timestamp(), SOON.timestamp()]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no certificate"),
        (SECRET, "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "cannot be read"),
        (pem(SOON).replace(b"\n", b"", 1)[:80] + b"\n-----END CERTIFICATE-----\n", "no certificate|cannot be read"),
    ],
)
def test_what_is_no_certificate_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        certificate_ends(content)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_noise_in_a_certificate_is_one_clear_error_or_a_time(noise: bytes, at: int) -> None:
    import base64

    der = base64.b64decode(b"".join(pem(SOON).splitlines()[1:-1]))
    spoiled = der[:at] + noise + der[at + len(noise) :]
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(spoiled) + b"\n-----END CERTIFICATE-----\n"
    try:
        (end,) = certificate_ends(text)
    except SettingError:
        return
    assert isinstance(end, float)


def test_of_authorities_the_first_that_ends_counts_and_of_a_client_its_own(tmp_path: Path) -> None:
    file = tmp_path / "chain.pem"
    file.write_bytes(pem(LATER) + pem(SOON))
    assert certificate_end(file, what="ca") == SOON.timestamp()
    assert certificate_end(file, what="client") == LATER.timestamp()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"certificate {tmp_path}/none.pem cannot be read: No such file"):
        certificate_end(tmp_path / "none.pem", what="ca")
    (tmp_path / "key.pem").write_bytes(SECRET)
    with pytest.raises(SettingError, match=r"key\.pem: it holds no certificate") as caught:
        certificate_end(tmp_path / "key.pem", what="client")
    assert b"".join(SECRET.splitlines()[1:2]).decode() not in str(caught.value)


def test_room_is_that_of_the_disk_even_before_the_folder_is_there(tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    room = room_at(tmp_path / "not" / "yet" / "events.jsonl")
    assert room.size_bytes == usage.total
    assert abs(room.free_bytes - usage.free) < 2**30


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("archive", "archive"),
        ("/data/a", "/data/a"),
        ("file:///data/a", "/data/a"),
        ("s3://b/a", None),
        ("hdfs://h/a", None),
    ],
)
def test_only_a_folder_of_this_machine_has_a_disk(url: str, path: str | None) -> None:
    assert local_path(url) == (None if path is None else Path(path))


def figure(metrics: Metrics, name: str, kind: str) -> float | None:
    return metrics.registry.get_sample_value(f"streamproc_{name}", {"kind": kind})


def test_gauges_follow_the_file_and_are_none_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics, file = Metrics(), tmp_path / "ca.pem"
    looking = Surroundings(metrics, certificates={"ca": file}, places={"archive": tmp_path})
    end = "certificate_end_timestamp_seconds"
    with caplog.at_level(logging.WARNING):
        looking.look()
        looking.look()
    assert figure(metrics, end, "ca") is None
    assert [record.getMessage() for record in caplog.records] == [
        f"certificate {file} cannot be read: No such file or directory; nobody warns before it ends"
    ]
    for moment in (LATER, SOON):
        file.write_bytes(pem(moment))
        looking.look()
        assert figure(metrics, end, "ca") == moment.timestamp()
    assert figure(metrics, end, "client") is None
    assert figure(metrics, "disk_size_bytes", "archive") == shutil.disk_usage(tmp_path).total
    assert figure(metrics, "disk_size_bytes", "sink") is None
    file.unlink()
    looking.look()
    assert figure(metrics, end, "ca") is None


def test_a_disk_that_cannot_be_looked_at_has_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    looking = Surroundings(metrics, certificates={}, places={"sink": tmp_path})
    looking.look()
    assert figure(metrics, "disk_free_bytes", "sink")

    def fail(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    looking.look()
    assert figure(metrics, "disk_free_bytes", "sink") is None
    assert figure(metrics, "disk_size_bytes", "sink") is None


def test_a_process_with_metrics_looks_again_and_again(tmp_path: Path) -> None:
    metrics, file = Metrics(), tmp_path / "ca.pem"
    file.write_bytes(pem(SOON))
    used = load_settings(metrics_port=9100, security_ca_file=file)
    end = "certificate_end_timestamp_seconds"
    with surroundings(metrics, used, places={"sink": tmp_path, "ledger": None}, every_s=0.02):
        wait_until(lambda: figure(metrics, end, "ca") == SOON.timestamp(), "it was read", timeout_s=5)
        file.write_bytes(pem(LATER))
        wait_until(lambda: figure(metrics, end, "ca") == LATER.timestamp(), "it was read again", timeout_s=5)
        assert figure(metrics, "disk_size_bytes", "ledger") is None
    file.write_bytes(pem(SOON))
    time.sleep(0.1)
    assert figure(metrics, end, "ca") == LATER.timestamp()


def test_a_process_without_metrics_does_not_look(tmp_path: Path) -> None:
    metrics = Metrics()
    with surroundings(metrics, load_settings(), places={"sink": tmp_path}, every_s=0.01):
        time.sleep(0.05)
    assert figure(metrics, "disk_size_bytes", "sink") is None


def test_the_local_cluster_has_a_folder_for_those_who_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = ClusterStatus(state="running", bootstrap="127.0.0.1:19092", folder=tmp_path, detail="")
    monkeypatch.setattr(LocalCluster, "status", lambda _self: status)
    assert find_folder("127.0.0.1:19092") == tmp_path
    assert find_folder("kafka.example:9092") is None


def test_a_local_cluster_that_cannot_be_looked_at_keeps_no_worker_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_self: LocalCluster) -> ClusterStatus:
        raise BrokerError("its state file cannot be read")

    assert find_folder("127.0.0.1:9092") is None
    monkeypatch.setattr(LocalCluster, "status", fail)
    assert find_folder("127.0.0.1:9092") is None
