"""Column: what the cells of one column are, and the way to a number or to places of ones and back.

A number is seen in one of two ways. *standard*: z = (t - mean) / scale. *ranks*: z = Phi^-1(q), with q
uniform in [P(V < v), P(V <= v)), so that every column is standard normal, ties included, and comes back
through the empirical quantiles: values, bounds and atoms are those of the data whatever G does to z. Whole
numbers, decimals and dates are counted, v = (origin + step t) / 10^digits with t = 0, 1, 2, ..., so each that
comes back is one that can be. A category is one-hot; one of many values is two, of its row and its place in a
square. Where numbers are missing, two more places say so, and in the ranks z is noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zerosum.data.dates import to_text, to_units
from zerosum.data.known import Known, places
from zerosum.data.sheet import Cells, Coded, as_coded, encoded
from zerosum.data.written import SIGN, to_number, to_written

__all__ = ["Category", "Column", "Constant", "Follower", "Identifier", "Number", "from_values", "to_numbers"]

Array = NDArray[Any]

MOST_TEXTS = 1 << 17  # that a column of dates remembers
FURTHEST = 1e30  # that a row may lie from the mean of the training rows, in their deviations
RARE, RARE_ROWS = 2, 50  # what occurs so often at most has a row of its own, if these are one of so many
WIDEST_GROUP = 64  # a category of more values is two groups of one-hots


@dataclass(frozen=True)
class Number:
    """A column of numbers or dates t: counted from `origin` in `step`s, or as they are if `digits` is None.

    kind: number, whole or date. cells: float, int, text or moment, as the file has them. form: of dates
    (`zerosum.data.dates`) or of numbers in text (`zerosum.data.written`). odd: words among them that are
    read as missing. missing: the share of missing cells. mean, scale: of t. low, high: the bounds of
    t; none where None. knots, below, upto: values of t, P(T < t) and P(T <= t); between two knots mass is
    spread evenly.
    """

    name: str
    kind: str = "number"
    cells: str = "float"
    form: str = ""
    missing: float = 0.0
    digits: int | None = None
    origin: int = 0
    step: int = 1
    mean: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    knots: tuple[float, ...] = ()
    below: tuple[float, ...] = ()
    upto: tuple[float, ...] = ()
    odd: tuple[str, ...] = ()

    has_number = True

    @property
    def groups(self) -> tuple[int, ...]:
        return (2,) if self.missing else ()

    @property
    def place_shares(self) -> list[float]:
        return [1 - self.missing, self.missing] if self.missing else []

    @cached_property
    def table(self) -> tuple[Array, Array, Array]:
        return np.array(self.knots), np.array(self.below), np.array(self.upto)

    def pack(self, cells: Cells, ranks: bool) -> tuple[Array, Array, Array]:
        """z, or the lower end of q, and its width ``[N]``; and whether it is missing ``[N, 0 or 1]``."""
        numbers = to_numbers(cells, self.form)
        is_missing = ~np.isfinite(numbers) if numbers.dtype.kind == "f" else np.zeros(len(numbers), bool)
        t = self._ticks(np.where(is_missing, 0, numbers))
        if ranks:
            low, width = self._ranks(t)
        else:  # held as float32
            low, width = np.clip((t - self.mean) / self.scale, -FURTHEST, FURTHEST), np.zeros(len(t))
        low, width = np.where(is_missing, 0.0, low), np.where(is_missing, float(ranks), width)
        return low, width, is_missing[:, None].astype(np.int32)[:, : len(self.groups)]

    def unpack(self, z: Array, codes: Array, ranks: bool) -> Cells:
        with np.errstate(over="ignore"):  # what is infinite is clipped
            t = (
                self._quantiles(torch.special.ndtr(torch.from_numpy(z)).numpy())
                if ranks
                else self.mean + self.scale * z
            )
        t = t if self.low is None else np.clip(t, self.low, self.high)
        is_missing = codes[:, 0] == 1 if self.missing else np.zeros(len(t), bool)
        if self.digits is None:
            if self.cells == "int" and not self.missing:  # whole, and too far apart to be counted
                return np.rint(t).clip(-(2.0**63), 2.0**63 - 1024).astype(np.int64)
            return np.where(is_missing, math.nan, t)
        whole = self.origin + self.step * np.rint(t).astype(np.int64)
        return self._to_cells(whole, is_missing)

    def _to_cells(self, whole: Array, is_missing: Array) -> Cells:
        if self.cells == "moment":
            return np.where(is_missing, np.datetime64("NaT"), whole.astype("datetime64[us]"))
        if self.form:
            units, codes = np.unique(whole, return_inverse=True)
            texts = self._texts(units)
            if self.cells == "text":
                return Coded(np.where(is_missing, -1, codes).astype(np.int32), tuple(texts))
            whole = np.array(list(map(int, texts)), dtype=np.int64)[codes]
        values = whole / 10**self.digits if self.digits else whole
        return np.where(is_missing, math.nan, values) if self.missing else values

    def _texts(self, whole: Array) -> list[str]:
        numbers = whole.tolist()
        if len(self._known) > MOST_TEXTS:
            self._known.clear()
        new = [number for number in numbers if number not in self._known]
        if self.form.startswith(SIGN):
            texts = to_written((np.array(new, dtype=np.int64) / 10 ** (self.digits or 0)).tolist(), self.form)
        else:
            texts = to_text(new, self.form)
        self._known.update(zip(new, texts, strict=True))
        return list(map(self._known.__getitem__, numbers))

    @cached_property
    def _known(self) -> dict[int, str]:
        """Texts that were written before."""
        return {}

    def _ticks(self, numbers: Array) -> Array:
        if self.digits is None:
            return numbers.astype(np.float64)
        if numbers.dtype.kind == "i":
            steps, rest = np.divmod(numbers * 10**self.digits - self.origin, self.step)
            return steps + rest / self.step  # of whole numbers which no float might hold
        return (np.rint(numbers * 10**self.digits) - self.origin) / self.step

    def _ranks(self, t: Array) -> tuple[Array, Array]:
        knots, below, upto = self.table
        j = np.minimum(np.searchsorted(knots, t), len(knots) - 1)
        i = np.maximum(j - 1, 0)
        gap = below[j] - upto[i]
        cells = np.inf if self.digits is None else knots[j] - knots[i] - 1  # values that may lie between
        with np.errstate(divide="ignore", invalid="ignore"):
            place = (t - knots[i] - (self.digits is not None)) / np.where(j > i, knots[j] - knots[i], 1)
            if self.digits is not None:
                place = (t - knots[i] - 1) / np.maximum(cells, 1)
            width = gap / np.maximum(cells, 1)
        at_knot = knots[j] == t
        low = np.where(at_knot, below[j], upto[i] + np.clip(place, 0, 1) * gap)
        width = np.where(at_knot, upto[j] - below[j], width)
        low = np.where((t < knots[0]) & ~at_knot, 0.0, np.where(t > knots[-1], 1.0, low))
        return low, np.where((t < knots[0]) | (t > knots[-1]), 0.0, width)

    def _quantiles(self, q: Array) -> Array:
        knots, below, upto = self.table
        j = np.minimum(np.searchsorted(upto, q, side="right"), len(knots) - 1)
        i = np.maximum(j - 1, 0)
        gap = below[j] - upto[i]
        place = np.clip((q - upto[i]) / np.where(gap > 0, gap, 1), 0, 1)
        between = knots[j] - knots[i]
        inside = place * between if self.digits is None else 1 + np.floor(place * np.maximum(between - 1, 0))
        return np.where((q >= below[j]) | (j == i), knots[j], knots[i] + np.minimum(inside, between))


@dataclass(frozen=True)
class Category:
    """A column of few values, each with its share of so many `rows`; None stands for a missing one."""

    name: str
    values: tuple[Any, ...]
    shares: tuple[float, ...]
    kind: str = "category"
    rows: int = 0

    has_number = False

    @cached_property
    def rare(self) -> Array:
        """The values that occur once or twice, if they are few enough to have a row each."""
        counts = np.rint(np.array(self.shares) * self.rows)
        few = [np.flatnonzero(counts <= most) for most in (RARE, 1)]
        return next((some for some in few if len(some) * RARE_ROWS <= self.rows), few[-1][:0])

    @property
    def groups(self) -> tuple[int, ...]:
        n = len(self.values)
        if n <= WIDEST_GROUP:
            return (n,)
        side = math.isqrt(n - 1) + 1
        return -(-n // side), side

    @property
    def is_wide(self) -> bool:
        """Whether its values stand in a square: two groups, the row and the place in it."""
        return len(self.groups) == 2

    @property
    def place_shares(self) -> list[float]:
        """How often each place of the groups has the one."""
        if not self.is_wide:
            return list(self.shares)
        return [*self.square.sum(axis=1).tolist(), *self.square.sum(axis=0).tolist()]

    @property
    def square(self) -> Array:
        """The shares of values in two groups ``[rows, places]``."""
        square = np.zeros(self.groups)
        square.flat[: len(self.shares)] = self.shares
        return square

    def pack(self, cells: Cells, ranks: bool) -> tuple[Array, Array, Array]:
        """Codes ``[N, 1 or 2]``, -1 for a value that training never met."""
        return np.empty(0), np.empty(0), self.places_of(self.codes_of(cells))

    def codes_of(self, cells: Cells) -> Array:
        """The number of each cell's value ``[N]``, -1 for one that training never met."""
        return places(cells, {value: i for i, value in enumerate(self.values)}).astype(np.int32)

    def places_of(self, codes: Array) -> Array:
        """The place in each group, ``[N, 1 or 2]``; -1 of the code -1."""
        if not self.is_wide:
            return codes[:, None]
        side = self.groups[1]
        return np.where(codes[:, None] < 0, -1, np.stack([codes // side, codes % side], axis=1))

    def unpack(self, z: Array, codes: Array, ranks: bool) -> Cells:
        at = codes[:, 0] * self.groups[1] + codes[:, 1] if self.is_wide else codes[:, 0]
        return from_values(self.values, np.minimum(at, len(self.values) - 1))


@dataclass(frozen=True)
class Constant:
    """A column of one value, which takes no part in the game; None if all its cells are missing.

    is_moment: whether the value is the ISO text of a datetime64.
    """

    name: str
    value: Any
    is_moment: bool = False
    kind: str = "constant"

    def cells(self, n: int, first: int) -> Cells:
        if self.is_moment:
            return np.full(n, np.datetime64(self.value or "NaT", "us"))
        return from_values((self.value,), np.zeros(n, dtype=np.int64))


@dataclass(frozen=True)
class Identifier:
    """A column in which every cell is another one: it takes no part in the game and is made anew.

    Numbers go on from `start`; so do texts, between `prefix` and `suffix` and with `width` digits. Where
    there is no such pattern, a text is drawn part by part (`parts`): a number as ``(low, high, width)``, a
    word from few, a word of many as the characters that each of its places has had, from first to last, and
    a text of many words as ``(lengths, words...)``.
    """

    name: str
    start: int = 0
    cells_are: str = "int"
    prefix: str = ""
    suffix: str = ""
    width: int = 0
    parts: tuple[Sequence[Any], ...] = ()
    kind: str = "identifier"

    def cells(self, n: int, first: int) -> Cells:
        """The identifiers of samples first, ..., first + n - 1."""
        numbers = self.start + first + np.arange(n, dtype=np.int64)
        if self.cells_are == "int":
            return numbers
        if not self.parts:
            texts = [f"{self.prefix}{number:0{self.width}d}{self.suffix}" for number in numbers.tolist()]
            return Coded(np.arange(n, dtype=np.int32), tuple(texts))
        drawn = [_drawn(what, list(options), numbers, i) for i, (what, *options) in enumerate(self.parts)]
        return encoded("".join(row) for row in zip(*drawn, strict=True))


def _drawn(what: str, options: list[Any], rows: Array, part: int) -> list[str]:
    """A part of the identifiers of these rows, each of which follows from its row alone."""

    def draw(size: int, place: int = 0) -> Array:
        return (_scattered(rows, part * 1009 + place) % np.uint64(size)).astype(np.int64)

    def chosen(values: Sequence[Any], place: int = 0) -> list[Any]:
        return np.array([*values, None], dtype=object)[draw(len(values), place)].tolist()

    if what == "number":
        low, high, width = options
        return [f"{low + number:0{width}d}" for number in draw(high - low + 1).tolist()]
    if what == "word":
        return chosen(options)
    if what == "words":
        sizes, *words = options
        columns = [chosen(words, i + 1) for i in range(max(sizes))]
        sizes = chosen(sizes)
        return [" ".join(row[:n]) for row, n in zip(zip(*columns, strict=True), sizes, strict=True)]
    shortest, *alphabets = options
    letters = [chosen(some, i + 1) for i, some in enumerate(alphabets)]
    sizes = (shortest + draw(len(alphabets) + 1 - shortest)).tolist()
    return ["".join(row)[:size] for row, size in zip(zip(*letters, strict=True), sizes, strict=True)]


def _scattered(rows: Array, place: int) -> Array:
    """64 bits that follow from a row and a place and look like chance (SplitMix64; Steele et al. 2014)."""
    x = rows.astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + np.uint64(
        (place + 1) * 0x9E3779B97F4A7C15 % 2**64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Follower:
    """A column that one or two others determine: its cell is ``values[i]`` where that of the column `of` is
    ``keys[i]``, or those of the columns `of` are. It takes no part in the game and is looked up.
    """

    name: str
    of: str | tuple[str, ...]
    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    kind: str = "follower"

    @property
    def leaders(self) -> tuple[str, ...]:
        return (self.of,) if isinstance(self.of, str) else self.of

    @cached_property
    def _known(self) -> Known:
        return Known([self.keys] if isinstance(self.of, str) else list(zip(*self.keys, strict=True)))

    def cells_of(self, cells: Sequence[Cells]) -> Cells:
        """The cells that belong to those of the columns that determine them."""
        at = self._known.find(cells)
        return from_values(self.values if (at >= 0).all() else (*self.values, None), at)


Column = Number | Category | Constant | Identifier | Follower


def to_numbers(cells: Cells, form: str) -> Array:
    """Cells as numbers, NaN where one is missing: dates in their unit, others as they are."""
    if isinstance(cells, Coded):
        if form.startswith(SIGN):
            values = np.array([to_number(str(value), form) for value in cells.values] + [math.nan])
        elif form and "%" in form:
            values = np.array([_units(value, form) for value in cells.values] + [math.nan])
        else:
            values = np.array([_float(value) for value in cells.values] + [math.nan])
        numbers = values[cells.codes]
        return numbers.astype(np.int64) if (numbers == np.floor(numbers)).all() else numbers
    if cells.dtype.kind == "M":
        units = cells.astype("datetime64[us]")
        missing = np.isnat(units)
        whole = units.astype(np.int64)
        return np.where(missing, math.nan, whole) if missing.any() else whole
    if form:
        return to_numbers(as_coded(cells), form)
    return cells.astype(np.float64 if cells.dtype.kind == "f" or cells.dtype == np.uint64 else np.int64)


def _units(value: Any, form: str) -> float:
    try:
        return float(to_units([str(value)], form)[0])
    except ValueError:
        return math.nan


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def from_values(values: tuple[Any, ...], places: Array) -> Cells:
    """The values at these places, as the array or `Coded` that their type asks for."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        whole = all(isinstance(value, int) for value in values)
        fits = whole and min(present) >= -(2**63) and max(present) < 2**63
        if fits or all(float(value) == value for value in present):
            numbers = [math.nan if value is None else value for value in values]
            return np.array(numbers, dtype=np.int64 if fits else np.float64)[places]
    if present and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)[places]
    codes = np.cumsum([value is not None for value in values]) - 1
    codes = np.where([value is None for value in values], -1, codes)
    return Coded(codes[places].astype(np.int32), tuple(present))
