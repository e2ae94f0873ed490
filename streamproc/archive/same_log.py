"""Whether a topic's log is the one that was archived before. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping


def another_log(
    positions: Mapping[int, int], bounds: Mapping[int, tuple[int, int]], *, known_id: str, topic_id: str
) -> str | None:
    """Why this is another log than the one that was archived; None if it is the same.

    Args:
        positions: Where that one was archived up to, by partition.
        bounds: First offset and the one after the last of this one, by partition.
        known_id: The broker's id of that one; "" if it is not known.
        topic_id: Of this one.
    """
    if differ(known_id, topic_id):
        return "it was deleted and made anew"
    lost = set(positions) - set(bounds)
    if lost and not (known_id and topic_id):
        return f"it has no partition {min(lost)} any more, so it was made anew"
    for partition in sorted(set(positions) - lost):
        position, end = positions[partition], bounds[partition][1]
        if position > end:
            return (
                f"partition {partition} ends at offset {end}, though it is archived up to {position - 1}, so it was"
                " made anew or cut back"
            )
    return None


def differ(known_id: str, topic_id: str) -> bool:
    """Whether these are ids of two topics; "" is of none, and says nothing."""
    return bool(known_id and topic_id) and known_id != topic_id
