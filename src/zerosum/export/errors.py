"""What goes wrong on the way out or in."""

from __future__ import annotations

from zerosum.text import printable

__all__ = ["ExportError", "one_line"]


class ExportError(ValueError):
    """What cannot be exported or loaded: what, why and what to do, in one line."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """Kind and text of an error, fit to be shown on one line."""
    return printable(" ".join(f"{type(error).__name__}: {error}".split())[:200])
