"""One HTML file that needs nothing else: templates filled in by Jinja2, style and script written into them.

Whatever a template is given is text, not markup, unless it comes from another template. The only script is
the package's own, which the content security policy names by its digest; nothing is asked of a network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zerosum import __version__
from zerosum.page import formats

__all__ = ["fill", "inlined", "render", "static"]


def render(template: str, **context: Any) -> str:
    """The template filled in, as one self-contained page."""
    return fill(template, **inlined(["page.css"], ["page.js"]), **context)


def inlined(styles: Sequence[str], scripts: Sequence[str]) -> dict[str, Any]:
    """What a template needs to hold these files of `static` itself: their texts, and what the policy calls
    the scripts."""
    digests = (hashlib.sha256(static(name).encode()).digest() for name in scripts)
    return {
        "styles": [Markup(static(name)) for name in styles],
        "scripts": [Markup(static(name)) for name in scripts],
        "digests": " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests),
    }


def fill(template: str, **context: Any) -> str:
    """The template filled in."""
    return _environment().get_template(template).render(version=__version__, **context)


@cache
def static(name: str) -> str:
    """The text of a file of the package's folder `static`."""
    return resources.files("zerosum.page").joinpath("static", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("zerosum.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=formats.lines,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(formats, name) for name in formats.__all__})
    return environment
