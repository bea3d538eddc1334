"""A source gives the real examples: the x ~ p_data of V(D, G).

A source is stateless: `batch(step, n)` is a pure function of the source's seed, the step and n. Nothing has
to be saved to resume a run, and nobody has to share a position: the i-th of k discriminator steps asks for
``batch(step * k + i, n)``, and rank r of w ranks for the r-th of w parts of it (see `part`).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from zerosum.randomness import stream

__all__ = ["Ahead", "Source", "order", "part"]


@runtime_checkable
class Source(Protocol):
    """What the game asks of its data. Finite sources also have a length, densities a `log_prob`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W) or (d,)."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes; 0 where there are no labels."""
        ...

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, *shape] and y int64 [n], or None where there are no labels."""
        ...


class Ahead:
    """A source whose next batch is made beside the use of this one: for data that come from a disk.

    What it gives is what the source gives, in whatever order it is asked.

    >>> class Squares:
    ...     shape, classes = (1,), 0
    ...
    ...     def batch(self, step, n):
    ...         return torch.full((n, 1), float(step**2)), None
    >>> ahead = Ahead(Squares())
    >>> [float(ahead.batch(step, 1)[0]) for step in (3, 4, 9)]
    [9.0, 16.0, 81.0]
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape, self.classes = source.shape, source.classes
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="zerosum-data")
        self._next: dict[tuple[int, int], Future[tuple[Tensor, Tensor | None]]] = {}

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """As the source's own; the batch of step + 1 is begun."""
        wanted = self._next.pop((step, n), None)
        self._next = {(step + 1, n): self._beside.submit(self.source.batch, step + 1, n)}
        return self.source.batch(step, n) if wanted is None else wanted.result()


def part(source: Source, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
    """The rank-th of `world` equal parts of ``source.batch(step, n)``: x [n / world, *shape] and y.

    A source that need not make the whole for it has a method ``part(step, n, rank, world)``; that of any
    other is cut.
    """
    if world == 1:
        return source.batch(step, n)
    own = getattr(source, "part", None)
    if own is not None:
        return own(step, n, rank, world)
    x, y = source.batch(step, n)
    return x.chunk(world)[rank], None if y is None else y.chunk(world)[rank]


def order(length: int, seed: int, step: int, n: int) -> Tensor:
    """Which examples make up batch `step`: int64 [n].

    Batch t takes the places [t n, (t + 1) n) of the infinite sequence
    permutation(seed, 0), permutation(seed, 1), ... of {0, ..., length - 1}: every example comes once per
    epoch, whatever n is.

    Raises:
        ValueError: if step < 0, n < 1 or length < 1.

    >>> first, second = order(5, 0, 0, 3), order(5, 0, 1, 3)
    >>> sorted([*first.tolist(), *second.tolist()[:2]])
    [0, 1, 2, 3, 4]
    """
    if step < 0 or n < 1 or length < 1:
        raise ValueError(f"a batch needs step >= 0, n >= 1 and examples: got {step=}, {n=}, {length=}")
    first, last = step * n, (step + 1) * n
    epochs = range(first // length, (last - 1) // length + 1)
    return torch.cat(
        [_permutation(length, seed, e)[max(first - e * length, 0) : last - e * length] for e in epochs]
    )


@lru_cache(maxsize=8)
def _permutation(length: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(length, generator=stream(seed, epoch, "order"))
