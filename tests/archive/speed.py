"""How fast the archive writes and reads. `python -m tests.archive.speed --folder DIR [--gigabytes N] [--rounds N]`.

In MB/s (10^6 bytes of values), each with the CPU time it took: the writer alone (files complete and synced to the
disk), the same by way of Kafka (a broker of its own, on the same cores; its own time is not counted), and reading all
back. Machines are noisy, so each round by way of Kafka has a plain copy of the very files it wrote beside it: read in
pieces of 4 MiB, written, each file synced, as `cp` and `sync` would. The ratio of the two says more than either.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamproc import wire
from streamproc.archive import ArchiveReader
from streamproc.archive.run import ArchiveRun
from streamproc.archive.storage import Storage
from streamproc.archive.writer import Rules, TopicWriter
from streamproc.broker import ephemeral
from streamproc.provision import create_topics
from streamproc.publisher import Publisher
from streamproc.reader import Record
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics, tile_key
from tests.features import tile_header

TILE_BYTES = 50_000  # a JPEG tile of 640x384
PARTITIONS = 8
_PIECE = 4 * 2**20


def tiles(count: int, topic: str) -> Iterator[Record]:
    """Tiles of bytes that do not compress, as JPEG does not, partition by partition."""
    payloads = [random.Random(number).randbytes(TILE_BYTES) for number in range(64)]
    for number in range(count):
        value = payloads[number % len(payloads)]
        header = tile_header(sequence=number, payload_digest=wire.digest_payload(value))
        yield Record(
            topic=topic,
            partition=number % PARTITIONS,
            offset=number // PARTITIONS,
            timestamp_ms=1_767_225_600_000 + number,
            key=tile_key(header),
            value=value,
            headers=wire.tile_headers(header),
        )


class Told:
    """How fast something went; known once it ended."""

    mb_per_s = 0.0


@contextmanager
def told(what: str, size: int) -> Iterator[Told]:
    started_s, cpu_s = time.monotonic(), time.process_time()
    yield (speed := Told())
    seconds, cpu_s = time.monotonic() - started_s, time.process_time() - cpu_s
    mb = size / 1e6
    speed.mb_per_s = mb / seconds
    cpu = mb / max(cpu_s, 1e-9)
    print(f"{what:34} {speed.mb_per_s:7.0f} MB/s   {cpu:7.0f} MB for a second of CPU time", flush=True)


def plain_copy(source: Path, target: Path) -> float:
    """Copy the files of a folder, each synced; MB/s."""
    target.mkdir()
    files = sorted(source.glob("*.mcap"))
    for file in files:
        file.read_bytes()  # what was just written need not be in the cache any more
    with told("plain copy of the same files", sum(file.stat().st_size for file in files)) as copying:
        for file in files:
            with file.open("rb", buffering=0) as read, (target / file.name).open("wb", buffering=0) as written:
                while piece := read.read(_PIECE):
                    written.write(piece)
                os.fsync(written.fileno())
    shutil.rmtree(target)
    return copying.mb_per_s


def writer_alone(folder: Path, count: int) -> None:
    records = list(tiles(count, "speed.tiles"))
    with told("writer alone", count * TILE_BYTES):
        writer = TopicWriter(Storage(str(folder / "alone")), "speed.tiles", Rules(), low=lambda _partition: 0)
        writer.begin(dict.fromkeys(range(PARTITIONS), (0, count)))
        for record in records:
            writer.add(record, 0)
        writer.publish()
    read_back(folder / "alone", "speed.tiles", count)
    shutil.rmtree(folder / "alone")


def by_way_of_kafka(folder: Path, count: int, rounds: int, settings: Settings) -> None:
    topic = Topics(settings.prefix).tiles
    create_topics(settings)
    with Publisher(settings, client_id="speed") as publisher:
        for record in tiles(count, topic):
            publisher.send(
                topic=topic,
                partition=record.partition,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
    time.sleep(2)  # let the broker finish what it does behind the producer's back
    speeds, ratios = [], []
    for _ in range(rounds):
        run = ArchiveRun(settings, str(folder / "kafka"), [topic], rules=Rules(), until_end=True)
        with told("from Kafka to the disk", count * TILE_BYTES) as archiving:
            run.run()
        copied = plain_copy(folder / "kafka" / topic, folder / "copy")
        speeds.append(archiving.mb_per_s)
        ratios.append(archiving.mb_per_s / copied)
        print(f"{'of the plain copy':34} {ratios[-1]:7.2f}", flush=True)
        read_back(folder / "kafka", topic, count)
        shutil.rmtree(folder / "kafka")
    middle = f"{statistics.median(speeds):7.0f} MB/s   {statistics.median(ratios):7.2f} of the plain copy"
    print(f"{f'from Kafka, median of {rounds}':34} {middle}", flush=True)


def read_back(url: Path, topic: str, count: int) -> None:
    with told("read back", count * TILE_BYTES), ArchiveReader(str(url), topic) as reader:
        found = sum(1 for _ in reader.read({number: reader.bounds(number) for number in reader.partitions()}))
    if found != count:
        raise AssertionError(f"{found} of {count} tiles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="on the disk to be measured; emptied afterwards")
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="of the way by Kafka")
    parser.add_argument("--alone", action="store_true", help="without Kafka")
    options = parser.parse_args()
    count = int(options.gigabytes * 1e9 / TILE_BYTES)
    folder = options.folder / "streamproc-speed"
    folder.mkdir(parents=True)
    try:
        writer_alone(folder, count)
        if not options.alone:
            with ephemeral() as status:
                settings = load_settings(bootstrap=status.bootstrap, partitions=PARTITIONS)
                by_way_of_kafka(folder, count, options.rounds, settings)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
