"""A table is the same source in whatever file; every row comes once an epoch; what changes is noticed."""

from __future__ import annotations

import csv
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from refusals import refused
from zerosum import data

NAMES = ["age", "height", "year"]
KINDS = np.array(["cat", "dog", "eel"])


def numbers(n: int = 60, seed: int = 0) -> np.ndarray:
    """Columns of very different means and deviations."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [10.0, 1e-3, 500.0] + [40.0, 1.7, -1e6]


def everything(source: data.Table) -> torch.Tensor:
    """All examples of a split, [N, d]."""
    return source.at(torch.arange(len(source)))[0]


# One table in every form. A writer gets the numbers [N, 3] and gives the path.


def write_text(path: Path, rows: Sequence[Sequence[Any]], header: list[str] | None, **how: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
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
    "tab": text("\t", name="x.tsv"),
    "quoted": text(quoting=csv.QUOTE_ALL),
    "headless": text(header=None),
    "npy": write_npy,
    "fortran": lambda folder, x: write_npy(folder, np.asfortranarray(x)),
    "npz": write_npz,
    "parquet": write_parquet,
}
NAMED = [w for name, w in WRITERS.items() if name not in ("headless", "npy", "fortran", "npz")]
every_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
both_encodings = pytest.mark.parametrize("encoding", ["standard", "ranks"])


@every_format
@both_encodings
def test_the_same_numbers_give_the_same_source(tmp_path: Path, write, encoding: str) -> None:
    x = numbers()
    expected = data.file(write_npy(tmp_path, x), encoding=encoding)
    found = data.file(write(tmp_path, x), encoding=encoding)
    assert isinstance(expected, data.Table) and isinstance(found, data.Source)
    assert all(torch.equal(found.batch(t, 7)[0], expected.batch(t, 7)[0]) for t in range(20))
    assert found.codec.names in (("age", "height", "year"), ("0", "1", "2"))
    assert found.labels is None and found.classes == 0 and found.splits == ("train", "test", "all")


@every_format
def test_a_label_gives_the_same_classes(tmp_path: Path, write) -> None:
    x = np.column_stack([numbers(), np.arange(60) % 3 + 5])[:, [3, 1, 2]]
    found = data.file(write(tmp_path, x), "all", label="age" if write in NAMED else 0)
    assert isinstance(found, data.Table) and found.labels is not None
    assert found.class_names == ("5", "6", "7") and found.classes == 3 and len(found.codec.columns) == 2
    assert found.labels.tolist() == (np.arange(60) % 3).tolist()
    assert found.class_shares == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize("form", ["csv", "parquet", "dictionary", "npz", "pandas"])
def test_labels_may_be_text_and_unequal(tmp_path: Path, form: str) -> None:
    x, kinds = numbers(40), KINDS[np.where(np.arange(40) % 10 == 0, 2, np.arange(40) % 2)]
    frame = {**dict(zip(NAMES, x.T, strict=True)), "kind": kinds.tolist()}
    path: Any = tmp_path / f"x.{'parquet' if form == 'dictionary' else form}"
    if form == "csv":
        write_text(path, list(zip(*frame.values(), strict=True)), [*NAMES, "kind"])
    elif form == "npz":
        np.savez(path, rows=x, kind=kinds)
    elif form != "pandas":
        column = pa.array(kinds.tolist())
        pq.write_table(
            pa.table({**frame, "kind": column.dictionary_encode() if form == "dictionary" else column}), path
        )
    source = (
        data.frame(pd.DataFrame(frame), "all", label="kind")
        if form == "pandas"
        else data.file(path, "all", label="kind")
    )
    assert isinstance(source, data.Table) and source.labels is not None
    assert source.class_names == ("cat", "dog", "eel") and source.shape == (3,)
    assert [KINDS[y] for y in source.labels] == kinds.tolist()
    assert source.class_shares[2] == pytest.approx(0.1, abs=0.03) and sum(
        source.class_shares
    ) == pytest.approx(1)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool", ">f8"]
)
@both_encodings
def test_numbers_of_any_type(tmp_path: Path, dtype: str, encoding: str) -> None:
    x = np.random.default_rng(1).integers(0, 2, (50, 2)).astype(dtype)
    table = data.file(write_npy(tmp_path, x), "all", encoding=encoding)
    assert isinstance(table, data.Table)
    rows = table.codec.decode(everything(table))
    assert np.array_equal(np.stack([rows[name] for name in rows], 1).astype(float), x.astype(float))


def test_numbers_beyond_64_bits_come_back_or_are_refused(tmp_path: Path) -> None:
    large = np.array([1e19, -3e30, 0.0] * 20)[:, None]
    table = data.file(write_npy(tmp_path, large), "all", encoding="ranks")
    assert isinstance(table, data.Table)
    assert set(table.codec.decode(everything(table)).objects("0")) == set(large[:, 0])
    for encoding in ("standard", "ranks"):
        with refused("0"):
            data.file(write_npy(tmp_path, large * 1e270), encoding=encoding)


@pytest.mark.parametrize("seed", range(3))
def test_the_training_rows_are_standardised_by_their_own_statistics(tmp_path: Path, seed: int) -> None:
    path = write_npy(tmp_path, numbers(150, seed))
    train = data.file(path)
    assert torch.allclose(everything(train).double().mean(dim=0), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(
        everything(train).double().std(dim=0, correction=0), torch.ones(3).double(), atol=1e-6
    )
    for other in ("test", "all"):
        assert train.split(other).codec is train.codec


def test_what_is_in_the_test_rows_does_not_move_the_codec(tmp_path: Path) -> None:
    x = numbers(40)
    before = data.file(write_npy(tmp_path, x))
    held_out = before.split("test").places.numpy()
    print_before = before.fingerprint
    x[held_out] += 1e6
    after = data.file(write_npy(tmp_path, x))
    assert before.codec.state_dict() == after.codec.state_dict() and print_before != after.fingerprint


@pytest.mark.parametrize("n", [3, 10, 19, 20, 101])
def test_the_splits_are_disjoint_and_whole(tmp_path: Path, n: int) -> None:
    path = write_npy(tmp_path, np.array([np.arange(n) ** 2 / 8, np.arange(n) % 2]).T)
    source = data.file(path)
    rows = {split: source.split(split).places.tolist() for split in source.splits}
    assert rows["all"] == list(range(n)) and sorted(rows["train"] + rows["test"]) == rows["all"]
    assert len(rows["test"]) == max(1, n // 10) and rows["train"] == sorted(rows["train"])
    assert data.file(path, "test", seed=9).places.tolist() == rows["test"]
    with pytest.raises(ValueError):
        source.split("valid")


@both_encodings
def test_a_batch_is_a_function_of_the_step(tmp_path: Path, encoding: str) -> None:
    path = write_npy(tmp_path, np.random.default_rng(0).integers(0, 5, (30, 2)))
    source = data.file(path, "all", encoding=encoding)
    first = source.batch(4, 6)[0]
    source.batch(9, 6)
    assert torch.equal(source.batch(4, 6)[0], first) and torch.equal(
        data.file(path, "all", encoding=encoding).batch(4, 6)[0], first
    )
    epoch = [tuple(row) for step in range(5) for row in source.codec.decode(source.batch(step, 6)[0]).rows()]
    assert sorted(epoch) == sorted(source.values.rows())
    again = torch.equal(source.batch(5, 30)[0].sort(0).values, source.batch(6, 30)[0].sort(0).values)
    assert again == (encoding == "standard")  # ties are spread anew at every step


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a column x 1000": lambda x: x.assign(age=x["age"] * 1000),
    "columns swapped": lambda x: x.rename(columns={"age": "height", "height": "age"}),
    "columns moved": lambda x: x[["height", "age", "kind"]],
    "one cell": lambda x: x.assign(age=x["age"].where(x.index != 7, 1.25)),
    "a category's name": lambda x: x.assign(kind=x["kind"].replace("cat", "lion")),
    "a row less": lambda x: x.iloc[:-1],
    "rows moved": lambda x: x.iloc[::-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_table_is_noticed(tmp_path: Path, change: str) -> None:
    frame = pd.DataFrame(
        {"age": numbers()[:, 0], "height": numbers()[:, 1], "kind": KINDS[np.arange(60) % 3]}
    )
    prints: list[str] = []
    for rows in (frame, frame.copy(), CHANGES[change](frame)):
        rows.to_csv(tmp_path / "x.csv", index=False)
        prints.append(data.file(tmp_path / "x.csv").fingerprint)
        assert data.frame(rows.reset_index(drop=True)).fingerprint
    assert prints[0] == prints[1] != prints[2]


def test_columns_are_chosen_by_name_and_in_order(tmp_path: Path) -> None:
    path = text()(tmp_path, numbers())
    whole = data.file(path)
    for columns in (["year", "age"], "year", ["height"]):
        table = data.file(path, columns=columns)
        names = [columns] if isinstance(columns, str) else columns
        assert table.codec.names == tuple(names)
        assert torch.equal(everything(table), everything(whole)[:, [NAMES.index(name) for name in names]])
    assert data.file(write_npy(tmp_path, numbers()), columns=[2, 0]).codec.names == ("2", "0")
    named = data.file(path, columns={"age": "number", "year": "leave out"})
    assert named.codec.names == ("age", "height")
    for wrong in (["z"], {"z": "whole"}, [], {"age": "colour"}):
        with pytest.raises(ValueError) as error:
            data.file(path, columns=wrong)
        assert str(error.value).startswith(f"{path}: ")


def test_missing_cells_are_kept_dropped_or_refused(tmp_path: Path) -> None:
    x = numbers(40).astype(object)
    x[4, 0], x[9, 0], x[9, 1], x[20, 2] = "", "NaN", " n/a ", "-inf"
    path = write_text(tmp_path / "x.csv", x.tolist(), NAMES)
    kept = data.file(path)
    assert len(kept) == 36 and kept.split("all").fingerprint == kept.fingerprint
    holes = {(i, j) for i, j in [(4, 0), (9, 0), (9, 1), (20, 2)] if i in kept.places.tolist()}
    rows = zip(kept.places.tolist(), kept.codec.decode(everything(kept)).rows(), strict=True)
    assert {(i, j) for i, row in rows for j in range(3) if row[j] is None} == holes and len(holes) >= 2
    assert any("infinite" in note for note in kept.notes)
    whole = np.delete(numbers(40), [4, 9, 20], axis=0)
    dropped = data.file(path, missing="drop")
    assert torch.equal(everything(dropped), everything(data.file(write_npy(tmp_path, whole))))
    with pytest.raises(ValueError) as error:
        data.file(path, missing="error")
    assert "3 of 40 rows" in str(error.value) and "\n" not in str(error.value)


def test_an_empty_column_is_named(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", [[i / 3, "", 5] for i in range(30)], ["a", "nothing", "five"])
    source = data.file(path)
    assert (
        sum("nothing" in note for note in source.notes) >= 1
        and sum("five = 5" in n for n in source.notes) == 1
    )
    rows = source.codec.decode(everything(source))
    assert set(rows.objects("nothing")) == {None} and set(rows.objects("five")) == {5}
    with pytest.raises(ValueError) as error:
        data.file(path, missing="drop")
    assert "nothing" in str(error.value)
    nothing = data.file(path, columns=["nothing", "five"])
    assert nothing.shape == (1,) and any("nothing to learn" in note for note in nothing.notes)
    x, _ = nothing.batch(0, 7)
    assert not x.any() and list(nothing.codec.decode(x).rows()) == [(None, 5)] * 7


def test_labels_that_cannot_be(tmp_path: Path) -> None:
    rows = [[float(i), "" if i == 3 else KINDS[i % 3], i / 7, i] for i in range(30)]
    path = write_text(tmp_path / "x.csv", rows, ["size", "kind", "ratio", "number"])
    assert len(data.file(path, "all", label="kind", missing="drop")) == 29
    for label in ("kind", "ratio", "number", "colour"):
        with pytest.raises(ValueError):
            data.file(path, label=label)


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_labels_of_an_archive_keep_their_numbers(tmp_path: Path, offset: int) -> None:
    np.savez(tmp_path / "x.npz", x=numbers(), y=np.arange(60) % 3 + offset)
    source = data.file(tmp_path / "x.npz")
    assert source.class_names == tuple(str(offset + k) for k in range(3)) and source.shape == (3,)


def test_frames_are_sources() -> None:
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=40, freq="7h"),
            "whole": pd.array([None if i % 9 == 0 else i % 7 for i in range(40)], dtype="Int64"),
            "flag": [i % 3 == 0 for i in range(40)],
            "kind": pd.Categorical(["a", "b"] * 20),
            "text": [None if i % 5 == 0 else f"t{i % 4}" for i in range(40)],
        }
    )
    source = data.frame(frame, encoding="ranks")
    again = source.codec.decode(everything(source)).to_pandas()
    frame = frame.iloc[source.places.numpy()].reset_index(drop=True)
    assert again.equals(source.values.to_pandas())
    for name in frame:
        expected = frame[name].astype(object).where(frame[name].notna(), None).tolist()
        assert again[name].astype(object).where(again[name].notna(), None).tolist() == expected
    assert torch.equal(source.codec.encode(frame), everything(source))


# images in arrays


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((30, 6, 5), None),
        ((30, 6, 5, 1), -1),
        ((30, 6, 5, 4), -1),
        ((30, 3, 6, 5), 1),
    ],
)
@pytest.mark.parametrize("write", [write_npy, write_npz])
def test_bytes_are_images(tmp_path: Path, write, shape: tuple[int, ...], channels: int | None) -> None:
    x = bytes_of(*shape)
    expected = torch.from_numpy(x[:, None] if channels is None else np.moveaxis(x, channels, 1).copy())
    whole = data.file(write(tmp_path, x), "all", low=0.0, seed=3)
    assert isinstance(whole, data.Images) and torch.equal(whole.pixels[:], expected)
    assert (whole.low, whole.high, whole.seed, whole.labels) == (0.0, 1.0, 3, None)
    parts = [data.file(write(tmp_path, x), split) for split in ("train", "test")]
    rows = [tuple(row) for part in parts for row in part.pixels[:].flatten(1).tolist()]
    assert [len(part) for part in parts] == [27, 3]
    assert sorted(rows) == sorted(map(tuple, expected.flatten(1).tolist()))


def test_rows_of_bytes_are_no_images(tmp_path: Path) -> None:
    source = data.file(write_npy(tmp_path, np.random.default_rng(0).integers(0, 2, (50, 40), dtype=np.uint8)))
    assert isinstance(source, data.Table) and source.shape == (40,)


@pytest.mark.parametrize("split", ["train", "all"])
def test_images_of_a_file_are_read_when_asked_for(split: str, tmp_path: Path) -> None:
    path, shape = tmp_path / "x.npy", (64, 128, 128, 3)
    levels = np.arange(64, dtype=np.uint8)[:, None, None, None]
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)[:] = levels  # 3 MiB
    tracemalloc.start()
    try:
        images = data.file(path, split)
        x, _ = images.batch(3, 2)
        assert tracemalloc.get_traced_memory()[1] < 1 << 19
    finally:
        tracemalloc.stop()
    same = data.Images(torch.from_numpy(np.load(path).transpose(0, 3, 1, 2).copy()))
    assert x.shape == (2, 3, 128, 128) and (images.codec.decode(x) < 64).all()
    assert split == "train" or images.fingerprint == same.fingerprint
    path.write_bytes(path.read_bytes()[:-9])
    with refused("x.npy", by=OSError):
        images.pixels[-1]


@pytest.mark.parametrize("name", ["y", "labels", "target"])
def test_images_have_the_labels_of_their_archive(tmp_path: Path, name: str) -> None:
    x, y = bytes_of(30, 4, 4), np.arange(30) * 7 % 3
    path = tmp_path / "x.npz"
    np.savez(path, x=x, **{name: y + 1})
    images = data.file(path, "all", label="target" if name == "target" else None)
    assert images.labels is not None and images.labels.tolist() == y.tolist()
    assert images.class_names == ("1", "2", "3")


def test_the_array_of_an_archive_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    arrays = {"x_train": bytes_of(30, 4, 4), "y_train": np.arange(30) % 2, "x_test": bytes_of(9, 4, 4)}
    np.savez(path, **arrays)
    images = data.file(path, array="x_train", label="y_train")
    assert images.classes == 2 and len(images) == 27
    for options in ({}, {"array": "x_test", "label": "y_train"}, {"array": "z"}):
        with pytest.raises(ValueError) as error:
            data.file(path, **options)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
