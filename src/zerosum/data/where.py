"""Conditions on the columns of a table: which rows meet them, and as many as are wanted of a stream of rows.

Rows that are asked for are drawn until enough of them meet the condition, which is exact: what comes is
distributed as G's rows are, given the condition, whatever columns it is on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.data.column import (
    FURTHEST,
    Column,
    Constant,
    Identifier,
    Number,
    from_values,
    to_numbers,
)
from zerosum.data.columns import Columns
from zerosum.data.kinds import form_of
from zerosum.data.readers import is_number
from zerosum.data.sheet import Cells, Coded, Sheet, as_coded, encoded
from zerosum.text import printable

__all__ = ["Condition", "conditions", "draw_where", "rows_that_meet"]

Array = NDArray[Any]
Where = str | Mapping[str, Any]

MOST_DRAWN = 5_000_000  # rows that are looked at for those that are wanted
_ORDERS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
_WHOLE = re.compile(r"[+-]?\d+")
_CLAUSE = re.compile(r"\s*(.+?)\s*(<=|>=|!=|==|=|<|>|\s+in\s+)\s*(.*?)\s*", re.S)


class Condition(NamedTuple):
    """name `operator` any of `wanted`: one of = != < <= > >=. None: missing.

    form: how the column's cells are numbers (`Number.form`), as which it compares; None of text.
    """

    name: str
    operator: str
    wanted: tuple[Any, ...]
    form: str | None


def conditions(where: Where, codec: Columns) -> list[Condition]:
    """Conditions that all have to hold.

    where: ``sex=Female and age>60``, ``place in Paris|Rome``, ``"a name" = 'a = b'``, ``income =`` of missing
    cells; or a mapping, with values, lists of values and, of numbers and dates, pairs (low, high), either
    perhaps None.

    Raises ValueError in one line: no such column, no condition, what no cell of the column meets.

    >>> from zerosum.data.columns import plain
    >>> conditions("age>60 and age <= 65", plain(["age"], [40], [10]))[0]
    Condition(name='age', operator='>', wanted=(60,), form='')
    """
    found = _parsed(where) if isinstance(where, str) else _of_mapping(where)
    if not found:
        raise ValueError("a condition is such as: sex=Female and age>60")
    columns = {column.name: column for column in codec.columns}
    for name, _, _ in found:
        if name not in columns:
            names = ", ".join(map(printable, list(columns)[:20]))
            raise ValueError(f"there is no column {printable(name)!r}: there are {names}")
    return [_understood(columns[name], operator, values) for name, operator, values in found]


def _parsed(where: str) -> list[tuple[str, str, list[Any]]]:
    """Names, operators and what is wanted."""
    pieces = re.split(r"\s+and\s+(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", where.strip(), flags=re.I)
    found: list[tuple[str, str, list[Any]]] = []
    for piece in filter(str.strip, pieces):
        clause = _CLAUSE.fullmatch(piece)
        if clause is None:
            raise ValueError(f"{printable(piece)!r} is no condition: write one such as age>60 or sex=Female")
        name, operator, value = clause.groups()
        words = [_unquoted(word) for word in (value.split("|") if operator.strip() == "in" else [value])]
        operator = operator.strip().replace("==", "=").replace("in", "=")
        found.append((_unquoted(name) or "", operator, words))
    return found


def _unquoted(text: str) -> str | None:
    """The text without its quotes; None if there is nothing."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text or None


def _of_mapping(where: Mapping[str, Any]) -> list[tuple[str, str, list[Any]]]:
    found: list[tuple[str, str, list[Any]]] = []
    for label, value in where.items():
        name = str(label)
        if isinstance(value, tuple) and len(value) == 2:
            ends = zip((">=", "<="), value, strict=True)
            found += [(name, operator, [end]) for operator, end in ends if end is not None]
        else:
            found.append((name, "=", list(value) if isinstance(value, list | set) else [value]))
    return found


def _understood(column: Column, operator: str, values: list[Any]) -> Condition:
    """A condition as the column's cells compare. Raises ValueError for what none of them can meet."""
    form, known = _form(column, operator), _known(column)
    shown = f"column {printable(column.name)}"
    if form is None and operator in _ORDERS:
        raise ValueError(f"{shown} is text, which has no order: ask for it by = or in")
    wanted: list[Any] = []
    for value in values:
        one = value if value is None else str(value) if form is None else _number(value, form)
        if one != one:
            kind = "date" if form == "moment" or "%" in (form or "") else "number"
            raise ValueError(f"{shown} holds {kind}s: {printable(value)!r} is none")
        if one is None and operator in _ORDERS:
            raise ValueError(f"{shown} {operator} of what? a value is needed")
        if not _can_be(column, known, form, operator, one):
            said = "missing" if one is None else f"{operator} {printable(value)}".removeprefix("= ")
            raise ValueError(f"{shown} is never {said}{_listed(column, known)}")
        wanted.append(one)
    if not wanted:
        raise ValueError(f"{shown} is none of no values: a value is needed")
    return Condition(column.name, operator, tuple(wanted), form)


def _known(column: Column) -> Cells | None:
    """All cells that a column can have, of a number the least, the greatest and a missing one; None if it is
    made anew or has no bounds."""
    if isinstance(column, Identifier) or (isinstance(column, Number) and column.low is None):
        return None
    if isinstance(column, Constant):
        return column.cells(1, 0)
    if not isinstance(column, Number):
        values = tuple(dict.fromkeys(column.values))
        return from_values(values, np.arange(len(values)))
    ends = np.array([-FURTHEST, FURTHEST, 0.0])[: 3 if column.missing else 2]
    return column.unpack(ends, np.array([[0], [0], [1]])[: len(ends)], ranks=False)


def _listed(column: Column, known: Cells | None) -> str:
    if known is None:
        return ""
    texts = [printable(value) for value in as_coded(known).values]
    if isinstance(column, Number):
        return f": it is from {texts[0]} to {texts[-1]}"
    return f": it is {', '.join(sorted(texts)[:20] if isinstance(known, Coded) else texts[:20]) or 'empty'}"


def _form(column: Column, operator: str) -> str | None:
    """How the cells of a column are numbers, None of text. Texts that are numbers as they stand, and dates
    with words among them, have an order as such, and are the same if their letters are."""
    if isinstance(column, Number):
        return column.form
    if isinstance(column, Identifier):
        return "" if column.cells_are == "int" else None
    known = _known(column)
    if known is None or (not isinstance(known, Coded) and known.dtype.kind == "b"):
        return None
    form, words = form_of(known, None)
    if not isinstance(known, Coded) or (form and not (words and operator not in _ORDERS)):
        return form
    return "" if operator in _ORDERS and all(is_number(str(value)) for value in known.values) else None


def _can_be(column: Column, known: Cells | None, form: str | None, operator: str, one: Any) -> bool:
    """Whether a cell can be such; of numbers, all from the least to the greatest can."""
    if known is None:
        return one is not None
    is_between = isinstance(column, Number) and operator == "=" and one is not None
    operators = (">=", "<=") if is_between else (operator,)
    return all(_met(known, each, (one,), form).any() for each in operators)


def _number(value: Any, form: str) -> float:
    """A value of a condition as the column's numbers count, NaN if it is none: of dates in their unit."""
    if form == "moment":
        with suppress(ValueError, TypeError):
            moment = np.datetime64(value, "us")
            return math.nan if np.isnat(moment) else int(moment.astype(np.int64))
        return math.nan
    text = str(value).strip()
    if not form and _WHOLE.fullmatch(text):
        return int(text)  # which a float might not hold
    return float(to_numbers(encoded([text]), form)[0])


def rows_that_meet(sheet: Sheet, found: Sequence[Condition]) -> Array:
    """bool ``[n]``"""
    met = np.ones(len(sheet), dtype=bool)
    for name, operator, wanted, form in found:
        met &= _met(sheet[name], operator, wanted, form)
    return met


def _met(cells: Cells, operator: str, wanted: Sequence[Any], form: str | None) -> Array:
    """Which cells are such, bool ``[n]``; a missing one is before and after none."""
    if form is None:
        coded = as_coded(cells)
        compared = np.array([*map(str, coded.values), ""], dtype=object)[coded.codes]
        is_missing = coded.codes < 0
    else:
        compared = to_numbers(cells, form)
        is_missing = compared != compared
    if operator in _ORDERS:
        return _ORDERS[operator](compared, wanted[0]) & ~is_missing
    equal = np.zeros(len(compared), dtype=bool)
    for one in wanted:
        equal |= is_missing if one is None else (compared == one) & ~is_missing
    return ~equal if operator == "!=" else equal


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
        met = np.flatnonzero(rows_that_meet(sheet, found))[: n - count]
        parts.append(sheet.take(met))
        count += len(met)
    return Sheet.joined(parts) if parts else draw(0, 0)
