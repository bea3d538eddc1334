"""The process that a run plays in."""

from __future__ import annotations

import ctypes

__all__ = ["keep_memory"]

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
