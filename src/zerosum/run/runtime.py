"""The process that a run plays in."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import signal
import sys
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from zerosum import __version__

if TYPE_CHECKING:
    from zerosum.game import Game

__all__ = ["end_with_parent", "environment", "keep_memory", "peak_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h


def keep_memory() -> None:
    """Ask the C library to keep freed memory for the next turn, instead of handing it back to the system.

    A turn makes and drops the same tensors as the one before. glibc hands large ones back at once, and each
    page of the next must be mapped, and cleared, anew: for small networks that takes as long as the
    computation. For the whole process; without effect where the library has no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
        mallopt(_TOP_PAD, 2**26)


def end_with_parent(pipe: int) -> None:
    """Kill this process when the last one that could write to a pipe is gone, at whatever it is.

    A run may be killed at any instant; what waited for it to end will never ask.
    """

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True, name="zerosum-parent").start()


def peak_memory() -> int:
    """The most memory that this process has held, in bytes.

    Linux says it of the program; getrusage may count what the process was before it became this program.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(found[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def environment(game: Game) -> dict[str, Any]:
    """What a run is played with: versions, the device, threads and parts."""
    import torch

    return {
        "zerosum": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(game.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "ranks": game.world,
        "parts": game.world * game.accumulate,
    }
