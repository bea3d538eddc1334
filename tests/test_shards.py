"""Shards of Parquet: every example once an epoch, each rank its own row groups, the same from anywhere."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from refusals import refused
from zerosum import cli, data
from zerosum.data import parquet
from zerosum.data.shards import strips
from zerosum.data.source import part
from zerosum.recipe import data_component

IMAGES, GROUP = 120, 5
NAMES = ["cat", "dog", "newt"]
ENDS = np.cumsum([5, 3, 8, 1, 7, 5, 5, 6])


def png(level: int) -> bytes:
    """An image of one level, which tells which one it is."""
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


def write(path: Path, levels: Any, declared: bool = True, **columns: Any) -> None:
    cells = [{"bytes": png(i), "path": f"{i}.png"} for i in levels]
    table = pa.table({"image": cells, "label": [i % 3 for i in levels], **columns})
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    if declared:
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=GROUP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shards")
    for i in range(4):
        write(place / f"{i:04d}.parquet", range(i * IMAGES // 4, (i + 1) * IMAGES // 4))
    return place


def made(path: Any, **options: Any) -> Any:
    return data.shards(str(path), **{"low": 0.0, "high": 255.0, **options})


def levels(x: torch.Tensor) -> list[int]:
    assert all(image.unique().numel() == 1 for image in x)
    return x[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize("window", [1, 3, 16])
@pytest.mark.parametrize("n", [1, 4, 7, 40, 45])
def test_every_example_comes_once_an_epoch_whatever_the_batch(window: int, n: int) -> None:
    length = int(ENDS[-1])
    shown = torch.cat([strips(ENDS, window, 0, step, n) for step in range(-(-2 * length // n))]).tolist()
    for epoch in range(2):
        batches = range(epoch * length // n, -(-(epoch + 1) * length // n))
        assert len(shown[epoch * length : (epoch + 1) * length]) == length
        whole = [x for step in batches for x in strips(ENDS, window, 0, step, n).tolist()]
        skip = epoch * length - batches[0] * n
        assert sorted(whole[skip : skip + length]) == [*range(length)]
    assert shown[:length] != shown[length : 2 * length]
    assert strips(ENDS, window, 1, 0, n).tolist() != shown[:n] or n == 1


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_rank_reads_its_own_row_groups_only_and_keeps_few(
    folder: Path, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, window, n = made(folder, window=4, split="all"), 4, 8
    reader, read = source.stored.reader, Counter[int]()
    cells = parquet.Reader.cells

    def counted(reader: Any, group: int) -> Any:
        read[group] += 1
        return cells(reader, group)

    monkeypatch.setattr(parquet.Reader, "cells", counted)
    groups, seen, total = IMAGES // GROUP, list[int](), 0
    for rank in range(world):
        reader.held.clear()
        read.clear()
        for step in range(IMAGES // n):
            seen += levels(source.codec.encode(part(source, step, n, rank, world)[0]))
            assert len(reader.held) <= max(2 * window // world, window // world + 2)
        assert len(read) <= groups // world + 1 and max(read.values()) == 1
        total += read.total()
    assert sorted(seen) == [*range(IMAGES)]
    parts = [part(source, 3, n, rank, world)[0] for rank in range(world)]
    assert source.codec.encode(torch.cat(parts)).equal(source.batch(3, n)[0])
    assert total <= groups + window  # a strip may end within a group


def test_what_is_given_is_what_is_stored(folder: Path) -> None:
    source = made(folder)
    assert (source.shape, source.splits, source.class_names) == (
        (1, 8, 8),
        ("train", "test", "all"),
        (*NAMES,),
    )
    parts = {name: source.split(name) for name in source.splits}
    sizes = {name: len(one) for name, one in parts.items()}
    assert sizes == {"train": IMAGES - IMAGES // 10, "test": IMAGES // 10, "all": IMAGES}
    found: dict[str, list[int]] = {}
    for name, one in parts.items():
        x, y = one.batch(0, len(one))
        found[name] = levels(x)
        assert y is not None and y.tolist() == [level % 3 for level in found[name]]
    assert sorted(found["train"] + found["test"]) == sorted(found["all"]) == [*range(IMAGES)]
    assert sum(source.class_shares) == pytest.approx(1)
    assert str(len(parts["train"])) in source.notes[0]
    again, mirrored = made(folder), made(folder, flip=True)
    assert again.fingerprint == source.fingerprint and again.batch(7, 9)[0].equal(source.batch(7, 9)[0])
    assert levels(mirrored.batch(7, 9)[0]) == levels(source.batch(7, 9)[0])


def test_files_named_after_splits_are_these(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00001.parquet", range(10))
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", range(10, 17))
    write(tmp_path / "data" / "more.parquet", range(20, 22))
    (tmp_path / "README.md").write_text("a card")
    source = made(tmp_path)
    found = {
        name: sorted(levels(source.split(name).batch(0, len(source.split(name)))[0]))
        for name in source.splits
    }
    assert found == {"train": [*range(10)], "test": [*range(10, 17)], "all": [*range(17)]}
    assert "more.parquet" in source.notes[1]
    assert data_component(str(tmp_path)) == {"name": "shards", "path": str(tmp_path)}
    one = tmp_path / "data" / "more.parquet"
    assert data_component(str(one)) == {"name": "shards", "path": str(one)}
    assert data_component("s3://bucket/x") == {"name": "shards", "path": "s3://bucket/x"}
    assert data_component("hf://datasets/owner/name") == {
        "name": "shards",
        "path": "hf://datasets/owner/name",
    }


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/shards/photos", recursive=True)
    yield "memory://shards/photos"
    memory.rm("/shards", recursive=True)


def test_an_address_gives_what_a_folder_gives(folder: Path, address: str) -> None:
    here, there = made(folder), made(address)
    assert there.fingerprint == here.fingerprint
    for step in (0, 5):
        assert all(a.equal(b) for a, b in zip(here.batch(step, 16), there.batch(step, 16), strict=True))
    one = made(f"{address}/0001.parquet", split="all")
    assert sorted(levels(one.batch(0, 30)[0])) == [*range(30, 60)]
    assert made(f"file://{folder}").fingerprint == here.fingerprint


def test_a_table_at_an_address_is_a_table(tmp_path: Path) -> None:
    rows = {"x": np.arange(40.0), "kind": ["a", "b"] * 20, "blob": [b"no image"] * 40}
    for name in ("train", "test"):
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")
    table = data.shards(f"file://{tmp_path}")
    assert isinstance(table, data.Table)
    assert (len(table), len(table.split("test"))) == (40, 40)
    assert data_component(str(tmp_path))["name"] == "file"  # type: ignore[index]


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, folder: Path) -> None:
    with refused(tmp_path / "none"):
        made(tmp_path / "none")
    with refused(tmp_path, "Parquet"):
        made(tmp_path)
    with refused("memory://nowhere"):
        made("memory://nowhere")
    with refused("nothing"):
        made("nothing://there")
    with refused("window"):
        made(folder, window=0)
    with refused("valid", "test"):
        made(folder, split="valid")
    with refused("picture", "image"):
        made(folder, image="picture")
    with refused("colour", "0000.parquet"):
        made(folder, label="colour")
    shutil.copytree(folder, tmp_path / "cut")
    whole = (tmp_path / "cut" / "0002.parquet").read_bytes()
    (tmp_path / "cut" / "0002.parquet").write_bytes(whole[: len(whole) // 2])
    with refused("0002.parquet"):
        made(tmp_path / "cut")
    (tmp_path / "cut" / "0002.parquet").write_bytes(whole[:4] + bytes(200) + whole[204:])
    source = made(tmp_path / "cut", label="label", size=8, channels=1)
    with refused("0002.parquet", "row group 0"):
        source.split("all").batch(0, IMAGES)


def test_a_package_that_an_address_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacks)
    with refused("s3://bucket", "s3fs"):
        made("s3://bucket")


def test_images_that_cannot_be_read_are_an_error_or_replaced(tmp_path: Path) -> None:
    cells = [b"nothing" if i == 3 else png(i) for i in range(12)]
    labels = [None if i == 7 else i % 3 for i in range(12)]
    pq.write_table(pa.table({"photo": cells, "label": labels}), tmp_path / "x.parquet", row_group_size=4)
    with refused("label", "missing"):
        made(tmp_path)
    source = made(tmp_path, missing="drop", split="all")
    x, y = source.batch(0, len(source))
    assert len(source) == 11 and y is not None
    assert y.tolist() == [level % 3 for level in levels(x)]
    assert sorted(levels(x)) == [0, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11]  # 3 is replaced by the next, 0
    write(tmp_path / "x.parquet", range(12), declared=False, photo=cells)
    with refused("x.parquet", "row 3", "missing=drop"):
        made(tmp_path, image="photo", split="all").batch(0, 12)


def test_a_run_on_shards_resumes_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    words = ["train", "digits", "--data", str(folder), "--batch", "8", "--G.width", "8", "--D.width", "8"]
    words += ["--steps", "4", "--checkpoint_every", "2", "--quiet", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    weights = tmp_path / "checkpoints" / "000004" / "G.safetensors"
    whole = weights.read_bytes()
    shutil.rmtree(weights.parent)
    assert cli.main(words) == 0
    assert weights.read_bytes() == whole
