"""What trees and neighbours make of a table: whether it is told from real rows, what is learnt from it, and
whether it is nearer to the rows that it was made of than to others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.metrics.estimate import Estimate, jackknife_error, normal, student, wilson
from zerosum.metrics.tables import Rows, is_number, length, missing, taken

__all__ = ["choose_target", "detection", "nearness_to_training", "utility"]

Array = NDArray[Any]

_MOST_VALUES = 250  # of a category that trees see; the others are one
_MOST_ROWS = 12_000  # that trees are trained on to tell tables apart
MOST_CLASSES = 20  # that are predicted; rows of others are left out
_BLOCKS = 10  # of rows, of which a jackknife deletes one at a time


def detection(real: Rows, fake: Rows, seed: int = 0, space: str = "rows") -> Estimate:
    """How well boosted trees tell `fake` from `real`: the area under their ROC curve on rows that they have
    not seen. 0.5: not at all.

    As many rows of each; half to learn from. The error is that of Hanley & McNeil (1982).
    """
    n = min(length(real), length(fake), _MOST_ROWS // 2)
    if n < 20:
        raise ValueError(f"it needs 20 rows of each table: got {n}")
    draw = np.random.default_rng(seed)
    parts = [taken(rows, draw.permutation(length(rows))[:n]) for rows in (real, fake)]
    design = _Design(parts[0], parts[1])
    x, y = np.concatenate([design(part) for part in parts]), np.repeat([0, 1], n)
    order = draw.permutation(2 * n)
    learn, judge = order[:n], order[n:]
    share = design.classifier(seed).fit(x[learn], y[learn]).predict_proba(x[judge])[:, 1]
    area, low, high = _area(y[judge] == 1, share)
    return Estimate(area, low, high, n, space, "area under the ROC curve of trees", "Hanley & McNeil")


def _area(is_it: Array, share: Array) -> tuple[float, float, float]:
    """The area under a ROC curve with its interval."""
    from sklearn.metrics import roc_auc_score

    area, m, k = float(roc_auc_score(is_it, share)), int(is_it.sum()), int((~is_it).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (m - 1) * (q1 - area**2) + (k - 1) * (q2 - area**2)
    low, high = normal(area, math.sqrt(max(variance, 0) / (m * k)))
    return area, max(low, 0.0), min(high, 1.0)


def choose_target(rows: Rows) -> str | None:
    """The column that `utility` predicts where nobody says: the last of numbers or of two to 20 values; None
    where there is none or no other column.
    """
    for name, x in reversed([*rows.items()] if len(rows) > 1 else []):
        values = set(x[~missing(x)].tolist())
        if len(values) >= 2 and (is_number(x) or len(values) <= MOST_CLASSES):
            return name
    return None


def utility(fake: Rows, real: Rows, target: str, seed: int = 0, space: str = "rows") -> Estimate:
    """What a model of the column `target` that has learnt from `fake` is worth on `real` rows: boosted trees
    that see all other columns. What one that has learnt from real rows is worth is the floor.

    Of a category the area under the ROC curve (of several values the mean of one against the rest, weighted
    by how often they occur; Hanley & McNeil 1982 for each), of numbers R^2 (jackknife of 10 blocks).

    Raises ValueError where there are too few rows, or of one value.
    """
    learn, judge = (taken(x, ~missing(x[target])) for x in (fake, real))
    if min(length(learn), length(judge)) < 20:
        raise ValueError(f"it needs 20 rows with a cell in {target}")
    if not is_number(real[target]):
        return _utility_of_classes(learn, judge, target, seed)
    from sklearn.ensemble import HistGradientBoostingRegressor

    design = _Design(learn, judge, leave_out=target)
    trees = HistGradientBoostingRegressor(random_state=seed, **design.options)
    guess, true = trees.fit(design(learn), learn[target]).predict(design(judge)), judge[target]
    if not true.std() > 0:
        raise ValueError(f"it needs several values of {target}")

    def r2(rows: Any) -> float:
        y = true[rows]
        return 1 - float(((y - guess[rows]) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-300))

    block = np.arange(len(true)) % _BLOCKS
    value = r2(slice(None))
    low, high = student(value, jackknife_error([r2(block != b) for b in range(_BLOCKS)]), _BLOCKS)
    n = length(learn)
    return Estimate(
        value, low, min(high, 1.0), n, f"R^2 of {target}", "R^2 of trees", "jackknife of 10 blocks"
    )


def _utility_of_classes(learn: Rows, judge: Rows, target: str, seed: int) -> Estimate:
    values, counts = np.unique(judge[target].astype(str), return_counts=True)
    common = set(values[np.argsort(-counts, kind="stable")][:MOST_CLASSES].tolist())
    learn, judge = (taken(rows, np.isin(rows[target].astype(str), list(common))) for rows in (learn, judge))
    about = f"AUC of {target}", "area under the ROC curve of trees", "Hanley & McNeil"
    labels, true = learn[target].astype(str), judge[target].astype(str)
    if len(set(true)) < 2:
        raise ValueError(f"it needs several values of {target}")
    if len(set(labels)) < 2:  # nothing can be learnt from one value
        return Estimate(0.5, 0.5, 0.5, length(learn), *about)
    design = _Design(learn, judge, leave_out=target)
    trees = design.classifier(seed).fit(design(learn), labels)
    share, at = trees.predict_proba(design(judge)), {label: i for i, label in enumerate(trees.classes_)}
    areas: list[tuple[float, float, float]] = []
    weights: list[float] = []
    for value in sorted(set(true))[int(len(set(true)) == 2) :]:  # of two values one says it all
        is_it = true == value
        areas.append(_area(is_it, share[:, at[value]] if value in at else np.zeros(len(true))))
        weights.append(float(is_it.mean()))
    area, low, high = (float(np.average([a[i] for a in areas], weights=weights)) for i in range(3))
    return Estimate(area, low, high, length(learn), *about)


def nearness_to_training(
    train: Rows, held_out: Rows, fake: Rows, most: int = 2000, seed: int = 0, space: str = "rows"
) -> Estimate:
    """The share of `fake` rows that are nearer to a row of `train` than to any of as many `held_out` ones.

    0.5 where training rows are no better known than others. Distances are Euclidean, numbers in units of
    their standard deviation; rows that differ in a category are sqrt 2 apart in it. Ties count half.
    """
    from sklearn.neighbors import NearestNeighbors

    draw = np.random.default_rng(seed)
    n = min(length(held_out), length(train))
    design = _Design(train, held_out)
    at = draw.permutation(length(fake))[:most]
    some = taken(fake, at)
    near: list[Array] = []
    for rows in (train, held_out):
        at = draw.permutation(length(rows))[:n]
        points = design.embedded(taken(rows, at))
        index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points)
        near.append(index.kneighbors(design.embedded(some))[0][:, 0])
    hits = float((near[0] < near[1]).sum() + (near[0] == near[1]).sum() / 2)
    m = len(near[0])
    low, high = wilson(hits, m)
    return Estimate(hits / m, low, high, m, space, "share nearer to training than to held-out rows", "Wilson")


class _Design:
    """Rows as trees and neighbours want them: float ``[n, d]``; categories as codes of the values of two
    tables, the rarest of many as one.
    """

    def __init__(self, first: Rows, second: Rows, leave_out: str | None = None) -> None:
        self.names = [name for name in first if name != leave_out]
        self.values: dict[str, dict[str, int]] = {}
        self.scale: dict[str, float] = {}
        for name in self.names:
            if is_number(first[name]):
                present = first[name][~missing(first[name])]
                self.scale[name] = (float(present.std()) if len(present) else 0.0) or 1.0
                continue
            values, counts = np.unique(
                np.concatenate([first[name], second[name]]).astype(str), return_counts=True
            )
            common = values[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
            self.values[name] = {str(value): i for i, value in enumerate(common)}
        self.options: dict[str, Any] = {"categorical_features": [name in self.values for name in self.names]}

    def classifier(self, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(random_state=seed, **self.options)

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
