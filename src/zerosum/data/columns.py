"""Columns: what a row of a table is, and the way to the numbers that the players see and back.

A number is seen in one of two ways. *standard*: z = (t - mean) / scale. *ranks*: z = Phi^-1(q), with q
uniform in [P(V < v), P(V <= v)), so that every column is standard normal, ties included, and comes back
through the empirical quantiles: values, bounds and atoms are those of the data whatever G does to z. Whole
numbers, decimals and dates are counted, v = (origin + step t) / 10^digits with t = 0, 1, 2, ..., so each that
comes back is one that can be. A category is one-hot; one of many values is two, of its row and its place in a
square. Where numbers are missing, two more places say so, and in the ranks z is noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.dates import to_text, to_units
from zerosum.data.sheet import Cells, Coded, Sheet, encoded, from_frame
from zerosum.randomness import stream

__all__ = ["Category", "Columns", "Constant", "Identifier", "Number", "Packed", "plain"]

Array = NDArray[Any]

WIDEST_GROUP = 64  # a category of more values is two groups of one-hots
ROUNDING = 2e-7  # how far float32 may move a rank: q stays so far inside of its range
EDGE = 1e-6  # the nearest to 0 and 1 that a rank comes: |z| stays below 4.76


@dataclass(frozen=True)
class Number:
    """A column of numbers or dates t: counted from `origin` in `step`s, or as they are if `digits` is None.

    kind: number, whole or date. cells: float, int, text or moment, as the file has them. form: of dates
    (`zerosum.data.dates`). missing: the share of missing cells. mean, scale: of t. low, high: the bounds of
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

    has_number = True

    @property
    def groups(self) -> tuple[int, ...]:
        return (2,) if self.missing else ()

    @cached_property
    def table(self) -> tuple[Array, Array, Array]:
        return np.array(self.knots), np.array(self.below), np.array(self.upto)

    def pack(self, cells: Cells, ranks: bool) -> tuple[Array, Array, Array]:
        """z, or the lower end of q, and its width ``[N]``; and whether it is missing ``[N, 0 or 1]``."""
        numbers = to_numbers(cells, self.form)
        is_missing = ~np.isfinite(numbers) if numbers.dtype.kind == "f" else np.zeros(len(numbers), bool)
        t = self._ticks(np.where(is_missing, 0, numbers))
        low, width = self._ranks(t) if ranks else ((t - self.mean) / self.scale, np.zeros(len(t)))
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
            return np.where(is_missing, math.nan, t)
        whole = self.origin + self.step * np.rint(t).astype(np.int64)
        return self._to_cells(whole, is_missing)

    def _to_cells(self, whole: Array, is_missing: Array) -> Cells:
        if self.cells == "moment":
            return np.where(is_missing, np.datetime64("NaT"), whole.astype("datetime64[us]"))
        if self.form:
            units, codes = np.unique(whole, return_inverse=True)
            texts = to_text(units.tolist(), self.form)
            if self.cells == "text":
                return Coded(np.where(is_missing, -1, codes).astype(np.int32), tuple(texts))
            whole = np.array(list(map(int, texts)), dtype=np.int64)[codes]
        values = whole / 10**self.digits if self.digits else whole
        return np.where(is_missing, math.nan, values) if self.missing else values

    def _ticks(self, numbers: Array) -> Array:
        if self.digits is None:
            return numbers.astype(np.float64)
        if numbers.dtype.kind == "i":
            scaled = numbers * 10**self.digits - self.origin
        else:
            scaled = np.rint(numbers * 10**self.digits) - self.origin
        return scaled / self.step

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
    """A column of few values, each with its share; None stands for a missing one."""

    name: str
    values: tuple[Any, ...]
    shares: tuple[float, ...]
    kind: str = "category"

    has_number = False

    @property
    def groups(self) -> tuple[int, ...]:
        n = len(self.values)
        if n <= WIDEST_GROUP:
            return (n,)
        side = math.isqrt(n - 1) + 1
        return -(-n // side), side

    def pack(self, cells: Cells, ranks: bool) -> tuple[Array, Array, Array]:
        """Codes ``[N, 1 or 2]``, -1 for a value that training never met."""
        coded = as_coded(cells)
        places = {value: i for i, value in enumerate(self.values)}
        lookup = [places.get(value, -1) for value in coded.values]
        codes = np.array([*lookup, places.get(None, -1)], dtype=np.int32)[coded.codes]
        if len(self.groups) == 1:
            return np.empty(0), np.empty(0), codes[:, None]
        side = self.groups[1]
        pair = np.stack([codes // side, codes % side], axis=1)
        return np.empty(0), np.empty(0), np.where(codes[:, None] < 0, -1, pair)

    def unpack(self, z: Array, codes: Array, ranks: bool) -> Cells:
        places = codes[:, 0] if len(self.groups) == 1 else codes[:, 0] * self.groups[1] + codes[:, 1]
        places = np.minimum(places, len(self.values) - 1)
        return _from_values(self.values, places)


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
        return _from_values((self.value,), np.zeros(n, dtype=np.int64))


@dataclass(frozen=True)
class Identifier:
    """A column in which every cell is another one: it takes no part in the game and is made anew.

    Numbers go on from `start`; so do texts, between `prefix` and `suffix` and with `width` digits. Where
    there is no such pattern, each character is drawn from those that its place has had (`alphabets`).
    """

    name: str
    start: int = 0
    cells_are: str = "int"
    prefix: str = ""
    suffix: str = ""
    width: int = 0
    alphabets: tuple[str, ...] = ()
    kind: str = "identifier"

    def cells(self, n: int, first: int) -> Cells:
        """The identifiers of samples first, ..., first + n - 1."""
        numbers = self.start + first + np.arange(n, dtype=np.int64)
        if self.cells_are == "int":
            return numbers
        if not self.alphabets:
            return encoded(
                f"{self.prefix}{number:0{self.width}d}{self.suffix}" for number in numbers.tolist()
            )
        draw = np.random.default_rng([self.start, first, n])
        letters = [
            np.array(list(alphabet))[draw.integers(len(alphabet), size=n)] for alphabet in self.alphabets
        ]
        return encoded("".join(row) for row in zip(*letters, strict=True))


Column = Number | Category | Constant | Identifier
_KINDS: dict[str, Any] = {c.__name__.lower(): c for c in (Number, Category, Constant, Identifier)}


class Packed(NamedTuple):
    """Rows of a table as they are held in memory: of each number z or where q begins, and how wide it is; of
    each category the place of its one.
    """

    low: Tensor
    width: Tensor
    codes: Tensor

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: Tensor) -> Packed:
        return Packed(*(part.index_select(0, rows) for part in self))


class Block(NamedTuple):
    """Places start, ..., start + width - 1 of an example: a number, or the one-hot of a category."""

    column: int
    start: int
    width: int
    is_number: bool


@dataclass(frozen=True, eq=False)
class Columns:
    """A table's columns, in the order of the file. `encoding` is standard or ranks.

    >>> codec = plain(("age", "year"), mean=(40.0, 2014.0), scale=(5.0, 0.0))
    >>> codec.shape, codec.decode(torch.tensor([[-1.0], [1.0]])).columns["age"].tolist()
    ((1,), [35.0, 45.0])
    """

    columns: tuple[Column, ...]
    encoding: str = "standard"

    def __post_init__(self) -> None:
        if self.encoding not in ("standard", "ranks"):
            raise ValueError(f"an encoding of columns is standard or ranks: got {self.encoding!r}")

    @property
    def ranks(self) -> bool:
        return self.encoding == "ranks"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Which places of an example belong together, for a head of G and for pictures."""
        blocks: list[Block] = []
        at = 0
        for j, column in enumerate(self.columns):
            if isinstance(column, Constant | Identifier):
                continue
            for i, width in enumerate(([1] if column.has_number else []) + list(column.groups)):
                blocks.append(Block(j, at, width, column.has_number and i == 0))
                at += width
        return tuple(blocks)

    @property
    def shape(self) -> tuple[int]:
        return (sum(block.width for block in self.blocks),)

    @cached_property
    def _starts(self) -> tuple[Tensor, Tensor]:
        numbers = [block.start for block in self.blocks if block.is_number]
        groups = [block.start for block in self.blocks if not block.is_number]
        return torch.tensor(numbers, dtype=torch.int64), torch.tensor(groups, dtype=torch.int64)

    def pack(self, sheet: Sheet) -> Packed:
        """Rows as they are held. Raises ValueError for a column that is not there or holds something else."""
        n, numbers, groups = len(sheet), len(self._starts[0]), len(self._starts[1])
        low, width = np.empty((2, n, numbers), dtype=np.float32)
        codes = np.empty((n, groups), dtype=np.int32)
        at_number = at_group = 0
        for column in self.columns:
            if isinstance(column, Constant | Identifier):
                continue
            if column.name not in sheet.columns:
                raise ValueError(f"there is no column {column.name!r}")
            with np.errstate(over="ignore"):
                one, wide, places = column.pack(sheet[column.name], self.ranks)
            if column.has_number:
                low[:, at_number], width[:, at_number] = one, wide
                at_number += 1
            codes[:, at_group : at_group + places.shape[1]] = places
            at_group += places.shape[1]
        return Packed(*map(torch.from_numpy, (low, width, codes)))

    def expand(self, packed: Packed, generator: torch.Generator | None = None) -> Tensor:
        """Packed rows as the players see them, ``[n, d]``; ties are spread by the generator."""
        n, (numbers, groups) = len(packed.low), self._starts
        x = torch.zeros(n, self.shape[0] + 1)  # the last place is for categories that training never met
        if self.ranks:
            u = torch.rand(packed.low.shape, generator=generator, dtype=torch.float64)
            width = packed.width.double()
            margin = (width / 8).clamp_(max=ROUNDING)
            q = packed.low.double() + margin + (width - 2 * margin) * u
            x[:, numbers] = torch.special.ndtri(q.clamp_(EDGE, 1 - EDGE)).float()
        else:
            x[:, numbers] = packed.low
        places = torch.where(packed.codes < 0, self.shape[0], packed.codes + groups)
        return x.scatter_(1, places, 1.0)[:, :-1].contiguous()

    def encode(self, values: Any) -> Tensor:
        """A sheet, a frame, or numbers ``[n, D]`` of all columns in their order -> float32 ``[n, d]``."""
        return self.expand(self.pack(self.to_sheet(values)), stream("ties"))

    def to_sheet(self, values: Any) -> Sheet:
        if isinstance(values, Sheet):
            return values
        if hasattr(values, "columns"):
            return from_frame(values)
        array = np.asarray(values)
        if array.ndim != 2 or array.shape[1] != len(self.columns):
            raise ValueError(f"rows of {len(self.columns)} columns are needed: got {list(array.shape)}")
        return Sheet(dict(zip(self.names, array.T, strict=True)))

    def decode(self, x: Tensor, first: int = 0) -> Sheet:
        """What G makes ``[n, d]`` -> all columns in the file's units.

        first: how many samples there are before these; identifiers go on from there.
        """
        array = x.detach().cpu().double().numpy().clip(-1e30, 1e30)
        places: dict[int, list[Block]] = {}
        for block in self.blocks:
            places.setdefault(block.column, []).append(block)
        cells: dict[str, Cells] = {}
        for j, column in enumerate(self.columns):
            if isinstance(column, Constant | Identifier):
                cells[column.name] = column.cells(len(array), first)
                continue
            z = array[:, places[j][0].start]
            groups = [b for b in places[j] if not b.is_number]
            codes = [array[:, b.start : b.start + b.width].argmax(axis=1) for b in groups]
            stacked = np.stack(codes, axis=1) if codes else np.empty((len(array), 0), dtype=np.int64)
            cells[column.name] = column.unpack(z, stacked, self.ranks)
        return Sheet(cells)

    def view(self, x: Tensor) -> Tensor:
        return x.float().cpu().flatten(1)

    def state_dict(self) -> dict[str, Any]:
        columns = [{"is": type(column).__name__.lower(), **_lists(asdict(column))} for column in self.columns]
        return {"codec": "columns", "encoding": self.encoding, "columns": columns}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Columns:
        columns: list[Column] = []
        for item in state["columns"]:
            options = {n: tuple(x) if isinstance(x, list) else x for n, x in item.items() if n != "is"}
            columns.append(_KINDS[item["is"]](**options))
        return cls(tuple(columns), state["encoding"])


def plain(columns: Sequence[str], mean: Sequence[float], scale: Sequence[float]) -> Columns:
    """Columns that are standardised and nothing else; those of scale 0 are constant."""
    return Columns(
        tuple(
            Number(name, mean=float(m), scale=float(s)) if s else Constant(name, float(m))
            for name, m, s in zip(columns, mean, scale, strict=True)
        )
    )


def _lists(options: dict[str, Any]) -> dict[str, Any]:
    return {name: list(x) if isinstance(x, tuple) else x for name, x in options.items()}


def to_numbers(cells: Cells, form: str) -> Array:
    """Cells as numbers, NaN where one is missing: dates in their unit, others as they are."""
    if isinstance(cells, Coded):
        if form and "%" in form:
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


def as_coded(cells: Cells) -> Coded:
    """Cells by number, whole ones as int."""
    if isinstance(cells, Coded):
        return cells
    if cells.dtype.kind == "M":
        texts = np.datetime_as_string(cells.astype("datetime64[us]"))
        return encoded(None if text == "NaT" else text for text in texts.tolist())
    values, codes = np.unique(cells, return_inverse=True)
    is_missing = values != values
    codes = np.where(is_missing[codes], -1, codes).astype(np.int32)
    objects = values[~is_missing].tolist()
    if values.dtype.kind == "f" and all(value == int(value) for value in objects if math.isfinite(value)):
        objects = [int(value) if math.isfinite(value) else value for value in objects]
    return Coded(codes, tuple(objects))


def _from_values(values: tuple[Any, ...], places: Array) -> Cells:
    """The values at these places, as the array or `Coded` that their type asks for."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        whole = all(isinstance(value, int) for value in values)
        numbers = [math.nan if value is None else value for value in values]
        return np.array(numbers, dtype=np.int64 if whole else np.float64)[places]
    if present and all(isinstance(value, bool) for value in values):
        return np.array(values, dtype=bool)[places]
    codes = np.cumsum([value is not None for value in values]) - 1
    codes = np.where([value is None for value in values], -1, codes)
    return Coded(codes[places].astype(np.int32), tuple(present))
