"""Rows of a few columns that are known, each once, and where the cells of a table stand among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.sheet import Cells, as_coded

__all__ = ["Known", "places"]

Array = NDArray[Any]


def places(cells: Cells, numbers: dict[Any, int]) -> Array:
    """The number of each cell, of a missing one that of None; -1 where it has none."""
    coded = as_coded(cells)
    lookup = [numbers.get(value, -1) for value in (*coded.values, None)]
    return np.array(lookup, dtype=np.int64)[coded.codes]


class Known:
    """columns: the cells of the rows that are known, column by column, None where one is missing."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self._steps: list[tuple[dict[Any, int], Array]] = []
        at = found = np.zeros(len(columns[0]), dtype=np.int64)
        for cells in columns:  # column by column: what stands before is one number
            numbers = {value: i for i, value in enumerate(dict.fromkeys(cells))}
            both = at * len(numbers) + [numbers[value] for value in cells]
            found, at = np.unique(both, return_inverse=True)
            self._steps.append((numbers, found))
        self.at = at
        """Of each row its place among them, as `find` gives it if rows are repeated."""
        self._row = np.zeros(len(found), dtype=np.int64)
        self._row[at[::-1]] = np.arange(len(at))[::-1]

    def find(self, cells: Sequence[Cells]) -> Array:
        """The first row in which these cells stand, -1 if none is known."""
        at: Array = np.zeros(1, dtype=np.int64)
        for column, (numbers, found) in zip(cells, self._steps, strict=True):
            own = places(column, numbers)
            both = np.where((at < 0) | (own < 0), -1, at * len(numbers) + own)
            near = np.minimum(np.searchsorted(found, both), len(found) - 1)
            at = np.where(found[near] == both, near, -1)
        return np.where(at < 0, -1, self._row[at])
