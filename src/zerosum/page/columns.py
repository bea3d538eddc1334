"""A table beside its samples: each column's histogram, and how much the columns depend on each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zerosum.page.document import render
from zerosum.page.figure import Curve, Figure, Matrix
from zerosum.page.formats import brief, date, number
from zerosum.page.judged import judged

if TYPE_CHECKING:
    from zerosum.data.columns import Columns
    from zerosum.data.sheet import Sheet
    from zerosum.run.run import Run

__all__ = ["Compared", "Shares", "compared", "of_run", "page"]

ROWS = 5000  # of each table that are shown
FIGURES = 60  # columns with a histogram, at most
MAPPED = 30  # columns in a map, at most
BINS = 32
VALUES = 10  # of a category; the others are one

Array = NDArray[Any]


@dataclass(frozen=True)
class Shares:
    """How often each value of a category occurs: (value, share of real rows, share of made ones), in
    percent."""

    title: str
    rows: list[tuple[str, float, float]]


@dataclass(frozen=True)
class Compared:
    """numbers, categories: of each column. maps: of the real rows and of the made ones. worst: in words the
    pair of columns whose dependence differs most. left_out: how many columns are not shown."""

    rows: tuple[int, int]
    numbers: list[Figure]
    categories: list[Shares]
    maps: list[Matrix]
    worst: str
    left_out: int


def of_run(run: Run, source: Any) -> Compared | None:
    """The newest checkpoint's samples beside real rows; None of a run that makes no table."""
    from zerosum.data.tables import Table
    from zerosum.sampling import Generator

    if not isinstance(source, Table):
        return None
    real = source.values.take(np.random.default_rng(0).permutation(len(source))[:ROWS])
    return compared(real, Generator.of(run).sample(min(ROWS, len(source))), source.codec)


def page(
    name: str, about: str, rows: Sequence[Mapping[str, Any]], real: Sheet, made: Sheet, codec: Columns
) -> str:
    """A table and what was found of it as one HTML file, whatever software made it. rows: as `evaluate` gives
    them.
    """
    return render(
        "table.html",
        name=name,
        about=about,
        judged=judged(rows),
        columns=compared(real.take(slice(ROWS)), made.take(slice(ROWS)), codec),
        now=date(time.time()),
    )


def compared(real: Sheet, made: Sheet, codec: Columns) -> Compared:
    """Real rows beside made ones."""
    from zerosum.metrics.tables import column_shapes, dependences

    a, b = codec.arrays(real), codec.arrays(made)
    scores = column_shapes(a, b)
    names = sorted(a, key=lambda name: (math.isnan(scores[name]), scores[name]))[:FIGURES]
    of_numbers = [name for name in a if name in names and a[name].dtype.kind == "f"]
    kinds = {column.name: column for column in codec.columns}
    mapped = list(a)[:MAPPED]
    maps = [dependences({name: rows[name] for name in mapped}) for rows in (a, b)]
    return Compared(
        (len(real), len(made)),
        [_histogram(kinds[name], a[name], b[name], scores[name]) for name in of_numbers],
        [_shares(n, a[n], b[n], scores[n]) for n in a if n in names and n not in of_numbers],
        [Matrix(t, mapped, m.tolist()) for t, m in zip(("Real rows", "Made rows"), maps, strict=True)],
        _worst(mapped, maps[1] - maps[0]),
        len(a) - len(names),
    )


def _title(name: str, score: float) -> str:
    return brief(name, 40) + ("" if math.isnan(score) else f": {100 * score:.1f} % alike")


def _histogram(column: Any, real: Array, made: Array, score: float) -> Figure:
    """The shares of cells in bins of equal width; the bins at the ends hold what lies beyond them."""
    form = getattr(column, "form", "")
    label, to_axis = _axis(form, float(np.nanmin(real)) if form and not np.isnan(real).all() else 0.0)
    a, b = (to_axis(x[~np.isnan(x)]) for x in (real, made))
    both = a if len(a) else b if len(b) else np.zeros(1)
    low, high = np.quantile(both, [0.005, 0.995])
    if not high > low:
        low, high = both.min(), both.max()
    values = np.unique(both)
    if 2 < len(values) <= BINS and high > low:  # few values: a bin for each
        edges = np.array([values[0] - 0.5, *(values[1:] + values[:-1]) / 2, values[-1] + 0.5])
    else:
        edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
    curves: list[Curve] = []
    for name, x, colour in (("real", a, 0), ("made", b, 2)):
        counts = np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / max(len(x), 1)
        steps = [(float(at), 100 * float(c)) for i, c in enumerate(counts) for at in edges[i : i + 2]]
        curves.append(Curve(name, [(steps[0][0], 0.0), *steps, (steps[-1][0], 0.0)], colour))
    absent = [100 * float(np.isnan(x).mean()) for x in (real, made)]
    caption = (
        f"Missing: {absent[0]:.1f} % of real rows, {absent[1]:.1f} % of made ones." if any(absent) else ""
    )
    title = _title(column.name, score)
    return Figure(title, curves, label, "% of rows", caption=caption, logs="", time=False, small=True)


def _axis(form: str, first: float) -> tuple[str, Any]:
    """What a column of dates, counted in its units, is drawn by: the time since the first of them."""
    from zerosum.data.dates import to_text, unit

    if not form or form.startswith("#"):  # of numbers in text
        return "", lambda x: x
    days = (1 if form == "moment" else unit(form)) / 86_400e6
    if form != "moment" and "%Y" not in form and "%y" not in form:
        return "hours", lambda x: x * days * 24
    day = to_text([round(first * days)], "%Y-%m-%d")[0]
    return f"days since {day}", lambda x: (x - first) * days


def _shares(name: str, real: Array, made: Array, score: float) -> Shares:
    texts = [["missing" if cell is None else str(cell) for cell in x.tolist()] for x in (real, made)]
    counts = [dict(zip(*np.unique(text, return_counts=True), strict=True)) for text in texts]
    order = sorted({*counts[0], *counts[1]}, key=lambda text: (-counts[0].get(text, 0), text))
    shown = order if len(order) <= VALUES + 1 else order[:VALUES]
    sizes = [max(len(x), 1) for x in texts]

    def share(which: int, text: str) -> float:
        return 100 * float(counts[which].get(text, 0)) / sizes[which]

    rows = [(brief(text, 40), share(0, text), share(1, text)) for text in shown]
    if len(shown) < len(order):
        rest = f"{len(order) - len(shown):,} others"
        rows.append((rest, 100 - sum(real for _, real, _ in rows), 100 - sum(made for *_, made in rows)))
    return Shares(_title(name, score), rows)


def _worst(names: list[str], gaps: Array) -> str:
    if len(names) < 2 or np.isnan(gaps).all():
        return ""
    i, j = np.unravel_index(np.nanargmax(np.abs(gaps)), gaps.shape)
    if not gaps[i, j]:
        return ""
    return f"{names[i]} and {names[j]}, by {number(float(abs(gaps[i, j])), 2)}"
