"""Pictures are decoded in a child process, so that a picture that crashes or hangs the decoder costs itself alone.

A native crash is no exception: it would end the worker, whose successor would read the same tile and end as well.
"""

from streamproc.decoding.decoder import Decoder

__all__ = ["Decoder"]
