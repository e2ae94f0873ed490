"""Sphinx extension of the site: what GitHub shows of `docs/` as it is, and Sphinx needs told.

The Markdown in `docs/` is written for both. So pages hold no directives for navigation; they are added here while
a page is read: the table of contents, the changelog, and links to files that stand outside of `docs/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from docutils import nodes  # type: ignore[import-untyped]  # ships no types
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from tests.docs.flowcharts import drawn

ROOT: Final = Path(__file__).parent.parent.parent
DOCS: Final = ROOT / "docs"

NAVIGATION: Final[Mapping[str, tuple[str, ...]]] = {
    "Start": ("getting-started", "concepts", "architecture", "faq"),
    "How to": (
        "how-to/own-camera",
        "how-to/many-cameras",
        "how-to/own-pipeline",
        "how-to/own-operator",
        "how-to/archive-and-replay",
        "how-to/alerting",
        "how-to/kubernetes",
    ),
    "Into Kafka": ("sources", "cameras", "ingest", "changed-tiles"),
    "What is computed": ("operators", "pipelines/README", "own-operators", "examples/own-operator/README", "training"),
    "Out of Kafka": ("viewer", "sinks", "archive", "replay", "time-machine", "retrieval", "deadletters", "verify"),
    "Running it": (
        "running",
        "kubernetes",
        "sizing",
        "local-broker",
        "dashboards",
        "alerts",
        "tracing",
        "health",
        "performance",
        "reliability",
        "faust",
    ),
    "Reference": (
        "reference/commands",
        "settings",
        "reference/topics",
        "reference/events",
        "reference/words",
        "metrics",
        "reference/python",
    ),
    "Project": ("changelog", "contributing", "decisions/README"),
}
BELOW: Final[Mapping[str, str]] = {"operators": "operators/*", "decisions/README": "[0-9]*"}
"""Pages that stand above a folder: a glob beside them. That of operators lists them itself."""
OUTSIDE: Final[Mapping[str, str]] = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
"""Pages of the site that are files of the repository's root."""
LINK: Final = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]*)((?:#[^)\s]*)?)(?=\))")


def navigation() -> str:
    """The tables of contents of the first page, as MyST."""
    return "\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{chr(10).join(present(pages))}\n```\n"
        for caption, pages in NAVIGATION.items()
    )


def present(pages: tuple[str, ...]) -> list[str]:
    """The entries of pages that are there; guides without the words that their caption has."""
    entries: list[str] = []
    for page in pages:
        path = DOCS / f"{page}.md"
        if not path.exists():
            continue
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        short = title.removeprefix("How to ")
        entries.append(page if short == title else f"{short[0].upper()}{short[1:]} <{page}>")
    return entries


def relinked(text: str, folder: str, *, base: str) -> str:
    """Links of a Markdown file for where the site has it.

    Args:
        text: The file.
        folder: Of the page in the site, relative to `docs/`.
        base: Of the file, relative to the repository.
    """

    def to(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(base, match[1])) if match[1] else ""
        for page, file in OUTSIDE.items():
            if path == file:
                return posixpath.relpath(f"{page}.md", folder or ".") + match[2]
        if path == "README.md":
            return posixpath.relpath("index.md", folder or ".") + match[2]
        if path.startswith("docs/"):
            inside = path.removeprefix("docs/")
            if (DOCS / inside).is_dir():
                inside = f"{inside}/README.md"
            return posixpath.relpath(inside, folder or ".") + match[2]
        return match[0]

    return LINK.sub(to, text)


def read(_: Sphinx, docname: str, content: list[str]) -> None:
    """Change what was read of a page."""
    folder = posixpath.dirname(docname)
    if docname in OUTSIDE:
        content[0] = relinked((ROOT / OUTSIDE[docname]).read_text(encoding="utf-8"), folder, base="")
    else:
        content[0] = relinked(content[0], folder, base=posixpath.join("docs", folder))
    if docname == "index":
        content[0] += f"\n{navigation()}"
    if docname in BELOW:
        hidden = ":hidden:\n" if docname == "operators" else ""
        content[0] += f"\n```{{toctree}}\n{hidden}:maxdepth: 1\n:glob:\n\n{BELOW[docname]}\n```\n"


class Flowcharts(SphinxTransform):
    """Draws the flowcharts that GitHub draws with Mermaid, without a script and without a foreign host."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Put an SVG in the place of each block."""
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") == "mermaid":
                try:
                    svg = drawn(block.astext())
                except ValueError as error:
                    raise ValueError(f"{self.env.docname}.md: {error}") from None
                block.replace_self(
                    nodes.raw(
                        "",
                        f'<div class="flowchart" tabindex="0" role="group" aria-label="Flowchart">{svg}</div>',
                        format="html",
                    )
                )


class Queries(SphinxTransform):
    """Shows PromQL without colours: what would colour it does not know names with a colon, which rules record."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Make each block one of plain text."""
        for block in self.document.findall(nodes.literal_block):
            if block.get("language") == "promql":
                block["language"] = "text"


ACCESS: Final = (
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Pages">'),
    ('<aside class="toc-drawer">', '<aside class="toc-drawer" aria-label="On this page">'),
    ('<aside class="toc-drawer no-toc">', '<aside class="toc-drawer no-toc" aria-label="On this page">'),
    ('<th class="head"><p></p></th>', "<td></td>"),
    (
        '<div class="table-wrapper colwidths-auto docutils container">',
        '<div class="table-wrapper docutils" tabindex="0">',
    ),
    (
        '<article role="main" id="furo-main-content">\n          \n<noscript>',
        '<article role="main" id="furo-main-content">\n<h1>Search</h1>\n<noscript>',
    ),
    ("<pre><span></span>", '<pre tabindex="0"><span></span>'),
)
"""What the theme leaves out for who reads by ear or by keyboard: levels, names, and ways into what scrolls."""


def accessible(html: str) -> str:
    """A page of the theme, mended; a second time changes nothing."""
    for wrong, right in ACCESS:
        html = html.replace(wrong, right)
    return html


def finish(app: Sphinx, error: Exception | None) -> None:
    """Mend the pages that were written."""
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = path.read_text(encoding="utf-8")
            if (mended := accessible(text)) != text:
                path.write_text(mended, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("env-get-outdated", lambda *_: ["index", *BELOW, *OUTSIDE])  # they hold more than their own file
    app.connect("build-finished", finish)
    app.add_transform(Flowcharts)
    app.add_transform(Queries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
