"""Bring the pinned jars of Apache Kafka onto this machine: once, all or none, checked by their sums."""

from __future__ import annotations

import configparser
import importlib.util
import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streamproc.broker.exclusive import exclusive
from streamproc.broker.jars import KAFKA_VERSION, Jar, check_jars, jar_folder, pinned_jars
from streamproc.broker.java import INSTALL
from streamproc.errors import BrokerError

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
Download = Callable[[Jar, Path], Path]
"""Fetch one jar, using the folder as it likes; returns the file."""

FETCH_S = 600.0
REQUEST_S = 20
ATTEMPTS = 3
RETRY_S = 1.0
GIVE_UP_S = 2.0
AT_ONCE = 4
"""Downloads side by side: the 46 jars took 7 s so, 17 s one after the other."""


def silent(_: str) -> None:
    """Report progress to nobody."""


def ensure_jars(
    progress: Progress = silent, *, cache: Path | None = None, download: Download | None = None
) -> tuple[Path, ...]:
    """The jars to run Kafka with, in the order of the lock; fetched if they are not here yet, checked always.

    Args:
        progress: Told in words what takes long.
        cache: Folder of the jars' folder; the user's cache folder if None.
        download: How to fetch one jar; by jgo if None.

    Raises:
        BrokerError: They cannot be fetched, or a file is not the pinned one.
    """
    jars = pinned_jars()
    folder = jar_folder(jars, cache)
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(folder.parent / ".fetch.lock", wait_s=FETCH_S, doing="fetching Apache Kafka"):
                if not folder.is_dir():
                    _populate(folder, jars, progress, download or jgo_download())
        except OSError as error:
            raise BrokerError(f"cannot keep the jars of Apache Kafka in {folder}: {error}") from None
    check_jars(folder, jars)
    return tuple(folder / jar.name for jar in jars)


def _populate(folder: Path, jars: Sequence[Jar], progress: Progress, download: Download) -> None:
    # We hold the lock, so whatever lies here half done was left by a process that was killed.
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fetch_all(jars, work / "repository", work / "whole", progress=progress, download=download)
        check_jars(work / "whole", jars)
        (work / "whole").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fetch_all(jars: Sequence[Jar], repository: Path, into: Path, *, progress: Progress, download: Download) -> None:
    """Download jars side by side into a new folder; their sums are not looked at here.

    Raises:
        BrokerError: One could not be fetched, or all together took longer than FETCH_S.
    """
    progress(f"fetching Apache Kafka {KAFKA_VERSION} ({len(jars)} jars, about 45 MB), once …")
    into.mkdir(parents=True)
    downloads = _Downloads(jars, repository, download)
    deadline_s = time.monotonic() + FETCH_S
    try:
        for count in range(1, len(jars) + 1):
            jar, file = downloads.next_done(deadline_s)
            shutil.copyfile(file, into / jar.name)
            if count % 10 == 0:
                progress(f"  {count} of {len(jars)} jars")
    finally:
        downloads.give_up()


class _Downloads:
    """Threads that download what waits; daemons: one that hangs must not keep the program from ending."""

    def __init__(self, jars: Sequence[Jar], repository: Path, download: Download) -> None:
        self._waiting: queue.SimpleQueue[Jar] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Jar, Path | Exception]] = queue.SimpleQueue()
        self._given_up = threading.Event()
        self._repository = repository
        self._download = download
        for jar in jars:
            self._waiting.put(jar)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def next_done(self, deadline_s: float) -> tuple[Jar, Path]:
        """Wait for a jar.

        Raises:
            BrokerError: It could not be fetched, or not in time.
        """
        try:
            jar, result = self._done.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            raise BrokerError(f"fetching Apache Kafka took longer than {FETCH_S:g} s: run again") from None
        if isinstance(result, Exception):
            log.debug("fetching %s failed", jar.coordinate, exc_info=result)
            raise BrokerError(
                f"cannot fetch {jar.name} ({type(result).__name__}): is this machine online? Once fetched, "
                "Apache Kafka starts offline; or set STREAMPROC_BOOTSTRAP to a Kafka that runs elsewhere"
            )
        return jar, result

    def give_up(self) -> None:
        """Begin no further attempt, and wait a little for those that go on."""
        self._given_up.set()
        deadline_s = time.monotonic() + GIVE_UP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        while not self._given_up.is_set():
            try:
                jar = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._done.put((jar, self._attempt(jar)))

    def _attempt(self, jar: Jar) -> Path | Exception:
        failure: Exception = TimeoutError("given up")
        for attempt in range(ATTEMPTS):
            if self._given_up.wait(attempt * RETRY_S):
                break
            # A folder for each attempt: what a broken one left behind must not be taken for the file.
            try:
                return self._download(jar, self._repository / jar.name / str(attempt))
            except Exception as error:  # noqa: BLE001 - handed to the thread that asked, whatever it is
                failure = error
        return failure


def jgo_download() -> Download:
    """Downloading by jgo, from the repositories of its settings file if there are any, else from its default.

    Raises:
        BrokerError: jgo is not installed, or its settings file cannot be read.
    """
    require_jgo()
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    try:
        of_the_user = GlobalSettings.load().repositories
    except (OSError, ValueError, configparser.Error) as error:
        raise BrokerError(f"the settings file of jgo cannot be read: {error}") from None

    def download(jar: Jar, folder: Path) -> Path:
        context = MavenContext(repo_cache=folder, timeout=REQUEST_S)
        # The user's own mirror first; the sum in the lock says whether what it gave is right.
        context.remote_repos = {**of_the_user, **context.remote_repos}
        group, artifact, version, *classifier = jar.coordinate.split(":")
        component = context.project(group, artifact).at_version(version)
        return component.artifact(*classifier).resolve()

    return download


def require_jgo() -> None:
    """Refuse to go on without the extra that fetches Kafka.

    Raises:
        BrokerError: jgo is not installed; says what to install.
    """
    if importlib.util.find_spec("jgo") is None:
        raise BrokerError(f"the local broker needs jgo to fetch Apache Kafka: {INSTALL}")
