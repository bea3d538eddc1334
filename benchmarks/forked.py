"""Ranks as children of one process that has imported everything, so that a start costs no import.

Each has the environment that torchrun gives it, and none of the parent's threads. No script of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

__all__ = ["Child", "place", "start"]


class Child:
    """A forked process; what it says on stderr is in a file."""

    def __init__(self, work: Callable[[], int], environment: dict[str, str], errors: Path) -> None:
        self.errors = errors
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.environ.update(environment)
                os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                code = work()
                sys.stderr.flush()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self) -> int:
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def said(self) -> str:
        """What it said, once it has ended."""
        self.wait()
        return self.errors.read_text()


def place(world: int) -> list[dict[str, str]]:
    """What torchrun would say to each rank of a new game."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def start(world: int, work: Callable[[], int], folder: Path) -> list[Child]:
    """A rank each."""
    return [Child(work, about, folder / f"errors-{about['RANK']}") for about in place(world)]
