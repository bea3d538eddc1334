"""Charts: round ticks within the frame, outliers that flatten nothing, curves that keep their extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zerosum.page import formats
from zerosum.page.figure import Axis, Curve, Figure, Level, Mark, thinned

RANGES = [(-1.42, -1.37), (-1.4, -0.9), (0, 1), (0, 7), (3, 3.0001), (-1e9, 2e9), (-2e-8, 1e-9), (0, 1500)]


@pytest.mark.parametrize("low, high", RANGES)
def test_ticks_are_round_even_within_and_enough(low: float, high: float) -> None:
    ticks, labels = zip(*Axis(low, high).ticks(), strict=True)
    assert 4 <= len(ticks) <= 11
    assert all(low - 1e-6 * (high - low) <= t <= high + 1e-6 * (high - low) for t in ticks)
    gaps = np.diff(ticks)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-6)
    assert round(gaps[0] / 10 ** math.floor(math.log10(gaps[0] * 1.0001)), 3) in (1, 2, 5)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("low, high", [(1, 30), (1e-12, 3), (0.004, 0.6), (2, 2.5), (0.9, 1.1e5)])
def test_logarithmic_ticks_are_within_and_enough(low: float, high: float) -> None:
    ticks = Axis(low, high, log=True).ticks()
    assert 3 <= len(ticks) <= 11
    assert all(low * 0.99 <= t <= high * 1.01 for t, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize("n", [1, 2, 499, 501, 10_000])
def test_thinning_keeps_the_ends_and_the_extremes(n: int) -> None:
    ys = np.random.default_rng(n).standard_cauchy(n).tolist()
    points = list(zip(map(float, range(n)), ys, strict=True))
    chosen = thinned(points)
    assert len(chosen) <= 502
    assert list(chosen) == sorted(set(chosen))
    ends = {points[0], points[-1], min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])}
    assert ends <= set(chosen) <= set(points)


def figure(*ys: float, **more: object) -> Figure:
    return Figure("", [Curve("", list(enumerate(map(float, ys))))], **more)  # type: ignore[arg-type]


def test_every_curve_lies_within_the_frame() -> None:
    for one in (figure(1, 2, 3), figure(5, 5), figure(-1e9, 1e9), figure(1e-9, 1.0), figure(3.0)):
        ys = [one.y.at(y) for _, y in one.curves[0].points]
        assert all(0.01 < y < 0.99 for y in ys)
    plane = Figure("", [Curve("", [(-3.0, 1.0), (1.0, 2.0)])], logs="", time=False, square=True)
    assert all(0 < plane.x.at(x) < 1 and 0 < plane.y.at(y) < 1 for x, y in plane.curves[0].points)
    assert plane.x.high - plane.x.low == pytest.approx(plane.y.high - plane.y.low)


def test_outliers_do_not_flatten_a_curve_and_are_counted() -> None:
    ys = [math.sin(i) for i in range(300)]
    ys[100] = -90.0
    one = figure(*ys)
    shares = [one.y.at(y) for y in ys]
    assert np.percentile(shares, 90) - np.percentile(shares, 10) > 0.2
    assert "1 values" in one.notes and "90" in one.notes


def test_values_over_decades_are_logarithmic_unless_a_level_is_shown() -> None:
    ys = [10.0**-i for i in range(1, 5)]
    one = figure(*ys)
    np.testing.assert_allclose(np.diff([one.y.at(y) for y in ys], 2), 0, atol=1e-9)
    assert not figure(*ys, levels=[Level("", 0.0)]).y.log


def test_marks_never_overlap_and_say_all_that_they_stand_for() -> None:
    marks = [Mark(float(i), "▲", f"event {i}", bad=i == 7) for i in range(200)]
    signs = list(figure(1, 2, marks=marks).signs())
    places = [float(place) for place, *_ in signs]
    assert min(np.diff(places)) >= 4.5
    said = [line for _, _, text, _ in signs for line in text.splitlines()]
    assert said == [mark.text for mark in marks]
    assert sum(bad for *_, bad in signs) == 1


def test_formulas_become_mathml_and_the_text_round_them_is_escaped() -> None:
    text = formats.formula(r"<b> $\log 4 < x$ </b>")
    assert text.startswith("&lt;b&gt; <math") and text.count("<math") == 1
    assert "<mi>log</mi><mspace" in text
