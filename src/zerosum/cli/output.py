"""What the command line prints, and how it ends: the one place for results, notes and errors."""

from __future__ import annotations

import errno
import os
import pydoc
import re
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from zerosum.text import printable

__all__ = ["Failure", "explain", "prepare", "say", "say_error", "say_in_pages", "say_notes", "writing"]

_MEMORY = re.compile("can't allocate memory|out of memory|not enough memory|bad_alloc", re.IGNORECASE)


class Failure(Exception):
    """What cannot be done, in one line."""

    exit_code = 1


def prepare() -> None:
    """Make the outputs ready: a closed one swallows all, and one whose encoding lacks a character shows its
    escape.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(text: str, file: TextIO | None = None) -> None:
    """Print lines, each made fit for the output."""
    file = file or sys.stdout
    encoding = getattr(file, "encoding", None) or "utf-8"
    for line in text.split("\n"):
        print(printable(line, encoding), file=file, flush=True)


def say_in_pages(text: str) -> None:
    """Print lines; on a terminal that has too few rows for them, a page at a time."""
    if sys.stdout.isatty() and text.count("\n") > shutil.get_terminal_size().lines:
        pydoc.pager(text)
    else:
        say(text)


def say_error(text: object) -> None:
    """Print one line on stderr, whatever the text holds."""
    say("zerosum: " + " ".join(str(text).split("\n")), sys.stderr)


def say_notes(lines: Iterable[str], quiet: bool) -> None:
    """Print what a person should hear of before the rest; warnings also where it is to be quiet."""
    for line in lines:
        if not quiet or line.startswith("warning"):
            say_error(line)


def explain(problem: BaseException) -> int:
    """Say what went wrong in a line; returns the exit code. A defect of zerosum itself is raised."""
    if isinstance(problem, OSError) and not hasattr(problem, "exit_code"):
        _let_go_of_output()
        if not isinstance(problem, BrokenPipeError):  # the reader of our output has had enough
            say_error(f"{problem.filename or 'the output'}: {problem.strerror or problem}")
        return 1
    if (shortage := _shortage(problem)) is not None:
        say_error(shortage)
        return 1
    if isinstance(problem, SystemExit):
        place = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        say_error(f"{where}: sys.exit({problem.code!r}) was called in a module of yours")
        return 1
    code = getattr(problem, "exit_code", None)
    if code is None:
        raise problem
    say_error(problem)
    return code


def _shortage(problem: BaseException | None) -> str | None:
    """What to say where the memory did not suffice; None where something else is wrong."""
    lines = str(problem)
    while problem is not None:
        text = str(problem)
        is_it = isinstance(problem, MemoryError) or getattr(problem, "errno", None) == errno.ENOMEM
        if is_it or (isinstance(problem, RuntimeError) and _MEMORY.search(text)):
            step = re.match(r"step [\d,]+: ", lines)
            return (
                f"{step[0] if step else ''}not enough memory{_amount(text)}: ask for less at once (a smaller "
                "--batch; --accumulate 2, the same batch in two parts; for images a smaller --data.size; "
                "fewer --n), or free some"
            )
        problem = problem.__cause__
    return None


def _amount(text: str) -> str:
    if match := re.search(r"tried to allocate (\d+) bytes", text):
        return f" for {int(match[1]) / 1e9:,.1f} GB more"
    match = re.search(r"allocate ([\d.]+ [KMGTPEZ]?i?B)", text)
    return f" for {match[1]} more" if match else ""


def _let_go_of_output() -> None:
    """Where the output cannot be written, Python shall not try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what the disk refuses is a line that names the file which is written."""
    try:
        yield
    except OSError as problem:
        raise Failure(f"cannot write {path}: {problem.strerror or problem}") from problem
