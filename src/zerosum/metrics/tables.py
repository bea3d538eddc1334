"""Tables judged: each column, each pair of them, what trees can tell, what is learnt from them, and copies.

A table here is a mapping from names to columns of equal length: numbers are float arrays, NaN where one is
missing; anything else is an array of objects, None where one is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.metrics.estimate import Estimate, normal, wilson

__all__ = [
    "Quality",
    "Utility",
    "column_pairs",
    "column_shapes",
    "detection",
    "nearness_to_training",
    "outside",
    "quality",
    "unmet_values",
    "utility",
]

Array = NDArray[Any]
Rows = Mapping[str, Array]

_MOST_VALUES = 250  # of a category that trees see; the others are one
_MOST_ROWS = 12_000  # that trees are trained on to tell tables apart
LEAST_CORRELATION, LEAST_ASSOCIATION = 0.5, 0.3  # of pairs that depend on each other, in SDMetrics
_DECIMALS = 14  # to which SDMetrics rounds numbers


class Quality(NamedTuple):
    """shapes: the mean of `column_shapes`. pairs: the mean of `column_pairs`. score: the mean of the two."""

    shapes: float
    pairs: float

    @property
    def score(self) -> float:
        return (self.shapes + self.pairs) / 2


def quality(real: Rows, fake: Rows) -> Quality:
    """The two parts of the quality report of SDMetrics, and its score."""
    means = [
        [x for x in scores.values() if not math.isnan(x)]
        for scores in (column_shapes(real, fake), column_pairs(real, fake))
    ]
    return Quality(*(math.fsum(part) / len(part) if part else math.nan for part in means))


def column_shapes(real: Rows, fake: Rows) -> dict[str, float]:
    """Of each column 1 - D: of numbers Kolmogorov's and Smirnov's sup |F - F'|, else half of sum |p - p'|.

    Missing cells are left out, as SDMetrics does in KSComplement and TVComplement.

    >>> column_shapes({"x": np.arange(4.0)}, {"x": np.arange(4.0) + 1})
    {'x': 0.75}
    """
    scores: dict[str, float] = {}
    for name in real:
        a, b = (x[~_missing(x)] for x in (real[name], fake[name]))
        if not len(a) or not len(b):
            scores[name] = math.nan
        elif _is_number(real[name]):
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
    binned = {name: _codes(_bins(real[name]), _bins(fake[name])) for name in real}
    scores: dict[tuple[str, str], float] = {}
    for first, second in combinations(real, 2):
        if _is_number(real[first]) and _is_number(real[second]):
            r = _correlation(real[first], real[second])
            if every or abs(r) > LEAST_CORRELATION:
                scores[first, second] = 1 - abs(r - _correlation(fake[first], fake[second])) / 2
        elif every or _association(binned[first][0], binned[second][0]) > LEAST_ASSOCIATION:
            (a, b), (c, d) = binned[first], binned[second]
            width = int(max(c.max(), d.max())) + 1
            scores[first, second] = 1 - _variation((a * width + c, b * width + d))
    return scores


def _association(a: Array, b: Array) -> float:
    """Cramer's V of two columns of codes; 0 where one has one value."""
    from scipy.stats.contingency import association

    a, b = (np.unique(x, return_inverse=True)[1] for x in (a, b))
    shape = int(a.max()) + 1, int(b.max()) + 1
    counts = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)
    return float(association(counts, method="cramer")) if min(shape) > 1 else 0.0


def detection(real: Rows, fake: Rows, seed: int = 0) -> Estimate:
    """How well boosted trees tell `fake` from `real`: the area under their ROC curve on rows that they have
    not seen. 0.5: not at all.

    As many rows of each; half to learn from. The error is that of Hanley & McNeil (1982).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    n = min(len(next(iter(real.values()))), len(next(iter(fake.values()))), _MOST_ROWS // 2)
    draw = np.random.default_rng(seed)
    parts = [
        {name: x[draw_rows] for name, x in rows.items()}
        for rows in (real, fake)
        for draw_rows in [draw.permutation(len(next(iter(rows.values()))))[:n]]
    ]
    design = _Design(parts[0], parts[1])
    x, y = np.concatenate([design(part) for part in parts]), np.repeat([0, 1], n)
    order = draw.permutation(2 * n)
    learn, judge = order[:n], order[n:]
    trees = HistGradientBoostingClassifier(random_state=seed, **design.options)
    trees.fit(x[learn], y[learn])
    area = float(roc_auc_score(y[judge], trees.predict_proba(x[judge])[:, 1]))
    m, k = int((y[judge] == 1).sum()), int((y[judge] == 0).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (k - 1) * (q2 - area**2)
    low, high = normal(area, math.sqrt(max(variance, 0) / (m * k)))
    about = ("rows", "area under the ROC curve of trees", "Hanley & McNeil")
    return Estimate(area, low, min(high, 1.0), n, *about)


class Utility(NamedTuple):
    """What a model of the column `target` is worth on held-out real rows: trained on real ones, on fake ones.

    kind: "AUC" of the area under the ROC curve (of several classes the mean over one against the rest), or
    "R2".
    """

    target: str
    kind: str
    real: float
    fake: float

    @property
    def loss(self) -> float:
        return self.real - self.fake


def utility(real: Rows, fake: Rows, held_out: Rows, target: str, seed: int = 0) -> Utility:
    """Boosted trees that predict the column `target` from the others, judged on the `held_out` real rows."""
    design = _Design(real, held_out, leave_out=target)
    kind = "R2" if _is_number(real[target]) else "AUC"
    real_score, fake_score = (_predicted(rows, held_out, target, design, seed) for rows in (real, fake))
    return Utility(target, kind, real_score, fake_score)


def _predicted(rows: Rows, held_out: Rows, target: str, design: _Design, seed: int) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    learn, judge = (~_missing(x[target]) for x in (rows, held_out))
    x, y = design(rows)[learn], rows[target][learn]
    x_judged, y_judged = design(held_out)[judge], held_out[target][judge]
    options: dict[str, Any] = {"random_state": seed, **design.options}
    if _is_number(held_out[target]):
        return float(r2_score(y_judged, HistGradientBoostingRegressor(**options).fit(x, y).predict(x_judged)))
    labels = y.astype(str)
    if len(set(labels)) < 2:
        return 0.5
    trees = HistGradientBoostingClassifier(**options).fit(x, labels)
    shares = trees.predict_proba(x_judged)
    areas = [
        roc_auc_score(y_judged.astype(str) == label, shares[:, i])
        for i, label in enumerate(trees.classes_)
        if 0 < (y_judged.astype(str) == label).sum() < len(y_judged)
    ]
    return float(np.mean(areas)) if areas else 0.5


def nearness_to_training(
    train: Rows, held_out: Rows, fake: Rows, most: int = 2000, seed: int = 0
) -> Estimate:
    """The share of `fake` rows that are nearer to a row of `train` than to any of as many `held_out` ones.

    0.5 where training rows are no better known than others. Distances are Euclidean, numbers in units of
    their standard deviation; rows that differ in a category are sqrt 2 apart in it. Ties count half.
    """
    from sklearn.neighbors import NearestNeighbors

    draw = np.random.default_rng(seed)
    n = min(len(next(iter(held_out.values()))), len(next(iter(train.values()))))
    design = _Design(train, held_out)
    at = draw.permutation(len(next(iter(fake.values()))))[:most]
    some = {name: x[at] for name, x in fake.items()}
    near: list[Array] = []
    for rows in (train, held_out):
        at = draw.permutation(len(next(iter(rows.values()))))[:n]
        points = design.embedded({name: x[at] for name, x in rows.items()})
        index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points)
        near.append(index.kneighbors(design.embedded(some))[0][:, 0])
    hits = float((near[0] < near[1]).sum() + (near[0] == near[1]).sum() / 2)
    m = len(near[0])
    low, high = wilson(hits, m)
    return Estimate(
        hits / m, low, high, m, "rows", "share nearer to training than to held-out rows", "Wilson"
    )


def outside(train: Rows, fake: Rows) -> float:
    """The share of `fake` rows with a number outside of the range of `train`."""
    out = np.zeros(len(next(iter(fake.values()))), dtype=bool)
    for name, x in train.items():
        if _is_number(x) and not _missing(x).all():
            with np.errstate(invalid="ignore"):
                out |= (fake[name] < np.nanmin(x)) | (fake[name] > np.nanmax(x))
    return float(out.mean())


def unmet_values(train: Rows, fake: Rows) -> dict[str, list[Any]]:
    """The values of each category that `train` has and `fake` has not."""
    lost = {name: set(x) - set(fake[name]) for name, x in train.items() if not _is_number(x)}
    return {name: sorted(values, key=str) for name, values in lost.items() if values}


class _Design:
    """Rows as trees and neighbours want them: float ``[n, d]``; categories as codes of the values of two
    tables, the rarest of many as one.
    """

    def __init__(self, first: Rows, second: Rows, leave_out: str | None = None) -> None:
        self.names = [name for name in first if name != leave_out]
        self.values: dict[str, dict[str, int]] = {}
        self.scale: dict[str, float] = {}
        for name in self.names:
            if _is_number(first[name]):
                self.scale[name] = float(np.nanstd(first[name])) or 1.0
                continue
            values, counts = np.unique(
                np.concatenate([first[name], second[name]]).astype(str), return_counts=True
            )
            common = values[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
            self.values[name] = {str(value): i for i, value in enumerate(common)}
        self.options: dict[str, Any] = {"categorical_features": [name in self.values for name in self.names]}

    def __call__(self, rows: Rows) -> Array:
        return np.stack([self._column(rows, name) for name in self.names], axis=1)

    def _column(self, rows: Rows, name: str) -> Array:
        if name not in self.values:
            return rows[name].astype(np.float64)
        values, places = np.unique(rows[name].astype(str), return_inverse=True)
        return np.array([self.values[name].get(str(value), np.nan) for value in values])[places]

    def embedded(self, rows: Rows) -> Array:
        """Numbers in units of their deviation, 0 where one is missing; categories one-hot over sqrt 2."""
        parts: list[Array] = []
        for name in self.names:
            column = self._column(rows, name)
            if name in self.values:
                codes = np.nan_to_num(column, nan=len(self.values[name])).astype(int)
                parts.append(np.eye(len(self.values[name]) + 1)[codes] / math.sqrt(2))
            else:
                parts.append((np.nan_to_num(column) / self.scale[name])[:, None])
        return np.concatenate(parts, axis=1).astype(np.float32)


def _is_number(x: Array) -> bool:
    return x.dtype.kind == "f"


def _missing(x: Array) -> Array:
    return np.isnan(x) if _is_number(x) else np.array([cell is None for cell in x], dtype=bool)


def _codes(a: Array, b: Array) -> tuple[Array, Array]:
    """Cells of two columns as the numbers of the values that they have together."""
    values: dict[Any, int] = {}
    codes = [values.setdefault(cell, len(values)) for cell in (*a.tolist(), *b.tolist())]
    return np.array(codes[: len(a)], dtype=np.int64), np.array(codes[len(a) :], dtype=np.int64)


def _bins(x: Array) -> Array:
    """Numbers as the place of their bin, 1 to 11, and 11 where one is missing; other cells as they are."""
    if not _is_number(x):
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


def _correlation(x: Array, y: Array) -> float:
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 2 or x[both].std() == 0 or y[both].std() == 0:
        return math.nan
    return float(np.corrcoef(x[both], y[both])[0, 1])
