"""The documentation site: `make site` builds it. What the settings do not say is in `tests/docs/site.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from streamproc import __version__

project = "streamproc"
author = "the streamproc project"
copyright = "the streamproc project, Apache-2.0"  # noqa: A001 - Sphinx asks for this name
version = release = __version__

extensions = ["myst_parser", "tests.docs.site"]
exclude_patterns = ["_static"]
myst_heading_anchors = 4  # the anchors GitHub makes, so that one link serves both
myst_links_external_new_tab = False
nitpicky = True

html_theme = "furo"
html_title = "streamproc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/mark.svg"
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False
html_theme_options = {"light_logo": "mark.svg", "dark_logo": "mark.svg", "footer_icons": []}
