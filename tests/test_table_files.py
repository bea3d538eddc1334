"""Whatever a file of a table looks like, it is read as it is meant, once, or refused in one line."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import pickle
import re
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from refusals import refused
from zerosum import data, recipe
from zerosum.data import codec as codecs
from zerosum.data import kinds, parsed, readers
from zerosum.data.columns import Columns
from zerosum.data.frames import from_frame
from zerosum.data.kinds import fit
from zerosum.data.sheet import Sheet, Style, encoded
from zerosum.data.tables import read_sheet
from zerosum.data.writers import WRITTEN, write_sheets


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def rows_of(sheet: Sheet) -> list[tuple[Any, ...]]:
    return list(sheet.rows())


# what is written is what is read


def table_of(n: int = 40) -> Sheet:
    rng = np.random.default_rng(0)
    holes = np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n))
    return Sheet(
        {
            "id": np.arange(n) + 2**40,
            "x": rng.normal(size=n),
            "lat": np.round(rng.uniform(-90, 90, n), 6),
            "count": holes,
            "kind": encoded([["cat", "dog, wild", 'the "eel"', None, "007"][i % 5] for i in range(n)]),
            "when": encoded([f"2024-02-{i % 29 + 1:02d}" for i in range(n)]),
        }
    )


@pytest.mark.parametrize("ending", [ending for ending in WRITTEN if ending != ".npy"])
def test_what_is_written_in_parts_is_read_back(tmp_path: Path, ending: str) -> None:
    sheet, path = table_of(), tmp_path / f"x{ending}"
    with path.open("wb") as file:
        write_sheets((sheet.take(slice(i, i + 15)) for i in (0, 15, 30)), file, ending, len(sheet))
    again = read_sheet(path)
    assert list(again) == list(sheet) and rows_of(again) == rows_of(sheet)
    first = path.read_bytes()
    with path.open("wb") as file:
        write_sheets([sheet], file, ending, len(sheet))
    assert rows_of(read_sheet(path)) == rows_of(sheet)
    if ending != ".parquet":
        with gzip.open(path, "wt") if ending.endswith("gz") else path.open("w") as text:
            text.write("")
        assert first and not read_text_of(path)


def read_text_of(path: Path) -> str:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as text:
        return text.read()


def test_numbers_are_written_as_an_array(tmp_path: Path) -> None:
    sheet = table_of().only(["id", "x", "count"])
    with (tmp_path / "x.npy").open("wb") as file:
        write_sheets([sheet.take(slice(0, 9)), sheet.take(slice(9, 40))], file, ".npy", 40)
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.asarray(sheet), equal_nan=True)
    for sheet, ending in ((table_of(), ".npy"), (table_of(), ".xls")):
        with pytest.raises(ValueError):
            write_sheets([sheet], io.BytesIO(), ending, 40)


cell = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=6).map(str.strip)
grid = st.integers(2, 4).flatmap(
    lambda d: st.lists(st.lists(cell, min_size=d, max_size=d).filter(any), min_size=2, max_size=8)
)


@cases(60)
@given(rows=grid)
def test_any_text_survives_quoting(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
            [[f"column {j}" for j in range(len(rows[0]))], *rows]
        )
    sheet = read_sheet(path)
    for name, column in zip(sheet, zip(*rows, strict=True), strict=True):
        if isinstance(sheet[name], tuple):  # else all of them are numbers
            assert sheet.objects(name).tolist() == [text or None for text in column]


@pytest.mark.parametrize(
    "how", ["parts", "gzip", "bom", "utf-16", "windows", "semicolon", "tabs", "carriage"]
)
def test_one_table_in_many_forms(tmp_path: Path, how: str) -> None:
    content = "größe,art\n1.5,Käfer\n2.5,Igel\n3.5,Käfer\n"
    path = tmp_path / "x.csv"
    if how == "parts":
        path = tmp_path / "parts"
        path.mkdir()
        write(path / "1.csv", "größe,art\n1.5,Käfer\n")
        pq.write_table(pa.table({"größe": [2.5, 3.5], "art": ["Igel", "Käfer"]}), path / "2.parquet")
    elif how == "gzip":
        path = tmp_path / "x.csv.gz"
        path.write_bytes(gzip.compress(content.encode()))
    elif how in ("semicolon", "tabs"):
        swapped = content.replace(",", ";" if how == "semicolon" else "\t").replace(".", ",")
        write(path, swapped)
    else:
        encodings = {"bom": "utf-8-sig", "utf-16": "utf-16", "windows": "cp1252"}
        write(
            path, content.replace("\n", "\r\n") if how == "carriage" else content, encodings.get(how, "utf-8")
        )
    assert rows_of(read_sheet(path)) == [(1.5, "Käfer"), (2.5, "Igel"), (3.5, "Käfer")]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_letters_are_themselves_wherever_they_stand_in_a_long_file(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    """A letter of several bytes at every place around 2^20, before which one may have looked for none."""
    letters = "ä€" if encoding == "cp1252" else "ä€Ж漢😀"
    path = tmp_path / f"x{ending}"
    for place in range(-6, 3):
        padding = "-" * ((1 << 20) - len("name,x\n") + place)
        content = f"name,x\n{padding}{letters},2\nlast {letters},3\n".encode(encoding)
        path.write_bytes(content if ending == ".csv" else gzip.compress(content, 1))
        sheet = read_sheet(path)
        assert sheet.objects("name").tolist() == [padding + letters, f"last {letters}"]


def test_a_folder_of_tables_and_what_is_said_of_them_is_one_table(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.csv", "a,b\n" + "".join(f"{i}.5,{j}\n" for j in range(4)))
    assert recipe.data_component(str(tmp_path)) == {"name": "file", "path": str(tmp_path)}
    assert len(data.file(tmp_path, "all")) == 12
    (tmp_path / "README.md").write_text("cells by hand")
    assert recipe.data_component(str(tmp_path))["name"] == "file" and len(data.file(tmp_path, "all")) == 12
    write(tmp_path / "2.csv", "a,c\n1,2\n")
    with pytest.raises(ValueError):
        data.file(tmp_path)
    (tmp_path / "photo.png").write_bytes(b"")
    assert recipe.data_component(str(tmp_path))["name"] == "image_folder"


# parts of one table

PARTS: dict[str, Any] = {
    "number": [0.5, -2.0, np.inf],
    "whole": [7, 1],
    "large": [2**60 + 1, -(2**60) - 1],
    "number with gaps": [0.25, None, 3.0],
    "bool": [True, False],
    "bool with gaps": [True, None],
    "date": [dt.datetime(2024, 1, 31), dt.datetime(2024, 2, 1, 8, 30)],
    "date with gaps": [dt.datetime(2024, 1, 31), None],
    "text": ["a", "b"],
    "text with gaps": ["a", None],
    "no number": pa.array([None, None], pa.float64()),
    "no date": pa.array([None, None], pa.timestamp("ms")),
    "no text": pa.array([None, None], pa.string()),
    "nothing": [None, None],
}


def _meaning(cell: Any) -> Any:
    """A cell, or what its text means."""
    if not isinstance(cell, str):
        return cell
    if cell in ("True", "False"):
        return cell == "True"
    with suppress(ValueError):
        return int(cell)
    with suppress(ValueError):
        return float(cell)
    with suppress(ValueError):
        return dt.datetime.fromisoformat(cell)
    return cell


@pytest.mark.parametrize("second", PARTS)
@pytest.mark.parametrize("first", PARTS)
def test_parts_of_any_kinds_are_one_column(first: str, second: str) -> None:
    sheets = [readers.from_arrow(pa.table({"x": pa.array(PARTS[name])})) for name in (first, second)]
    given = [cell for sheet in sheets for cell in sheet.objects("x")]
    joined = Sheet.joined(sheets).objects("x").tolist()
    assert [_meaning(cell) for cell in joined] == given
    kinds = {type(cell) for cell in joined if cell is not None}
    told = {type(cell) for cell in given if cell is not None}
    has_one_type = told <= {int, float, bool} or len(told) == 1
    is_beyond = {first, second} & {"large"} and (float in told or None in given)
    if kinds and (not has_one_type or is_beyond):
        assert kinds == {str}
    elif len(told) == 1 and told != {int}:
        assert kinds == told


STYLES = {  # of a column in the first and the second part: what its cells are when both are written
    "one decimal, then two": (["1.5", "2.0"], ["0.25", "0.75"], ["1.5", "2.0", "0.25", "0.75"]),
    "two decimals": (["1.50", "2.00"], ["0.20", "0.75"], ["1.50", "2.00", "0.20", "0.75"]),
    "scientific, then not": (["1.5E+03", "2.5E+03"], ["0.25", "1.75"], ["1500.0", "2500.0", "0.25", "1.75"]),
    "a word for a missing one": (["NA", "1.5"], ["2.5", "NA"], ["NA", "1.5", "2.5", "NA"]),
    "nothing in the second": (["1.50", "2.50"], ["", ""], ["1.50", "2.50", "", ""]),
    "nothing in the first": (["", ""], ["1.50", "2.50"], ["", "", "1.50", "2.50"]),
    "whole, then with a point": (["5", "6"], ["1.5", "2.5"], ["5.0", "6.0", "1.5", "2.5"]),
}


@pytest.mark.parametrize("case", STYLES)
def test_parts_are_written_as_all_of_them_are(tmp_path: Path, case: str) -> None:
    first, second, expected = STYLES[case]
    for i, cells in enumerate((first, second)):
        write(tmp_path / f"{i}.csv", "x;k\n" + "".join(f"{cell};a\n" for cell in cells))
    file = io.BytesIO()
    write_sheets([read_sheet(tmp_path)], file, ".csv", 4)
    assert file.getvalue().decode().split() == ["x;k", *(f"{cell};a" for cell in expected)]


TYPES = {  # of the first and the second part, and of what is written of both
    "date, then moment": (
        [dt.date(2024, 1, 1)],
        pa.date32(),
        [dt.datetime(2024, 1, 1, 9)],
        pa.timestamp("ms"),
        pa.timestamp("us"),
    ),
    "decimals": (
        [Decimal("1.25")],
        pa.decimal128(7, 2),
        [Decimal("1.2525")],
        pa.decimal128(9, 4),
        pa.float64(),
    ),
    "floats": ([0.5], pa.float32(), [0.1], pa.float64(), pa.float64()),
    "small whole numbers": ([5], pa.int8(), [500], pa.int16(), pa.int64()),
    "alike": ([0.5], pa.float32(), [0.25], pa.float32(), pa.float32()),
    "nothing in the first": ([None], pa.null(), [Decimal("1.25")], pa.decimal128(7, 2), pa.decimal128(7, 2)),
    "nothing in the second": ([5], pa.int8(), [None], pa.null(), pa.int8()),
}


@pytest.mark.parametrize("case", TYPES)
def test_parts_are_written_with_the_types_of_all_of_them(tmp_path: Path, case: str) -> None:
    first, one, second, other, expected = TYPES[case]
    for i, (cells, kind) in enumerate(((first, one), (second, other))):
        table = pa.table({"x": pa.array(cells, kind), "alike": pa.array([dt.time(9)], pa.time32("ms"))})
        pq.write_table(table, tmp_path / f"{i}.parquet")
    sheet = read_sheet(tmp_path)
    with (tmp_path / "both").open("wb") as file:
        write_sheets([sheet], file, ".parquet", 2)
    written = pq.read_table(tmp_path / "both")
    assert written["x"].type == expected
    assert written["alike"].type == pa.time32("ms")
    kept = [float(x) if isinstance(x, Decimal) else x for x in written["x"].to_pylist()]
    assert kept == sheet.objects("x").tolist()


# headers

HEADERS = {
    "words": ("a,b\n1,2\n3,4\n", True),
    "no header": ("1,2\n3,4\n5,1\n", False),
    "years": ("2019,2020,2021\n10.5,3.2,9.1\n7.5,2.2,8.1\n", True),
    "years of whole numbers": ("2019,2020,2021\n10,3,9\n7,12,8\n", True),
    "a word and years": ("site,2019,2020\nA,10,3\nB,7,12\n", True),
    "places": ("0,1,2\n0.5,0.1,7\n0.2,0.3,9\n", True),
    "places over the same numbers": ("0,1,2\n2,1,u\n0,7,v\n3,1,u\n", True),
    "places that go on": ("0,1,2\n3,4,5\n6,7,8\n", False),
    "places again": ("0,1,2\n5,1,1\n0,1,2\n", False),
    "text above numbers": ("size,2019\n5,7\n6,8\n", True),
    "rows that rise": ("1,2,3\n4,5,6\n7,8,9\n", False),
    "falls": ("2021,2020,2019\n10,3,9\n7,12,8\n", False),
    "twice": ("2019,2019\n10,3\n7,12\n", False),
    "fractions": ("0.5,1.5\n10,3\n7,12\n", False),
    "met below": ("2019,2020,2021\n2019,3,9\n7,12,8\n", False),
    "only words": ("a,b\nx,y\nz,w\n", True),
    "one column of numbers": ("5\n6\n7\n", False),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_is_recognised(tmp_path: Path, case: str) -> None:
    content, has_header = HEADERS[case]
    path = write(tmp_path / "x.csv", content)
    sheet = read_sheet(path)
    first, *rest = content.splitlines()
    assert list(sheet) == (first.split(",") if has_header else [str(j) for j in range(len(first.split(",")))])
    assert len(sheet) == len(rest) + (not has_header)
    assert bool(sheet.notes) == (has_header and any(c.isdigit() for c in first))
    assert len(read_sheet(path, header=True)) == len(rest)
    assert len(read_sheet(path, header=False)) == len(rest) + 1


# cells


def test_words_for_missing_numbers_and_a_few_others(tmp_path: Path) -> None:
    cells = [str(i / 4) for i in range(100)]
    cells[3], cells[5], cells[7], cells[90] = "", "NA", "?", "n.a.!"
    sheet = read_sheet(write(tmp_path / "x.csv", "x,y\n" + "".join(f"{c},1\n" for c in cells)))
    assert np.flatnonzero(np.isnan(sheet["x"])).tolist() == [3, 5, 7, 90]
    assert len(sheet.notes) == 1 and "'n.a.!' (row 91)" in sheet.notes[0]


def test_words_are_text_however_few_cells_there_are(tmp_path: Path) -> None:
    rows = "".join(
        f"{i},{'x' if i % 90 == 0 else ''},{'' if i % 30 else '2.5' if i % 60 else 'y'}\n" for i in range(400)
    )
    sheet = read_sheet(write(tmp_path / "x.csv", "i,mark,both\n" + rows))
    assert sheet.objects("mark")[90] == "x" and sheet.objects("both")[:31:30].tolist() == ["y", "2.5"]
    assert not sheet.notes


def test_text_stays_text(tmp_path: Path) -> None:
    late = "".join(f"{i:05d},{i},{i}\n" for i in range(20_000)) + "".join("7,x,-\n" for _ in range(20_000))
    sheet = read_sheet(write(tmp_path / "x.csv", "zip,word,dash\n" + late + f"{2**60 + 1},1,2\n"))
    for name, first in (("zip", "00000"), ("word", "0"), ("dash", "0")):
        assert sheet.objects(name)[0] == first and len(sheet.objects(name)) == 40_001
    assert sheet.objects("zip")[-1] == str(2**60 + 1)


NUMBERS = {
    "7": 7,
    "-2.5": -2.5,
    "+3": 3,
    " 1 ": 1,
    "1e3": 1e3,
    ".5": 0.5,
    "inf": np.inf,
    "-Infinity": -np.inf,
}
MISSING = "NA", "nan", "NaN", "-nan", " ", "?", "null", "None"
WORDS = "2023_01", "1_000", "1__0", "_1", "0x10", "1,5", "1e", "--1", "1 000", "infinite", "\u22121"


@pytest.mark.parametrize("rows", [40, readers.BLOCK + 40])
@pytest.mark.parametrize("cell", [*NUMBERS, *MISSING, *WORDS])
def test_what_a_number_is_depends_on_no_other_cell(tmp_path: Path, cell: str, rows: int) -> None:
    """The quick way with a block of numbers and the slow one with cells among them tell the same."""
    columns = {
        "alone": [cell] * rows,
        "late": ["5"] * (rows - 1) + [cell],
        "beside": ["", cell, "NA", "5"] * rows,
    }
    for name, cells in columns.items():
        path = write(tmp_path / f"{name}.csv", "a,b\n" + "".join(f'"{cell}",x\n' for cell in cells[:rows]))
        sheet = read_sheet(path, header=True)
        if cell in WORDS and name != "late":
            assert sheet.objects("a")[1] == cell
        else:
            at = rows - 1 if name == "late" else 1
            assert np.array_equal(sheet["a"][at], NUMBERS.get(cell, np.nan), equal_nan=True)
            assert bool(sheet.notes) == (cell in WORDS)


@pytest.mark.parametrize("sign", ["", "-", "+", " "])
def test_whole_numbers_that_floats_do_not_hold_are_text(tmp_path: Path, sign: str) -> None:
    cells = [f"{sign}{2**53 + i}" for i in range(1, 9)] + ["5", ""]
    sheet = read_sheet(write(tmp_path / "x.csv", "id,x\n" + "".join(f"{cell},1\n" for cell in cells)))
    assert sheet.objects("id").tolist() == [cell.strip() or None for cell in cells]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal256(50, 0)], ids=str
)
@pytest.mark.parametrize("gaps", [0, 1])
@pytest.mark.parametrize("large", [5, 2**53 + 1, 2**62 + 1, 2**63 + 1, -(2**53) - 1, -(2**62) - 1])
def test_whole_numbers_of_parquet_keep_all_digits(tmp_path: Path, kind: Any, gaps: int, large: int) -> None:
    if (kind == pa.int64() and large >= 2**63) or (kind == pa.uint64() and large < 0):
        return
    table = pa.table({"id": pa.array([large, large - 1, 4, *[None] * gaps], kind)})
    pq.write_table(table, tmp_path / "x.parquet")
    sheet = read_sheet(tmp_path / "x.parquet")
    cells = sheet.objects("id").tolist()
    assert [None if cell is None else Decimal(cell) for cell in cells] == table["id"].to_pylist()
    with (tmp_path / "y.parquet").open("wb") as file:
        write_sheets([sheet], file, ".parquet", len(sheet))
    assert pq.read_table(tmp_path / "y.parquet").equals(table)


def test_a_line_wider_than_a_cell_may_be(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    wide = ",".join(["0.123456789"] * 20_000)
    sheet = read_sheet(write(tmp_path / "x.csv", f"{wide}\n{wide.replace('9', '8')}\n"))
    assert len(list(sheet)) == 20_000 and csv.field_size_limit() == limit
    long = read_sheet(write(tmp_path / "y.csv", f"a,b\n{'x' * 200_000},1\ny,2\n"))
    assert len(long.objects("a")[0]) == 200_000


def test_blank_lines_and_rows_of_blanks(tmp_path: Path) -> None:
    sheet = read_sheet(write(tmp_path / "x.csv", "a,b\n\n1,2\n,\n3,4\n,\n,\n\n"))
    assert rows_of(sheet) == [(1, 2), (None, None), (3, 4)]


def test_wide_arrays_take_time_by_their_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in looks at names, not in seconds: a list of D names is never searched D times."""
    looks = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    for width in (500, 1000):
        looks = 0
        x = np.random.default_rng(0).normal(size=(30, width))
        sheet = Sheet({Name(j): x[:, j] for j in range(width)})
        assert data.tables.table(sheet).shape == (width,)
        assert looks < 20 * width


BAD_TEXT = {
    "empty": "",
    "blank": "\n \n\n",
    "only header": "a,b\n",
    "ragged": "a,b\n1,2\n3,4\n5\n6,7\n",
    "long": "a,b\n1,2\n3,4,5\n",
    "open quote": 'a,b\n1,"2\n3,4\n',
    "zeros": "a,b\n1,\0\n",
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "x.csv", BAD_TEXT[case])
    with pytest.raises(ValueError) as error:
        read_sheet(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


# files of strangers


class Trap:
    """What unpickles it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (self.path,))


def npy(array: np.ndarray, claimed: tuple[int, ...] | None = None) -> bytes:
    """The bytes of an .npy file, whose header may claim another shape."""
    file = io.BytesIO()
    head = {**np.lib.format.header_data_from_array_1_0(array), "shape": claimed or array.shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue() + array.tobytes()


def zipped(member: bytes, stated: int | None = None) -> bytes:
    """An .npz of one array, whose directory may state another size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member)
    content = file.getvalue()
    if stated is None:
        return content
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", stated) + content[at + 4 :]


PLAIN = npy(np.arange(12.0).reshape(4, 3))
LYING = npy(np.zeros(12), claimed=(1 << 20, 200))
HOSTILE = {
    "empty.npy": b"",
    "text.npy": b"<html>Not Found</html>",
    "truncated.npy": PLAIN[:-1],
    "lying.npy": LYING,
    "negative.npy": PLAIN.replace(b"(4, 3)", b"(-4,3)"),
    "no_header.npy": PLAIN[:30],
    "garbage_header.npy": PLAIN[:12] + b"\xff" * 60,
    "strings.npy": npy(np.array([["a", "b"]] * 4)),
    "dates.npy": npy(np.array(["2024-01-01"] * 4, "datetime64[D]")),
    "scalar.npy": npy(np.zeros(())),
    "none.npy": npy(np.zeros((0, 3))),
    "complex.npy": npy(np.zeros((4, 2), complex)),
    "records.npy": npy(np.zeros(4, [("a", float), ("b", int)])),
    "deep.npy": npy(np.zeros((5, 4, 4))),
    "empty.npz": b"",
    "text.npz": b"<html>Not Found</html>",
    "lying.npz": zipped(LYING),
    "lying_twice.npz": zipped(LYING, stated=len(LYING) - 96 + (200 << 23)),
    "truncated.npz": zipped(PLAIN)[:-30],
    "damaged.npz": zipped(PLAIN).replace(PLAIN[-8:-6], b"\xff\xff"),
    "half.npz": zipped(PLAIN[:-40]),
    "no_array.npz": zipped(b"text"),
    "strings.npz": zipped(npy(np.array([["a", "b"]] * 4))),
    "empty.parquet": b"",
    "text.parquet": b"PAR1 nothing of the kind PAR1",
    "text.csv.gz": b"a,b\n1,2\n3,4\n",
    "truncated.csv.gz": gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:-20],
    "binary.csv": bytes(range(256)) * 9,
    "x.xls": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_and_lying_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    for read in (read_sheet, data.file):
        tracemalloc.start()
        try:
            with pytest.raises(ValueError) as error:
                read(path)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20  # the headers claim 1.6 GB
        finally:
            tracemalloc.stop()
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


ANY_BYTES = {
    ".csv": b"a,b\n1,2\n3,4\n5,6\n7,8\n",
    ".csv.gz": gzip.compress(b"a,b\n1,2\n3,4\n5,6\n7,8\n", mtime=0),
    ".npy": npy(np.arange(12.0).reshape(6, 2)),
    ".npz": zipped(npy(np.arange(12.0).reshape(6, 2))),
}


@pytest.mark.parametrize("ending", ANY_BYTES)
@cases(60)
@given(place=st.integers(0, 400), piece=st.binary(max_size=12), cut=st.booleans())
def test_any_bytes_are_a_table_or_an_error_in_one_line(
    tmp_path: Path, ending: str, place: int, piece: bytes, cut: bool
) -> None:
    content = ANY_BYTES[ending]
    path = tmp_path / f"x{ending}"
    path.write_bytes(content[:place] + piece + (b"" if cut else content[place + len(piece) :]))
    try:
        source = data.file(path, missing="keep")
    except ValueError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert len(source) >= 1 and source.batch(0, 4)[0].isfinite().all()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    array = np.empty(2, dtype=object)
    array[:] = [Trap(trap), 1]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=array)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(array))
    (tmp_path / "d.npz").write_bytes(pickle.dumps(array))
    np.savez(tmp_path / "e.npz", x=np.arange(6.0), y=array)
    for name in ("a.npy", "b.npz", "c.npy", "d.npz", "e.npz"):
        with pytest.raises(ValueError):
            data.file(tmp_path / name)
    assert not trap.exists()
    pickle.loads((tmp_path / "c.npy").read_bytes())
    assert trap.exists()  # the trap works


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_parquet_is_refused(tmp_path: Path, part: float) -> None:
    pq.write_table(pa.table({"a": np.arange(500.0)}), tmp_path / "x.parquet", row_group_size=50)
    content = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError) as error:
        read_sheet(tmp_path / "x.parquet")
    assert "\n" not in str(error.value)


def test_columns_of_other_types_are_left_out_and_named(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
        "list": pa.array([[1], [2, 3], []]),
        "a": [1, None, 3],
        "flag": [True, None, False],
        "span": pa.array([90, None, 1500], pa.duration("ms")),
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    sheet = read_sheet(tmp_path / "x.parquet")
    assert list(sheet) == ["when", "a", "flag", "span"] and "list" in sheet.notes[0]
    assert sheet.objects("a").tolist() == [1, None, 3]
    assert sheet.objects("flag").tolist() == [True, None, False]
    assert sheet.objects("span").tolist() == [0.09, None, 1.5]  # seconds


def test_a_file_is_parsed_once_for_all_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read: Callable[..., Sheet] = readers.read_text
    monkeypatch.setattr(
        data.tables, "read_text", lambda path, header: reads.append(path) or read(path, header)
    )
    source = data.file(write(tmp_path / "x.csv", "a,b\n" + "".join(f"{i},{i % 7}.5\n" for i in range(50))))
    for name in ("test", "all", "train", "test"):
        source.split(name).batch(0, 4)
    assert len(reads) == 1


def test_columns_of_one_name_are_told_apart_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,a.1,a,,\n1,2,3,4,x\n4,5,6,7,y\n")
    expected = ["a", "a.1", "a.2", "", ".1"]
    frame = pd.DataFrame([[1, 2, 3, 4, "x"]], columns=["a", "a.1", "a", "", ""])
    arrow = pa.table([pa.array([1])] * 3, names=["a", "b", "a"])
    for sheet in (read_sheet(path), from_frame(frame)):
        assert list(sheet) == expected and "3rd" in sheet.notes[0] and "5th" in sheet.notes[0]
    assert list(readers.from_arrow(arrow)) == ["a", "b", "a.1"]
    assert read_sheet(path)["a.2"].tolist() == [3, 6]


def test_a_cell_may_go_over_the_lines_that_a_header_is_looked_for_in(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + '"one\ntwo",3\n' * 120)
    assert len(read_sheet(path)) == 120


def test_columns_between_bars(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a|b|c\n1|x, y|2.5\n2|z|3,5\n")
    sheet = read_sheet(path)
    assert list(sheet) == ["a", "b", "c"] and list(sheet.objects("b")) == ["x, y", "z"]
    assert sheet["c"].tolist() == [2.5, 3.5]


# what is kept -----------------------------------------------------------------------------------------------


def test_a_large_text_is_read_once_and_what_is_damaged_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(parsed, "SMALLEST", 10)
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n1,é,\n2,x y,3.5\n3,,4\n")
    plain = readers.read_text(path)
    reads: list[Path] = []

    def read(path: Path, header: bool | None) -> Sheet:
        reads.append(path)
        return readers.read_text(path, header)

    def again(header: bool | None = None) -> Sheet:
        return parsed.read_once(path, header, read)

    for _ in range(2):
        sheet = again()
        assert sheet.fingerprint == plain.fingerprint and sheet.notes == plain.notes
    assert len(reads) == 1
    assert list(again(header=False)) == ["0", "1", "2"] and len(reads) == 2
    (tmp_path / "cache" / "zerosum" / "tables" / "other.txt").write_text("somebody's")
    (kept,) = [p for p in (tmp_path / "cache").rglob("*.npz") if "None" in p.name]
    whole = kept.read_bytes()
    for at in range(0, len(whole), 41):
        kept.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        assert again().fingerprint == plain.fingerprint
        kept.write_bytes(whole[:at])
        assert again().fingerprint == plain.fingerprint
    assert len(reads) == 2 + 2 * len(range(0, len(whole), 41))
    reads.clear()
    path.write_text(path.read_text().replace("3.5", "3.6"))
    assert again()["c"][1] == 3.6 and len(reads) == 1
    monkeypatch.setattr(parsed, "MOST", 1)
    path.write_text("a\n1\n22222222\n")
    assert len(again()) == 2 and len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # where nothing can be written
    assert len(again()) == 2


WAYS = {  # of a number: how a file may write all of a column
    "two decimals": lambda x: f"{x:.2f}",
    "six decimals": lambda x: f"{x:.6f}",
    "always a point": lambda x: f"{round(x)}.0",
    "a point where it is not whole": lambda x: f"{round(x * 2) / 2:g}",
    "scientific": lambda x: f"{x:.3E}",
    "small scientific": lambda x: f"{x * 1e-12:.2e}",
    "a plus": lambda x: f"{x:+.1f}",
    "whole": lambda x: f"{x:.0f}",
    "NA": lambda x: "NA" if x > 50 else f"{x:.1f}",
    "shortest": lambda x: repr(x * 1e-3),
    "money": lambda x: f"-${-x:,.2f}" if x < 0 else f"${x:,.2f}",
    "parentheses": lambda x: f"({-x * 1e3:,.0f})" if round(x * 1e3) < 0 else f"{x * 1e3:,.0f}",
    "some missing": lambda x: "" if x > 50 else f"{x:.3f}",
}


@cases(25)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(sorted(WAYS)), min_size=2, max_size=6),
    st.sampled_from(",;\t"),
    st.booleans(),
)
def test_samples_are_written_as_the_data_were(
    seed: int, ways: list[str], separator: str, comma: bool
) -> None:
    """What was read is written byte for byte, and what G makes has the forms of the data."""
    x = np.random.default_rng(seed).normal(0, 60, (60, len(ways)))
    x = np.where(np.abs(x) < 1, x + 2, x)  # a zero below zero is zero
    comma = comma and separator != ","
    rows = [[f"c{j}" for j in range(len(ways))]]
    for row in x.tolist():
        texts = [(WAYS[way](one), way) for way, one in zip(ways, row, strict=True)]
        as_is = ("money", "parentheses") if comma else tuple(WAYS)
        rows.append([text if way in as_is else text.replace(".", ",") for text, way in texts])
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.tsv" if separator == "\t" else "x.csv")
        path.write_text(file.getvalue(), newline="")
        sheet = read_sheet(path)
    codec = Columns.from_state(json.loads(json.dumps(kinds.fit(sheet, None, "ranks").state_dict())))
    again, made = (io.BytesIO() for _ in range(2))
    write_sheets([codec.decode(codec.encode(sheet))], again, path.suffix, 60)
    assert again.getvalue().decode() == file.getvalue()
    write_sheets([codec.decode(torch.randn(40, *codec.shape))], made, path.suffix, 40)
    forms = [{_form(row[j]) for row in rows[1:]} for j in range(len(ways))]
    for row in list(csv.reader(io.StringIO(made.getvalue().decode()), delimiter=separator))[1:]:
        assert all(_form(cell) in some for cell, some in zip(row, forms, strict=True)), row


def _form(cell: str) -> str:
    """The signs of a cell, and how many digits stand after its decimal mark."""
    ends = re.search(r"(?<=[.,])\d+(?=\D*$)", cell)
    return re.sub(r"[\d,.-]+", "", cell) + (str(len(ends[0])) if ends and "e" not in cell.lower() else "")


@pytest.fixture
def of_all_types(tmp_path: Path) -> pa.Table:
    """Rows of 60 in all types that are read, in rows.parquet, as Parquet keeps them."""
    n, draw = 60, np.random.default_rng(0)
    whole, start = draw.integers(0, 99, n), dt.datetime(2020, 1, 1)
    hours = [start + dt.timedelta(hours=int(i)) for i in whole]
    gaps = [None if i < 9 else int(i) for i in whole]
    cents = [None if i is None else Decimal(i) / 100 for i in gaps]
    texts = (whole % 3).astype(str)
    columns = [
        *(
            pa.array(whole, type=kind)
            for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.float32())
        ),
        *(pa.array(gaps, type=kind) for kind in (pa.int16(), pa.int64(), pa.float64())),
        *(pa.array(hours, type=pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        *(pa.array(hours, type=pa.timestamp("ms", tz=zone)) for zone in ("UTC", "Asia/Tokyo")),
        *(pa.array([hour.date() for hour in hours], type=kind) for kind in (pa.date32(), pa.date64())),
        *(pa.array([hour.time() for hour in hours], type=kind) for kind in (pa.time32("s"), pa.time64("ns"))),
        *(pa.array([hour - start for hour in hours], type=pa.duration(unit)) for unit in ("s", "us", "ns")),
        *(pa.array(cents, type=kind) for kind in (pa.decimal128(7, 2), pa.decimal256(50, 4))),
        *(pa.array([Decimal(int(i)) for i in whole], type=pa.decimal128(10, scale)) for scale in (0, 2)),
        *(pa.array(texts, type=kind) for kind in (pa.string(), pa.large_string())),
        pa.array(texts).dictionary_encode(),
        pa.array(whole % 2 == 0),
        pa.array([None if i is None else i % 2 == 0 for i in gaps]),
    ]
    table = pa.table({f"{i} {column.type}": column for i, column in enumerate(columns)})
    pq.write_table(table, tmp_path / "rows.parquet")
    return pq.read_table(tmp_path / "rows.parquet")


def test_what_was_read_from_parquet_is_written_with_its_values_and_types(
    of_all_types: pa.Table, tmp_path: Path
) -> None:
    sheet = read_sheet(tmp_path / "rows.parquet")
    with (tmp_path / "again.parquet").open("wb") as file:
        write_sheets([sheet.take(slice(20)), sheet.take(slice(20, None))], file, ".parquet", len(sheet))
    again = pq.read_table(tmp_path / "again.parquet")
    for name in of_all_types.column_names:
        assert again[name].type == of_all_types[name].type, name
        assert again[name].to_pylist() == of_all_types[name].to_pylist(), name


def test_rows_that_are_made_have_the_types_of_the_file_after_a_restart_too(
    of_all_types: pa.Table, tmp_path: Path
) -> None:
    train = read_sheet(tmp_path / "rows.parquet")
    codec = fit(train, encoding="ranks")
    state = torch.load(_saved(codec.state_dict(), tmp_path / "codec.pt"), weights_only=True)
    codec = codecs.restore(json.loads(json.dumps(state)))
    made = codec.decode(torch.randn(500, *codec.shape, generator=torch.Generator().manual_seed(0)))
    with (tmp_path / "made.parquet").open("wb") as file:
        write_sheets([made.take(slice(1)), made], file, ".parquet", len(made) + 1)
    written = pq.read_table(tmp_path / "made.parquet")
    assert written.schema.remove_metadata() == of_all_types.schema.remove_metadata()
    with (tmp_path / "some.parquet").open("wb") as file:  # of some columns alone
        write_sheets([made.only(list(made)[::3])], file, ".parquet", len(made))
    assert pq.read_schema(tmp_path / "some.parquet").types == of_all_types.schema.types[::3]


@pytest.mark.parametrize("encoding", ["standard", "ranks"])
def test_identifiers_go_on_beyond_the_type_of_the_file(encoding: str, tmp_path: Path) -> None:
    ids, size = pa.array(range(1, 32_001), pa.int16()), pa.array([1, 2] * 16_000, pa.int8())
    pq.write_table(pa.table({"id": ids, "size": size}), tmp_path / "x.parquet")
    codec = fit(read_sheet(tmp_path / "x.parquet"), encoding=encoding)
    parts = [codec.decode(torch.zeros(500, *codec.shape), first) for first in (0, 500, 1000)]
    with (tmp_path / "y.parquet").open("wb") as file:
        write_sheets(parts, file, ".parquet", 1500)
    made = pq.read_table(tmp_path / "y.parquet")
    assert made["id"].to_pylist() == [*range(32_001, 33_501)] and made["size"].type == pa.int8()


def _saved(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")], ids=str)
def test_times_of_any_unit_are_dates(tmp_path: Path, kind: Any) -> None:
    size = {"s": 10**6, "ms": 10**3}.get(kind.unit, 1)
    draws = np.random.default_rng(0).integers(0, 86_400 * 10**6 // size, 80).tolist()
    times = [(dt.datetime(2020, 1, 1) + dt.timedelta(microseconds=draw * size)).time() for draw in draws]
    sheet = readers.from_arrow(pa.table({"x": pa.array([*times, None], kind)}))
    codec = fit(sheet)
    assert [column.kind for column in codec.columns] == ["date"]
    with (tmp_path / "x.parquet").open("wb") as file:
        write_sheets([sheet], file, ".parquet", len(sheet))
    assert pq.read_table(tmp_path / "x.parquet")["x"].to_pylist() == [*times, None]
    made = codec.decode(torch.linspace(-1, 1, 40)[:, None].expand(40, *codec.shape)).objects("x")
    assert all(dt.time.fromisoformat(cell) <= max(times) for cell in made if cell is not None)
    assert len(set(made)) > 5


def test_a_column_whose_cells_are_no_longer_of_its_type_is_written_with_its_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1, 2, 3], pa.int8())}), tmp_path / "x.parquet")
    sheet = read_sheet(tmp_path / "x.parquet")
    changed = replace(sheet, columns={"a": np.array([1, 2, 300])})
    with (tmp_path / "y.parquet").open("wb") as file:
        write_sheets([changed], file, ".parquet", 3)
    assert pq.read_table(tmp_path / "y.parquet")["a"].to_pylist() == [1, 2, 300]
    damaged = replace(sheet, style=Style(schema="AAAA"))
    with (tmp_path / "z.parquet").open("wb") as file, refused("the types of the columns are damaged"):
        write_sheets([damaged], file, ".parquet", 3)
