"""How far long work on data is: whoever shows it (a terminal, a page) says so once, and readers report."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal

__all__ = ["Advance", "Hook", "progress", "shown_by"]

Advance = Callable[[int, int | None], None]
"""Called with (done, total): of the files or bytes; the total is None where it is not known."""
Hook = Callable[[str, Literal["files", "bytes"]], AbstractContextManager[Advance]]
"""Called with what is done, in words, and what is counted; what it enters is called with (done, total)."""


def _silent(what: str, unit: str) -> AbstractContextManager[Advance]:
    return nullcontext(lambda done, total: None)


_HOOK: ContextVar[Hook] = ContextVar("progress", default=_silent)


@contextmanager
def shown_by(hook: Hook) -> Generator[None]:
    """In here, `hook` shows the progress of what is read and downloaded; nothing does otherwise."""
    before = _HOOK.set(hook)
    try:
        yield
    finally:
        _HOOK.reset(before)


def progress(what: str, unit: Literal["files", "bytes"]) -> AbstractContextManager[Advance]:
    """Report work: enter it, and call what it gives with (done, total)."""
    return _HOOK.get()(what, unit)
