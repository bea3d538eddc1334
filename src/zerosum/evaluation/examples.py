"""A set of examples as it is held while it is judged: images as bytes, anything else as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zerosum.data.sheet import Sheet

__all__ = ["LARGEST_SIDE", "ROOM", "Examples", "gathered", "room"]

ROOM = 2**28
"""Bytes of one set of examples that are held, at most: a quarter of a gigabyte."""
LARGEST_SIDE = 64
"""Metrics in pixels, and feature spaces that are trained on the data, see larger images averaged to this."""
_VIEWED = 2**26  # numbers of a set that a metric in pixels sees, at most


@dataclass(frozen=True)
class Examples:
    """N examples; `examples[rows]` are floats, images ``[n, C, H, W]`` in [-1, 1] with sides of at most
    `side`.

    values: uint8 ``[N, C, H, W]`` of images, float32 ``[N, d]`` of anything else, as the players see it.
    sheet: the same rows of a table as their file has them, None where they are only known as `values`.
    notes: what a person should be told of how they were read.
    """

    values: Tensor
    side: int | None = LARGEST_SIDE
    sheet: Sheet | None = None
    notes: tuple[str, ...] = ()

    @property
    def of_images(self) -> bool:
        return self.values.dtype == torch.uint8

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        x = self.values[rows]
        if not self.of_images:
            return x
        x = x.float() / 127.5 - 1
        longest = max(x.shape[2:])
        if self.side is None or longest <= self.side:
            return x
        smaller = [max(1, round(side * self.side / longest)) for side in x.shape[2:]]
        return interpolate(x, smaller, mode="area")

    @property
    def in_full(self) -> Examples:
        """The same examples, images in their own size."""
        return replace(self, side=None)

    def viewed(self) -> Tensor:
        """All of them as one tensor, or the first of them where they would take more than 256 MB as
        floats."""
        each = self[:1].numel()
        step = max(1, 2**22 // each)
        rows = min(len(self), max(1, _VIEWED // each))
        return torch.cat([self[i : min(i + step, rows)] for i in range(0, rows, step)])

    def take(self, rows: Tensor | slice) -> Examples:
        at = rows.numpy() if isinstance(rows, Tensor) else rows
        return replace(
            self, values=self.values[rows], sheet=None if self.sheet is None else self.sheet.take(at)
        )

    def joined(self, other: Examples) -> Examples:
        known = self.sheet is not None and other.sheet is not None
        sheet = Sheet.joined([self.sheet, other.sheet]) if known else None  # pyright: ignore[reportArgumentType]
        return replace(self, values=torch.cat([self.values, other.values]), sheet=sheet)


def room(shape: tuple[int, ...], of_images: bool) -> int:
    """How many examples of this shape are held at most."""
    return max(2, ROOM // (math.prod(shape) * (1 if of_images else 4)))


def gathered(parts: Iterable[Tensor], n: int) -> Tensor:
    """The parts ``[m, ...]`` as one tensor ``[n, ...]``, with no more than that and a part in memory."""
    out: Tensor | None = None
    at = 0
    for part in parts:
        out = part.new_empty(n, *part.shape[1:]) if out is None else out
        some = part[: n - at]
        out[at : at + len(some)] = some
        at += len(some)
        if at >= n:
            break
    if out is None:
        raise ValueError("there are no examples")
    return out[:at]
