"""The one maker of charts: curves, dots, bands and levels in a frame, as numbers that `figure.html` draws.

The picture is an SVG of 1000 x 1000 units that is stretched to its frame; all text is HTML round it, so that
it is as legible on a phone as on a wide screen. The script of the page reads values off the curves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from zerosum.page.formats import number, signed

__all__ = ["Axis", "Curve", "Figure", "Level", "Mark", "Matrix", "spread", "thinned"]

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """Points (x, y), joined by a line, drawn as dots, or both.

    band: (x, low, high) where its uncertainty is stated. colour: 0 for what is exact, 1 to 5 otherwise.
    value: what the legend says beside its name.
    """

    name: str
    points: Points
    colour: int = 1
    band: Sequence[tuple[float, float, float]] = ()
    line: bool = True
    dots: bool = False
    faint: bool = False
    value: float | None = None

    @property
    def style(self) -> str:
        """Its classes in the style sheet."""
        return f"c{self.colour}{' faint' if self.faint else ''}"

    @property
    def heights(self) -> list[float]:
        return [y for _, y in self.points] + [y for _, *ends in self.band for y in ends]

    @property
    def readable(self) -> str:
        """The points for the script that reads values off the curve."""
        points = [[float(f"{x:.7g}"), float(f"{y:.6g}")] for x, y in thinned(self.points)]
        return json.dumps(points, separators=(",", ":"))


@dataclass(frozen=True)
class Level:
    """A dotted horizontal line, in the colour of a curve where it belongs to one."""

    name: str
    y: float
    colour: int | None = None

    @property
    def style(self) -> str:
        return "" if self.colour is None else f"c{self.colour}"


@dataclass(frozen=True)
class Mark:
    """Something that happened at x: a sign below the axis, with words."""

    x: float
    sign: str
    text: str
    bad: bool = False


@dataclass(frozen=True)
class Axis:
    """Values from low to high as shares of the way, evenly or by their logarithms."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high one; what lies beyond is at the end."""
        low, here, high = (math.log(v) if self.log else v for v in (self.low, value, self.high))
        return min(max((here - low) / (high - low), 0.0), 1.0)

    def wider(self, share: float) -> Axis:
        """With room at both ends."""
        if self.log:
            room = (self.high / self.low) ** share
            return Axis(self.low / room, self.high * room, log=True)
        room = share * (self.high - self.low)
        return Axis(self.low - room, self.high + room)

    def ticks(self, least: int = 4) -> list[tuple[float, str]]:
        """Round values within, at least so many, with their texts.

        >>> [label for _, label in Axis(-1.42, -0.9).ticks()]
        ['−1.4', '−1.3', '−1.2', '−1.1', '−1.0', '−0.9']
        """
        if self.log and self.high / self.low > 20:
            return [(v, _power(v)) for v in _decades(self.low, self.high)]
        gap = 10.0 ** math.ceil(math.log10(self.high - self.low))
        while _multiples(self.low, self.high, gap) < least:
            gap = _finer(gap)
        places = max(0, -math.floor(math.log10(gap) + 1e-9))
        plain = gap > 1e-6 and max(abs(self.low), abs(self.high)) < 1e9
        form = f",.{places}f" if plain else ".3g"
        first = math.ceil(self.low / gap - 1e-9)
        values = [i * gap for i in range(first, first + _multiples(self.low, self.high, gap))]
        return [(v, signed(format(v + 0.0, form))) for v in values]


@dataclass(frozen=True)
class Figure:
    """A chart with a title, a caption and words for those who cannot see it.

    logs: the axes on a logarithmic scale, of "xy"; "auto": y if it spans decades. time: x counts from 0, to
    `end` at least. square: a plane, one scale for x and y. small: one of many.
    """

    title: str
    curves: Sequence[Curve]
    x_label: str = "step"
    y_label: str = ""
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    caption: str = ""
    alt: str = ""
    logs: str = "auto"
    time: bool = True
    square: bool = False
    small: bool = False
    end: float = 0.0

    @cached_property
    def x(self) -> Axis:
        xs = [x for curve in self.curves for x, _ in curve.points] + [mark.x for mark in self.marks]
        if self.time:
            return Axis(0.0, max([1.0, self.end, *xs]))
        low, high = min(xs), max(xs)
        if low == high:
            low, high = (low / 2, 2 * low) if "x" in self.logs else (low - 0.5, low + 0.5)
        if self.square:
            middle, half = (low + high) / 2, self._half_side(low, high)
            low, high = middle - half, middle + half
        return Axis(low, high, "x" in self.logs).wider(0.04)

    @cached_property
    def y(self) -> Axis:
        ys = sorted(y for curve in self.curves for y in curve.heights)
        levels = [level.y for level in self.levels]
        decades = not levels and ys[0] > 0 and ys[-1] > 50 * ys[0]
        if self.square:
            middle, half = (ys[0] + ys[-1]) / 2, (self.x.high - self.x.low) / 2
            return Axis(middle - half, middle + half)
        if (self.logs == "auto" and decades) or "y" in self.logs:
            return Axis(min([*ys, *levels]), max([*ys, *levels]) * 1.001, log=True).wider(0.05)
        return Axis(*_without_outliers(ys, levels)).wider(0.06)

    @property
    def notes(self) -> str:
        """The caption, and what must be said of the scale."""
        ys = sorted(y for curve in self.curves for y in curve.heights)
        outside = [y for y in ys if not self.y.low <= y <= self.y.high]
        beyond = ""
        if outside:
            span = f"{number(outside[0])} to {number(outside[-1])}"
            beyond = f"{len(outside):,} values, from {span}, lie outside of this chart."
        parts = [self.caption, "Logarithmic scale." if self.y.log else "", beyond]
        return Markup(" ").join(filter(None, parts))  # which escapes what is no markup

    @property
    def y_ticks(self) -> list[tuple[str, str]]:
        """Positions in percent from the top, and texts."""
        return [(f"{100 - 100 * self.y.at(y):.2f}", text) for y, text in self.y.ticks(3 if self.small else 4)]

    @property
    def x_ticks(self) -> list[tuple[str, str]]:
        ticks = self.x.ticks(3 if self.small else 4)
        long = max((len(text) for _, text in ticks), default=0) > 6
        most = (3 if long else 4) if self.small else 6
        return [(f"{100 * self.x.at(x):.2f}", text) for x, text in spread(ticks, most)]

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + " L".join(f"{self._x(x)},{self._y(y)}" for x, y in points)

    def line(self, curve: Curve) -> str:
        return self.path(curve.points if self.square else thinned(curve.points))

    def band(self, curve: Curve) -> str:
        rows = spread(curve.band, 500)
        ends = [(x, low) for x, low, _ in rows] + [(x, high) for x, _, high in reversed(rows)]
        return self.path(ends) + "Z"

    def dots(self, curve: Curve) -> str:
        """Lines of no length, whose round ends are the dots."""
        return " ".join(f"M{self._x(x)},{self._y(y)}h0" for x, y in curve.points)

    def height(self, level: Level) -> str:
        return self._y(level.y)

    def signs(self) -> Iterator[tuple[str, str, str, bool]]:
        """The marks, those that would overlap joined: position in percent, signs, words, and whether bad."""
        groups: list[list[Mark]] = []
        for mark in sorted(self.marks, key=lambda mark: mark.x):
            if groups and self.x.at(mark.x) - self.x.at(groups[-1][0].x) < 0.05:
                groups[-1].append(mark)
            else:
                groups.append([mark])
        for group in groups:
            signs = list(dict.fromkeys(mark.sign for mark in group if mark.bad)) or [group[0].sign]
            place = sum(self.x.at(mark.x) for mark in group) / len(group)
            more = f"{signs[0]}{len(group)}" if len(group) > 1 else signs[0]
            yield f"{100 * place:.2f}", more, "\n".join(m.text for m in group), any(m.bad for m in group)

    def verticals(self) -> Iterator[tuple[str, bool]]:
        yield from dict.fromkeys((self._x(mark.x), mark.bad) for mark in self.marks)

    def _half_side(self, low: float, high: float) -> float:
        """Half of the longer side of the square that holds all curves."""
        ys = [y for curve in self.curves for y in curve.heights]
        return max(high - low, max(ys) - min(ys)) / 2

    def _x(self, value: float) -> str:
        return f"{1000 * self.x.at(value):.1f}"

    def _y(self, value: float) -> str:
        return f"{1000 - 1000 * self.y.at(value):.1f}"


@dataclass(frozen=True)
class Matrix:
    """Numbers in [-1, 1] of each pair of names as a map: the stronger the colour, the larger the number."""

    title: str
    names: Sequence[str]
    values: Sequence[Sequence[float]]

    def cells(self) -> Iterator[tuple[int, int, str, float, str]]:
        """Column and row, colour, strength in [0, 1], and words."""
        for i, row in enumerate(self.values):
            for j, value in enumerate(row):
                if not math.isnan(value):
                    words = f"{self.names[i]}, {self.names[j]}: {number(value, 2)}"
                    yield j, i, "c1" if value >= 0 else "c2", min(abs(value), 1.0), words


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly spaced, the first and the last among them.

    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def thinned(points: Points, parts: int = 250) -> Points:
    """The lowest and highest point of each of `parts` stretches, and the first and last of all."""
    if len(points) <= 2 * parts:
        return points
    chosen = {0, len(points) - 1}
    for i in range(parts):
        stretch = range(i * len(points) // parts, (i + 1) * len(points) // parts)
        chosen |= {choose(stretch, key=lambda j: points[j][1]) for choose in (min, max)}
    return [points[j] for j in sorted(chosen)]


def _without_outliers(ys: Sequence[float], levels: Sequence[float]) -> tuple[float, float]:
    """The range of values in order: a few outliers must not flatten everything else."""
    low, high = min(ys[0], *levels, ys[0]), max(ys[-1], *levels, ys[-1])
    bottom, top = ys[len(ys) // 50], ys[-1 - len(ys) // 50]
    reach = 2 * (top - bottom)
    if high - low > 4 * reach > 0:
        low = max(low, min(bottom - reach, *levels, bottom))
        high = min(high, max(top + reach, *levels, top))
    if high - low <= 1e-12 * max(abs(high), abs(low), 1e-12):
        room = 0.1 * abs(high) or 1.0
        return low - room, high + room
    return low, high


def _multiples(low: float, high: float, gap: float) -> int:
    return math.floor(high / gap + 1e-9) - math.ceil(low / gap - 1e-9) + 1


def _finer(gap: float) -> float:
    """The next smaller of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(gap * 1.0001))
    return power * {1: 0.5, 2: 1, 5: 2}[round(gap / power)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten within, with 2 and 5 times these where there are few."""
    first, last = math.ceil(math.log10(low * 0.999)), math.floor(math.log10(high * 1.001))
    every = math.ceil((last - first + 1) / 6)
    values = [10.0**e for e in range(first, last + 1) if e % every == 0]
    if last - first < 2:
        values = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
    return [v for v in values if low * 0.999 <= v <= high * 1.001]


def _power(value: float) -> str:
    if 1e-3 <= value < 1e6:
        return f"{value:,.10g}"
    return signed(f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e"))
