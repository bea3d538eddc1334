"""Data sets of the hub, from folders: the library is offline and the sources are those of files."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from refusals import refused
from zerosum import data

NAMES = ["age", "height", "year"]


def numbers(n: int = 60, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [10.0, 1e-3, 500.0] + [40.0, 1.7, -1e6]


def write_parquet(folder: Path, x: np.ndarray) -> Path:
    pq.write_table(pa.table(dict(zip(NAMES, x.T, strict=True))), folder / "x.parquet", row_group_size=7)
    return folder / "x.parquet"


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("module", ["pyarrow.parquet", "datasets"])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    path = write_parquet(tmp_path, numbers())
    monkeypatch.setitem(sys.modules, module, None)
    with refused(by=ImportError):
        data.file(path) if module == "pyarrow.parquet" else data.hf("any")


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
    expected = data.file(write_parquet(tmp_path, x))
    saved = datasets.Dataset.from_dict({**dict(zip(NAMES, x.T.tolist(), strict=True)), "name": ["text"] * 60})
    saved.save_to_disk(str(tmp_path / "saved"))
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    write_parquet(loaded, x)
    whole = data.file(tmp_path / "x.parquet", "all")
    assert not torch.equal(whole.split("train").batch(0, 9)[0], expected.batch(0, 9)[0])
    assert torch.equal(
        data.shards(f"file://{tmp_path}/x.parquet", "all").batch(0, 9)[0], whole.batch(0, 9)[0]
    )
    for folder, columns in ((tmp_path / "saved", NAMES), (loaded, None)):
        assert torch.equal(data.hf(str(folder), "all", columns=columns).batch(0, 9)[0], whole.batch(0, 9)[0])
        table = data.hf(str(folder), columns=columns)
        assert torch.equal(table.batch(0, 9)[0], expected.batch(0, 9)[0]) and table.codec.names == tuple(
            NAMES
        )
    assert [column.kind for column in data.hf(str(tmp_path / "saved")).codec.columns][-1] == "constant"


def test_hf_splits_and_classes_are_its_own(tmp_path: Path, datasets: Any) -> None:
    train, test = (datasets.Dataset.from_dict({"a": rows}) for rows in ([0.5, 2.5] * 5, [5.5, 7.5, 9.5]))
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "both"))
    parts = {split: data.hf(str(tmp_path / "both"), split) for split in ("train", "test", "all")}
    assert [len(part) for part in parts.values()] == [10, 3, 13]
    assert parts["test"].at(torch.arange(3))[0][:, 0].tolist() == [
        4.0,
        6.0,
        8.0,
    ]  # mean 1.5, deviation 1: of train
    features = datasets.Features(a=datasets.Value("float64"), y=datasets.ClassLabel(names=["zebra", "ant"]))
    named = datasets.Dataset.from_dict({"a": [0.5, 1.5, 2.5, 3.5], "y": [0, 1, 1, 0]}, features=features)
    named.save_to_disk(str(tmp_path / "named"))
    table = data.hf(str(tmp_path / "named"), "all")
    assert table.class_names == ("zebra", "ant") and table.labels.tolist() == [0, 1, 1, 0]


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
    with refused("missing"):
        data.hf(broken, "all")
    assert len(data.hf(broken, "all", missing="drop")) == 12
    with refused():
        data.hf(save("none", [{"bytes": b"GIF89a", "path": None}] * 4), missing="drop")
    other = io.BytesIO()
    pictures(1, (9, 9))[0].save(other, "png")
    sizes = save("sizes", [*cells, {"bytes": other.getvalue(), "path": None}])
    with refused("5", "6", "9"):
        data.hf(sizes, "all")
    assert data.hf(sizes, size=8).shape == (3, 8, 8)
    with refused():
        data.hf(sizes, image="photo")
    with refused():
        data.hf(sizes, columns=["image"])


def test_hf_labels_that_are_unknown(tmp_path: Path, datasets: Any) -> None:
    train, test = labelled(datasets, pictures(9)), labelled(datasets, pictures(4))
    test = test.map(lambda row: {"label": -1})
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "saved"))
    with refused("4 of 13", "label", "row 10"):
        data.hf(str(tmp_path / "saved"))
    assert len(data.hf(str(tmp_path / "saved"), missing="drop")) == 9
    with refused():
        data.hf(str(tmp_path / "saved"), "test", missing="drop")


@pytest.mark.parametrize("name", ["nobody/nothing", "no-such-folder/at/all", "/nowhere", "not a name!"])
def test_hf_of_what_is_not_there(datasets: Any, name: str) -> None:
    with refused(name, "connection"):
        data.hf(name)


def test_hf_folders_that_hold_nothing(tmp_path: Path, datasets: Any) -> None:
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / "empty"):
        data.hf(str(tmp_path / "empty"))
    a, b = (datasets.Dataset.from_dict({"a": [1.0]}) for _ in range(2))
    datasets.DatasetDict(left=a, right=b).save_to_disk(str(tmp_path / "odd"))
    with refused():
        data.hf(str(tmp_path / "odd"))
