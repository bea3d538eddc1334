"""Text from outside (names of files, classes, columns, recipes, errors), made fit to be shown."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import Any

__all__ = ["facts_html", "png", "printable"]


def printable(text: object, encoding: str = "utf-8") -> str:
    r"""The text on one line: control characters, line breaks, directions of writing and bytes that are no
    text, and whatever the encoding lacks, become escapes.

    >>> printable("a\x1b[31m\n\u202eb"), printable("é→", "ascii")
    ('a\\x1b[31m\\n\\u202eb', '\\xe9\\u2192')
    """
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    return line.encode(encoding, "backslashreplace").decode(encoding)


def png(picture: Any) -> bytes:
    """A picture of PIL as the content of a file."""
    content = BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def facts_html(title: object, facts: Mapping[str, object], picture: Any = None) -> str:
    """A title, a table of facts and a picture of PIL as HTML, for notebooks; names and values are text, no
    markup.

    >>> facts_html("a < b", {"n": 3})
    '<p><b>a &lt; b</b></p><table><tr><th>n</th><td>3</td></tr></table>'
    """
    rows = (
        f"<tr><th>{escape(printable(k))}</th><td>{escape(printable(v))}</td></tr>" for k, v in facts.items()
    )
    table = f"<p><b>{escape(printable(title))}</b></p><table>{''.join(rows)}</table>"
    if picture is None:
        return table
    data = b64encode(png(picture)).decode()
    return f'{table}<img src="data:image/png;base64,{data}" width="400" alt="samples">'
