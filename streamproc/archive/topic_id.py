"""The broker's own id of a topic: one that was deleted and made anew has another."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streamproc.client import client_config, unreachable
from streamproc.errors import BrokerError
from streamproc.settings import Settings

_ANSWER_S = 10.0
_SAYS_NO = (
    KafkaError._AUTHENTICATION,  # librdkafka's local codes have no public name
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
_HAS_NONE = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)
_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class TopicIds:
    """Asks a cluster for ids of topics.

    Args:
        settings: Where the broker is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        errors: list[KafkaError] = []
        config: Any = {**client_config(settings, client_id="streamproc-archive"), "error_cb": errors.append}
        self._errors = errors  # of one question, told by `poll`
        self._admin = AdminClient(config)

    def of(self, topic: str) -> str:
        """The id; "" if there is no such topic, or the broker gives no ids (before 2.8).

        Raises:
            BrokerError: It does not answer, or refuses this user.
        """
        self._admin.poll(0)
        self._errors.clear()
        try:
            future = self._admin.describe_topics(TopicCollection([topic]), request_timeout=_ANSWER_S)[topic]
            found = future.result(timeout=2 * _ANSWER_S).topic_id
        except KafkaException as error:
            self._admin.poll(0)
            why = next((one for one in self._errors if one.code() in _SAYS_NO), error.args[0])
            if why.code() in (*_NO_TOPIC, *_HAS_NONE):
                return ""
            raise BrokerError(unreachable(self._settings, why)) from KafkaException(why)
        except TimeoutError:
            raise BrokerError(f"no Kafka broker answers at {self._settings.bootstrap}") from None
        none = not (found.get_most_significant_bits() or found.get_least_significant_bits())
        return "" if none else str(found)


def says_no(error: BrokerError) -> bool:
    """Whether the broker refused this user, by the client's own error behind this one."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, KafkaException) and cause.args[0].code() in _SAYS_NO
