"""Columns: what a row of a table is, and the way to the numbers that the players see and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.column import (
    FURTHEST,
    Category,
    Column,
    Constant,
    Follower,
    Identifier,
    Number,
    to_numbers,
)
from zerosum.data.frames import from_frame
from zerosum.data.links import Within
from zerosum.data.sheet import PLAIN, Cells, Coded, Sheet, Style, as_coded
from zerosum.randomness import key, stream

__all__ = ["Block", "Columns", "Packed", "plain"]

Array = NDArray[Any]

ROUNDING = 2e-7  # how far float32 may move a rank: q stays so far inside of its range
CERTAIN = 12.0  # z of the noise of a category's value that is drawn whatever its logit is
EDGE = 1e-6  # the nearest to 0 and 1 that a rank comes: |z| stays below 4.76
_KINDS: dict[str, Any] = {c.__name__.lower(): c for c in (Number, Category, Constant, Identifier, Follower)}


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
    """A table's columns, in the order of the file, what keeps them in agreement, and how they are written.
    `encoding` is standard or ranks.

    >>> codec = plain(("age", "year"), mean=(40.0, 2014.0), scale=(5.0, 0.0))
    >>> codec.shape, codec.decode(torch.tensor([[-1.0], [1.0]])).columns["age"].tolist()
    ((1,), [35.0, 45.0])
    """

    columns: tuple[Column, ...]
    encoding: str = "standard"
    within: tuple[Within, ...] = ()
    style: Style = PLAIN

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
            if not isinstance(column, Number | Category):
                continue
            for i, width in enumerate(([1] if column.has_number else []) + list(column.groups)):
                blocks.append(Block(j, at, width, column.has_number and i == 0))
                at += width
        return tuple(blocks)

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """(start, width) of each one-hot, for a head of G."""
        return tuple((block.start, block.width) for block in self.blocks if not block.is_number)

    @property
    def shares(self) -> tuple[float, ...]:
        """How often the data have a one at each place of each one-hot."""
        return tuple(share for column in self._learnt for share in column.place_shares)

    @property
    def _learnt(self) -> list[Number | Category]:
        return [column for column in self.columns if isinstance(column, Number | Category)]

    def with_rare(self, z: Tensor, seed: int = 0, first: int = 0) -> Tensor:
        """z ``[n, latent + noise]`` of the rows first, first + 1, ... of a seed, with that of each category's
        rare values (`Category.rare`) drawn for sure in one row of as many as the data have.

        Chance alone would lose one in seven of those that occur once, in twice as many rows.
        """
        start = z.shape[1] - len(self.shares)
        for column in self._learnt:
            if isinstance(column, Category) and (few := len(column.rare)):
                begin = first + key("rare", column.name, seed) % column.rows
                rows = (begin + np.arange(len(z))) % column.rows * few
                hit = np.flatnonzero(rows % column.rows < few)
                places = column.places_of(column.rare[rows[hit] // column.rows])
                places += start + np.cumsum([0, *column.groups])[:-1]
                z[torch.from_numpy(hit)[:, None], torch.from_numpy(places)] = CERTAIN
            start += sum(column.groups)
        return z

    @property
    def shape(self) -> tuple[int]:
        """(d,); of a table in which there is nothing to learn a place that is always 0."""
        return (sum(block.width for block in self.blocks) or 1,)

    @property
    def squares(self) -> dict[int, Tensor]:
        """Of each category of many values the shares ``[rows, places]``, by the number of its first group."""
        found: dict[int, Tensor] = {}
        at = 0
        for column in self._learnt:
            if isinstance(column, Category) and column.is_wide:
                found[at] = torch.from_numpy(column.square)
            at += len(column.groups)
        return found

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
            if not isinstance(column, Number | Category):
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
        array = x.detach().cpu().float().numpy()
        places: dict[int, list[Block]] = {}
        for block in self.blocks:
            places.setdefault(block.column, []).append(block)
        cells: dict[str, Cells] = {}
        for j, column in enumerate(self.columns):
            if isinstance(column, Follower):
                continue
            if isinstance(column, Constant | Identifier):
                cells[column.name] = column.cells(len(array), first)
                continue
            z = array[:, places[j][0].start].astype(np.float64).clip(-FURTHEST, FURTHEST)
            groups = [b for b in places[j] if not b.is_number]
            codes = [array[:, b.start : b.start + b.width].argmax(axis=1) for b in groups]
            stacked = np.stack(codes, axis=1) if codes else np.empty((len(array), 0), dtype=np.int64)
            cells[column.name] = column.unpack(z, stacked, self.ranks)
        return self._linked(cells, first)

    def _linked(self, cells: Mapping[str, Cells], first: int) -> Sheet:
        """Columns with those that follow from them, and in agreement."""
        followers = {column.name: column for column in self.columns if isinstance(column, Follower)}
        within = {one.name: one for one in self.within}

        @cache
        def settled(name: str) -> Cells:
            if name in followers:
                return followers[name].cells_of([settled(of) for of in followers[name].leaders])
            if name in within:
                return within[name].moved(cells[name], [settled(of) for of in within[name].given], first)
            return cells[name]

        return Sheet({name: settled(name) for name in self.names}, style=self.style)

    def arrays(self, sheet: Sheet) -> dict[str, Array]:
        """The columns as `zerosum.metrics.tables` judges them: numbers and dates as floats, NaN where one is
        missing or infinite, others as objects; identifiers, which say nothing, are left out.

        Raises ValueError for a column that is not there.
        """
        arrays: dict[str, Array] = {}
        for column in self.columns:
            if isinstance(column, Identifier):
                continue
            if column.name not in sheet.columns:
                raise ValueError(f"there is no column {column.name!r}")
            cells = sheet[column.name]
            is_array = not isinstance(cells, Coded) and cells.dtype.kind in "if"
            if isinstance(column, Number) or (is_array and not isinstance(column, Category)):
                form = column.form if isinstance(column, Number) else ""
                numbers = to_numbers(cells, form).astype(np.float64)
                arrays[column.name] = np.where(np.isfinite(numbers), numbers, np.nan)
            elif isinstance(column, Category) and not isinstance(cells, Coded) and cells.dtype.kind == "M":
                arrays[column.name] = as_coded(cells).objects()  # the texts that are made of them
            else:
                arrays[column.name] = sheet.objects(column.name)
        return arrays

    def view(self, x: Tensor) -> Tensor:
        return x.float().cpu().flatten(1)

    def state_dict(self) -> dict[str, Any]:
        columns = [{"is": type(column).__name__.lower(), **_lists(asdict(column))} for column in self.columns]
        within = [_lists(asdict(one)) for one in self.within]
        state = {"codec": "columns", "encoding": self.encoding, "columns": columns, "within": within}
        separator, numbers, schema = self.style
        return {**state, "style": [separator, list(map(list, numbers)), schema]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Columns:
        columns: list[Column] = []
        for item in state["columns"]:
            options = {n: _tuples(x) for n, x in item.items() if n != "is"}
            if letters := options.pop("alphabets", ()):  # as identifiers were once kept
                options["parts"] = (("letters", len(letters), *letters),)
            columns.append(_KINDS[item["is"]](**options))
        within = [Within(**{n: _tuples(x) for n, x in one.items()}) for one in state.get("within", ())]
        style = Style(*_tuples(state.get("style", ())))
        return cls(tuple(columns), state["encoding"], tuple(within), style)


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


def _tuples(x: Any) -> Any:
    return tuple(map(_tuples, x)) if isinstance(x, list) else x
