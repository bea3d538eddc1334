"""Links: columns of which one follows from others agree in whatever G makes.

Where C follows from A, or from A and B together, in all rows of the data, a made row has of these columns
what a row of the data has. Columns have an order, those of few values first. A cell stays as it is if the
data have it beside the cells of the earlier columns that it is linked with; else it becomes the nearest that
they have there, or of a category one that they have, as often as they have it. What has one value left is
not learnt but looked up, if G can tell those values apart from which it follows. Where C follows from A in
nearly all rows, both are learnt, and are together only as in the data, exceptions among them; then what has
many values comes first in the order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.column import WIDEST_GROUP, Category, Column, Follower, Number, from_values, to_numbers
from zerosum.data.known import Known, places
from zerosum.data.sheet import Cells, Coded, Sheet, as_coded, encoded
from zerosum.data.splits import is_missing
from zerosum.metrics.determined import MOST_TOGETHER, determined, nearly_determined

__all__ = ["Within", "link"]

Array = NDArray[Any]

RESOLVED = 1000  # as often may a column change along a number that it is looked up by
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Within:
    """The cells of the column `name` that the data have beside those of the columns `given`.

    seen: the rows that there are of these columns, `name` last, each once, column by column, None where a
    cell is missing. counts: how often there are. form: of dates and of numbers in text (`Number.form`); None
    of a category, of whose values none is nearer than another.
    """

    name: str
    given: tuple[str, ...]
    seen: tuple[tuple[Any, ...], ...]
    counts: tuple[int, ...]
    form: str | None = None

    @cached_property
    def _known(self) -> Known:
        return Known(self.seen[:-1])

    @cached_property
    def _values(self) -> tuple[tuple[Any, ...], Array]:
        """The values of the column in their order, a missing one last, and as numbers."""
        values = list(dict.fromkeys(self.seen[-1]))
        if self.form is None:
            return tuple(values), np.full(len(values), np.nan)
        numbers = to_numbers(encoded(values), self.form).astype(np.float64)
        order = np.argsort(numbers)
        return tuple(values[i] for i in order), numbers[order]

    @cached_property
    def _rows(self) -> tuple[dict[Any, int], Array, Array]:
        """The places of the values; of `seen` group x number of values + place, sorted; and how many rows of
        the data come before each."""
        numbering = {value: i for i, value in enumerate(self._values[0])}
        keys = self._known.at * len(numbering) + [numbering[value] for value in self.seen[-1]]
        order = np.argsort(keys)
        return numbering, keys[order], np.cumsum([0, *np.array(self.counts)[order]])

    def moved(self, cells: Cells, given: Sequence[Cells], first: int = 0) -> Cells:
        """The cells of rows first, first + 1, ..., with others in place of those that the data never have."""
        (values, numbers), (numbering, keys, before) = self._values, self._rows
        row, own = self._known.find(given), places(cells, numbering)
        group = self._known.at[row]
        at = np.searchsorted(keys, group * len(values) + own)
        is_seen = (own >= 0) & (keys[np.minimum(at, len(keys) - 1)] == group * len(values) + own)
        wrong = np.flatnonzero(~is_seen & (row >= 0))
        if not len(wrong):
            return cells
        start, end = (np.searchsorted(keys, (group[wrong] + i) * len(values)) for i in (0, 1))
        place = (first + wrong) * _GOLDEN % 1  # so that many rows have each at its share
        drawn = np.searchsorted(before, before[start] + place * (before[end] - before[start]), "right") - 1
        value = np.where(own[wrong] < 0, np.nan, numbers[own[wrong]])
        near = np.stack([np.clip(at[wrong] + i, start, end - 1) for i in (-1, 0)])
        far = np.nan_to_num(np.abs(numbers[keys[near] % len(values)] - value), nan=np.inf)
        nearest = np.take_along_axis(near, far.argmin(0)[None], 0)[0]
        own[wrong] = keys[np.where(np.isfinite(far.min(0)), nearest, np.minimum(drawn, end - 1))] % len(
            values
        )
        return from_values(values, own)


def link(
    sheet: Sheet, columns: Sequence[Column], fixed: Collection[str]
) -> tuple[tuple[Column, ...], tuple[Within, ...]]:
    """The columns with those that are looked up as `Follower`, of which the `fixed` are none, and what keeps
    the others in agreement. Of two that determine each other the first is learnt."""
    able = {c.name: c for c in columns if isinstance(c, Number | Category) and _exact(c, sheet[c.name])}
    codes = {name: np.unique(as_coded(sheet[name]).codes, return_inverse=True)[1] for name in able}
    there = {name: ~is_missing(sheet[name]) for name in able}
    found = determined(codes, there)
    plan = _Plan(sheet, able, codes)
    alone = [(of[0], name) for of, name in found if len(of) == 1]
    for name in sorted(able, key=plan.rank.__getitem__, reverse=True):  # that of most values follows first
        of = [a for a, b in alone if b == name and a not in plan.led and plan.rank[a] != plan.rank[name]]
        twins = {a for a in of if (name, a) in alone}
        for a in sorted(of, key=plan.rank.__getitem__):
            if name in fixed or name in plan.led or (a in twins and plan.rank[a] > plan.rank[name]):
                continue
            if a in twins or plan.is_resolved(a, name):
                plan.led[name] = (a,)
    for of, name in sorted(found, key=lambda one: (len(one[0]), -plan.rank[one[1]])):
        plan.keep(of, name, can_follow=name not in fixed)
    plan.put_wide_first()
    for of, name in nearly_determined(codes, there):
        if of not in plan.led and name not in plan.led:
            plan.keep((of,), name, can_follow=False)
    followers = {name: plan.follower(name) for name in plan.led}
    within = tuple(plan.within(name) for name in plan.given if not plan.is_free(name))
    return tuple(followers.get(column.name, column) for column in columns), within


class _Plan:
    """led: the columns that each one that is looked up follows from. given: those that each other one is kept
    in agreement with. rank: the order of the columns. kept: the columns that agree.
    """

    def __init__(
        self, sheet: Sheet, columns: Mapping[str, Number | Category], codes: Mapping[str, Array]
    ) -> None:
        self.sheet, self.columns, self.codes = sheet, columns, codes
        self.sizes = {name: int(x.max(initial=0)) + 1 for name, x in codes.items()}
        many = min(RESOLVED, len(sheet) / 4)  # values of a category, of which no number can take the place
        order = sorted(
            columns, key=lambda n: (size := self.sizes[n], isinstance(columns[n], Category) and size > many)
        )
        self.rank = {name: i for i, name in enumerate(order)}
        self.led: dict[str, tuple[str, ...]] = {}
        self.given: dict[str, set[str]] = {}
        self.kept: list[set[str]] = []

    def put_wide_first(self) -> None:
        """From now on categories of many values are not moved, but what goes with them: each of their values
        has too few rows to lose some."""
        sizes = self.sizes

        def place(name: str) -> tuple[bool, int]:
            column = self.columns[name]
            is_wide = isinstance(column, Category) and column.is_wide
            return not is_wide, -sizes[name] if is_wide else sizes[name]

        self.rank = {name: i for i, name in enumerate(sorted(self.columns, key=place))}

    def is_resolved(self, of: str, name: str) -> bool:
        """Whether G can tell those values of `of` apart from which `name` follows, so that it need not be
        learnt beside: not many categories, and no number along which it changes at every step."""
        column = self.columns[of]
        if 4 * self.sizes[name] > self.sizes[of]:
            return True
        if isinstance(column, Category):
            return self.sizes[of] <= WIDEST_GROUP
        at = np.unique(to_numbers(self.sheet[of], column.form), return_index=True)[1]
        return int(np.count_nonzero(np.diff(self.codes[name][at]))) <= RESOLVED

    def keep(self, of: tuple[str, ...], name: str, can_follow: bool) -> None:
        """Have `name` follow from `of`, unless too many values would have to be held for it."""
        edge = {*of, name}
        if edge in self.kept:
            return
        options = [self.led]
        is_last = max(edge, key=self.rank.__getitem__) == name
        if can_follow and is_last and name not in self.led and not any(self._rests_on(a, name) for a in of):
            options.insert(0, {**self.led, name: of})
        for led in options if len(of) > 1 else options[-1:]:
            given: dict[str, set[str]] = {}
            for some in (*self.kept, edge):
                self._join(some, led, given)
            if all(len(self._rows((*some, one))[0]) <= MOST_TOGETHER for one, some in given.items()):
                self.led, self.given = led, given
                self.kept.append(edge)
                return

    def _rests_on(self, name: str, other: str) -> bool:
        return name == other or any(self._rests_on(one, other) for one in self.led.get(name, ()))

    def _home(self, name: str, led: Mapping[str, tuple[str, ...]]) -> str:
        """The last of the columns of G from which a column follows."""
        return (
            max((self._home(a, led) for a in led[name]), key=self.rank.__getitem__) if name in led else name
        )

    def _join(self, names: set[str], led: Mapping[str, tuple[str, ...]], given: dict[str, set[str]]) -> None:
        """Have these columns be together what the data have: the last of G's by all before it, which are so
        in their turn."""
        last = max((self._home(name, led) for name in names), key=self.rank.__getitem__)
        waiting, before = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if self._home(name, led) != last:
                before.add(name)
            elif name != last:
                waiting += led[name]
        if not before <= given.get(last, set()):
            given[last] = given.get(last, set()) | before
            self._join(given[last], led, given)

    def _rows(self, names: Sequence[str]) -> tuple[Array, Array]:
        """Where each combination of cells of these columns is first, and how many rows have it."""
        at = np.zeros(len(self.sheet), dtype=np.int64)
        for name in sorted(names, key=self.rank.__getitem__):
            at = np.unique(at * self.sizes[name] + self.codes[name], return_inverse=True)[1]
        return np.unique(at, return_index=True, return_counts=True)[1:]

    def is_free(self, name: str) -> bool:
        """Whether the data have every cell of a column beside all that it is kept in agreement with."""
        given = self.given[name]
        return len(self._rows([*given, name])[0]) == len(self._rows([*given])[0]) * self.sizes[name]

    def follower(self, name: str) -> Follower:
        of = self.led[name]
        rows = self.sheet.take(self._rows(of)[0])
        keys = [rows.objects(one).tolist() for one in of]
        values = tuple(rows.objects(name).tolist())
        if len(of) == 1:
            return Follower(name, of[0], tuple(keys[0]), values)
        return Follower(name, of, tuple(zip(*keys, strict=True)), values)

    def within(self, name: str) -> Within:
        given = tuple(sorted(self.given[name], key=self.rank.__getitem__))
        at, counts = self._rows((*given, name))
        rows, column = self.sheet.take(at), self.columns[name]
        seen = tuple(tuple(rows.objects(one).tolist()) for one in (*given, name))
        form = column.form if isinstance(column, Number) else None
        return Within(name, given, seen, tuple(counts.tolist()), form)


def _exact(column: Number | Category, cells: Cells) -> bool:
    """Whether decoding gives the values of the data and no others, such as can be looked up."""
    if isinstance(column, Category):
        return True
    is_whole = not isinstance(cells, Coded) and cells.dtype.kind == "i"
    if is_whole and column.digits is None and max(-(column.low or 0), column.high or 0) >= 2**53:
        return False
    return column.cells != "moment" and column.upto[:-1] == column.below[1:]
