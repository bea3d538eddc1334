"""A sheet: named columns of equal length, as a file or a frame holds them, and as samples are written.

A column is an array of numbers, bools or moments (datetime64), or `Coded`: cells that repeat, as in
text. Nothing is lost on the way through: whole numbers are int64, others float64, a missing number is NaN, a
missing moment NaT, a missing text has the code -1.
"""

from __future__ import annotations

import hashlib
import math
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.text import printable

__all__ = [
    "Cells",
    "Coded",
    "Sheet",
    "Style",
    "as_coded",
    "encoded",
    "encoded_texts",
    "unique_names",
    "whole_cells",
]

Array = NDArray[Any]


class Coded(NamedTuple):
    """Cells by number: cell i is ``values[codes[i]]``, and missing where the code is -1."""

    codes: Array
    values: tuple[Any, ...]

    def objects(self) -> Array:
        """The cells themselves, object ``[N]``, None where one is missing."""
        return np.array([*self.values, None], dtype=object)[self.codes]


Cells = Array | Coded


class Style(NamedTuple):
    """How a table is written. In text: what stands between cells, and (name, decimal mark, format, word for a
    missing one) of columns of numbers that are not as Python writes them; the format is one such as ``.2f``,
    g where whole numbers have no point, or "". In Parquet: the Arrow schema of what was read, as base64 of
    its bytes.
    """

    separator: str = ","
    numbers: tuple[tuple[str, str, str, str], ...] = ()
    schema: str = ""

    @property
    def types(self) -> dict[str, Any]:
        """The Arrow types of columns by name. Of a damaged one Arrow raises anything."""
        if not self.schema:
            return {}
        import pyarrow as pa

        return {field.name: field.type for field in pa.ipc.read_schema(pa.py_buffer(b64decode(self.schema)))}

    def typed(self, types: Mapping[str, Any]) -> Style:
        """The same with these Arrow types."""
        import pyarrow as pa

        return self._replace(schema=b64encode(pa.schema([*types.items()]).serialize()).decode())


PLAIN = Style()
PLAIN_NUMBER = ".", "", ""  # its mark, its format and the word for a missing one


def encoded(cells: Iterable[Any], numbers: dict[Any, int] | None = None) -> Coded:
    """Cells as `Coded`, in the order of their first appearance; None and NaN are missing.

    numbers: the codes that there are already, which grow.

    >>> encoded(["b", "a", None, "b"])
    Coded(codes=array([ 0,  1, -1,  0], dtype=int32), values=('b', 'a'))
    """
    numbers = {} if numbers is None else numbers
    codes = [-1 if cell is None or cell != cell else numbers.setdefault(cell, len(numbers)) for cell in cells]
    return Coded(np.array(codes, dtype=np.int32), tuple(numbers))


def encoded_texts(texts: Sequence[str], numbers: dict[Any, int]) -> Array:
    """The codes of texts, of which the empty one is missing; quick where they repeat."""
    for text in sorted(set(texts) - numbers.keys() - {""}):
        numbers[text] = len(numbers)
    lookup = {**numbers, "": -1} if "" not in numbers else numbers
    return np.fromiter(map(lookup.__getitem__, texts), dtype=np.int32, count=len(texts))


@dataclass(frozen=True, eq=False)
class Sheet:
    """Named columns of equal length; `notes`: what a reader decided about them; `style`: how it found them.

    >>> sheet = Sheet({"size": np.array([1.5, 2.0]), "kind": encoded(["cat", "dog"])})
    >>> len(sheet), list(sheet), next(sheet.rows())
    (2, ['size', 'kind'], (1.5, 'cat'))
    """

    columns: Mapping[str, Cells]
    notes: tuple[str, ...] = field(default=())
    style: Style = PLAIN

    def __len__(self) -> int:
        first = next(iter(self.columns.values()), np.empty(0))
        return len(first.codes if isinstance(first, Coded) else first)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Cells:
        return self.columns[name]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """float64 ``[N, D]``. Raises ValueError if there is text or a moment among the columns."""
        others = [name for name, cells in self.columns.items() if not _is_numeric(cells)]
        if others:
            raise ValueError(f"{others[0]} is no column of numbers: write .csv or .parquet")
        columns: list[Any] = list(self.columns.values())
        return np.stack(columns, axis=1).astype(dtype or np.float64)

    def objects(self, name: str) -> Array:
        """The cells of a column as Python has them: object ``[N]``, None where one is missing."""
        cells = self.columns[name]
        if isinstance(cells, Coded):
            return cells.objects()
        objects = cells.astype(object)
        if cells.dtype.kind in "fM":
            objects[np.isnat(cells) if cells.dtype.kind == "M" else np.isnan(cells)] = None
        return objects

    def rows(self) -> Iterator[tuple[Any, ...]]:
        return zip(*(self.objects(name) for name in self), strict=True)

    def take(self, rows: Any) -> Sheet:
        """The rows of these places, a slice or an index."""
        return replace(self, columns={name: _taken(cells, rows) for name, cells in self.columns.items()})

    def only(self, names: Sequence[str]) -> Sheet:
        return replace(self, columns={name: self.columns[name] for name in names})

    @property
    def fingerprint(self) -> str:
        """A digest of all cells and the names and order of the columns: another sheet has another one."""
        digest = hashlib.blake2b(digest_size=16)
        for name, cells in self.columns.items():
            array = cells.codes if isinstance(cells, Coded) else np.ascontiguousarray(cells)
            texts = cells.values if isinstance(cells, Coded) else array.dtype.str
            digest.update(repr((name, texts, len(array))).encode("utf-8", "surrogatepass"))
            digest.update(array.view(np.uint8).data)
        return digest.hexdigest()

    @classmethod
    def joined(cls, sheets: Sequence[Sheet]) -> Sheet:
        """The rows of all, one after the other. Raises ValueError if their columns differ."""
        for sheet in sheets:
            if list(sheet) != list(sheets[0]):
                raise ValueError(f"parts of a table have the same columns: {list(sheets[0])}, {list(sheet)}")
        columns = {name: _joined([sheet[name] for sheet in sheets]) for name in sheets[0]}
        notes = tuple(dict.fromkeys(note for sheet in sheets for note in sheet.notes))
        return cls(columns, notes, _common_style(sheets))

    def to_pandas(self) -> Any:
        """A pandas frame; whole numbers with a missing one among them are floats there."""
        import pandas

        frame = {
            name: self.objects(name) if isinstance(cells, Coded) else cells
            for name, cells in self.columns.items()
        }
        return pandas.DataFrame(frame)

    def to_polars(self) -> Any:
        import polars  # pyright: ignore[reportMissingImports]

        frame = {
            name: list(cells.objects()) if isinstance(cells, Coded) else cells
            for name, cells in self.columns.items()
        }
        return polars.DataFrame(frame, nan_to_null=True)


def _common_style(sheets: Sequence[Sheet]) -> Style:
    """What all parts agree on that have a value in the column; the separator of the first."""
    styles = [sheet.style for sheet in sheets]
    if all(style == styles[0] for style in styles):
        return styles[0]
    found = [{name: (mark, form, gap) for name, mark, form, gap in style.numbers} for style in styles]
    numbers: list[tuple[str, str, str, str]] = []
    for name in sheets[0]:
        told = [some.get(name, PLAIN_NUMBER) for some in found]
        if len(set(told)) > 1:
            there = [i for i, sheet in enumerate(sheets) if _has_value(sheet[name])] or [0]
            told = [told[i] for i in there]
        each = zip(zip(*told, strict=True), PLAIN_NUMBER, strict=True)
        mark, form, gap = (all_of[0] if len(set(all_of)) == 1 else plain for all_of, plain in each)
        if (mark, form, gap) != PLAIN_NUMBER:
            numbers.append((name, mark, form, gap))
    style = styles[0]._replace(numbers=tuple(numbers))
    if len({one.schema for one in styles}) == 1:
        return style
    if not all(one.schema for one in styles):
        return style._replace(schema="")
    return style.typed(_common_types([one.types for one in styles]))


def _common_types(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The types that are one in all of them, but for parts where a column has no type."""
    import pyarrow as pa

    types = {name: {one.get(name, kind) for one in each} - {pa.null()} for name, kind in each[0].items()}
    return {name: kinds.pop() if kinds else pa.null() for name, kinds in types.items() if len(kinds) <= 1}


def _is_numeric(cells: Cells) -> bool:
    return not isinstance(cells, Coded) and cells.dtype.kind in "biuf"


def _taken(cells: Cells, rows: Any) -> Cells:
    return cells._replace(codes=cells.codes[rows]) if isinstance(cells, Coded) else cells[rows]


def _joined(parts: Sequence[Cells]) -> Cells:
    """The cells of all parts, of the kind that those with a value have.

    Bools beside numbers are numbers; other kinds that differ become text, as do whole numbers that float64
    would not hold where some of the numbers are no whole ones or missing.
    """
    kinds = {_kind(part) for part in parts if _has_value(part)} or {_kind(parts[0])}
    if kinds == {"moment"}:
        return np.concatenate([_or_missing(part, "moment", np.datetime64("NaT", "us")) for part in parts])
    if "number" in kinds and kinds <= {"number", "bool"}:
        numbers = [_numbers(part) for part in parts]
        if not any(array.dtype.kind == "f" for array in numbers) or not any(map(_is_beyond_floats, numbers)):
            return np.concatenate(numbers)
    bools = [part for part in parts if not isinstance(part, Coded) and part.dtype.kind == "b"]
    if len(bools) == len(parts):
        return np.concatenate(bools)
    as_one = as_coded if kinds in ({"bool"}, {"text"}) else _as_text
    return _merged([as_one(part) for part in parts])


def _kind(cells: Cells) -> str:
    if isinstance(cells, Coded):
        return "bool" if cells.values and all(isinstance(x, bool) for x in cells.values) else "text"
    return {"b": "bool", "M": "moment"}.get(cells.dtype.kind, "number")


def _has_value(cells: Cells) -> bool:
    if isinstance(cells, Coded):
        return bool((cells.codes >= 0).any())
    return bool((cells == cells).any())


def _or_missing(cells: Cells, kind: str, missing: Any) -> Array:
    """Cells of the kind as they are, those of another, which hold no value, as missing ones."""
    if not isinstance(cells, Coded) and _kind(cells) == kind:
        return cells
    return np.full(len(cells.codes if isinstance(cells, Coded) else cells), missing)


def _numbers(cells: Cells) -> Array:
    """Numbers and bools as numbers; text and moments are without a value."""
    if _kind(cells) != "bool":
        return _or_missing(cells, "number", np.nan)
    if isinstance(cells, Coded):
        return cells.objects().astype(np.float64)
    return cells.astype(np.int64)


def _is_beyond_floats(numbers: Array) -> bool:
    """Whether there are whole numbers of 2^53 or more, which float64 does not tell apart."""
    return (
        numbers.dtype.kind in "iu" and not -(2**53) < numbers.min(initial=0) <= numbers.max(initial=0) < 2**53
    )


def _merged(parts: Sequence[Coded]) -> Coded:
    numbers: dict[Any, int] = {}
    codes: list[Array] = []
    for part in parts:
        places = [numbers.setdefault(value, len(numbers)) for value in part.values]
        codes.append(np.array([*places, -1], dtype=np.int32)[part.codes])
    return Coded(np.concatenate(codes), tuple(numbers))


def _as_text(cells: Cells) -> Coded:
    """Cells as text has them: whole numbers without a point, moments no longer than they need."""
    if not isinstance(cells, Coded) and cells.dtype.kind == "M":
        texts = np.datetime_as_string(cells, "auto").tolist()
        return encoded(None if text == "NaT" else text for text in texts)
    coded = as_coded(cells)
    return Coded(coded.codes, tuple(map(_text, coded.values)))


def _text(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return f"{value:.0f}" if is_whole else str(value)


def unique_names(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Names of which each is another, as pandas makes them: a, a.1, a.2; and a note of what was changed.

    >>> unique_names(["a", "b", "a"])
    (['a', 'b', 'a.1'], ("several columns have one name: the 3rd is called 'a.1'",))
    """
    taken, given, changed = set(names), list[str](), list[str]()
    for i, name in enumerate(names):
        if name in given:
            name = next(f"{name}.{k}" for k in range(1, len(names) + 2) if f"{name}.{k}" not in taken)
            taken.add(name)
            ending = {1: "st", 2: "nd", 3: "rd"}.get((i + 1) % 10 if i // 10 % 10 != 1 else 0, "th")
            changed.append(f"the {i + 1}{ending} is called {printable(name)!r}")
        given.append(name)
    more = f" and {len(changed) - 8:,} more" if len(changed) > 8 else ""
    note = f"several columns have one name: {', '.join(changed[:8])}{more}"
    return given, (note,) if changed else ()


def whole_cells(array: Array) -> Cells:
    """Whole numbers as int64, as text where they are beyond it."""
    if array.dtype == np.uint64 and array.max(initial=0) >= 2**63:
        return encoded(map(str, array.tolist()))
    return array.astype(np.int64)


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
