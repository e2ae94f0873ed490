"""A process that runs on asks the broker now and again whether it is there, on a thread and a connection of its own."""

from __future__ import annotations

import logging
import threading
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamproc.client import client_config
from streamproc.settings import Settings
from streamproc.vitals import Vitals, Wanted, topics_problem

log = logging.getLogger(__name__)

ASK_S: Final = 2.0
ANSWER_S: Final = 2.0
_MISSED: Final = 2  # a broker that has just started may not know all topics at once


class BrokerWatch:
    """Notes in vitals, which know its address, what the broker says, until closed.

    One request for metadata every two seconds, one connection to each broker that answers it.
    """

    def __init__(self, settings: Settings, vitals: Vitals, wanted: Wanted) -> None:
        self._settings, self._vitals, self._wanted = settings, vitals, wanted
        self._over = threading.Event()
        self._misses = 0
        self._admin = AdminClient(client_config(settings, client_id="streamproc-health"))
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more; does not wait for an answer that is under way."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._ask()
            except Exception:  # it must go on, whatever a client may raise: silence would tell of a broker that is away
                log.exception("the broker could not be asked how it is")
            self._over.wait(ASK_S)

    def _ask(self) -> None:
        try:
            found = self._admin.list_topics(timeout=ANSWER_S).topics
        except KafkaException as error:
            self._vitals.heard(error.args[0].str())
            return
        self._vitals.heard()
        # A topic that was asked for by name and is not there is listed with an error and without partitions.
        problem = topics_problem(
            {name: len(topic.partitions) for name, topic in found.items() if topic.partitions}, self._wanted
        )
        self._misses = 0 if problem is None else self._misses + 1
        self._vitals.trouble("topics", problem if self._misses >= _MISSED else None)
