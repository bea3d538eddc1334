"""A source gives the real examples: the x ~ p_data of V(D, G).

A source is stateless: `batch(step, n)` is a pure function of the source's seed, the step and n. Nothing has
to be saved to resume a run, and nobody has to share a position: the i-th of k discriminator steps asks for
``batch(step * k + i, n)``, and rank r of w ranks for the r-th of w parts of it (see `part`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from zerosum.data.codec import Codec, Numbers
from zerosum.randomness import stream

__all__ = ["Ahead", "Examples", "Own", "Source", "complete", "encoded", "no_such_split", "order", "part"]


@runtime_checkable
class Examples(Protocol):
    """The least that a source of your own has; `zerosum.data.source` makes a `Source` of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W), (d,) or any other."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes; 0 where there are no labels."""
        ...

    def batch(self, step: int, n: int) -> tuple[Tensor, Any]:
        """x float32 [n, *shape] and y: None, or class numbers int64 [n], or any tensor [n, ...]."""
        ...


@runtime_checkable
class Source(Examples, Protocol):
    """What the game, its judges and its record ask of the data. Finite sources also have a length."""

    @property
    def codec(self) -> Codec:
        """What an example is, and the way there and back."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `split` takes: "train", "test", ...; none where the data are not divided."""
        ...

    def split(self, name: str) -> Source:
        """That part of the data set, without reading anew what was read. Raises ValueError for others."""
        ...

    @property
    def fingerprint(self) -> str:
        """The same where the examples, their order and their labels are; "" where there is no end of them."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes; 0 where there are no labels."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels 0, 1, ... are called."""
        ...

    @property
    def class_shares(self) -> tuple[float, ...]:
        """How often each class occurs: they sum to 1."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be told of the data, in a line each."""
        ...


def no_such_split(name: str, splits: Sequence[str]) -> ValueError:
    """The error of `Source.split`."""
    has = f"the splits {', '.join(splits)}" if splits else "no splits"
    return ValueError(f"these data have {has}: got {name!r}")


class Own:
    """A source of somebody's own, made complete: what it does not declare has the plainest meaning.

    Numbers as they are, no splits, no fingerprint, classes that are called 0, 1, ... and occur equally often.
    Every batch is checked: n examples of the declared shape.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self.shape = tuple(examples.shape)
        self.codec: Codec = getattr(examples, "codec", None) or Numbers(self.shape)
        self.class_names = tuple(getattr(examples, "class_names", None) or self._numbered())
        equal = (1 / max(self.classes, 1),) * self.classes
        self.class_shares: tuple[float, ...] = tuple(getattr(examples, "class_shares", None) or equal)
        self.splits: tuple[str, ...] = tuple(getattr(examples, "splits", ()))
        self.fingerprint = str(getattr(examples, "fingerprint", ""))
        self.notes: tuple[str, ...] = tuple(getattr(examples, "notes", ()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["examples"], name)

    def _numbered(self) -> tuple[str, ...]:
        return tuple(map(str, range(getattr(self.examples, "classes", 0))))

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def split(self, name: str) -> Source:
        if name not in self.splits:
            raise no_such_split(name, self.splits)
        return complete(self.examples.split(name))  # type: ignore[attr-defined]

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        return self._checked(*self.examples.batch(step, n), n)

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
        """As `part` below of the examples."""
        return self._checked(*part(self.examples, step, n, rank, world), n // world)

    def _checked(self, x: Tensor, y: Any, n: int) -> tuple[Tensor, Any]:
        if x.shape != (n, *self.shape):
            wanted = [n, *self.shape]
            raise ValueError(f"the data's batch(step, {n}) gives {list(x.shape)}, not {wanted} as declared")
        return x, y


class OwnFinite(Own):
    """The same, of one that has a length."""

    def __len__(self) -> int:
        return len(self.examples)  # type: ignore[arg-type]


def complete(examples: Examples) -> Source:
    """The source itself if it is one of ours, else one with all that a `Source` declares."""
    if type(examples).__module__.startswith("zerosum.") and hasattr(type(examples), "split"):
        return cast("Source", examples)
    return OwnFinite(examples) if hasattr(examples, "__len__") else Own(examples)


class Ahead(Own):
    """A source whose next batch is made beside the use of this one: for data that come from a disk.

    What it gives is what the source gives, in whatever order it is asked.

    >>> class Squares:
    ...     shape = (1,)
    ...
    ...     def batch(self, step, n):
    ...         return torch.full((n, 1), float(step**2)), None
    >>> ahead = Ahead(Squares())
    >>> [float(ahead.batch(step, 1)[0]) for step in (3, 4, 9)]
    [9.0, 16.0, 81.0]
    """

    def __init__(self, examples: Examples) -> None:
        super().__init__(examples)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="zerosum-data")
        self._next: dict[tuple[int, ...], Future[tuple[Tensor, Tensor | None]]] = {}

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """As the source's own; the batch of step + 1 is begun."""
        x, y = self.part(step, n, 0, 1)
        return encoded(self, x), y

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
        """As `part` of the source; that of step + 1 is begun."""
        place, after = (step, n, rank, world), (step + 1, n, rank, world)
        wanted = self._next.pop(place, None)
        self._next = {after: self._beside.submit(part, self.examples, *after)}
        return part(self.examples, *place) if wanted is None else wanted.result()


def part(source: Examples, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
    """The rank-th of `world` equal parts of ``source.batch(step, n)``: x [n / world, *shape] and y.

    A source that need not make the whole for it, or that holds bytes, which are a quarter of what they
    become, has a method ``part(step, n, rank, world)``; its x may be uint8, of which `encoded` makes the
    float32 of the batch. The batch of any other is cut.
    """
    own = getattr(source, "part", None)
    if own is not None:
        return own(step, n, rank, world)
    x, y = source.batch(step, n)
    return x.chunk(world)[rank], None if y is None else y.chunk(world)[rank]


def encoded(source: Source | Own, x: Tensor) -> Tensor:
    """What the players see of a part, wherever it lies: bytes encoded, floats as they are."""
    return x if x.is_floating_point() else source.codec.encode(x)


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
