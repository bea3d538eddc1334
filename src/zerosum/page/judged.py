"""The metrics of a run: a table with intervals and floors, and curves over the steps that were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zerosum.page.curves import points
from zerosum.page.figure import Axis, Curve, Figure, Level
from zerosum.page.formats import brief, finite, number
from zerosum.run.log import circumstances

__all__ = ["Judged", "judged"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Whisker:
    """A value and its interval beside the floor's, in shares of the width."""

    text: str
    value: float
    low: float
    high: float
    floor: tuple[float, float] | None


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    name: str
    value: str
    interval: str
    floor: str
    whisker: Whisker
    p: str
    circumstances: list[str]


@dataclass(frozen=True)
class Judged:
    """shared: what holds of every row; differing: the names of what does not."""

    shared: str
    differing: list[str]
    rows: list[Line]
    figures: list[Figure]


def judged(evaluations: Sequence[Row]) -> Judged | None:
    """The newest of each metric beside its floor; None where nothing was judged."""
    numbers = [row for row in evaluations if finite(row.get("value")) is not None]
    if not numbers:
        return None
    kinds: dict[tuple[str, ...], dict[int, Row]] = {}
    for row in sorted(numbers, key=lambda r: (r.get("step", 0), finite(r.get("time")) or 0)):
        kind = (*circumstances(row).values(),)
        kinds.setdefault(kind, {})[row.get("step", 0)] = row
    newest = [list(by_step.values())[-1] for by_step in kinds.values()]
    where = [_circumstances(row) for row in newest]
    differing = [key for key in where[0] if len({w[key] for w in where}) > 1]
    shared = [f"{key} {text}" for key, text in where[0].items() if text != "–" and key not in differing]
    return Judged(
        ", ".join(shared),
        differing,
        [_line(row, [w[key] for key in differing]) for row, w in zip(newest, where, strict=True)],
        [_figure(list(by_step.values())) for by_step in kinds.values() if len(by_step) > 1],
    )


def _circumstances(row: Row) -> dict[str, str]:
    """What was judged, in words."""
    n, average = finite(row.get("n")), row.get("average")
    return {
        "step": f"{row['step']:,}" if "step" in row else "–",  # of a file of samples
        "n": "–" if n is None else f"{n:,.0f}",
        "weights": {True: "averaged", False: "live"}[average] if isinstance(average, bool) else "–",
        **{key: brief(row.get(key) or "–", 60) for key in ("space", "data", "split", "where")},
    }


def _line(row: Row, circumstances: list[str]) -> Line:
    low, high, floor = finite(row.get("low")), finite(row.get("high")), _floor(row)
    return Line(
        f"{_name(row)} {_better(row)}",
        number(row["value"]),
        "–" if low is None or high is None else f"{number(low)} to {number(high)}",
        number(floor[0]) if floor else "–",
        _whisker(row["value"], low, high, floor),
        number(finite(row.get("p_value")), 2),
        circumstances,
    )


def _name(row: Row) -> str:
    return brief(row.get("metric") or "unnamed", 60).replace("_", " ")


def _better(row: Row) -> str:
    higher = row.get("higher_is_better")
    return ("↑" if higher else "↓") if isinstance(higher, bool) else ""


def _floor(row: Row) -> tuple[float, float, float] | None:
    """The floor's value and interval; it comes as a mapping or as a bare number."""
    floor = row.get("floor")
    tree = floor if isinstance(floor, Mapping) else {"value": floor}
    value, low, high = (finite(tree.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return None
    return value, value if low is None else low, value if high is None else high


def _whisker(
    value: float, low: float | None, high: float | None, floor: tuple[float, float, float] | None
) -> Whisker:
    low, high = value if low is None else low, value if high is None else high
    ends = sorted([value, low, high, *(floor or ())])
    axis = Axis(ends[0], ends[-1]).wider(0.08) if ends[0] < ends[-1] else Axis(ends[0] - 1, ends[0] + 1)
    text = f"{number(value)}, interval {number(low)} to {number(high)}"
    return Whisker(
        text + (f", floor {number(floor[0])}" if floor else ""),
        *(100 * axis.at(y) for y in (value, low, high)),
        floor=(100 * axis.at(floor[1]) - 1, 100 * (axis.at(floor[2]) - axis.at(floor[1])) + 2)
        if floor
        else None,
    )


def _figure(rows: Sequence[Row]) -> Figure:
    """A metric over the steps that were judged."""
    last = rows[-1]
    bands = [(float(r["step"]), finite(r.get("low")), finite(r.get("high"))) for r in rows]
    band = [(x, low, high) for x, low, high in bands if low is not None and high is not None]
    best = (max if last.get("higher_is_better") else min)(rows, key=lambda r: r["value"])
    most = {"↓": ": lowest", "↑": ": highest"}.get(_better(last))
    title = _name(last) + (f"{most} at step {best['step']:,}" if most else "")
    line = Curve(brief(last.get("space") or "value", 60), points(rows, "value"), 1, band, dots=True)
    floor = _floor(last)
    return Figure(title, [line], levels=[Level("floor", floor[0])] if floor else [], logs="")
