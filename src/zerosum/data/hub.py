"""Data sets of the Hugging Face hub, and folders that its library saved, as sources."""

from __future__ import annotations

import warnings
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zerosum.data.arrays import Images
from zerosum.data.readers import BLOCK, foreign, from_arrow, join_names, one_line, optional
from zerosum.data.sheet import Sheet
from zerosum.data.tables import SPLITS, Choice, Table, classes, divide, located, rows_of, table, usable_rows

__all__ = ["hf"]

Array = NDArray[Any]

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"  # of images: for others Pillow may start programs


def hf(
    path: str,
    split: str = "train",
    *,
    subset: str | None = None,
    image: str | None = None,
    label: str | None = None,
    columns: Choice | None = None,
    size: int | None = None,
    missing: str = "keep",
    encoding: str = "standard",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Images | Table:
    """A data set of the Hugging Face hub, or a local folder of one: images if it has any, else a `Table`.

    Needs ``pip install 'zerosum[data]'``. The folder is one that ``datasets`` saved (``save_to_disk``) or
    can load (parquet, csv, images, ...). "train" and "test" are the data set's own; where it has one part
    only, a tenth of it is "test", as of `file`. Images are decoded into memory: grey where all are, else RGB.

    Arguments:
        path: ``owner/name`` on the hub, or a folder.
        subset: The configuration, for data sets that have several.
        image: The column of images, where there are several.
        label: The column of classes; by default the only one that the data set declares as such.
        columns, missing, low, high, seed: As of `file`; "drop" leaves out images that cannot be read, too.
        size: Crop the centre of every image to a square and resize it to size x size pixels. Needed where
            the sizes differ.

    Raises:
        ValueError: in one line that begins with the name: no such data set, no connection, no such column,
            images of different sizes, an image that cannot be read, or what `file` says of numbers.
        ImportError: if ``datasets`` is not installed.
    """
    with located(path):
        found, test_from = _dataset(path, subset)
        declared = _columns_of(found, "ClassLabel")
        label = declared[0] if label is None and len(declared) == 1 else label
        if label is not None and label not in found.column_names:
            raise ValueError(f"there is no column {label!r}: there are {join_names(found.column_names)}")
        class_names = None if label not in declared else tuple(found.features[label].names)
        column = _image_column(_columns_of(found, "Image"), image)
        if column is None:
            return table(
                _sheet(found), label, columns, encoding, missing, seed, test_from, class_names
            ).split(split)
        if columns is not None:
            raise ValueError(f"images have no columns=... to choose, and {column} holds images")
        labels = _sheet(found.select_columns([label] if label else []))
        codes, class_names = classes(labels, label, class_names)
        rows = np.arange(len(found)) if codes is None else usable_rows(labels, label, codes, missing)
        parts = divide(rows, test_from)

        def opener(name: str) -> Images:
            places = rows_of(parts, name)
            pixels, readable = _decode(found, column, places, size, missing)
            y = None if codes is None else torch.from_numpy(codes[places[readable]])
            about: dict[str, Any] = {"class_names": class_names, "splits": SPLITS, "opener": opener}
            return Images(torch.from_numpy(pixels), y, low, high, seed, name, **about)

        return opener(split)


# data sets of the hub -----------------------------------------------------------------------------------


def _dataset(name: str, subset: str | None) -> tuple[Any, int | None]:
    """All rows of a data set, and where its own test part begins, if it has one."""
    datasets = optional("datasets", "datasets")
    saved = any(Path(name, mark).is_file() for mark in ("dataset_dict.json", "dataset_info.json"))
    with foreign("no such data set, or no connection"):
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, subset)
        parts = dict(found) if isinstance(found, dict) else {"train": found}
    if "train" not in parts and len(parts) > 1:
        raise ValueError(f"it has the parts {join_names(list(parts))} but no train")
    train = parts["train"] if "train" in parts else next(iter(parts.values()))
    if "test" not in parts or train is parts["test"]:
        return train, None
    with foreign("train and test do not fit together"):
        return datasets.concatenate_datasets([train, parts["test"]]), len(train)


def _columns_of(found: Any, kind: str) -> list[str]:
    """The columns that a data set declares as `Image` or as `ClassLabel`."""
    feature = getattr(import_module("datasets"), kind)
    return [name for name, value in found.features.items() if isinstance(value, feature)]


def _image_column(pictures: list[str], image: str | None) -> str | None:
    if image is not None and image not in pictures:
        raise ValueError(
            f"no column {image!r} of images: those that hold images are: {join_names(pictures) or 'none'}"
        )
    if image is None and len(pictures) > 1:
        raise ValueError(f"several columns hold images: choose image={' or image='.join(pictures)}")
    return image or next(iter(pictures), None)


def _sheet(found: Any) -> Sheet:
    """All rows, with the columns that a table may have."""
    tables = list(found.with_format("arrow").iter(BLOCK)) if found.column_names else []
    return from_arrow(import_module("pyarrow").concat_tables(tables)) if tables else Sheet({})


def _decode(found: Any, column: str, rows: Array, size: int | None, missing: str) -> tuple[Array, Array]:
    """The images of these rows, uint8 [n, C, H, W], and which of the rows could be read."""
    from PIL import Image

    encoded = found.select_columns(column).select(rows)
    encoded = encoded.cast_column(column, import_module("datasets").Image(decode=False))
    pictures: list[Array] = []
    readable: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a decoder thinks of a palette
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for i, cell in enumerate(encoded):
            try:
                picture = _open(cell[column], size)
            except Exception as error:  # whatever a decoder raises at a damaged file
                if missing != "drop":
                    cause = f"the image in row {rows[i] + 1} cannot be read: {one_line(error)}"
                    raise ValueError(f"{cause}: missing=drop leaves such rows out") from error
                continue
            if pictures and picture.shape[:2] != pictures[0].shape[:2]:
                sizes = [" x ".join(map(str, p.shape[:2])) for p in (pictures[0], picture)]
                raise ValueError(f"images of {sizes[0]} and, in row {rows[i] + 1}, {sizes[1]}: give size=N")
            pictures.append(picture)
            readable.append(i)
    if not pictures:
        raise ValueError("no image can be read")
    channels = max(picture.shape[2] for picture in pictures)
    stacked = np.empty((len(pictures), channels, *pictures[0].shape[:2]), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        stacked[i] = picture.transpose(2, 0, 1)  # grey among colours has three equal channels
    return stacked, np.array(readable)


def _open(cell: Any, size: int | None) -> Array:
    """A picture, upright and on white, as uint8 [H, W, 1] if it is grey, else [H, W, 3]."""
    from PIL import Image, ImageOps

    if cell is None:
        raise ValueError("there is none")
    content = cell["path"] if cell["bytes"] is None else BytesIO(cell["bytes"])
    with Image.open(content, formats=FORMATS) as opened:
        picture = ImageOps.exif_transpose(opened)
    mode = "L" if picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I") else "RGB"
    if picture.mode.startswith("I"):  # 16 bits
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert(mode)
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.atleast_3d(np.asarray(picture))
