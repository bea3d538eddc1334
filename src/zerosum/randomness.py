"""Random streams that follow from what they are for, so that nothing has to be saved to resume exactly.

Every random number of a run comes from a stream named by a path such as ``(seed, step, "g_noise")``.
Two different paths give independent streams; the same path gives the same numbers, on any machine,
in any process and after any interruption.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["key", "seeded", "stream"]

_ONE_AT_A_TIME = threading.RLock()


def key(*path: int | str) -> int:
    """A 63-bit seed for a path: the first bytes of BLAKE2b of its text, so that near paths are unrelated.

    >>> key(0, 7, "g_noise") == key(0, 7, "g_noise") != key(0, 8, "g_noise")
    True
    """
    digest = hashlib.blake2b(repr(path).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(*path: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device`, seeded by `key(*path)`: a pure function of its path."""
    return torch.Generator(device=device).manual_seed(key(*path))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """In here torch's global generator begins at `seed`, afterwards it is as before: for what draws from
    nothing else, as layers do their first weights.

    There is only one, so threads go in one after the other: else a page that opens a run would change the
    first weights of the game that begins beside it.
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # `torch.manual_seed` would take a stack trace for each kind of device: half a millisecond
            torch.default_generator.manual_seed(seed)
        yield
