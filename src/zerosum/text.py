"""Text from outside (names of files, classes, columns, recipes, errors), made fit to be shown."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object, encoding: str = "utf-8") -> str:
    r"""The text on one line: control characters, line breaks, directions of writing and bytes that are no
    text, and whatever the encoding lacks, become escapes.

    >>> printable("a\x1b[31m\n\u202eb"), printable("é→", "ascii")
    ('a\\x1b[31m\\n\\u202eb', '\\xe9\\u2192')
    """
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    return line.encode(encoding, "backslashreplace").decode(encoding)
