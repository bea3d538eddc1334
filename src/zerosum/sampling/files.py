"""The forms of file that samples are written in, part by part, so that any number of them fits into
memory."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from zerosum.data.sheet import Coded, Sheet, encoded
from zerosum.data.writers import write_sheets
from zerosum.sampling.prior import SamplingError
from zerosum.sampling.sampler import Sampler
from zerosum.text import printable

__all__ = ["FORMS", "refuse_too_many", "write", "write_folder"]

TABLES = ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet"
FORMS = ".npy", ".npz", *TABLES
"""Endings of files of samples. A folder takes images as PNG."""
_ROOM = 0.95  # the share of a disk's free space that samples may take


def refuse_too_many(sampler: Sampler, n: int, path: Path) -> None:
    """Raise SamplingError where `n` samples cannot fit onto the disk of `path`."""
    some, _ = next(iter(replace(sampler, where=None).decoded(min(n, sampler.G.part))))
    each = 8 * len(list(some)) if isinstance(some, Sheet) else max(1, some.nbytes // len(some))
    each = each if path.suffix not in ("", ".png") else 100
    free = shutil.disk_usage(_existing(path)).free
    if n * each > _ROOM * free:
        most = int(_ROOM * free / each)
        raise SamplingError(
            f"--n {n:,}: they would take {n * each / 1e9:,.0f} GB, and {free / 1e9:,.0f} GB are free beside "
            f"{path}: {most:,} would fit"
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in path.parents if folder.is_dir())


def write(sampler: Sampler, n: int, file: IO[bytes], form: str) -> None:
    """`n` samples as one of `FORMS`.

    .npy holds them in the form that people keep, of a table float64 in its own units; .npz the same as
    ``samples`` and, where there are classes, ``labels``, in the data's own values or names. The others are
    tables, a row each under the names of their columns, with a last column of the classes.

    Raises SamplingError for images as a table, and for text as .npy or .npz.
    """
    if form == ".npz":
        _write_npz(sampler, n, file)
        return
    if form == ".npy":
        _write_array(file, n, _arrays(x for x, _ in sampler.decoded(n)))
        return
    if sampler.G.of_images:
        raise SamplingError(
            f"images are no table: give --out a folder, .npy, .npz or .png in place of {form}"
        )
    write_sheets((_sheet(sampler, x, y) for x, y in sampler.decoded(n)), file, form, n)


def _sheet(sampler: Sampler, x: Any, y: Tensor | None) -> Sheet:
    """Samples as columns, the class last."""
    if not isinstance(x, Sheet):
        flat = x.reshape(len(x), -1)
        x = Sheet({f"x{j}": flat[:, j].astype(np.float64) for j in range(flat.shape[1])})
    if y is None:
        return x
    values = label_values(sampler)[y.numpy()]
    cells = values if values.dtype.kind == "i" else encoded(values.tolist())
    return replace(x, columns={**x.columns, sampler.G.label: cells})


def label_values(sampler: Sampler) -> np.ndarray:
    """The values of the classes in the data: int64 where all are whole numbers, else text, ``[K]``."""
    names = sampler.G.classes
    whole = all(re.fullmatch("-?(0|[1-9][0-9]{0,17})", name) for name in names)
    return np.array(names).astype(np.int64) if whole else np.array(names)


def _write_npz(sampler: Sampler, n: int, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            _write_array(entry, n, _arrays(x for x, _ in sampler.decoded(n)))
        if sampler.labels_of(1) is not None:
            values = label_values(sampler)
            labels = (sampler.labels_of(min(2**16, n - i), i) for i in range(0, n, 2**16))
            with archive.open("labels.npy", "w", force_zip64=True) as entry:
                _write_array(entry, n, (values[y.numpy()] for y in labels if y is not None))


def _arrays(parts: Iterable[Any]) -> Iterator[np.ndarray]:
    for part in parts:
        try:
            yield np.asarray(part)
        except ValueError as error:  # text
            text = isinstance(part, Sheet) and any(isinstance(c, Coded) for c in part.columns.values())
            if not text:
                raise
            raise SamplingError(f"--out: {error}") from error


def _write_array(file: IO[bytes], n: int, parts: Iterator[np.ndarray]) -> None:
    """The .npy form of the parts, `n` rows in all."""
    from numpy.lib import format as npy

    first = next(parts)
    form = {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False}
    npy.write_array_header_1_0(file, {**form, "shape": (n, *first.shape[1:])})
    for part in chain([first], parts):
        file.write(part.tobytes())


def write_folder(
    sampler: Sampler, n: int, folder: Path, progress: Callable[[int], None] = lambda n: None
) -> None:
    """`n` images as PNG, 000000.png and so on, in a sub-folder for each class where there are any.

    Raises SamplingError for what is no image of 1 to 4 channels, and for a folder that holds something.
    """
    from PIL import Image

    if not sampler.G.of_images or sampler.G.shape[0] > 4:
        raise SamplingError(
            f"--out {folder}: a folder is for images of 1 to 4 channels: give .npy, .npz or a table"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SamplingError(f"--out {folder}: something is there already: name a new folder")
    beside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        digits, i = len(str(max(n - 1, 99999))), 0
        names = [_folder_name(name) for name in sampler.G.classes]
        for name in names or [""]:
            (beside / name).mkdir(parents=True, exist_ok=True)
        for x, y in sampler.parts(n):
            for j, image in enumerate(sampler.G.codec.decode(x)):
                home = beside if y is None or not names else beside / names[int(y[j])]
                Image.fromarray(image).save(home / f"{i:0{digits}d}.png", compress_level=3)
                i += 1
            progress(i)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _folder_name(name: str) -> str:
    """A class as the name of a folder."""
    safe = printable(name).replace("/", "_").replace("\\", "_").strip() or "_"
    return f"_{safe}" if safe.startswith(".") else safe
