"""Metrics of what stands around the live way of frames: replay, rerun, archive, sinks, viewer.

Part of `metrics.Metrics`, which has all of them.
"""

from __future__ import annotations

from streamproc import metric_types as label
from streamproc.metric_types import Capped, Definer


class AroundMetrics:
    """Half of `Metrics`: definitions alone."""

    _topic: Capped

    def _define_replay(self, define: Definer) -> None:
        define.part = "replay"
        where = (label.SOURCE, label.TARGET)
        self.replay_frames = define.counter(
            "replay_frames",
            "Frames sent again; target same: into the topics of its own prefix, where workers count their outcomes",
            *where,
            moves="Grows as long as a replay runs; frames_total has these frames, too, if the target is the same.",
        )
        self.replay_tiles = define.counter(
            "replay_tiles", "Tiles sent again", *where, moves="What a replay asks of broker and workers."
        )
        self.replay_bytes = define.counter(
            "replay_bytes", "Encoded tile bytes sent again", *where, moves="As replay_tiles, for disk and network."
        )
        self.replay_behind = define.gauge(
            "replay_behind_seconds",
            "By how much a replay is behind the pace it was asked for",
            moves="Grows: reading or the broker is too slow for that speed; a smaller --speed, or wait.",
        )
        self.replay_progress = define.gauge(
            "replay_progress_ratio",
            "Share of the asked part of the source that is passed, 0 to 1",
            moves="Stands still: it is paused, or waits for the broker.",
        )
        self.replay_captured = define.gauge(
            "replay_captured_timestamp_seconds",
            "Capture time of the frame that was sent again last",
            moves="How far into the past it has come.",
        )
        self.replay_paused = define.gauge(
            "replay_paused", "1 while a replay is paused", moves="Somebody pressed space, or sent SIGUSR1."
        )

    def _define_rerun(self, define: Definer) -> None:
        define.part = "rerun"
        self.rerun_begun = define.counter(
            "rerun_frames_begun", "Frames given to a rerun's workers", moves="Stands still: the workers are at work."
        )
        self.rerun_frames = define.counter(
            "rerun_frames",
            "Frames of a rerun by outcome",
            label.FRAME_OUTCOME,
            moves="Anything but complete: as frames_total, of the rerun.",
        )
        self.rerun_open = define.gauge(
            "rerun_open_frames",
            "Frames begun and without an outcome",
            moves="At most 256; stands at that: the workers are the bound. More --workers.",
        )
        self.rerun_progress = define.gauge(
            "rerun_progress_ratio",
            "Share of the asked part of the source that is passed, 0 to 1",
            moves="Stands still: see the workers' logs in its folder.",
        )

    def _define_archive(self, define: Definer) -> None:
        define.part = "archive"
        self.archive_records = define.counter(
            "archive_records", "Records taken into files", self._topic, moves="Stands still: the broker or the store."
        )
        self.archive_bytes = define.counter(
            "archive_bytes",
            "Bytes of keys and values taken into files",
            self._topic,
            moves="What it will cost to keep.",
        )
        self.archive_files = define.counter(
            "archive_files",
            "Files completed",
            self._topic,
            moves="Stands still while records come for longer than --rotate-s: the store does not take them.",
        )
        self.archive_missing = define.counter(
            "archive_missing_records",
            "Records that the log no longer had when they were to be archived",
            self._topic,
            moves="Lost to the archive: it was away, or is slower, for longer than the topic keeps records.",
        )
        self.archive_unfinished = define.gauge(
            "archive_unfinished_seconds",
            "Age of the last position that stands in a complete file, while records wait for the next; else 0",
            self._topic,
            moves="Up to --rotate-s in health. Near the topic's retention: a kill would lose records.",
        )

    def _define_sinks(self, define: Definer) -> None:
        define.part = "sinks"
        self.sink_events = define.counter(
            "sink_events",
            "Events by what became of them at a sink",
            label.SINK,
            label.SINK_OUTCOME,
            moves="refused: the target will not have them; the sink's log says why.",
        )
        self.sink_retries = define.counter(
            "sink_retries",
            "Times the target of a sink had to be tried again",
            label.SINK,
            moves="Grows: the target is down or slow; nothing is lost while the log keeps events.",
        )

    def _define_viewer(self, define: Definer) -> None:
        define.part = "the live viewer"
        self.viewer_clients = define.gauge(
            "viewer_clients", "Browsers that watch now", moves="At 64 further ones are turned away."
        )
        self.viewer_pictures_sent = define.counter(
            "viewer_pictures_sent", "Pictures sent to browsers", moves="What watching costs the network."
        )
        self.viewer_pictures_skipped = define.counter(
            "viewer_pictures_skipped",
            "Pictures that newer ones replaced before a browser took them",
            moves="A browser or its network is slow; nothing else is affected.",
        )
        self.viewer_events_skipped = define.counter(
            "viewer_events_skipped",
            "Events that a browser did not take in time",
            moves="As viewer_pictures_skipped; the log has them, the page asks for them there.",
        )
        self.viewer_event_seconds = define.latency(
            "viewer_event_seconds",
            "An event's emission to its sending to a browser",
            moves="Above 0.3 s: the browser's network, or the viewer's processor; after an outage of the broker for a"
            " moment.",
        )
        self.viewer_foreign = define.counter(
            "viewer_foreign_records",
            "Records of a topic that are no events or pictures of streamproc",
            label.VIEWED,
            moves="Something else writes to the topic; the viewer passes it over.",
        )
        self.viewer_missed = define.counter(
            "viewer_missed_records",
            "Records of a topic that were passed over after an outage, because there were too many",
            label.VIEWED,
            moves="The viewer shows what is new; the log has the rest.",
        )
