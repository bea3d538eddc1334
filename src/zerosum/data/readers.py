"""Readers of tables in text and in Parquet: a file becomes a `Sheet`, for training and judging alike.

Whatever is wrong with a file is a ValueError in one line. What had to be decided (a header of numbers, words
among numbers) is in the sheet's notes.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from zerosum.data.sheet import (
    PLAIN_NUMBER,
    Cells,
    Coded,
    Sheet,
    Style,
    encoded,
    encoded_texts,
    unique_names,
    whole_cells,
)
from zerosum.text import printable

__all__ = ["TEXT", "foreign", "join_names", "one_line", "optional", "read_parquet", "read_text"]

Array = NDArray[Any]

TEXT = ".csv", ".tsv", ".csv.gz", ".tsv.gz"
MISSING = {"", "na", "n/a", "nan", "none", "null", "?"}  # what a cell without a number says, in any case
BLOCK = 1 << 14  # rows that are read at a time
LONGEST_CELL = 1 << 28
_LEADING_ZERO = re.compile(r"^\s*0\d", re.M)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_DECIMALS = re.compile(r"\s*[+-]?\d+[.,](\d+)(?:([eE])[+-]\d\d+)?\s*")
FEWEST_PLACES = 3  # a first row 0, 1, ... of so many cells names the columns
ODD_WORDS = 0.05  # a column with more of them than this share of its cells that are not missing is text


def read_text(path: Path, header: bool | None = None) -> Sheet:
    """A table of commas, semicolons, tabs or bars, in UTF-8 or, where it is not that, Windows-1252.

    header: whether the first row names the columns; unless said, it does if it is unlike the rows below.
    Cells are numbers where all of a column are, but for words for a missing one; a few other words among
    many numbers are missing too, and noted. A column with numbers of leading zeros is text.
    """
    try:
        return _read(path, header, _encoding(path))
    except (csv.Error, UnicodeError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ValueError(f"not a table in UTF-8 text: {one_line(error)}") from error


def _read(path: Path, header: bool | None, encoding: str) -> Sheet:
    words: set[str] = set()  # the columns that turned out to be text after numbers had been read of them
    while True:
        try:
            with _opened(path, encoding) as text:
                reader = _TextReader(text, header, words)
                sheet = reader.read()
        except UnicodeDecodeError:
            if encoding != "utf-8-sig":
                raise
            encoding, words = "cp1252", set()
            continue
        if sheet is not None:
            return sheet
        words = reader.words


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        with _opener(path)(path, "rt", newline="", encoding=encoding) as text:
            yield text
    finally:
        csv.field_size_limit(before)


def _opener(path: Path) -> Any:
    return gzip.open if path.name.lower().endswith(".gz") else open


def _encoding(path: Path) -> str:
    """What to read a file as first: UTF-8 that turns out to be none is read as Windows-1252."""
    with _opener(path)(path, "rb") as file:
        head = file.read(1 << 20)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head:
        raise ValueError("not a table in UTF-8 text: it holds bytes of zero")
    return "utf-8-sig"


class _TextReader:
    """One pass over a file: its header, then blocks of rows into columns that grow."""

    def __init__(self, text: TextIO, header: bool | None, words: set[str]) -> None:
        head = list(islice(text, 100))
        text.seek(0)
        self.separator = max(",;\t|", key=lambda c: _agreement(csv.reader(head, delimiter=c)))
        self.reader = self._rows(text)
        sample: list[tuple[int, list[str]]] = []
        with suppress(csv.Error):  # the last of these lines may end inside of a cell
            sample.extend(islice(self._rows(iter(head if len(head) > 1 else [])), 100))
        first = next(self.reader, None)
        if first is None:
            raise ValueError("the file is empty")
        self.words, self.notes = set(words), list[str]()
        rest = [row for _, row in sample[1:]]
        named = _is_header(first[1], rest) if header is None else header
        if named:
            self.names = [cell.strip() for cell in first[1]]
            if header is None and any(map(is_number, self.names)):
                shown = join_names([printable(name) for name in self.names])
                self.notes.append(f"the first row names the columns: {shown} (header: false if it does not)")
        else:
            self.names = [str(j) for j in range(len(first[1]))]
            self.reader = chain([first], self.reader)
        self.names, notes = unique_names(self.names)
        self.notes += notes

    def _rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Rows with the number of their line. Blank lines are none, nor are rows of blanks at the end."""
        reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)
        blank: list[tuple[int, list[str]]] = []
        for row in reader:
            if len(row) > 1 and not any(row):
                blank.append((reader.line_num, row))
            elif row and (row[0].strip() or len(row) > 1 or row[0] == ""):
                yield from blank
                blank.clear()
                yield reader.line_num, row

    def read(self) -> Sheet | None:
        """The table; None if a column of numbers turned out to be text, which is then among `words`."""
        columns = [_Column(name, name in self.words, self.separator != ",") for name in self.names]
        count = 0
        while block := list(islice(self.reader, BLOCK)):
            for line, row in block:
                if len(row) != len(columns):
                    raise ValueError(
                        f"line {line} has {len(row)} cells where the first has {len(columns)}: mend it"
                    )
            for column, cells in zip(columns, zip(*(row for _, row in block), strict=True), strict=True):
                column.add(cells)
            count += len(block)
        if not count:
            raise ValueError("there are no rows")
        late = {column.name for column in columns if column.is_late_text}
        self.words |= late
        if late:
            return None
        self.notes += [note for column in columns for note in column.notes(count)]
        cells = {column.name: column.cells() for column in columns}
        styles = [(c.name, c.mark, c.form_of(cells[c.name]), c.gap) for c in columns if not c.is_text]
        written = tuple(style for style in styles if style[1:] != PLAIN_NUMBER)
        return Sheet(cells, tuple(self.notes), Style(self.separator, written))


class _Column:
    """A column while it is read: numbers as long as all but a few cells are, else text."""

    def __init__(self, name: str, is_text: bool, decimal_comma: bool) -> None:
        self.name, self.is_text, self.decimal_comma = name, is_text, decimal_comma
        self.parts: list[Array] = []
        self.numbers: dict[Any, int] = {}
        self.odd: dict[str, list[int]] = {}  # a word that is no number: how often and in which row first
        self.rows = 0
        self.needs_text = False  # what numbers would lose: leading zeros, digits beyond 2^53
        self.format: str | None = None  # of all numbers so far, "" if they have none
        self.mark = "."
        self.is_bare = False  # whether some of them have no point
        self.gaps: Counter[str] = Counter()  # what missing cells say

    def add(self, cells: Sequence[str]) -> None:
        if not self.is_text:
            numbers, odd = _numbers(cells, self.decimal_comma)
            if not self.rows and len(odd) > ODD_WORDS * len(cells):
                self.is_text = True
            else:
                self.parts.append(numbers)
                self._keep_format(cells)
                self.gaps.update(cells[i].strip() for i in np.flatnonzero(np.isnan(numbers)).tolist())
                self.needs_text |= _LEADING_ZERO.search("\n".join(cells)) is not None
                with np.errstate(invalid="ignore"):
                    self.needs_text |= any(
                        _WHOLE.fullmatch(cells[i]) for i in np.flatnonzero(np.abs(numbers) >= 2**53).tolist()
                    )
                for at, word in odd:
                    self.odd.setdefault(word, [0, self.rows + at + 1])[0] += 1
        if self.is_text:
            stripped = [cell.strip() for cell in cells]
            self.parts.append(encoded_texts(stripped, self.numbers))
        self.rows += len(cells)

    def _keep_format(self, cells: Sequence[str]) -> None:
        if self.decimal_comma and any("," in cell for cell in cells):
            self.mark = ","
        if self.format is None:
            number = next((match for cell in cells if (match := _DECIMALS.fullmatch(cell))), None)
            if number is None:
                self.format = "" if any(map(is_number, cells)) else None
                return
            plus = "+" if any(cell.lstrip().startswith("+") for cell in cells) else ""
            self.format = f"{plus}.{len(number[1])}{number[2] or 'f'}"
        if not self.format:
            self.is_bare = self.is_bare or any(cell.isdecimal() for cell in cells)
            return
        if self.format[-1] == "f" and self.format[0] != "+":  # many times as fast
            at = -int(self.format[1:-1]) - 1
            if all(cell[at : at + 1] == self.mark for cell in cells if cell):
                return
        for cell in (cell.strip() for cell in cells):
            number = _number(cell.replace(self.mark, "."))
            is_there = number is not None and not math.isnan(number)
            if is_there and format(number, self.format).replace(".", self.mark) != cell:
                self.format, self.is_bare = "", any(cell.isdecimal() for cell in cells)
                return

    @property
    def gap(self) -> str:
        word = max(self.gaps, key=self.gaps.__getitem__, default="")
        return word if word.lower() in MISSING else ""

    def form_of(self, cells: Any) -> str:
        """The format of all numbers, g if those that are whole have no point, "" if they are as Python's."""
        return self.format or ("g" if self.is_bare and cells.dtype.kind == "f" else "")

    @property
    def is_late_text(self) -> bool:
        if self.is_text:
            return False
        if self.needs_text or not self.odd:
            return self.needs_text
        odd = sum(count for count, _ in self.odd.values())
        numbers = sum(int(np.count_nonzero(~np.isnan(part))) for part in self.parts)
        return odd > ODD_WORDS * (odd + numbers)

    def notes(self, rows: int) -> list[str]:
        shown = [f"{printable(word[:40])!r} (row {row})" for word, (_, row) in self.odd.items()]
        odd = f"column {printable(self.name)}: no number, so missing: {join_names(shown)}"
        return [odd] if self.odd and not self.is_text else []

    def cells(self) -> Cells:
        parts = np.concatenate(self.parts)
        if self.is_text:
            return Coded(parts, tuple(self.numbers))
        return whole(parts)


def whole(numbers: Array) -> Array:
    """float64 as int64 where all are whole and exact, so that they are written as such."""
    with np.errstate(invalid="ignore"):
        exact = np.abs(numbers) < 2**53
        return numbers.astype(np.int64) if (exact & (numbers == np.floor(numbers))).all() else numbers


def _numbers(cells: Sequence[str], decimal_comma: bool) -> tuple[Array, list[tuple[int, str]]]:
    """Cells as float64, NaN where one is missing, and (place, text) of those that are neither."""
    if "_" not in "".join(cells):  # which Python takes for a mark of thousands
        with suppress(ValueError):
            return np.array([cell or "nan" for cell in cells], dtype=np.float64), []
    numbers, odd = np.empty(len(cells)), list[tuple[int, str]]()
    for i, cell in enumerate(cells):
        number = _number(cell.replace(",", ".") if decimal_comma else cell)
        numbers[i] = math.nan if number is None else number
        if number is None:
            odd.append((i, cell.strip()))
    return numbers, odd


def _number(cell: str) -> float | None:
    """None for text that is neither a number nor a word for a missing one."""
    if cell.strip().lower() in MISSING:
        return math.nan
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def is_number(cell: str) -> bool:
    number = _number(cell)
    return number is not None and not math.isnan(number)


def _agreement(rows: Iterable[list[str]]) -> tuple[int, int]:
    """How many rows have the commonest number of cells, if that is more than one; and that number."""
    try:
        width, count = next(iter(Counter(len(row) for row in rows if row).most_common(1)), (1, 0))
    except csv.Error:
        return 0, 0
    return (count, width) if width > 1 else (0, 1)


def _is_header(first: list[str], below: list[list[str]]) -> bool:
    """Whether the first row names the columns: it has no numbers, or text above numbers, or numbers unlike
    those below: whole, rising, each once.
    """
    numbers = [cell for cell in first if is_number(cell)]
    if not numbers:
        return True
    below = [row for row in below if len(row) == len(first)]
    columns: list[tuple[str, ...]] = list(zip(*below, strict=True))
    if any(
        not is_number(cell) and cell.strip() and all(map(is_number, column))
        for cell, column in zip(first, columns, strict=False)
    ):
        return True
    step = _step(numbers)
    if len(first) >= FEWEST_PLACES and first == [str(j) for j in range(len(first))] and first not in below:
        return all(_step(row) != 1 for row in below)  # names of columns without one, as we write them too
    repeated = any(cell in column for cell, column in zip(first, columns, strict=False))
    if not below or step is None or len(set(first)) < len(first) or repeated:
        return False
    places = [j for j, cell in enumerate(first) if is_number(cell)]
    alike = sum(_step([row[j] for j in places]) == step for row in below)
    return alike == 0 or (2 * alike < len(below) and all(_is_outside(first[j], columns[j]) for j in places))


def _step(cells: Sequence[str]) -> int | None:
    """The step of at least two whole numbers that rise in equal ones, as years and places do."""
    if len(cells) < 2 or not all(cell.strip().isdecimal() for cell in cells):
        return None
    steps = {int(b) - int(a) for a, b in pairwise(cells)}
    return steps.pop() if len(steps) == 1 and min(steps) > 0 else None


def _is_outside(cell: str, column: Sequence[str]) -> bool:
    numbers = [float(x) for x in column if is_number(x)]
    return not numbers or not min(numbers) <= float(cell) <= max(numbers)


# Parquet ------------------------------------------------------------------------------------------------


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Sheet:
    """The columns of a Parquet file. Raises ValueError where it is none."""
    parquet = optional("pyarrow.parquet", "pyarrow")
    with foreign("not a readable Parquet file"):
        file = parquet.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name != "__index_level_0__"]
        table = file.read(columns=[name for name in names if columns is None or name in columns])
    return from_arrow(table)


def from_arrow(table: Any) -> Sheet:
    """An Arrow table as a sheet; columns of lists, records and bytes are left out and noted."""
    names, notes = unique_names(table.column_names)
    cells = {name: _from_arrow(table.column(i)) for i, name in enumerate(names)}
    others = [f"{name} ({table.column(i).type})" for i, name in enumerate(names) if cells[name] is None]
    if others:
        notes = (*notes, f"columns that hold neither numbers nor text are left out: {join_names(others)}")
    kept = {name: column for name, column in cells.items() if column is not None}
    types = {name: table.column(i).type for i, name in enumerate(names) if name in kept}
    return Sheet(kept, notes, Style().typed(types))


def _from_arrow(column: Any) -> Cells | None:
    pa = import_module("pyarrow")
    kind = column.type
    if pa.types.is_integer(kind) and not column.null_count:
        return whole_cells(column.to_numpy())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        with foreign("not readable"):
            numbers = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        if pa.types.is_floating(kind):
            return numbers
        with np.errstate(invalid="ignore"):
            is_whole = pa.types.is_integer(kind) or kind.scale <= 0
            if not is_whole or not (np.abs(numbers) >= 2**53).any():
                return whole(numbers)  # else text, as in files of text
    if pa.types.is_boolean(kind) and not column.null_count:
        return column.to_numpy().astype(bool)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"), safe=False).to_numpy()
    if pa.types.is_duration(kind):  # seconds, as of frames
        units = column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64())
        return whole(units.to_numpy().astype(np.float64) / 1e6)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return encoded(column.to_pylist())
    if pa.types.is_time(kind) and kind.unit != "s":  # texts of three or nine decimals have no form of a time
        column = column.cast(pa.time64("us"), safe=False)
    try:
        codes = column.cast(pa.string()).combine_chunks().dictionary_encode()
        codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    except (NotImplementedError, pa.ArrowException):  # lists and records have no text
        return None
    places = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Coded(places, tuple(codes.dictionary.to_pylist()))


# what errors say ----------------------------------------------------------------------------------------


@contextmanager
def foreign(meaning: str) -> Iterator[None]:
    """Around code of others that reads what strangers wrote: whatever it raises means this."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{meaning}: {one_line(error)}") from error


def optional(module: str, package: str) -> Any:
    """A module of the extra ``data``. Raises ImportError that says how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {package}: pip install 'zerosum[data]'") from error


def one_line(error: Exception) -> str:
    """What an error of another's code says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 600 else f"{text[:600]} ..."


def join_names(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence, the first `most` of them."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
