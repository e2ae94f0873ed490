"""The live viewer: what the topics tell, in a browser.

Values in, values out: `shown` (records to what pages get), `cameras` (what is known of each camera), `hub` (what each
browser still has to get). Around them: `intake` and `follow` (threads that read the topics), `past` (bounded reads of
the log), `access` (who may ask), `live` and `server` (aiohttp), `run` (all of it as one process).
"""

from streamproc.view.run import ViewOptions, run_viewer

__all__ = ["ViewOptions", "run_viewer"]
