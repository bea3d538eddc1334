"""Readers of NumPy's files: numbers become a `Sheet`, bytes of three or four dimensions images.

Headers are checked against the file before anything is read, and nothing is ever unpickled.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerosum.data.readers import foreign, join_names
from zerosum.data.sheet import Cells, Sheet, encoded

__all__ = ["Arrays", "channels_first", "read_npy", "read_npz", "sheet_of_array"]

Array = NDArray[Any]

_HEAD = 1 << 14


class Arrays(NamedTuple):
    """What a file of arrays holds: examples ``[N, ...]``, perhaps mapped, and their labels ``[N]``."""

    examples: Array
    label: str | None = None
    labels: Cells | None = None


def read_npy(path: Path) -> Arrays:
    """The array of an ``.npy`` file, mapped. Raises ValueError unless it is one of plain numbers."""
    with foreign("not an .npy file of plain numbers"):
        return Arrays(_checked(np.lib.format.open_memmap(path, mode="c")))


def read_npz(path: Path, array: str | None = None, label: str | None = None) -> Arrays:
    """The examples of an ``.npz`` file: `array`, or the only one beside the labels, which are `label`, y or
    labels.
    """
    with foreign("not an .npz file of plain arrays"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        heads = {name: _header(archive, name) for name in names}
    label = _label_array(heads, array, label)
    rest = [name for name in names if name != label]
    array = array or (rest[0] if len(rest) == 1 else None)
    if array not in names:
        held = join_names([f"{name} {list(shape)}" for name, (shape, _) in heads.items()]) or "no arrays"
        raise ValueError(f"the file holds {held}: choose the one with the examples, array=NAME")
    with foreign("not an .npz file of plain arrays"), zipfile.ZipFile(path) as archive:
        examples = _checked(_member(archive, array))
        labels = None if label is None else _member(archive, label)
    if labels is None:
        return Arrays(examples)
    if labels.shape != examples.shape[:1]:
        described = f"{examples.dtype} {list(examples.shape)}"
        raise ValueError(f"{label} has shape {list(labels.shape)} but the examples are {described}")
    return Arrays(examples, label, encoded(labels.tolist()) if labels.dtype.kind in "US" else labels)


def _label_array(heads: dict[str, Any], array: str | None, label: str | None) -> str | None:
    """The array of labels: the one that was named, else y or labels if it may be one."""
    if label is not None:
        return label if label in heads else None
    likely = [n for n in ("y", "labels") if n in heads and n != array and len(heads) > 1]
    return next((n for n in likely if len(heads[n][0]) == 1 and heads[n][1].kind in "biuU"), None)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], Any]:
    """The shape and type of an array, if the archive can hold what its header claims."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"{name} is of version {version}")
        shape, _, dtype = read[version](member)
        size = member.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never unpickled")
    # deflate makes data at most 1,032 times smaller
    if size != entry.file_size or size > 1100 * entry.compress_size + _HEAD:
        raise ValueError(f"{name} claims to be {list(shape)} of {dtype}, which it does not hold")
    return shape, dtype


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _checked(array: Array) -> Array:
    """Numbers of one or two dimensions, or anything of more. Raises ValueError for all else."""
    if array.size == 0:
        raise ValueError(f"there is nothing in it: {_described(array)}")
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"data are numbers [N, d] or images uint8 [N, H, W(, C)]: got {_described(array)}")
    return array


def sheet_of_array(array: Array) -> Sheet:
    """Numbers ``[N, D]`` or ``[N]`` as a sheet with the columns 0, 1, ..., which are views of the array."""
    if array.ndim > 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"data are numbers [N, d] or images uint8 [N, H, W(, C)]: got {_described(array)}")
    columns = array[:, None] if array.ndim == 1 else array
    return Sheet({str(j): columns[:, j] for j in range(columns.shape[1])})


def channels_first(images: Array) -> Array:
    """[N, H, W], [N, H, W, C] or [N, C, H, W] as [N, C, H, W]: C is the smaller one, at most 16."""
    if images.ndim == 3:
        return images[:, None]
    first, last = images.shape[1], images.shape[3]
    if min(first, last) > 16:
        raise ValueError(f"images have 1 to 16 channels, first or last: got {list(images.shape)}")
    return images if first <= last else images.transpose(0, 3, 1, 2)


def _described(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
