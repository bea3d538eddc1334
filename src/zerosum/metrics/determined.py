"""Which columns of a table follow from another, or from two together, in all rows and not by chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["determined", "nearly_determined"]

Array = NDArray[np.int64]

SURE = 20.0  # that columns agree by chance is less likely than e to the minus this
MOST_COMPARED = 100  # columns, each of which is compared with each other
MOST_PAIRED = 40  # columns, of which pairs are compared with the others
MOST_TOGETHER = 50_000  # pairs of values, each of which occurs twice and more on the average
NEARLY = 0.9  # of the rows that the commonest value of a column is wrong of, another column tells so many
FEWEST_ROWS = 4  # of each value of what others nearly follow from, on the average
_SOME = 1000, 20_000  # rows, drawn at random, that contradict most of what is asked


def determined(codes: Mapping[str, Array], there: Mapping[str, Array]) -> list[tuple[tuple[str, ...], str]]:
    """(determinants, column) of each column that follows from one or two others in all rows.

    Of rows that agree in the determinants, s of them, all agree in the column by chance with probability
    p^(s - 1), p the share of its commonest value: among all rows, or with two determinants among those that
    agree in either one. Rows in which a determinant is missing are no evidence, for cells are often missing
    together. Two determinants are named where neither is enough, nor anything that follows from one of them,
    and where they do not follow both from the column itself; in their place the first of columns that
    determine each other.

    codes: of each column the numbers 0, 1, ... of its values, a missing one among them, ``[N]``. there: where
    it is not missing.
    """
    names = list(codes)
    if not 2 <= len(names) <= MOST_COMPARED:
        return []
    n = len(codes[names[0]])
    order = np.random.RandomState(0).permutation(n)
    samples = [order[:most] for most in _SOME if most < n] + [np.arange(n)]
    at = [{name: codes[name][rows].astype(np.int64) for name in names} for rows in samples]
    sizes = {name: int(x.max(initial=0)) + 1 for name, x in codes.items()}
    alone = [
        ((a,), b)
        for a in names
        for b in names
        if a != b and sizes[a] >= sizes[b] and _follows(at, sizes[a], a, b, there[a])
    ]
    follow: dict[str, set[str]] = {name: {name} for name in names}
    for (a,), b in alone:
        follow[a].add(b)
    first = [b for j, b in enumerate(names) if not any(a in follow[b] and b in follow[a] for a in names[:j])]
    if len(first) > MOST_PAIRED:
        return alone
    together = sorted(_pairs(at, sizes, there, first, follow))
    kept: list[tuple[tuple[str, ...], str]] = []
    for _, a, b, c in together:  # what takes fewest values first
        if not any(c == k and {x, y} <= follow[a] | follow[b] for (x, y), k in kept):
            kept.append(((a, b), c))
    return alone + kept


def nearly_determined(codes: Mapping[str, Array], there: Mapping[str, Array]) -> list[tuple[str, str]]:
    """(determinant, column) of each column that follows from one other in nearly all rows.

    A determinant's values occur four times each on the average. Of the rows in which they are repeated, the
    column's commonest value beside them is wrong in a tenth at most of those in which the commonest of all is
    (lambda of Goodman and Kruskal, 1954, at least 0.9), and it is no chance. By 20,000 rows at most.

    codes, there: as of `determined`.
    """
    names = list(codes)
    if not 2 <= len(names) <= MOST_PAIRED:
        return []
    order = np.random.RandomState(0).permutation(len(codes[names[0]]))
    sizes = {name: int(x.max(initial=0)) + 1 for name, x in codes.items()}
    few = [name for name in names if FEWEST_ROWS * sizes[name] <= len(order)]
    pairs = [(a, b) for a in few for b in names if a != b and sizes[a] >= sizes[b]]
    for most in _SOME:
        some = order[:most]
        at = {name: codes[name][some].astype(np.int64) for name in names}
        seen = {name: there[name][some] for name in names}
        scores = [_lambda(*(at[x][seen[a] & seen[b]] for x in (a, b))) for a, b in pairs]
        least = NEARLY if most == _SOME[-1] else 2 * NEARLY - 1  # few rows only rule out
        pairs = [
            pair
            for pair, (score, surprise) in zip(pairs, scores, strict=True)
            if (score >= least if surprise > SURE else most < _SOME[-1])
        ]
    return pairs


def _lambda(a: Array, b: Array) -> tuple[float, float]:
    """The share of errors in b that a saves, and how unlikely it is, as -log, that b's commonest value stands
    beside every repetition of a by chance."""
    counts = np.bincount(a, minlength=1)
    repeated = counts[a] > 1
    a, b = a[repeated], b[repeated]
    if not len(a):
        return 0.0, 0.0
    share = float(np.bincount(b).max()) / len(b)
    surprise = -(len(a) - int(np.count_nonzero(counts > 1))) * math.log(share)
    if surprise <= SURE:
        return 0.0, surprise
    size = int(b.max()) + 1
    cells, met = np.unique(a * size + b, return_counts=True)
    most = np.zeros(len(counts))
    np.maximum.at(most, cells // size, met)
    return 1 - (1 - float(most.sum()) / len(b)) / (1 - share), surprise


def _follows(at: list[dict[str, Array]], size: int, a: str, b: str, there: Array) -> bool:
    for some in at:
        values = np.zeros(size, dtype=np.int64)
        values[some[a]] = some[b]
        if (values[some[a]] != some[b]).any():
            return False
    a_there, b_there = at[-1][a][there], at[-1][b][there]
    if not len(b_there):
        return False
    most = float(np.bincount(b_there).max()) / len(b_there)
    repeated = len(a_there) - int(np.count_nonzero(np.bincount(a_there)))
    return most < 1 and repeated * math.log(most) < -SURE


def _pairs(
    at: list[dict[str, Array]],
    sizes: Mapping[str, int],
    there: Mapping[str, Array],
    names: list[str],
    follow: Mapping[str, set[str]],
) -> Iterator[tuple[int, str, str, str]]:
    """(how many pairs of values there are, a, b, c), where c follows from a and b together."""
    tables = [np.stack([some[name] for name in names], axis=1) for some in at] if names else []
    whole = at[-1]
    for a, b in combinations(names, 2):
        if b in follow[a] or a in follow[b]:
            continue
        open_to = np.array(
            [c not in follow[a] | follow[b] and not {a, b} <= follow[c] for c in names], dtype=bool
        )
        alike: Array = np.empty(0, dtype=np.int64)
        for some, table in zip(at, tables, strict=True):
            together = some[a] * sizes[b] + some[b]
            rows = np.argsort(together, kind="stable")
            alike = np.flatnonzero(together[rows][1:] == together[rows][:-1])
            if len(some[a]) >= _SOME[-1] and len(alike) < len(rows) / 10:  # far more pairs than are held
                open_to[:] = False
            chosen = np.flatnonzero(open_to)
            pairs = table[:, chosen]
            open_to[chosen] = ~(pairs[rows[alike]] != pairs[rows[alike + 1]]).any(axis=0)
            if not open_to.any():
                break
        else:
            count = len(whole[a]) - len(alike)
            if count > min(MOST_TOGETHER, len(whole[a]) / 2):
                continue
            seen = there[a] & there[b]
            for c in (names[j] for j in np.flatnonzero(open_to)):
                one, two, three = whole[a][seen], whole[b][seen], whole[c][seen]
                if _surprise(one, two, three) > SURE and _surprise(two, one, three) > SURE:
                    yield count, a, b, c


def _surprise(a: Array, b: Array, c: Array) -> float:
    """How unlikely it is, as -log, that c follows from a and b if within each value of a it is drawn."""
    if not len(a):
        return 0.0
    size, width = int(a.max()) + 1, int(c.max()) + 1
    cells, counts = np.unique(a * width + c, return_counts=True)
    most = np.zeros(size)
    np.maximum.at(most, cells // width, counts)
    rows = np.bincount(a, minlength=size)
    pairs = np.unique(a * (int(b.max()) + 1) + b) // (int(b.max()) + 1)
    repeated = rows - np.bincount(pairs, minlength=size)
    used = repeated > 0
    return float(-(repeated[used] * np.log(most[used] / rows[used])).sum())
