"""Writers of tables: rows that G made, part by part, in the forms that the readers read."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import time
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.readers import foreign, optional
from zerosum.data.sheet import Cells, Coded, Sheet

__all__ = ["WRITTEN", "write_sheets"]

Array = NDArray[Any]

WRITTEN = ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".npy"


def write_sheets(parts: Iterable[Sheet], file: IO[bytes], ending: str, rows: int) -> None:
    """Sheets of the same columns, `rows` in all, as one table; memory holds one of them at a time.

    Text has the style of the sheets, and missing cells empty where it has no word for them; they are NaN in
    ``.npy`` and null in Parquet, whose columns have the types that they had in the file that was read. Raises
    ValueError for an ending that is not in `WRITTEN` and for columns of text as ``.npy``, ImportError without
    pyarrow for ``.parquet``.
    """
    if ending not in WRITTEN:
        raise ValueError(f"a table is written as {', '.join(WRITTEN)}: got {ending or 'no ending'}")
    sheets = iter(parts)
    first = next(sheets)
    sheets = chain([first], sheets)
    if ending == ".parquet":
        _write_parquet(first, sheets, file)
    elif ending == ".npy":
        _write_npy(first, sheets, file, rows)
    elif ending.endswith(".gz"):
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            _write_text(first, sheets, packed, ending)
    else:
        _write_text(first, sheets, file, ending)


def _write_text(first: Sheet, sheets: Iterator[Sheet], file: Any, ending: str) -> None:
    """As `csv.writer` would, but column by column: a text that repeats in a part is made once. Separators and
    numbers are in the sheet's style."""
    separator = "\t" if "tsv" in ending else first.style.separator
    numbers = {name: how for name, *how in first.style.numbers}
    header = [_quoted(name, separator) for name in first]
    file.write((separator.join(header) + "\r\n").encode())
    for sheet in sheets:
        columns = [_texts(cells, separator, *numbers.get(name, ())) for name, cells in sheet.columns.items()]
        if len(columns) == 1:  # an empty line is no row
            columns[0] = [text or '""' for text in columns[0]]
        lines = map(separator.join, zip(*columns, strict=True))
        file.write("".join(f"{line}\r\n" for line in lines).encode())


def _texts(cells: Cells, separator: str, mark: str = ".", form: str = "", gap: str = "") -> list[str]:
    """Cells as text has them: whole numbers without a point, missing ones empty or the word for them."""
    if isinstance(cells, Coded):
        codes, places = np.unique(cells.codes, return_inverse=True)
        texts = ["" if code < 0 else _quoted(str(cells.values[code]), separator) for code in codes.tolist()]
    else:
        bits = cells.view(np.int64) if cells.dtype.kind in "fM" else cells  # in which -0.0 is not 0.0
        some, places = np.unique(bits, return_inverse=True)
        texts = _each(some.view(cells.dtype), form)
        if mark != "." or gap:
            texts = [_quoted(text.replace(".", mark), separator) if text else gap for text in texts]
    return np.array(texts, dtype=object)[places].tolist()


def _each(cells: Array, form: str) -> list[str]:
    if cells.dtype.kind == "M":
        return ["" if text == "NaT" else text for text in np.datetime_as_string(cells, "auto").tolist()]
    if form == "g":
        return ["" if x != x else f"{x:.0f}" if x == math.floor(x) else repr(x) for x in cells.tolist()]
    if form and cells.dtype.kind in "if":
        return ["" if x != x else format(x, form) for x in cells.tolist()]
    if cells.dtype.kind != "f":
        return list(map(str, cells.tolist()))
    present = cells[~np.isnan(cells)]
    whole = bool((np.abs(present) < 2**53).all() and (present == np.floor(present)).all())
    return ["" if x != x else f"{x:.0f}" if whole else repr(x) for x in cells.tolist()]


def _quoted(text: str, separator: str) -> str:
    special = separator in text or '"' in text or "\n" in text or "\r" in text
    return '"' + text.replace('"', '""') + '"' if special else text


def _write_npy(first: Sheet, sheets: Iterator[Sheet], file: IO[bytes], rows: int) -> None:
    head = {"descr": "<f8", "fortran_order": False, "shape": (rows, len(first.columns))}
    np.asarray(first.take(slice(0)))  # text is refused before anything is written
    np.lib.format.write_array_header_1_0(file, head)
    for sheet in sheets:
        file.write(np.ascontiguousarray(sheet, dtype="<f8").tobytes())


def _write_parquet(first: Sheet, sheets: Iterator[Sheet], file: IO[bytes]) -> None:
    parquet, pa = optional("pyarrow.parquet", "pyarrow"), optional("pyarrow", "pyarrow")
    with foreign("the types of the columns are damaged"):
        types = first.style.types

    def table(sheet: Sheet) -> Any:
        return pa.table({name: _arrow(pa, cells, types.get(name)) for name, cells in sheet.columns.items()})

    schema = table(first).schema
    with parquet.ParquetWriter(file, schema) as writer:
        for sheet in sheets:
            writer.write_table(table(sheet).cast(schema))


def _arrow(pa: Any, cells: Cells, kind: Any) -> Any:
    """Cells as an Arrow array: of this type if they can be, of their own otherwise or where it is None."""
    if not isinstance(cells, Coded):
        array = pa.array(cells, mask=np.isnan(cells) if cells.dtype.kind == "f" else None)
    elif cells.values and all(isinstance(value, bool) for value in cells.values):
        array = pa.array(cells.objects().tolist(), type=pa.bool_())
    else:
        array = pa.array([None if x is None else str(x) for x in cells.objects()], type=pa.string())
    with suppress(ValueError, TypeError, NotImplementedError):
        return array if kind is None else _cast(pa, array, kind)
    return array


def _cast(pa: Any, array: Any, kind: Any) -> Any:
    """An Arrow array as another type, numbers to the nearest that it has; a span of time is in seconds."""
    compute, types = optional("pyarrow.compute", "pyarrow"), pa.types
    if types.is_duration(kind):
        units = compute.round(compute.multiply(array.cast(pa.float64()), 1e6))
        return units.cast(pa.int64()).cast(pa.duration("us")).cast(kind, safe=False)
    if types.is_time(kind):
        return pa.array([None if x is None else time.fromisoformat(x) for x in array.to_pylist()], type=kind)
    if types.is_integer(kind) and types.is_floating(array.type):
        array = compute.round(array)
    if types.is_decimal(kind) and types.is_integer(array.type):
        array = array.cast(pa.decimal128(38, 0))
    return array.cast(kind, safe=types.is_integer(kind) or types.is_decimal(kind))  # none too large is cut
