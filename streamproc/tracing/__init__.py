"""One trace for each frame that is chosen: spans as values, and where they go. OpenTelemetry in `otel.py` alone."""

from streamproc.tracing.assembling import AssemblyTraces, FrameTrace
from streamproc.tracing.frames import Place, tile_span
from streamproc.tracing.opening import traced
from streamproc.tracing.sending import FrameTraces
from streamproc.tracing.spans import Span, SpanContext, Tracer, context_of

__all__ = [
    "AssemblyTraces",
    "FrameTrace",
    "FrameTraces",
    "Place",
    "Span",
    "SpanContext",
    "Tracer",
    "context_of",
    "tile_span",
    "traced",
]
