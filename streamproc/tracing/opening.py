"""Whether and where a process sends spans, by its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamproc.errors import SettingError
from streamproc.metrics import Metrics
from streamproc.settings import Settings, value_of
from streamproc.tracing.spans import Tracer


@contextmanager
def traced(settings: Settings, metrics: Metrics, *, part: str, given: Tracer | None = None) -> Iterator[Tracer | None]:
    """A process's tracer for as long as this lasts; None when tracing is off, and then nothing of it is imported.

    What waits is sent at the end, within two seconds; what cannot be is counted.

    Args:
        settings: Say where spans go.
        metrics: Count those that are lost.
        part: Of the system, for the name of the service: `streamproc-<part>` unless OTEL_SERVICE_NAME says another.
        given: One that lasts longer, which is used and not closed.

    Raises:
        SettingError: OpenTelemetry is not installed.
    """
    if given is not None or settings.traces == "off" or (value_of("OTEL_SDK_DISABLED") or "").lower() == "true":
        yield given
        return
    try:
        from streamproc.tracing import otel
    except ModuleNotFoundError as error:
        raise SettingError(
            f"STREAMPROC_TRACES={settings.traces} needs {error.name}: pip install 'streamproc[tracing]'"
        ) from None
    tracer = otel.open_tracer(settings, metrics, part=part)
    try:
        yield tracer
    finally:
        tracer.close()
