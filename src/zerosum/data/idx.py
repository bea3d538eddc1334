"""IDX: the file format of MNIST, and the data sets that come in it.

An IDX file is two zero bytes, a type (8 for bytes), the number of dimensions, each dimension as a big-endian
uint32, and the numbers; gzipped or not (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/). A data
set is a folder of four: images and labels of a "train" and of a "t10k" part.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from zerosum.data.arrays import Images, Stacked, named
from zerosum.data.download import fetch, kept_in

__all__ = ["fashion_mnist", "idx_folder", "mnist", "read_idx", "stacked_mnist"]

FIT = 50_000
LARGEST = 1 << 25  # bytes: none of the published files has more
SPLITS = {
    "train": ("train", slice(None)),
    "test": ("t10k", slice(None)),
    "fit": ("train", slice(FIT)),
    "valid": ("train", slice(FIT, None)),
}
"""The part that a split is read from, and its rows; 2014 divides "train" into "fit" and "valid"."""
STEMS = "images-idx3-ubyte", "labels-idx1-ubyte"


def mnist(split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Images:
    """60,000 handwritten digits of 28 x 28 pixels ("train") and 10,000 more ("test").

    "fit" is the first 50,000 of "train" and "valid" its last 10,000, as Goodfellow et al. (2014) divide it.

    Read from ``$ZEROSUM_DATA/mnist`` if the files are there, else downloaded once (11 MB) to
    ``$XDG_CACHE_HOME/zerosum/mnist`` (``~/.cache/zerosum/mnist``).

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.

    Raises:
        ValueError: if there is no such split, or a file is damaged.
        OSError: if the files are not there and cannot be downloaded; says where to put them by hand.
    """
    return _published(_MNIST, split, low, high, seed)


def stacked_mnist(split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Stacked:
    """Three digits of `mnist` as the colours of one image, drawn anew each time: 1,000 modes to cover.

    Source: Metz et al., Unrolled generative adversarial networks, 2017, section 3.3.1.
    """
    return Stacked(mnist(split, low=low, high=high), seed)


def fashion_mnist(split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Images:
    """70,000 pictures of clothes in ten classes, of the same sizes as `mnist` and found in the same way.

    The folder is ``fashion-mnist``, the download 30 MB.

    Source: Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747.

    Raises:
        ValueError, OSError: as `mnist`.
    """
    return _published(_FASHION_MNIST, split, low, high, seed)


def idx_folder(
    path: str | Path, split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0
) -> Images:
    """The images of a folder of IDX files, with their labels if it has them: grey images of any one size.

    The files are ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte`` (``t10k-...`` for "test"), with
    a dash or a dot before ``idx``, and with or without ``.gz``.

    Raises:
        FileNotFoundError: if the folder or the images are missing; says which files were looked for.
        ValueError: if there is no such split, a file is damaged, or images and labels differ in number.
    """
    folder = Path(path)
    parts = [part for part in ("train", "t10k") if _first(folder, _names(part)[0])]
    return _open(cache(partial(_read_part, folder)), parts, split, low, high, seed)


Read = Callable[[str], tuple[Tensor, Tensor | None]]
"""All images uint8 [N, H, W], and the labels uint8 [N] if there are any, of the part "train" or "t10k"."""


def _open(read: Read, parts: Sequence[str], split: str, low: float, high: float, seed: int) -> Images:
    """A split of the data set of these parts; the classes are those of the training part if there is one."""
    if split not in SPLITS:
        raise ValueError(f"IDX data sets have the splits {', '.join(SPLITS)}: got {split!r}")

    def opener(name: str) -> Images:
        part, rows = SPLITS[name]
        (pixels, labels), training = read(part), read("train") if "train" in parts else None
        y, names = (None, ()) if labels is None else named(labels, None if training is None else training[1])
        divided = training is not None and len(training[0]) > FIT
        splits = tuple(
            s for s, (of, some) in SPLITS.items() if of in parts and (divided or some == slice(None))
        )
        x, y = pixels[rows, None], None if y is None else y[rows]
        return Images(
            x, y, low, high, seed=seed, split_name=name, class_names=names, splits=splits, opener=opener
        )

    return opener(split)


def _read_part(folder: Path, part: str) -> tuple[Tensor, Tensor | None]:
    image_names, label_names = _names(part)
    images, labels = _find(folder, image_names), _first(folder, label_names)
    pixels = read_idx(images, dimensions=3)
    if labels is None:
        return pixels, None
    y = read_idx(labels, dimensions=1)
    if len(pixels) != len(y):
        raise ValueError(f"{images} has {len(pixels):,} images but {labels} has {len(y):,} labels")
    return pixels, y


def read_idx(path: str | Path, dimensions: int) -> Tensor:
    """The array of bytes in an IDX file, gzipped or not: uint8, of the shape that its header states.

    Memory is taken as data arrive, so a header cannot ask for more than the file holds.

    Raises:
        ValueError: if the file is not IDX, has not so many dimensions, does not hold bytes, is empty, or is
            shorter or longer than its header says.
    """
    path = Path(path)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            return _parse(gzip.GzipFile(fileobj=raw) if packed else raw, dimensions)
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: {error}") from None


def _parse(file: BinaryIO | gzip.GzipFile, dimensions: int) -> Tensor:
    header = file.read(4 + 4 * dimensions)
    expected = bytes([0, 0, 8, dimensions])
    if header[:4] != expected:
        found, wanted = header[:4].hex(" ") or "nothing", expected.hex(" ")
        raise ValueError(f"not an IDX file of bytes in {dimensions}-D: begins with {found}, not {wanted}")
    if len(header) < 4 + 4 * dimensions:
        raise ValueError("the file ends inside its header")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size, stated = math.prod(shape), " x ".join(map(str, shape))
    data = bytearray()
    while block := file.read(min(1 << 20, size + 1 - len(data))):
        data += block
    if len(data) != size or size == 0:
        held = f"{len(data):,} bytes" if len(data) <= size else "more"
        raise ValueError(f"the header says {stated} = {size:,} bytes, but the file has {held}")
    return torch.frombuffer(data, dtype=torch.uint8).reshape(shape)


def _names(part: str) -> list[list[str]]:
    """The possible names of the two files of a part: [[images, images.gz, ...], [labels, ...]]."""
    stems = [f"{part}-{stem}" for stem in STEMS]
    return [[stem + end for stem in (s, s.replace("-idx", ".idx")) for end in ("", ".gz")] for s in stems]


def _first(folder: Path, names: list[str]) -> Path | None:
    """The first of the names that is a file."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _find(folder: Path, names: list[str]) -> Path:
    found = _first(folder, names)
    if found is None:
        cause = "the folder lacks a file" if folder.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{folder}: {cause}: looked for {', '.join(names)}")
    return found


@dataclass(frozen=True)
class _Published:
    """A data set that can be downloaded: its mirrors, and the SHA-256 of its four files."""

    name: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


def _published(data: _Published, split: str, low: float, high: float, seed: int) -> Images:
    @cache
    def read(part: str) -> tuple[Tensor, Tensor | None]:
        own = os.environ.get("ZEROSUM_DATA")
        folder = Path(own, data.name) if own else None
        if folder is None or not _complete(folder, part):
            folder = _download(data, part)
        return _read_part(folder, part)

    return _open(read, ("train", "t10k"), split, low, high, seed)


def _complete(folder: Path, part: str) -> bool:
    return all(_first(folder, names) for names in _names(part))


def _download(data: _Published, part: str) -> Path:
    """The folder of the cache that has the two files of a part; they are downloaded the first time."""
    cache = kept_in(data.name)
    files = [packed for _, packed, *_ in _names(part)]
    try:
        for file in [file for file in files if not (cache / file).exists()]:
            fetch([mirror + file for mirror in data.mirrors], cache / file, data.sha256[file], LARGEST)
    except OSError as error:
        now = os.environ.get("ZEROSUM_DATA") or "not set"
        hint = f"by hand: put {' and '.join(files)} into $ZEROSUM_DATA/{data.name} (ZEROSUM_DATA is {now})"
        raise OSError(f"{error}; {hint}") from None
    return cache


_MNIST = _Published(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)

_FASHION_MNIST = _Published(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
