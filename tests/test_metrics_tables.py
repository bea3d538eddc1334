"""Tables are judged as SDMetrics defines it; real rows are not told from real rows; each fault is seen."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from zerosum.metrics import tables
from zerosum.metrics.table_models import choose_target, detection, nearness_to_training, utility

REFERENCE = json.loads((Path(__file__).parent / "fixtures" / "sdmetrics.json").read_text())


def reference(which: str) -> dict[str, np.ndarray]:
    names, rows = REFERENCE[which]["columns"], REFERENCE[which]["data"]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {n: np.array(x, dtype=object if n in ("c", "d") else np.float64) for n, x in columns.items()}


def rows(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    kind = np.where(x + rng.normal(size=n) > 0, "high", "low").astype(object)
    kind[rng.random(n) < 0.1] = None
    return {"x": x, "y": 2 * x + rng.normal(size=n), "kind": kind}


def test_shapes_pairs_and_quality_are_those_of_sdmetrics() -> None:
    real, fake = reference("real"), reference("fake")
    assert tables.column_shapes(real, fake) == pytest.approx(REFERENCE["shapes"], abs=1e-6)
    expected = {(a, b): score for a, b, score in REFERENCE["pairs"] if not math.isnan(score)}
    assert tables.column_pairs(real, fake) == pytest.approx(expected, abs=1e-6) and len(expected) >= 3
    found = tables.quality(real, fake)
    assert found.shapes == pytest.approx(REFERENCE["column_shapes"], abs=1e-6)
    assert found.pairs == pytest.approx(REFERENCE["column_pair_trends"], abs=1e-6)
    assert found.score == pytest.approx(REFERENCE["score"], abs=1e-6)


def test_a_table_is_like_itself() -> None:
    real = rows(500)
    assert tables.quality(real, real).score == pytest.approx(1)
    assert len(tables.column_pairs(real, real, every=True)) == 3
    assert tables.outside(real, real) == 0 and tables.unmet_values(real, real) == {}


def test_trees_tell_what_differs_and_nothing_else() -> None:
    real, same = rows(4000), rows(4000, seed=1)
    alike = detection(real, same)
    assert alike.low < 0.52 and alike.high > 0.5 and alike.n == 4000
    for fault in (
        {"x": np.round(same["x"], 1)},
        {"y": same["y"][::-1]},
        {"kind": same["kind"][::-1]},
        {"x": np.where(np.arange(4000) % 3 == 0, np.nan, same["x"])},
    ):
        assert detection(real, same | fault).low > 0.55


def test_utility_is_lost_where_dependence_is() -> None:
    real, same, held_out = rows(3000), rows(3000, seed=1), rows(3000, seed=2)
    for target, kind in (("y", "R^2 of y"), ("kind", "AUC of kind")):
        floor, kept = utility(real, held_out, target), utility(same, held_out, target)
        lost = utility(same | {"x": same["x"][::-1], "y": np.roll(same["y"], 7)}, held_out, target)
        assert kept.space == kind and kept.low < floor.value < kept.high
        assert lost.high < floor.low - 0.1
    assert choose_target(real) == "kind" and choose_target({"x": real["x"]}) is None


def test_copies_are_nearer_to_training() -> None:
    train, held_out, fresh = rows(1000), rows(1000, seed=1), rows(1000, seed=2)
    fair = nearness_to_training(train, held_out, fresh)
    assert fair.low < 0.5 < fair.high
    assert nearness_to_training(train, held_out, train).value > 0.9


def test_what_cannot_be_is_counted() -> None:
    train = rows(200)
    fake = rows(200, seed=1)
    fake = {name: np.where(np.arange(200) < 20, 99.0, np.clip(fake[name], -1, 1)) for name in ("x", "y")}
    fake["kind"] = np.array(["high"] * 200, dtype=object)
    assert tables.outside(train, fake) == pytest.approx(0.1)
    assert tables.unmet_values(train, fake) == {"kind": ["low", None]} or tables.unmet_values(
        train, fake
    ) == {"kind": [None, "low"]}


def test_faults_that_are_counted() -> None:
    train = rows(1000) | {"pair": np.array(["high", "low"] * 500, dtype=object)}
    train["pair"] = np.where([k is None for k in train["kind"]], "none", train["kind"]).astype(object)
    assert tables.consistency(train, train) == 1 and tables.training_copies(train, train).value == 1
    assert tables.share_difference(train, train) == 0 == tables.missing_difference(train, train)
    torn = train | {"kind": train["kind"][::-1]}
    assert tables.consistency(train, torn) < 0.7 and tables.training_copies(train, torn).value < 0.7
    assert tables.share_difference(train, train | {"kind": np.array(["high"] * 1000, dtype=object)}) > 0.4
    missing = np.where(np.arange(1000) < 250, np.nan, train["x"])
    assert tables.missing_difference(train, train | {"x": missing}) == 0.25
    assert tables.training_copies({"x": missing}, {"x": np.array([np.nan, 9.0])}).value == 0.5


def test_quality_has_an_interval_that_holds_its_own_value() -> None:
    found = tables.table_quality(rows(600), rows(600, seed=1))
    assert found.quality.value == tables.quality(rows(600), rows(600, seed=1)).score
    for part in found:
        assert part.low < part.value <= part.high <= 1
