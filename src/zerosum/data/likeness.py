"""Likeness: the values of a category of many, in an order that has like ones beside each other.

Such a category is seen as the row and the place of its value in a square (`zerosum.data.column`). What goes
with it is learnt far sooner if the row says it: airports by how far they are, machines by who owns them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from zerosum.data.column import Category, Column, Number
from zerosum.data.sheet import Sheet
from zerosum.randomness import stream

__all__ = ["arranged"]

Array = NDArray[np.float64]

DOUBT = 4.0  # rows of which a value is like all others, beside those that it has
MOST_ROWS = 1 << 16
MOST_COMPARED = 1 << 23  # numbers that tell the values of a column apart
_STEPS = 12  # of the power method


def arranged(sheet: Sheet, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of a table, those of many values in the order of their likeness, by `MOST_ROWS` at most."""
    if not any(isinstance(column, Category) and column.is_wide for column in columns):
        return tuple(columns)
    if len(sheet) > MOST_ROWS:
        sheet = sheet.take(np.sort(np.random.RandomState(0).permutation(len(sheet))[:MOST_ROWS]))
    return tuple(
        _arranged(column, sheet, columns) if isinstance(column, Category) and column.is_wide else column
        for column in columns
    )


def _arranged(column: Category, sheet: Sheet, columns: Sequence[Column]) -> Category:
    codes, n = column.codes_of(sheet[column.name]).astype(np.int64), len(column.values)
    counts = np.bincount(codes, minlength=n)
    marks: list[Array] = []
    for other in columns:
        if other is column or (isinstance(other, Category) and other.is_wide):
            continue
        if sum(part.size for part in marks) >= MOST_COMPARED:
            break
        if isinstance(other, Number | Category):
            marks.append(_marks(codes, counts, other, sheet))
    if not marks:
        return column
    order = _order(np.concatenate(marks, axis=1), counts, column.groups[1])
    values, shares = ([some[i] for i in order] for some in (column.values, column.shares))
    return replace(column, values=tuple(values), shares=tuple(shares))


def _marks(
    codes: NDArray[np.int64], counts: NDArray[np.int64], other: Number | Category, sheet: Sheet
) -> Array:
    """What each value goes with in another column ``[n, m]``: the mean of its ranks as normal scores, or how
    far its shares are from those of all, in standard deviations of one row."""
    low, width, groups = other.pack(sheet[other.name], True)
    n, rows = len(counts), counts[:, None] + DOUBT
    if isinstance(other, Number):
        z = torch.special.ndtri(torch.from_numpy(low + width / 2).clamp(1e-6, 1 - 1e-6)).numpy()
        return np.bincount(codes, weights=z, minlength=n)[:, None] / rows
    shares = np.array(other.shares)
    size = len(shares)
    met = np.bincount(codes * size + groups[:, 0], minlength=n * size).reshape(n, size)
    return (met - counts[:, None] * shares) / rows / np.sqrt(shares)


def _order(marks: Array, counts: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Halves along the direction in which they differ most, halves of these, ..., down to rows of `side`
    (Boley 1998, Principal direction divisive partitioning)."""
    x = marks - np.average(marks, axis=0, weights=counts)
    along = torch.randn(x.shape[1], generator=stream("likeness"), dtype=torch.float64).numpy()
    for _ in range(_STEPS):
        along = ((x @ along) * counts) @ x
        along /= np.linalg.norm(along) or 1.0
    order = np.argsort(x @ along, kind="stable")
    if len(order) <= side:
        return order
    cut = side * -(-len(order) // side // 2)
    halves = order[:cut], order[cut:]
    return np.concatenate([half[_order(marks[half], counts[half], side)] for half in halves])
