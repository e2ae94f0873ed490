"""Records that could not be handled: what they say, how they look, and their way back."""

from streamproc.deadletters.box import find_letters, read_letter_at, redrive
from streamproc.deadletters.letter import Letter, Place, read_letter

__all__ = ["Letter", "Place", "find_letters", "read_letter", "read_letter_at", "redrive"]
