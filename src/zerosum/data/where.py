"""Conditions on the columns of a table: which rows meet them, and as many as are wanted of a stream of rows.

Rows that are asked for are drawn until enough of them meet the condition, which is exact: what comes is
distributed as G's rows are, given the condition, whatever columns it is on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.data.column import Category, Column, Number, to_numbers
from zerosum.data.columns import Columns
from zerosum.data.sheet import Sheet, encoded
from zerosum.text import printable

__all__ = ["Condition", "conditions", "draw_where", "rows_that_meet"]

Array = NDArray[Any]
Where = str | Mapping[str, Any]

MOST_DRAWN = 5_000_000  # rows that are looked at for those that are wanted
_CLAUSE = re.compile(r"\s*(.+?)\s*(<=|>=|!=|==|=|<|>|\s+in\s+)\s*(.*?)\s*", re.S)


class Condition(NamedTuple):
    """name `operator` value: one of = != < <= > >= and in, of which the value is a list. None: missing."""

    name: str
    operator: str
    value: Any


def conditions(where: Where, codec: Columns) -> list[Condition]:
    """Conditions that all have to hold.

    where: ``sex=Female and age>60``, ``place in Paris|Rome``, ``"a name" = 'a = b'``, ``income =`` of missing
    cells; or a mapping, with values, lists of values and, of numbers and dates, pairs (low, high), either
    perhaps None.

    Raises ValueError in one line: no such column, a value that the column never has, no condition.

    >>> from zerosum.data.columns import plain
    >>> conditions("age>60 and age <= 65", plain(["age"], [40], [10]))
    [Condition(name='age', operator='>', value='60'), Condition(name='age', operator='<=', value='65')]
    """
    found = _parsed(where) if isinstance(where, str) else _of_mapping(where)
    if not found:
        raise ValueError("a condition is such as: sex=Female and age>60")
    columns = {column.name: column for column in codec.columns}
    for condition in found:
        if condition.name not in columns:
            names = ", ".join(map(printable, list(columns)[:20]))
            raise ValueError(f"there is no column {printable(condition.name)!r}: there are {names}")
        _check(condition, columns[condition.name])
    return found


def _parsed(where: str) -> list[Condition]:
    pieces = re.split(r"\s+and\s+(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", where.strip(), flags=re.I)
    found: list[Condition] = []
    for piece in filter(str.strip, pieces):
        clause = _CLAUSE.fullmatch(piece)
        if clause is None:
            raise ValueError(f"{printable(piece)!r} is no condition: write one such as age>60 or sex=Female")
        name, operator, value = clause.groups()
        operator = operator.strip().replace("==", "=")
        words = [_unquoted(word) for word in (value.split("|") if operator == "in" else [value])]
        found.append(Condition(_unquoted(name) or "", operator, words if operator == "in" else words[0]))
    return found


def _unquoted(text: str) -> str | None:
    """The text without its quotes; None if there is nothing."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text or None


def _of_mapping(where: Mapping[str, Any]) -> list[Condition]:
    found: list[Condition] = []
    for label, value in where.items():
        name = str(label)
        if isinstance(value, tuple) and len(value) == 2:
            ends = zip((">=", "<="), value, strict=True)
            found += [Condition(name, operator, end) for operator, end in ends if end is not None]
        else:
            found.append(Condition(name, "in" if isinstance(value, list | set) else "=", value))
    return found


def _check(condition: Condition, column: Column) -> None:
    """Refuse what no row can meet."""
    name, operator, value = condition
    values = list(value) if operator == "in" else [value]
    if isinstance(column, Category) and operator in ("=", "in"):
        texts = {str(known) for known in column.values if known is not None}
        for one in values:
            if (one is None and None not in column.values) or (one is not None and str(one) not in texts):
                shown = ", ".join(map(printable, sorted(texts)[:20]))
                raise ValueError(f"column {printable(name)} is never {printable(one)!r}: it is {shown}")
    if isinstance(column, Number):
        for one in values:
            if one is not None and np.isnan(_number(one, column)):
                raise ValueError(f"column {printable(name)} is a {column.kind}: {printable(one)!r} is none")
            if one is None and not column.missing:
                raise ValueError(f"column {printable(name)} is never missing")


def rows_that_meet(sheet: Sheet, found: Sequence[Condition], codec: Columns) -> Array:
    """bool ``[n]``"""
    columns = {column.name: column for column in codec.columns}
    met = np.ones(len(sheet), dtype=bool)
    for name, operator, value in found:
        column = columns[name]
        values = list(value) if operator == "in" else [value]
        if isinstance(column, Number):
            cells: Array = to_numbers(sheet[name], column.form).astype(np.float64)
            is_missing = np.isnan(cells)
            wanted: list[Any] = [None if one is None else _number(one, column) for one in values]
        else:
            objects = sheet.objects(name)
            is_missing = np.array([cell is None for cell in objects], dtype=bool)
            cells = objects.astype(str)
            wanted = [None if one is None else str(one) for one in values]
            if operator not in ("=", "!=", "in"):
                cells, wanted = cells.astype(np.float64), [float(one) for one in wanted]
        met &= _compare(cells, is_missing, operator, wanted)
    return met


def _compare(cells: Array, is_missing: Array, operator: str, wanted: list[Any]) -> Array:
    if operator in ("=", "in", "!="):
        equal = np.zeros(len(cells), dtype=bool)
        for one in wanted:
            equal |= is_missing if one is None else (cells == one) & ~is_missing
        return ~equal if operator == "!=" else equal
    orders = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
    return orders[operator](cells, wanted[0]) & ~is_missing


def _number(value: Any, column: Number) -> float:
    """A value of a condition as the column's numbers count: of dates in their unit."""
    if column.form == "moment":
        try:
            return float(np.datetime64(value, "us").astype(np.int64))
        except ValueError:
            return np.nan
    return float(to_numbers(encoded([str(value)]), column.form)[0])


def draw_where(draw: Callable[[int, int], Sheet], where: Where, n: int, codec: Columns) -> Sheet:
    """`n` rows that meet the conditions, in the order in which they are drawn.

    draw: (number of rows, first) -> the rows first, first + 1, ... of a stream.

    Raises ValueError as `conditions` does, and if so few of `MOST_DRAWN` rows meet them that n are not found.
    """
    found = conditions(where, codec)
    parts: list[Sheet] = []
    count = first = 0
    while count < n:
        if first >= MOST_DRAWN:
            raise ValueError(f"of {first:,} rows that were drawn only {count:,} meet {printable(where)}")
        share = (count + 1) / (first + 1) if first else 1.0
        size = int(min(max((n - count) / share * 1.2, 1024), 65_536))
        sheet = draw(size, first)
        first += size
        met = np.flatnonzero(rows_that_meet(sheet, found, codec))[: n - count]
        parts.append(sheet.take(met))
        count += len(met)
    return Sheet.joined(parts) if parts else draw(0, 0)
