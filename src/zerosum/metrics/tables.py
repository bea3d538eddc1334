"""Tables judged: each column, each pair of them, and what made rows may not be.

A table here is a mapping from names to columns of equal length: numbers are float arrays, NaN where one is
missing; anything else is an array of objects, None where one is missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.metrics.determined import determined
from zerosum.metrics.estimate import Estimate, jackknife_error, student, wilson

__all__ = [
    "Quality",
    "QualityEstimates",
    "Rows",
    "column_pairs",
    "column_shapes",
    "conditions_obeyed",
    "consistency",
    "dependences",
    "missing_difference",
    "outside",
    "quality",
    "share_difference",
    "table_quality",
    "training_copies",
    "unmet_values",
    "values_outside",
    "values_present",
]

Array = NDArray[Any]
Rows = Mapping[str, Array]

LEAST_CORRELATION, LEAST_ASSOCIATION = 0.5, 0.3  # of pairs that depend on each other, in SDMetrics
_DECIMALS = 14  # to which SDMetrics rounds numbers
_BLOCKS = 10  # of rows, of which a jackknife deletes one at a time


class Quality(NamedTuple):
    """shapes: the mean of `column_shapes`. pairs: the mean of `column_pairs`. score: the mean of the two."""

    shapes: float
    pairs: float

    @property
    def score(self) -> float:
        """The mean of both, or of what there is: a table may have no pair of columns that depend."""
        parts = [part for part in self if not math.isnan(part)]
        return math.fsum(parts) / len(parts) if parts else math.nan


def quality(real: Rows, fake: Rows) -> Quality:
    """The two parts of the quality report of SDMetrics, and its score."""
    return _quality(real, fake, list(_dependent(real)))


def _quality(real: Rows, fake: Rows, pairs: Sequence[tuple[str, str]]) -> Quality:
    means = [
        [x for x in scores.values() if not math.isnan(x)]
        for scores in (column_shapes(real, fake), _pair_scores(real, fake, pairs))
    ]
    return Quality(*(math.fsum(part) / len(part) if part else math.nan for part in means))


class QualityEstimates(NamedTuple):
    """The two parts of the quality report of SDMetrics, and its score, with their intervals."""

    column_shapes: Estimate
    column_pairs: Estimate
    quality: Estimate


def table_quality(real: Rows, fake: Rows, space: str = "rows") -> QualityEstimates:
    """`quality` with intervals: a delete-a-block jackknife over the made rows, 10 blocks, Student.

    Raises ValueError for tables in which nothing can be compared.
    """
    pairs, n = list(_dependent(real)), length(fake)
    value = _quality(real, fake, pairs)
    if math.isnan(value.score):
        raise ValueError("it needs a column of numbers or of categories with cells in both tables")
    block = np.arange(n) % _BLOCKS
    deleted = [_quality(real, taken(fake, block != b), pairs) for b in range(_BLOCKS)]

    def estimate(at: int, what: str) -> Estimate:
        values = [(*part, part.score)[at] for part in deleted]
        middle, usable = (*value, value.score)[at], [x for x in values if not math.isnan(x)]
        error = jackknife_error(usable) if usable else 0.0
        low, high = student(middle, error, _BLOCKS)
        return Estimate(middle, low, min(high, 1.0), n, space, what, "jackknife of 10 blocks")

    return QualityEstimates(
        estimate(0, "mean of 1 - D over columns"),
        estimate(1, f"mean similarity of {len(pairs)} dependent pairs"),
        estimate(2, "quality score of SDMetrics"),
    )


def column_shapes(real: Rows, fake: Rows) -> dict[str, float]:
    """Of each column 1 - D: of numbers Kolmogorov's and Smirnov's sup |F - F'|, else half of sum |p - p'|.

    Missing cells are left out, as SDMetrics does in KSComplement and TVComplement.

    >>> column_shapes({"x": np.arange(4.0)}, {"x": np.arange(4.0) + 1})
    {'x': 0.75}
    """
    scores: dict[str, float] = {}
    for name in real:
        a, b = (x[~missing(x)] for x in (real[name], fake[name]))
        if not len(a) or not len(b):
            scores[name] = math.nan
        elif is_number(real[name]):
            a, b = np.sort(np.round(a, _DECIMALS)), np.sort(np.round(b, _DECIMALS))
            both = np.concatenate([a, b])
            gaps = [np.searchsorted(x, both, side="right") / len(x) for x in (a, b)]
            scores[name] = 1 - float(np.abs(gaps[0] - gaps[1]).max())
        else:
            scores[name] = 1 - _variation(_codes(a, b))
    return scores


def column_pairs(real: Rows, fake: Rows, every: bool = False) -> dict[tuple[str, str], float]:
    """Of each pair of columns that depend on each other how alike their dependence is, in [0, 1].

    Of two of numbers 1 - |r - r'| / 2, r Pearson's correlation; else 1 - sum |p - p'| / 2 over the cells of
    the contingency table, numbers in ten bins of equal width between the ends of the table that they are in:
    CorrelationSimilarity and ContingencySimilarity of SDMetrics, as its quality report has them. So are the
    pairs: those with |r| > 0.5, or Cramer's V > 0.3, in the real table. every: all pairs.
    """
    return _pair_scores(real, fake, list(combinations(real, 2)) if every else list(_dependent(real)))


def _dependent(real: Rows) -> Iterator[tuple[str, str]]:
    strength = np.abs(dependences(real))
    for (i, first), (j, second) in combinations(enumerate(real), 2):
        of_numbers = is_number(real[first]) and is_number(real[second])
        if strength[i, j] > (LEAST_CORRELATION if of_numbers else LEAST_ASSOCIATION):
            yield first, second


def _pair_scores(real: Rows, fake: Rows, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    used = {name for pair in pairs for name in pair}
    binned = {name: _codes(_bins(real[name]), _bins(fake[name])) for name in used}
    numbers = [name for name in real if name in used and is_number(real[name])]
    at = {name: i for i, name in enumerate(numbers)}
    r = [_correlations([rows[name] for name in numbers]) for rows in (real, fake)]
    scores: dict[tuple[str, str], float] = {}
    for first, second in pairs:
        if first in at and second in at:
            here, there = (float(matrix[at[first], at[second]]) for matrix in r)
            scores[first, second] = 1 - abs(here - there) / 2
        else:
            (a, b), (c, d) = binned[first], binned[second]
            width = int(max(c.max(), d.max())) + 1
            scores[first, second] = 1 - _variation((a * width + c, b * width + d))
    return scores


def dependences(rows: Rows) -> Array:
    """How much each column depends on each other, ``[D, D]``: Pearson's r of two of numbers, else Cramer's V,
    numbers in ten bins; NaN where a column has one value.
    """
    names, found = list(rows), np.full((len(rows), len(rows)), math.nan)
    at = [i for i, name in enumerate(names) if is_number(rows[name])]
    found[np.ix_(at, at)] = _correlations([rows[names[i]] for i in at])
    coded = [np.unique(_codes(_bins(x), x[:0])[0], return_inverse=True)[1] for x in rows.values()]
    for i, j in combinations(range(len(names)), 2):
        if i not in at or j not in at:
            found[i, j] = found[j, i] = _association(coded[i], coded[j])
    np.fill_diagonal(found, 1.0)
    return found


def _association(a: Array, b: Array) -> float:
    """Cramer's V of two columns of codes 0, 1, ...; NaN where one has one value."""
    shape = int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1
    if min(shape) < 2:
        return math.nan
    if shape[0] * shape[1] > 4 * len(a):  # as the sum over the cells that occur: the others' are known
        cells, counts = np.unique(a * shape[1] + b, return_counts=True)
        p, q = (np.bincount(x) / len(a) for x in (a, b))
        chi2 = float((counts**2 / (p[cells // shape[1]] * q[cells % shape[1]])).sum()) / len(a) - len(a)
    else:
        counts = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(a)
        chi2 = float(((counts - expected) ** 2 / expected).sum())
    return math.sqrt(max(chi2, 0.0) / len(a) / (min(shape) - 1))


def _correlations(columns: Sequence[Array]) -> Array:
    """Pearson's r ``[d, d]`` of columns of numbers, over the rows in which neither is missing."""
    if not columns:
        return np.empty((0, 0))
    x = np.stack(columns, axis=1)
    there = ~np.isnan(x)
    n = np.maximum(there.sum(axis=0), 1)
    x = np.where(there, x, 0.0)
    x = np.where(there, x - x.sum(axis=0) / n, 0.0)
    x /= np.maximum(
        np.abs(x).max(axis=0, initial=0.0), np.finfo(float).tiny
    )  # squares neither over- nor underflow
    here = there.astype(np.float64)
    both = np.maximum(here.T @ here, 1)
    mean = x.T @ here / both  # of the first where both are there
    cov = x.T @ x / both - mean * mean.T
    var = (x**2).T @ here / both - mean**2
    var = np.where(var > 1e-13 * np.maximum((x**2).T @ here / both, 1e-300), var, math.nan)
    with np.errstate(invalid="ignore"):
        r = np.clip(cov / np.sqrt(var * var.T), -1, 1)
    return np.where(both >= 2, r, math.nan)


# what may not be ----------------------------------------------------------------------------------------


def outside(train: Rows, fake: Rows) -> float:
    """The share of `fake` rows with a number outside of the range of `train`."""
    out = np.zeros(length(fake), dtype=bool)
    for name, x in train.items():
        if is_number(x) and not missing(x).all():
            with np.errstate(invalid="ignore"):
                out |= (fake[name] < np.nanmin(x)) | (fake[name] > np.nanmax(x))
    return float(out.mean())


def unmet_values(train: Rows, fake: Rows) -> dict[str, list[Any]]:
    """The values of each category that `train` has and `fake` has not."""
    lost = {name: set(x) - set(fake[name]) for name, x in train.items() if not is_number(x)}
    return {name: sorted(values, key=str) for name, values in lost.items() if values}


def values_outside(train: Rows, fake: Rows, space: str = "rows") -> Estimate:
    """`outside` with Wilson's interval. Raises ValueError for tables without columns that can be judged."""
    n = _judged_length(fake)
    share = outside(train, fake)
    return Estimate(share, *wilson(share * n, n), n, space, "share of rows out of range", "Wilson")


def values_present(train: Rows, fake: Rows, space: str = "rows") -> Estimate:
    """How many of the values that the categories of `train` have occur in `fake`.

    p_value: the probability that n real rows lack the commonest of those that are lost, (1 - p)^n, times the
    number of values (Bonferroni). Raises ValueError where there is no category.
    """
    lost, n = unmet_values(train, fake), length(fake)
    most = sum(len(set(x)) for x in train.values() if not is_number(x))
    if not most:
        raise ValueError("it needs a column of categories")
    counts = {name: Counter(train[name].tolist()) for name in lost}
    shares = [counts[name][value] / length(train) for name, values in lost.items() for value in values]
    count = most - len(shares)
    p = min(1.0, most * (1 - max(shares, default=0.0)) ** n)
    about = space, "values of categories", "counted"
    return Estimate(count, count, count, n, *about, of=most, p_value=p)


def conditions_obeyed(fake: Any, obeys: Callable[[Any], Array], space: str = "rows") -> Estimate:
    """The share of rows that meet the conditions that were asked for. obeys: rows -> bool ``[n]``."""
    met = obeys(fake)
    hits, n = int(met.sum()), len(met)
    return Estimate(hits / n, *wilson(hits, n), n, space, "share of rows that meet the conditions", "Wilson")


def share_difference(train: Rows, fake: Rows) -> float:
    """The largest difference between the shares that a value of a category has in the two, missing ones too.

    >>> a, b = np.array(["x", "x", None, "y"]), np.array(["x", "y", "y", "y"])
    >>> share_difference({"kind": a}, {"kind": b})
    0.5
    """
    worst = 0.0
    for name, x in train.items():
        if not is_number(x):
            a, b = _codes(x, fake[name])
            size = int(max(a.max(initial=0), b.max(initial=0))) + 1
            p, q = (np.bincount(codes, minlength=size) / len(codes) for codes in (a, b))
            worst = max(worst, float(np.abs(p - q).max()))
    return worst


def missing_difference(train: Rows, fake: Rows) -> float:
    """The largest difference between the shares of missing cells that a column has in the two."""
    return max(float(abs(missing(x).mean() - missing(fake[name]).mean())) for name, x in train.items())


def training_copies(train: Rows, fake: Rows, space: str = "rows") -> Estimate:
    """The share of `fake` rows that are a row of `train`, cell for cell.

    Raises ValueError as `values_outside`.
    """
    known = set(_tuples(train))
    n = _judged_length(fake)
    hits = sum(row in known for row in _tuples({name: fake[name] for name in train}))
    return Estimate(hits / n, *wilson(hits, n), n, space, "share of copies of training rows", "Wilson")


def consistency(train: Rows, fake: Rows) -> float:
    """The share of `fake` rows that contradict `train` nowhere: where a column follows from another, or from
    two together, in all rows of `train`, and not by chance, it comes with what it came with.

    1 where no column follows from others. Values, or pairs of them, that `train` has not are passed over.
    """
    coded = {name: _codes(x, fake[name]) for name, x in train.items()}
    codes = {name: np.unique(a, return_inverse=True)[1] for name, (a, _) in coded.items()}
    fine = np.ones(length(fake), dtype=bool)
    for of, name in determined(codes, {name: ~missing(x) for name, x in train.items()}):
        a, there = (np.zeros(len(x), dtype=np.int64) for x in coded[name])
        for one in of:
            size = int(max(x.max(initial=0) for x in coded[one])) + 1
            a, there = (x * size + y for x, y in zip((a, there), coded[one], strict=True))
        b, here = coded[name]
        keys, at = np.unique(a, return_index=True)
        place = np.minimum(np.searchsorted(keys, there), len(keys) - 1)
        fine &= (keys[place] != there) | (b[at[place]] == here)
    return float(fine.mean())


def _tuples(rows: Rows) -> Iterator[tuple[Any, ...]]:
    columns = [[None if cell != cell else cell for cell in x.tolist()] for x in rows.values()]
    return zip(*columns, strict=True)


# cells --------------------------------------------------------------------------------------------------


def taken(rows: Rows, at: Any) -> dict[str, Array]:
    """The rows of these places."""
    return {name: x[at] for name, x in rows.items()}


def length(rows: Rows) -> int:
    return len(next(iter(rows.values()), ()))


def _judged_length(rows: Rows) -> int:
    if not (n := length(rows)):
        raise ValueError("it needs a column that is no identifier")
    return n


def is_number(x: Array) -> bool:
    return x.dtype.kind == "f"


def missing(x: Array) -> Array:
    return np.isnan(x) if is_number(x) else np.array([cell is None for cell in x], dtype=bool)


def _codes(a: Array, b: Array) -> tuple[Array, Array]:
    """Cells of two columns as the numbers of the values that they have together, missing ones as one more."""
    if is_number(a) and is_number(b):
        codes = np.unique(np.concatenate([a, b]), return_inverse=True)[1].reshape(-1)
    else:
        values: dict[Any, int] = {}
        codes = np.array([values.setdefault(cell, len(values)) for cell in (*a.tolist(), *b.tolist())], int)
    return codes[: len(a)], codes[len(a) :]


def _bins(x: Array) -> Array:
    """Numbers as the place of their bin, 1 to 11, and 11 where one is missing; other cells as they are."""
    if not is_number(x):
        return x
    present = x[~np.isnan(x)]
    return np.digitize(x, np.histogram_bin_edges(present, 10)) if len(present) else np.full(len(x), 11)


def _variation(codes: tuple[Array, Array]) -> float:
    """Half of sum |p - p'|."""
    size = int(max(codes[0].max(), codes[1].max())) + 1
    if size > 4 * (len(codes[0]) + len(codes[1])):  # far more cells than rows
        codes = _codes(*codes)
        size = int(max(codes[0].max(), codes[1].max())) + 1
    p, q = (np.bincount(code, minlength=size) / len(code) for code in codes)
    return float(np.abs(p - q).sum()) / 2
