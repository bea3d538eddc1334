"""A table is the same source in whatever file; what cannot be learnt is named; hostile files are refused."""

from __future__ import annotations

import csv
import io
import pickle
import struct
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from zerosum import data

NAMES = ["age", "height", "year"]
KINDS = np.array(["cat", "dog", "eel"])


def numbers(n: int = 60, seed: int = 0) -> np.ndarray:
    """Columns of very different means and deviations."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [10.0, 1e-3, 500.0] + [40.0, 1.7, -1e6]


# One table in every form. A writer gets the numbers [N, 3] and gives the path.


def write_text(path: Path, rows: Sequence[Sequence[Any]], header: list[str] | None, **how: Any) -> Path:
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        csv.writer(file, **how).writerows([*([header] if header else []), *rows])
    return path


def text(separator: str = ",", header: list[str] | None = NAMES, name: str = "x.csv", **how: Any):
    def write(folder: Path, x: np.ndarray) -> Path:
        return write_text(folder / name, x.tolist(), header, delimiter=separator, **how)

    return write


def write_npy(folder: Path, x: np.ndarray) -> Path:
    np.save(folder / "x.npy", x)
    return folder / "x.npy"


def write_npz(folder: Path, x: np.ndarray) -> Path:
    np.savez_compressed(folder / "x.npz", anything=x)
    return folder / "x.npz"


def write_parquet(folder: Path, x: np.ndarray) -> Path:
    pq.write_table(pa.table(dict(zip(NAMES, x.T, strict=True))), folder / "x.parquet", row_group_size=7)
    return folder / "x.parquet"


WRITERS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "comma": text(),
    "semicolon": text(";"),
    "tab": text("\t", name="x.tsv"),
    "quoted": text(quoting=csv.QUOTE_ALL),
    "headless": text(header=None),
    "byte_order_mark": text(encoding="utf-8-sig"),
    "npy": write_npy,
    "fortran": lambda folder, x: write_npy(folder, np.asfortranarray(x)),
    "npz": write_npz,
    "parquet": write_parquet,
}
NAMED = [w for name, w in WRITERS.items() if name not in ("headless", "npy", "fortran", "npz")]
every_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


# Laws of all formats


@every_format
def test_the_same_numbers_give_the_same_source(tmp_path: Path, write) -> None:
    x = numbers()
    expected = data.file(write_npy(tmp_path, x))
    found = data.file(write(tmp_path, x))
    assert isinstance(expected, data.Table) and isinstance(found, data.Table)
    for name in ("rows", "mean", "scale"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert all(torch.equal(found.batch(t, 7)[0], expected.batch(t, 7)[0]) for t in range(20))
    assert found.columns in (("age", "height", "year"), ("0", "1", "2"))
    assert found.labels is None and found.classes == 0 and isinstance(found, data.Source)


@every_format
def test_a_label_gives_the_same_classes(tmp_path: Path, write) -> None:
    x = np.column_stack([numbers(), np.arange(60) % 3 + 5])[:, [3, 1, 2]]
    found = data.file(write(tmp_path, x), label="age" if write in NAMED else 0)
    assert isinstance(found, data.Table) and found.labels is not None
    values = found.decode(found.rows)
    assert found.class_names == ("5", "6", "7") and found.classes == 3 and values.shape[1] == 2
    label_of = {tuple(np.float32(row[1:])): int(row[0]) - 5 for row in x}
    assert [label_of[tuple(np.float32(row))] for row in values.numpy()] == found.labels.tolist()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool", ">f8"]
)
def test_numbers_of_any_type(tmp_path: Path, dtype: str) -> None:
    x = np.random.default_rng(1).integers(0, 3, (50, 2)).astype(dtype)
    table = data.file(write_npy(tmp_path, x), "all")
    assert isinstance(table, data.Table)
    assert np.allclose(table.decode(table.rows), x.astype(float), rtol=0, atol=1e-5)


def test_one_dimension_is_one_column(tmp_path: Path) -> None:
    table = data.file(write_npy(tmp_path, np.arange(20.0)), "all")
    assert (
        isinstance(table, data.Table)
        and table.shape == (1,)
        and torch.equal(table.decode(table.rows)[:, 0].round(), torch.arange(20.0).double())
    )


# Laws of standardising and splitting


@pytest.mark.parametrize("seed", range(4))
def test_the_training_rows_are_standardised_by_their_own_statistics(tmp_path: Path, seed: int) -> None:
    x = numbers(150, seed)
    path = write_npy(tmp_path, x)
    train, test, whole = (data.file(path, split) for split in ("train", "test", "all"))
    in_train = torch.isin(whole.encode(torch.from_numpy(x))[:, 0], train.rows[:, 0]).numpy()
    assert np.allclose(train.mean, x[in_train].mean(axis=0), rtol=1e-13)
    assert np.allclose(train.scale, x[in_train].std(axis=0), rtol=1e-9)
    assert torch.allclose(train.rows.double().mean(dim=0), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(train.rows.double().std(dim=0, correction=0), torch.ones(3).double(), atol=1e-6)
    for other in (test, whole):
        assert torch.equal(other.mean, train.mean) and torch.equal(other.scale, train.scale)


def test_what_is_in_the_test_rows_does_not_move_the_statistics(tmp_path: Path) -> None:
    x = np.arange(40.0)[:, None]
    test = data.file(write_npy(tmp_path, x), "test")
    held_out = test.decode(test.rows).round().long()[:, 0]
    before = data.file(write_npy(tmp_path, x))
    x[held_out] += 1e6
    after = data.file(write_npy(tmp_path, x))
    assert torch.equal(before.mean, after.mean) and torch.equal(before.scale, after.scale)


def test_a_test_row_out_of_all_proportion_is_refused(tmp_path: Path) -> None:
    x = np.arange(40.0)[:, None]
    test = data.file(write_npy(tmp_path, x), "test")
    x *= 1e-30
    x[test.decode(test.rows).round().long()[0, 0]] = 1e30
    assert len(data.file(write_npy(tmp_path, x))) == 36
    with pytest.raises(ValueError, match=r"x\.npy: vectors are finite numbers: row 0 has"):
        data.file(write_npy(tmp_path, x), "test")


@pytest.mark.parametrize("n", [2, 3, 10, 19, 20, 101])
def test_the_splits_are_disjoint_and_whole(tmp_path: Path, n: int) -> None:
    path = write_npy(tmp_path, np.array([np.arange(n), np.arange(n) % 2]).T + 0.0)
    if n == 2:  # one training row has no deviation
        with pytest.raises(ValueError, match="nothing to learn: each of the columns 0, 1 has one value"):
            data.file(path)
        return
    values = {s: data.file(path, s, columns=[0]) for s in ("train", "test", "all")}
    rows = {s: v.decode(v.rows)[:, 0].round().tolist() for s, v in values.items()}
    assert rows["all"] == list(range(n)) and sorted(rows["train"] + rows["test"]) == rows["all"]
    assert len(rows["test"]) == max(1, n // 10)
    assert rows["train"] == sorted(rows["train"])
    again = data.file(path, "test", columns=[0], seed=9)
    assert torch.equal(again.rows, values["test"].rows)


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e15])
def test_decode_undoes_encode(tmp_path: Path, offset: float) -> None:
    x = numbers(80) * 100 + offset
    table = data.file(write_npy(tmp_path, x))
    values = torch.from_numpy(x)
    error = (table.decode(table.encode(values)) - values).abs() / table.scale
    assert error.max() < 1e-6 + 2e-16 * abs(offset) / table.scale.min()
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    if offset == 0:
        assert torch.allclose(table.encode(table.decode(z)), z, atol=1e-6)
    assert table.encode(values).dtype == torch.float32 and table.decode(z).dtype == torch.float64


def test_constant_columns_are_kept_out_and_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = numbers()
    x[:, 1] = 0.1
    path = text()(tmp_path, x)
    table = data.file(path)
    assert capsys.readouterr().err == "zerosum: columns of one value, put back into samples: height = 0.1\n"
    assert table.shape == (2,) and table.columns == ("age", "height", "year")
    values = table.decode(table.rows)
    assert values.shape == (54, 3) and (values[:, 1] == 0.1).all() and table.encode(values).shape == (54, 2)
    assert torch.allclose(table.encode(values), table.rows, atol=1e-6)
    data.file(path, "test")
    assert capsys.readouterr().err == ""


# What a person's file looks like


def test_columns_are_chosen_by_name_and_in_order(tmp_path: Path) -> None:
    path = text()(tmp_path, numbers())
    whole = data.file(path)
    for columns in (["year", "age"], "year", ["height"]):
        table = data.file(path, columns=columns)
        names = [columns] if isinstance(columns, str) else columns
        assert table.columns == tuple(names)
        assert torch.equal(table.rows, whole.rows[:, [NAMES.index(name) for name in names]])
    assert data.file(write_npy(tmp_path, numbers()), columns=[2, 0]).columns == ("2", "0")


@pytest.mark.parametrize("form", ["csv", "headless", "parquet", "dictionary", "npz"])
def test_labels_may_be_text(tmp_path: Path, form: str) -> None:
    x, kinds = numbers(30), KINDS[np.arange(30) * 7 % 3]
    label: Any = "kind"
    if form == "csv":
        rows = [[*row, kind] for row, kind in zip(x.tolist(), kinds, strict=True)]
        path = write_text(tmp_path / "x.csv", rows, [*NAMES, "kind"])
    elif form == "headless":
        rows = [[kind, *row] for row, kind in zip(x.tolist(), kinds, strict=True)]
        path, label = write_text(tmp_path / "x.csv", rows, None), 0
    elif form == "npz":
        path = tmp_path / "x.npz"
        np.savez(path, rows=x, kind=kinds)
    else:
        column = pa.array(kinds.tolist())
        column = column.dictionary_encode() if form == "dictionary" else column
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({**dict(zip(NAMES, x.T, strict=True)), "kind": column}), path)
    table = data.file(path, "all", label=label)
    assert table.class_names == ("cat", "dog", "eel") and table.shape == (3,)
    assert table.labels is not None and [KINDS[y] for y in table.labels] == kinds.tolist()


def test_missing_rows_are_named_or_dropped(tmp_path: Path) -> None:
    x = numbers(40).astype(object)
    x[4, 0], x[9, 0], x[9, 1], x[20, 2] = "", "NaN", " n/a ", "-inf"
    path = write_text(tmp_path / "x.csv", x.tolist(), NAMES)
    message = (
        f"{path}: 3 of 40 rows cannot be used: age is missing in 2 (first in row 5), height is missing in 1 "
        "(first in row 10), year is infinite in 1 (first in row 21): missing=drop leaves them out"
    )
    with pytest.raises(ValueError) as error:
        data.file(path)
    assert str(error.value) == message
    whole = np.delete(numbers(40), [4, 9, 20], axis=0)
    expected = data.file(write_npy(tmp_path, whole))
    assert torch.equal(data.file(path, missing="drop").rows, expected.rows)
    floats = numbers(40)
    floats[[4, 9], 0], floats[9, 1], floats[20, 2] = np.nan, np.nan, -np.inf
    for write in (write_npy, write_npz, write_parquet):
        with pytest.raises(ValueError, match=r"3 of 40 rows .* \(first in row 21\)"):
            data.file(write(tmp_path, floats))
        assert torch.equal(data.file(write(tmp_path, floats), missing="drop").rows, expected.rows)


def test_missing_labels_are_named_or_dropped(tmp_path: Path) -> None:
    rows = [[float(i), "" if i == 3 else KINDS[i % 3]] for i in range(30)]
    path = write_text(tmp_path / "x.csv", rows, ["size", "kind"])
    with pytest.raises(
        ValueError, match=r"1 of 30 rows .*: the label kind is missing in 1 \(first in row 4\)"
    ):
        data.file(path, label="kind")
    assert len(data.file(path, "all", label="kind", missing="drop")) == 29


def test_nulls_of_parquet_are_missing(tmp_path: Path) -> None:
    columns = {"a": pa.array([1, None, *range(18)]), "b": pa.array([True, False] * 10)}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ValueError, match=r"a is missing in 1 \(first in row 2\)"):
        data.file(path)
    assert len(data.file(path, "all", missing="drop")) == 19


def test_a_large_text_is_read_in_blocks(tmp_path: Path) -> None:
    n = 40_000  # more than two blocks
    rows = np.arange(2.0 * n).reshape(n, 2)
    path = tmp_path / "x.csv"
    np.savetxt(path, rows, delimiter=";", fmt="%.0f")
    assert torch.equal(data.file(path).rows, data.file(write_npy(tmp_path, rows)).rows)
    path.write_text(path.read_text() + "7;seven\n")
    with pytest.raises(ValueError, match=f"1 has 'seven' in row {n + 1}"):
        data.file(path)


BAD_TEXT = {
    "empty": ("", {}, "the file is empty"),
    "blank": ("\n \n\n", {}, "the file is empty"),
    "only_header": ("a,b\n", {}, "there are no rows"),
    "one_row": ("a\n1\n", {}, "of 1 usable rows none is left for the split 'train'"),
    "ragged": ("a,b\n1,2\n3,4\n5\n6,7\n", {}, "line 4 has 1 cells where the first has 2"),
    "long": ("a,b\n1,2\n3,4,5\n", {}, "line 3 has 3 cells where the first has 2"),
    "text": ("a,b,c\n1,x,2\n3,4,5\n", {}, r"not a number: b has 'x' in row 1: choose columns=\[a, c\], or"),
    "nothing_in_it": ("a,b,c\n1,,x\n2,NA,y\n", {}, r"c has 'x' in row 1: choose columns=\[a\], or"),
    "later_text": (
        "a,b,c\n" + "1,2,x\n" * 20_000 + "1,late,x\n",
        {},
        r"c has 'x' in row 1, b has 'late' in row 20001: choose columns=\[a\], or",
    ),
    "mixed": ("a,b\n1,2\n3,4\n5,n.a.!\n", {}, "b has 'n.a.!' in row 3"),
    "all_text": ("a\nx\ny\n", {}, "not a number: a has 'x' in row 1: mend it"),
    "decimal_comma": ("a;b\n1,5;2\n3,5;4\n", {}, "a has '1,5' in row 1"),
    "twice": ("a,b,a\n1,2,3\n4,5,6\n", {}, "several columns have the name a"),
    "row_numbers": (",a,b\n0,1,2\n1,3,5\n", {}, r"without a name .*columns=\[\.\.\.\] of a, b"),
    "no_column": ("a,b\n1,2\n3,4\n", {"columns": ["a", "z"]}, "no column 'z': there are a, b"),
    "no_label": ("a,b\n1,2\n3,4\n", {"label": "z"}, "no column 'z'"),
    "no_columns": ("a,b\n1,2\n3,4\n", {"columns": []}, "there are no columns of numbers"),
    "only_label": ("a\n1\n1\n", {"label": "a"}, "there are no columns of numbers"),
    "no_classes": ("a,b\n1,2\n3,4\n5,6\n", {"label": "b"}, "label b has 3 classes in 3 rows"),
    "fractions": ("a,b\n1,2.5\n3,4\n5,6\n", {"label": "b"}, "label b has numbers that are not whole"),
    "open_quote": ('a,b\n1,"2\n3,4\n', {}, "not a table in UTF-8 text"),
    "binary": ("a,b\n1,\x00\xff\n", {}, "not a table in UTF-8 text|'\\\\x00ÿ' in row 1"),
    "constant": ("a,b\n" + "1,2\n" * 20, {}, "nothing to learn: each of the columns a, b has one value"),
    "huge": ("a\n" + "1e300\n-1e300\n" * 10, {}, "column a goes from -1e.300 to 1e.300"),
    "tiny": ("a\n" + "1e-300\n-1e-300\n" * 10, {}, "column a goes from -1e-300 to 1e-300"),
    "array": ("a\n1\n2\n", {"array": "x"}, "array=x chooses in an .npz file"),
    "split": ("a\n1\n2\n", {"split": "valid"}, "split is one of train, test, all: got 'valid'"),
    "missing": ("a\n1\n2\n", {"missing": "ignore"}, "missing is one of error, drop: got 'ignore'"),
}


@pytest.mark.parametrize(("content", "given", "message"), BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_bad_text_is_refused_in_one_line(
    tmp_path: Path, content: str, given: dict[str, Any], message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        data.file(path, **given)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_other_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x\.csv: there is no such file"):
        data.file(tmp_path / "x.csv")
    (tmp_path / "x.xls").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ends in \.npy, \.npz, \.csv, \.tsv, \.parquet: got \.xls"):
        data.file(tmp_path / "x.xls")
    (tmp_path / "x.csv").write_bytes("Größe,b\n1,2\n3,4\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not a table in UTF-8 text: 'utf-8' codec"):
        data.file(tmp_path / "x.csv")


def test_columns_of_other_types_are_named(tmp_path: Path) -> None:
    when, lists = pa.array([0, 1, 2], pa.timestamp("s")), pa.array([[1], [2, 3], []])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"when": when, "a": [1.0, 2.0, 3.0], "list": lists}), path)
    with pytest.raises(
        ValueError, match=r"when has '1970-01-01 .*' in row 1, list has 'list<.*choose columns=\[a\]"
    ):
        data.file(path)
    assert data.file(path, "all", columns=["a"]).shape == (1,)


# Images in arrays


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((30, 6, 5), None),
        ((30, 6, 5, 1), -1),
        ((30, 6, 5, 2), -1),
        ((30, 6, 5, 4), -1),
        ((30, 3, 6, 5), 1),
        ((30, 1, 5, 6), 1),
    ],
)
@pytest.mark.parametrize("write", [write_npy, write_npz])
def test_bytes_are_images(tmp_path: Path, write, shape: tuple[int, ...], channels: int | None) -> None:
    x = bytes_of(*shape)
    expected = torch.from_numpy(x[:, None] if channels is None else np.moveaxis(x, channels, 1).copy())
    whole = data.file(write(tmp_path, x), "all", low=0.0, seed=3)
    assert isinstance(whole, data.Images) and torch.equal(whole.pixels, expected)
    assert (whole.low, whole.high, whole.seed, whole.split_name, whole.labels) == (0.0, 1.0, 3, "all", None)
    parts = [data.file(write(tmp_path, x), split) for split in ("train", "test")]
    rows = [tuple(row) for part in parts for row in part.pixels.flatten(1).tolist()]
    assert [len(part) for part in parts] == [27, 3]
    assert sorted(rows) == sorted(map(tuple, expected.flatten(1).tolist()))
    assert len(parts[0].batch(0, 64)[0]) == 64


def test_images_of_a_file_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(256, 256, 256, 3))[:] = 7  # 48 MiB
    tracemalloc.start()
    try:
        images = data.file(path, "all")
        x, _ = images.batch(3, 2)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert x.shape == (2, 3, 256, 256) and (images.codec.decode(x) == 7).all()
    before = path.read_bytes()[-99:]
    images.pixels[-1] = 0  # a private copy: the file stays as it is
    assert path.read_bytes()[-99:] == before


@pytest.mark.parametrize("name", ["y", "labels", "target"])
def test_images_have_the_labels_of_their_archive(tmp_path: Path, name: str) -> None:
    x, y = bytes_of(30, 4, 4), np.arange(30) * 7 % 3
    path = tmp_path / "x.npz"
    np.savez(path, x=x, **{name: y + 1})
    images = data.file(path, "all", label="target" if name == "target" else None)
    assert images.labels is not None and images.labels.tolist() == y.tolist() and images.classes == 3
    test = data.file(path, "test", label=name)
    assert all(
        images.labels[(images.pixels == p).flatten(1).all(dim=1)] == c
        for p, c in zip(test.pixels, test.labels, strict=True)
    )


def test_the_array_of_an_archive_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    arrays = {"x_train": bytes_of(30, 4, 4), "y_train": np.arange(30) % 2, "x_test": bytes_of(9, 4, 4)}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"holds x_train \[30, 4, 4\], y_train \[30\], x_test .*array=NAME"):
        data.file(path)
    images = data.file(path, array="x_train", label="y_train")
    assert images.classes == 2 and len(images) == 27
    with pytest.raises(ValueError, match=r"y_train has shape \[30\] but the examples are uint8 \[9, 4, 4\]"):
        data.file(path, array="x_test", label="y_train")
    with pytest.raises(ValueError, match="array=NAME"):
        data.file(path, array="z")


@pytest.mark.parametrize(
    ("array", "given", "message"),
    [
        (np.zeros((5, 4, 4)), {}, r"images uint8 \[N, H, W\(, C\)\]: got float64 \[5, 4, 4\]"),
        (np.zeros((5, 4, 4), np.uint8), {"columns": [0]}, "images have no columns"),
        (np.zeros((5, 4, 4), np.uint8), {"label": "y"}, "images have no columns"),
        (np.zeros((5, 8, 4, 9), np.uint8), {}, r"1 to 4 channels.*\[5, 8, 4, 9\]"),
        (np.zeros((0, 3)), {}, r"nothing in it: float64 \[0, 3\]"),
        (np.zeros((3, 0)), {}, r"nothing in it: float64 \[3, 0\]"),
        (np.zeros(()), {}, r"got float64 \[\]"),
        (np.zeros((4, 2), complex), {}, r"got complex128 \[4, 2\]"),
        (np.array([["a", "b"]] * 4), {}, "got <U1"),
        (np.zeros(4, [("a", float), ("b", int)]), {}, r"data are numbers \[N, d\]"),
        (np.zeros((4, 2)), {"columns": [2]}, "no column '2': there are 0, 1"),
    ],
)
@pytest.mark.parametrize("write", [write_npy, write_npz])
def test_other_arrays_are_refused(
    tmp_path: Path, write, array: np.ndarray, given: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, array)
    with pytest.raises(ValueError, match=message) as error:
        data.file(path, **given)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


# Files of strangers


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
    "no_header.npy": PLAIN[:30],
    "garbage_header.npy": PLAIN[:12] + b"\xff" * 60,
    "empty.npz": b"",
    "text.npz": b"<html>Not Found</html>",
    "lying.npz": zipped(LYING),
    "lying_twice.npz": zipped(LYING, stated=len(LYING) - 96 + (200 << 23)),
    "truncated.npz": zipped(PLAIN)[:-30],
    "damaged.npz": zipped(PLAIN).replace(PLAIN[-8:-6], b"\xff\xff"),
    "half.npz": zipped(PLAIN[:-40]),
    "no_array.npz": zipped(b"text"),
    "empty.parquet": b"",
    "text.parquet": b"PAR1 nothing of the kind PAR1",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_and_lying_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"not an \.np[yz] file|not a readable Parquet") as error:
            data.file(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # the headers claim 1.6 GB
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


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
        with pytest.raises(ValueError, match=r"not an \.np[yz] file of plain"):
            data.file(tmp_path / name)
    assert not trap.exists()
    pickle.loads((tmp_path / "c.npy").read_bytes())
    assert trap.exists()  # the trap works


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated_parquet_is_refused(tmp_path: Path, part: float) -> None:
    path = write_parquet(tmp_path, numbers())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match="not a readable Parquet file") as error:
        data.file(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("module", ["pyarrow.parquet", "datasets"])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    path = write_parquet(tmp_path, numbers())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"needs .*: pip install 'zerosum\[data\]'"):
        data.file(path) if module == "pyarrow.parquet" else data.hf("any")


# Data sets of the hub, from a folder


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library, offline and with its cache in the test's folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, at its import
        import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()


def pictures(n: int, size: tuple[int, int] = (5, 6), mode: str = "RGB") -> list[Image.Image]:
    x = bytes_of(n, *size, *([3] if mode == "RGB" else []))
    return [Image.fromarray(a) for a in x]


def labelled(datasets: Any, images: list[Image.Image]) -> Any:
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["zebra", "ant", "bee"])
    )
    return datasets.Dataset.from_dict(
        {"image": images, "label": [i % 3 for i in range(len(images))]}, features=features
    )


def test_hf_tables_are_those_of_files(tmp_path: Path, datasets: Any) -> None:
    x = numbers()
    expected = data.file(write_npy(tmp_path, x))
    saved = datasets.Dataset.from_dict({**dict(zip(NAMES, x.T.tolist(), strict=True)), "name": ["text"] * 60})
    saved.save_to_disk(str(tmp_path / "saved"))
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    write_parquet(loaded, x)
    for folder, columns in ((tmp_path / "saved", NAMES), (loaded, None)):
        table = data.hf(str(folder), columns=columns)
        assert torch.equal(table.rows, expected.rows) and torch.equal(table.mean, expected.mean)
        assert table.columns == tuple(NAMES)
    with pytest.raises(
        ValueError, match=r"saved: not a number: name has 'text' in row 1: choose columns=\[age"
    ):
        data.hf(str(tmp_path / "saved"))


def test_hf_splits_are_its_own(tmp_path: Path, datasets: Any) -> None:
    train, test = (datasets.Dataset.from_dict({"a": rows}) for rows in ([0.0, 2.0] * 5, [5.0, 7.0, 9.0]))
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "both"))
    parts = {split: data.hf(str(tmp_path / "both"), split) for split in ("train", "test", "all")}
    assert [len(part) for part in parts.values()] == [10, 3, 13]
    assert parts["test"].rows[:, 0].tolist() == [4.0, 6.0, 8.0]  # mean 1, deviation 1: of train


def test_hf_images(tmp_path: Path, datasets: Any) -> None:
    images = pictures(20)
    labelled(datasets, images).save_to_disk(str(tmp_path / "saved"))
    whole = data.hf(str(tmp_path / "saved"), "all", low=0.0, seed=2)
    assert isinstance(whole, data.Images) and whole.shape == (3, 5, 6) and whole.classes == 3
    assert whole.labels is not None and whole.labels.tolist() == [i % 3 for i in range(20)]
    for pixels, image in zip(whole.pixels, images, strict=True):
        assert np.array_equal(pixels.permute(1, 2, 0), np.asarray(image))
    train, test = (data.hf(str(tmp_path / "saved"), split) for split in ("train", "test"))
    assert (len(train), len(test)) == (18, 2)
    for part in (train, test):
        for pixels, label in zip(part.pixels, part.labels, strict=True):
            assert label in whole.labels[(whole.pixels == pixels).flatten(1).all(dim=1)]
    assert data.hf(str(tmp_path / "saved"), size=4).shape == (3, 4, 4)


def test_hf_folders_of_images(tmp_path: Path, datasets: Any) -> None:
    for i, image in enumerate(pictures(20, mode="L")):
        folder = tmp_path / "photos" / ("cats" if i % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i}.png")
    images = data.hf(str(tmp_path / "photos"))
    assert images.shape == (1, 5, 6) and images.classes == 2 and len(images) == 18


def test_hf_pictures_of_all_kinds(tmp_path: Path, datasets: Any) -> None:
    square = Image.new("RGB", (40, 20), (255, 0, 0))
    turned = Image.new("RGB", (20, 40), (0, 255, 0))
    turned.paste((0, 0, 255), (0, 0, 20, 20))  # blue above green; after a turn it is at one side
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    deep = Image.fromarray(np.full((20, 40), 0x8080, np.uint16))
    kinds = [
        square,
        square.convert("P"),
        square.convert("RGBA"),
        square.convert("CMYK"),
        square.convert("L"),
        deep,
    ]
    files = []
    for i, image in enumerate(kinds):
        files.append(tmp_path / f"{i}.{'tiff' if image.mode == 'CMYK' else 'png'}")
        image.save(files[-1])
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    files.append(tmp_path / "clear.png")
    files.append(tmp_path / "turned.jpg")
    turned.save(files[-1], exif=exif, quality=100, subsampling=0)
    saved = datasets.Dataset.from_dict({"image": [{"bytes": f.read_bytes(), "path": None} for f in files]})
    saved.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "saved"))
    images = data.hf(str(tmp_path / "saved"), "all")
    assert images.shape == (3, 20, 40)
    middle = images.pixels[:, :, 10, 10].tolist()
    assert middle[:4] == [[255, 0, 0]] * 4 and middle[4] == [76] * 3 and middle[5] == [0x80] * 3
    assert middle[6] == [255] * 3
    left, right = images.pixels[7, :, 10, 4], images.pixels[7, :, 10, 36]
    assert left.argmax() == 1 and right.argmax() == 2  # green left, blue right


def test_hf_images_that_cannot_be_used(tmp_path: Path, datasets: Any) -> None:
    def save(name: str, cells: list[Any], **columns: list[Any]) -> str:
        saved = datasets.Dataset.from_dict({"image": cells, **columns})
        saved.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / name))
        return str(tmp_path / name)

    good = io.BytesIO()
    pictures(1)[0].save(good, "png")
    cells = [{"bytes": good.getvalue(), "path": None}] * 12
    broken = save("broken", [*cells, {"bytes": good.getvalue()[:60], "path": None}, None])
    with pytest.raises(ValueError, match=r"broken: the image in row 13 cannot be read: .*missing=drop"):
        data.hf(broken, "all")
    assert len(data.hf(broken, "all", missing="drop")) == 12
    with pytest.raises(ValueError, match="no image can be read"):
        data.hf(save("none", [{"bytes": b"GIF89a", "path": None}] * 4), missing="drop")
    other = io.BytesIO()
    pictures(1, (9, 9))[0].save(other, "png")
    sizes = save("sizes", [*cells, {"bytes": other.getvalue(), "path": None}])
    with pytest.raises(ValueError, match=r"images of 5 x 6 and, in row 13, 9 x 9: give size=N"):
        data.hf(sizes, "all")
    assert data.hf(sizes, size=8).shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"no column 'photo' of images: .*: image"):
        data.hf(sizes, image="photo")
    with pytest.raises(ValueError, match="images have no columns"):
        data.hf(sizes, columns=["image"])


def test_hf_labels_that_are_unknown(tmp_path: Path, datasets: Any) -> None:
    train, test = labelled(datasets, pictures(9)), labelled(datasets, pictures(4))
    test = test.map(lambda row: {"label": -1})
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(
        ValueError, match=r"4 of 13 rows .*: the label label is missing in 4 \(first in row 10\)"
    ):
        data.hf(str(tmp_path / "saved"))
    assert len(data.hf(str(tmp_path / "saved"), missing="drop")) == 9
    with pytest.raises(ValueError, match="none is left for the split 'test'"):
        data.hf(str(tmp_path / "saved"), "test", missing="drop")


@pytest.mark.parametrize("name", ["nobody/nothing", "no-such-folder/at/all", "/nowhere", "not a name!"])
def test_hf_of_what_is_not_there(datasets: Any, name: str) -> None:
    with pytest.raises(ValueError, match="no such data set, or no connection") as error:
        data.hf(name)
    assert str(error.value).startswith(f"{name}: ") and "\n" not in str(error.value)


def test_hf_folders_that_hold_nothing(tmp_path: Path, datasets: Any) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no such data set") as error:
        data.hf(str(tmp_path / "empty"))
    assert "\n" not in str(error.value)
    a, b = (datasets.Dataset.from_dict({"a": [1.0]}) for _ in range(2))
    datasets.DatasetDict(left=a, right=b).save_to_disk(str(tmp_path / "odd"))
    with pytest.raises(ValueError, match="the parts left, right but no train"):
        data.hf(str(tmp_path / "odd"))
