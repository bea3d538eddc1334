"""Arrays: finite sources held in memory. Each example comes once per epoch, in an order never stored.

Images stay bytes until they are asked for: a batch gathers uint8, which is converted once, by the game on its
own device.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from zerosum.data.codec import Codec, Numbers, Pixels
from zerosum.data.rows import FileRows
from zerosum.data.source import no_such_split, order
from zerosum.randomness import key, stream

__all__ = ["Finite", "Images", "Split", "Stacked", "Vectors", "checksum", "digits", "named"]


class Finite(ABC):
    """Examples of which there are N, each shown once per epoch; a part of a data set.

    Arguments of all kinds of it, beside their own:
        labels: int64 [N] with values 0, 1, ..., or None.
        seed: The seed of the order.
        split_name: Which split this is.
        class_names: What the labels are called; "0", "1", ... unless given.
        splits: The names of all parts, and opener: name -> part, of what is in memory already.
        checksum: The fingerprint.
        notes: What is to be told of the data.
    """

    labels: Tensor | None
    seed: int
    split_name: str
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    opener: Callable[[str], Finite] | None
    checksum: str
    notes: tuple[str, ...]

    @property
    @abstractmethod
    def values(self) -> Any:
        """The examples as they are held, N of them: what the codec encodes."""

    @property
    @abstractmethod
    def codec(self) -> Codec:
        """What an example is."""

    def __len__(self) -> int:
        return len(self.values)

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """The examples of these rows, int64 [n]: x float32 [n, *shape], and y int64 [n] or None."""
        x, y = self.held(rows)
        return self.codec.encode(x), y

    def held(self, rows: Tensor) -> tuple[Any, Tensor | None]:
        """As `at`, but x as it is held: what the codec encodes."""
        y = None if self.labels is None else self.labels.index_select(0, rows)
        return self.values.index_select(0, rows), y

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codec.shape

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def class_shares(self) -> tuple[float, ...]:
        if self.labels is None:
            return ()
        return tuple((torch.bincount(self.labels, minlength=self.classes) / len(self)).tolist())

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.checksum or checksum(self.values, self.labels, self.class_names)

    def split(self, name: str) -> Finite:
        """That part of the same data set, with the same seed."""
        if name not in self.splits or self.opener is None:
            raise no_such_split(name, self.splits)
        return self if name == self.split_name else self.opener(name)

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, *shape] and y int64 [n], in the order of `zerosum.data.order`."""
        return self.at(order(len(self), self.seed, step, n))

    def _check_labels(self) -> None:
        """Raise ValueError for labels that do not fit; name the classes that have no names."""
        labels = self.labels
        if labels is None:
            return
        if labels.dtype != torch.int64 or labels.shape != (len(self),) or labels.min() < 0:
            raise ValueError(
                f"{len(self)} examples need int64 labels [{len(self)}] from 0 up: got {_describe(labels)}"
            )
        highest = int(labels.max())
        if not self.class_names:
            object.__setattr__(self, "class_names", tuple(map(str, range(highest + 1))))
        elif highest >= len(self.class_names):
            raise ValueError(f"there are {len(self.class_names)} names of classes, and a label {highest}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """The fields of `Finite` that need not be given, for its dataclasses."""

    seed: int = 0
    split_name: str = "train"
    class_names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    opener: Callable[[str], Finite] | None = None
    checksum: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Images(Split, Finite):
    """Images in memory, shown to the game as float32 in [low, high].

    Arguments:
        pixels: uint8 [N, C, H, W], in memory or in a file.
        labels: int64 [N] with values 0, 1, ..., or None.
        low: What byte 0 becomes. -1 suits a tanh output; the recipe of 2014 has 0.
        high: What byte 255 becomes.
        seed, and the rest: As of `Finite`.

    Raises:
        ValueError: if a shape or type differs, if there are no images, or unless low < high.

    >>> images = Images(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), low=0.0)
    >>> sorted(round(x, 3) for x in images.batch(step=0, n=3)[0].flatten().tolist())
    [0.0, 0.2, 1.0]
    """

    pixels: Tensor | FileRows
    labels: Tensor | None = None
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8 or self.pixels.numel() == 0:
            raise ValueError(f"images are uint8 [N, C, H, W] and not empty: got {_describe(self.pixels)}")
        self._check_labels()
        self.codec.encode(self.pixels[:1])

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, C, H, W] and y int64 [n]: what `part` gives, encoded."""
        x, y = self.part(step, n, 0, 1)
        return self.codec.encode(x), y

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
        """The rank-th of `world` equal parts of batch (step, n) as bytes, which reads no other rows."""
        return self.held(self.places(step, n, rank, world))

    def places(self, step: int, n: int, rank: int, world: int) -> Tensor:
        """Which examples these are, int64 [n / world]."""
        return order(len(self), self.seed, step * world + rank, n // world)

    @property
    def values(self) -> Tensor | FileRows:
        return self.pixels

    @property
    def codec(self) -> Codec:
        _, channels, height, width = self.pixels.shape
        return Pixels((channels, height, width), self.low, self.high)


@dataclass(frozen=True, eq=False)
class Stacked:
    """Three grey images as the red, green and blue of one, drawn anew for every example (Metz et al. 2017).

    Of images in K classes come K^3 modes: y = (K a + b) K + c for an image of class a in red, b in green and
    c in blue. There is no end of them: each channel goes through the images in an order of its own.

    Raises:
        ValueError: if the images are not grey, or have no labels.

    >>> grey = Images(torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1, 1), torch.arange(8) % 2)
    >>> x, y = Stacked(grey).batch(step=0, n=4)
    >>> x.shape, int(y.max()) < 8
    (torch.Size([4, 3, 1, 1]), True)
    """

    images: Images
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images.labels is None or self.images.shape[0] != 1:
            raise ValueError(f"stacking takes grey images with labels: got {list(self.images.shape)}")

    @cached_property
    def channels(self) -> list[Images]:
        """The images of red, green and blue, each in its order."""
        return [replace(self.images, seed=key(self.seed, "stacked", colour)) for colour in range(3)]

    @property
    def codec(self) -> Codec:
        _, height, width = self.images.shape
        return Pixels((3, height, width), self.images.low, self.images.high)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codec.shape

    @property
    def splits(self) -> tuple[str, ...]:
        return self.images.splits

    def split(self, name: str) -> Stacked:
        return Stacked(cast("Images", self.images.split(name)), self.seed)

    @property
    def fingerprint(self) -> str:
        return self.images.fingerprint

    @property
    def classes(self) -> int:
        return self.images.classes**3

    @property
    def class_names(self) -> tuple[str, ...]:
        names = self.images.class_names
        between = "" if all(len(name) == 1 for name in names) else "-"
        return tuple(map(between.join, product(names, repeat=3)))

    @property
    def class_shares(self) -> tuple[float, ...]:
        return tuple(map(math.prod, product(self.images.class_shares, repeat=3)))

    @property
    def notes(self) -> tuple[str, ...]:
        return self.images.notes

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor]:
        """x float32 [n, 3, H, W] and y int64 [n] in 0, ..., K^3 - 1."""
        x, y = self.part(step, n, 0, 1)
        return self.codec.encode(x), y

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor]:
        """The rank-th of `world` equal parts of that as bytes."""
        colours = [channel.part(step, n, rank, world) for channel in self.channels]
        red, green, blue = (y for _, y in colours if y is not None)
        labels = (red * self.images.classes + green) * self.images.classes + blue
        return torch.cat([x for x, _ in colours], 1), labels


@dataclass(frozen=True, eq=False)
class Vectors(Split, Finite):
    """Numbers in memory: rows [N, d], signals [N, C, L], or of any other shape.

    Arguments:
        rows: float32 [N, ...], finite.
        labels: int64 [N] with values 0, 1, ..., or None.
        seed, and the rest: As of `Finite`.

    Raises:
        ValueError: if a shape or type differs, if there are no rows, or if a number is not finite.

    >>> Vectors(torch.eye(3)).batch(step=0, n=3)[0].sum(dim=0).tolist()
    [1.0, 1.0, 1.0]
    """

    rows: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim < 2 or self.rows.dtype != torch.float32 or self.rows.numel() == 0:
            raise ValueError(f"vectors are float32 [N, d] and not empty: got {_describe(self.rows)}")
        if not self.rows.isfinite().all():
            bad = (~self.rows.isfinite()).flatten(1).any(dim=1).nonzero()[0].item()
            raise ValueError(f"vectors are finite numbers: row {bad} has a NaN or an infinity")
        self._check_labels()

    @property
    def values(self) -> Tensor:
        return self.rows

    @property
    def codec(self) -> Codec:
        return Numbers(tuple(self.rows.shape[1:]))


def named(labels: Any, known: Any = None) -> tuple[Tensor, tuple[str, ...]]:
    """Labels of any kind, [N], as int64 0, 1, ... in the order of their values, and what they are called.
    Texts that are all numbers have the order of these.

    known: All values that there are, where these labels may lack some.

    >>> named([7, 3, 7]), named(["dog", "cat"])[1]
    ((tensor([1, 0, 1]), ('3', '7')), ('cat', 'dog'))
    """
    cells = np.asarray(labels)
    if cells.ndim != 1 or cells.dtype.kind not in "biuUSO":
        raise ValueError(f"labels are whole numbers or names, [N]: got {cells.dtype} {list(cells.shape)}")
    cells = cells.astype(str) if cells.dtype.kind == "O" else cells
    values = np.unique(cells if known is None else np.asarray(known))
    codes = np.minimum(np.searchsorted(values, cells), len(values) - 1)
    if (values[codes] != cells).any():
        raise ValueError(f"there are labels that are none of the {len(values)} classes")
    names = [str(value) for value in values.tolist()]
    if all(name.isdecimal() for name in names):
        places = sorted(range(len(names)), key=lambda i: (int(names[i]), names[i]))
        codes, names = np.argsort(places)[codes], [names[i] for i in places]
    return torch.from_numpy(codes.astype(np.int64)), tuple(names)


def digits(split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Images:
    """1,797 real handwritten digits of 8 x 8 pixels, which come with scikit-learn: nothing to download.

    The 17 grey levels v of the original become the bytes round(255 v / 16). `split` is "train" (1,500),
    "test" (297) or "all"; the split is fixed, and each class has its share of both parts.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).

    >>> len(digits()), digits().shape, digits().classes
    (1500, (1, 8, 8), 10)
    """
    rows = torch.from_numpy(np.loadtxt(shipped("digits.csv.gz"), delimiter=","))
    pixels = (rows[:, :-1] * 255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].long()
    parts = _digits_split(labels)

    def opener(name: str) -> Images:
        if name not in parts:
            raise ValueError(f"digits has the splits {', '.join(parts)}: got {name!r}")
        x, y = pixels[parts[name]], labels[parts[name]]
        return Images(x, y, low, high, seed=seed, split_name=name, splits=tuple(parts), opener=opener)

    return opener(split)


def shipped(name: str) -> Path:
    """A data file of scikit-learn, found without the second and a half that its import takes."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ValueError(f"{name} comes with scikit-learn, which is not installed: pip install scikit-learn")
    return Path(spec.origin).parent / "datasets" / "data" / name


def _digits_split(labels: Tensor, test: int = 297) -> dict[str, Tensor]:
    """Shuffle, sort by class, take every sixth or so: each class is within one of its share."""
    shuffled = torch.randperm(len(labels), generator=stream("digits", "split"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    in_test[by_class[torch.arange(test) * len(labels) // test]] = True
    masks = {"train": ~in_test, "test": in_test, "all": torch.ones_like(in_test)}
    return {split: mask.nonzero()[:, 0] for split, mask in masks.items()}


def checksum(values: Tensor | FileRows, *about: Any) -> str:
    """Of all bytes of the values [N, ...], or of 1,024 megabytes evenly spread where they are more."""
    digest = hashlib.blake2b(f"{values.dtype} {list(values.shape)}".encode(), digest_size=8)
    block = max(1, (1 << 20) * len(values) // max(values.nbytes, 1))
    starts = range(0, len(values), block)
    for start in starts[:: -(-len(starts) // 1024)]:
        digest.update(values[start : start + block].contiguous().numpy().data)
    for fact in about:
        digest.update(fact.numpy().data if isinstance(fact, Tensor) else repr(fact).encode())
    return digest.hexdigest()


def _describe(tensor: Tensor | FileRows) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
