"""Where the local broker keeps things: jars in the user's cache folder, records in the user's data folder."""

from __future__ import annotations

from pathlib import Path

from streamproc.errors import BrokerError
from streamproc.settings import value_of


def cache_folder() -> Path:
    """The folder of everything that can be fetched again."""
    return _base("XDG_CACHE_HOME", ".cache") / "streamproc"


def default_data_folder() -> Path:
    """The folder of the local broker when none is named."""
    return _base("XDG_DATA_HOME", ".local/share") / "streamproc" / "broker"


def usable_path(folder: Path, *, forbidden: str, why: str) -> Path:
    """Return the absolute folder, refused if Java could not be told its name.

    Args:
        folder: A folder, existing or not.
        forbidden: Characters its path must not hold.
        why: What these characters mean to the reader of the path.

    Raises:
        BrokerError: A forbidden character, or a name that is not text.
    """
    absolute = folder.expanduser().absolute()
    text = str(absolute)
    for character in forbidden:
        if character in text:
            raise BrokerError(f"the path {text} holds {character!r}, {why}: choose another folder")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BrokerError(f"the path {text!r} is not valid UTF-8, Java cannot open it: choose another folder") from None
    return absolute


def _base(variable: str, fallback: str) -> Path:
    named = value_of(variable)
    # The XDG specification: a relative path in these variables is to be ignored.
    return Path(named) if named and Path(named).is_absolute() else Path.home() / fallback
