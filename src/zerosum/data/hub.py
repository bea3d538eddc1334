"""Data sets of the Hugging Face hub, and folders that its library saved, as sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.arrays import Images
from zerosum.data.image_files import Bad, Form, decode, each, header, infer
from zerosum.data.readers import BLOCK, foreign, from_arrow, join_names, optional
from zerosum.data.sheet import Sheet
from zerosum.data.splits import SPLITS, classes, divide, rows_of, usable_rows
from zerosum.data.tables import Choice, Table, located, table

__all__ = ["hf", "image_column"]

Array = NDArray[Any]


def hf(
    path: str,
    split: str = "train",
    *,
    subset: str | None = None,
    image: str | None = None,
    label: str | None = None,
    columns: Choice | None = None,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    fit: Literal["crop", "fit"] = "crop",
    missing: str = "keep",
    encoding: str = "standard",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Images | Table:
    """A data set of the Hugging Face hub, or a local folder of one: images if it has any, else a `Table`.

    Needs ``pip install 'zerosum[data]'``. The folder is one that ``datasets`` saved (``save_to_disk``) or
    can load (parquet, csv, images, ...). "train" and "test" are the data set's own; where it has one part
    only, a tenth of it is "test", as of `file`. Images are read as those of `image_folder`, into memory.

    Arguments:
        path: ``owner/name`` on the hub, or a folder.
        subset: The configuration, for data sets that have several.
        image: The column of images, where there are several.
        label: The column of classes; by default the only one that the data set declares as such.
        columns, missing, low, high, seed: As of `file`; "drop" leaves out images that cannot be read, too.
        size, channels, fit: As of `image_folder`; without a size, the images must be of one.

    Raises:
        ValueError: in one line that begins with the name: no such data set, no connection, no such column,
            images of different sizes, an image that cannot be read, or what `file` says of numbers.
        ImportError: if ``datasets`` is not installed.
    """
    with located(path):
        form = Form.of(size or "same", channels, fit)
        found, test_from = _dataset(path, subset)
        declared = _columns_of(found, "ClassLabel")
        label = declared[0] if label is None and len(declared) == 1 else label
        if label is not None and label not in found.column_names:
            raise ValueError(f"there is no column {label!r}: there are {join_names(found.column_names)}")
        class_names = None if label not in declared else tuple(found.features[label].names)
        column = image_column(_columns_of(found, "Image"), image, columns)
        if column is None:
            return table(
                _sheet(found), label, columns, encoding, missing, seed, test_from, class_names, split
            )
        labels = _sheet(found.select_columns([label] if label else []))
        codes, class_names = classes(labels, label, class_names)
        rows = np.arange(len(found)) if codes is None else usable_rows(labels, label, codes, missing)
        parts = divide(rows, test_from)

        def opener(name: str) -> Images:
            places = rows_of(parts, name)
            pixels, readable = _decode(found, column, places, form, missing)
            y = None if codes is None else torch.from_numpy(codes[places[readable]])
            about: dict[str, Any] = {"class_names": class_names, "splits": SPLITS, "opener": opener}
            return Images(pixels, y, low, high, seed=seed, split_name=name, **about)

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


def image_column(pictures: list[str], image: str | None, columns: Choice | None) -> str | None:
    """The one of the columns of images that is meant; None where there are none. columns: those of a table
    that are chosen, which images do not have."""
    if image is not None and image not in pictures:
        raise ValueError(
            f"no column {image!r} of images: those that hold images are: {join_names(pictures) or 'none'}"
        )
    if image is None and len(pictures) > 1:
        raise ValueError(f"several columns hold images: choose image={' or image='.join(pictures)}")
    column = image or next(iter(pictures), None)
    if column is not None and columns is not None:
        raise ValueError(f"images have no columns=... to choose, and {column} holds images")
    return column


def _sheet(found: Any) -> Sheet:
    """All rows, with the columns that a table may have."""
    tables = list(found.with_format("arrow").iter(BLOCK)) if found.column_names else []
    return from_arrow(import_module("pyarrow").concat_tables(tables)) if tables else Sheet({})


def _decode(found: Any, column: str, rows: Array, form: Form, missing: str) -> tuple[Tensor, Array]:
    """The images of these rows, uint8 [n, C, H, W], and which of the rows could be read."""
    cells = found.select_columns(column).select(rows)
    cells = cells.cast_column(column, import_module("datasets").Image(decode=False))

    def file(i: int) -> str | bytes:
        cell = cells[i][column]
        return b"" if cell is None else cell["path"] if cell["bytes"] is None else cell["bytes"]

    def good(work: Callable[[Any], Any], places: Sequence[int]) -> dict[int, Any]:
        results: dict[int, Any] = {}
        for i, result in zip(places, each(work, places, file, f"images of {column}"), strict=True):
            if not isinstance(result, Bad):
                results[i] = result
            elif missing != "drop":
                cause = f"the image in row {rows[i] + 1} cannot be read: {result.cause}"
                raise ValueError(f"{cause}: missing=drop leaves such rows out")
        if not results:
            raise ValueError("no image can be read")
        return results

    headers = good(header, range(len(cells)))
    places = list(headers)
    shape = infer(list(headers.values()), form, lambda i: file(places[i]))
    images = good(partial(decode, shape=shape, fit=form.fit), places)
    pixels = torch.frombuffer(bytearray(b"".join(images.values())), dtype=torch.uint8)
    return pixels.reshape(-1, *shape), np.array(list(images))
