"""Arrays: finite sources held in memory. Each example comes once per epoch, in an order never stored.

Images stay bytes until they are asked for: a batch gathers uint8 and is converted once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zerosum.data.source import order
from zerosum.randomness import key, stream

__all__ = ["Images", "Stacked", "Vectors", "digits", "to_bytes", "to_floats"]


@dataclass(frozen=True, eq=False)
class Images:
    """Images in memory, shown to the game as float32 in [low, high].

    Arguments:
        pixels: uint8 [N, C, H, W].
        labels: int64 [N] with values 0, 1, ..., or None.
        low: What byte 0 becomes. -1 suits a tanh output; the recipe of 2014 has 0.
        high: What byte 255 becomes.
        seed: The seed of the order.
        split: Which part of a data set this is; for the record only.

    Raises:
        ValueError: if a shape or type differs, if there are no images, or unless low < high.

    >>> images = Images(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1), low=0.0)
    >>> sorted(round(x, 3) for x in images.batch(step=0, n=3)[0].flatten().tolist())
    [0.0, 0.2, 1.0]
    """

    pixels: Tensor
    labels: Tensor | None = None
    low: float = -1.0
    high: float = 1.0
    seed: int = 0
    split: str = "train"

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != torch.uint8 or self.pixels.numel() == 0:
            raise ValueError(f"images are uint8 [N, C, H, W] and not empty: got {_describe(self.pixels)}")
        if not self.low < self.high:
            raise ValueError(f"images need low < high: got {self.low} and {self.high}")
        _check_labels(self.labels, len(self.pixels))

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape[1:])

    @property
    def classes(self) -> int:
        return _count_classes(self.labels)

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, C, H, W] in [low, high] and y int64 [n], in the order of `zerosum.data.order`."""
        rows = order(len(self), self.seed, step, n)
        return self.encode(self.pixels.index_select(0, rows)), _take(self.labels, rows)

    def encode(self, pixels: Tensor) -> Tensor:
        """`to_floats` with this source's low and high."""
        return to_floats(pixels, self.low, self.high)

    def decode(self, x: Tensor) -> Tensor:
        """`to_bytes` with this source's low and high."""
        return to_bytes(x, self.low, self.high)


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
    def low(self) -> float:
        return self.images.low

    @property
    def high(self) -> float:
        return self.images.high

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, *self.images.shape[1:])

    @property
    def classes(self) -> int:
        return self.images.classes**3

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor]:
        """x float32 [n, 3, H, W] and y int64 [n] in 0, ..., K^3 - 1."""
        colours = [channel.batch(step, n) for channel in self.channels]
        red, green, blue = (y for _, y in colours if y is not None)
        labels = (red * self.images.classes + green) * self.images.classes + blue
        return torch.cat([x for x, _ in colours], 1), labels


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows of numbers in memory.

    Arguments:
        rows: float32 [N, d], finite.
        labels: int64 [N] with values 0, 1, ..., or None.
        seed: The seed of the order.

    Raises:
        ValueError: if a shape or type differs, if there are no rows, or if a number is not finite.

    >>> Vectors(torch.eye(3)).batch(step=0, n=3)[0].sum(dim=0).tolist()
    [1.0, 1.0, 1.0]
    """

    rows: Tensor
    labels: Tensor | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.dtype != torch.float32 or self.rows.numel() == 0:
            raise ValueError(f"vectors are float32 [N, d] and not empty: got {_describe(self.rows)}")
        if not self.rows.isfinite().all():
            bad = (~self.rows.isfinite()).any(dim=1).nonzero()[0].item()
            raise ValueError(f"vectors are finite numbers: row {bad} has a NaN or an infinity")
        _check_labels(self.labels, len(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows.shape[1],)

    @property
    def classes(self) -> int:
        return _count_classes(self.labels)

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, d] and y int64 [n], in the order of `zerosum.data.order`."""
        rows = order(len(self), self.seed, step, n)
        return self.rows.index_select(0, rows), _take(self.labels, rows)


def digits(split: str = "train", *, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Images:
    """1,797 real handwritten digits of 8 x 8 pixels, which come with scikit-learn: nothing to download.

    The 17 grey levels v of the original become the bytes round(255 v / 16). `split` is "train" (1,500),
    "test" (297) or "all"; the split is fixed, and each class has its share of both parts.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).

    >>> len(digits()), digits().shape, digits().classes
    (1500, (1, 8, 8), 10)
    """
    rows = torch.from_numpy(np.loadtxt(_shipped("digits.csv.gz"), delimiter=","))
    pixels = (rows[:, :-1] * 255 / 16).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    labels = rows[:, -1].long()
    parts = _digits_split(labels)
    if split not in parts:
        raise ValueError(f"digits has the splits {', '.join(parts)}: got {split!r}")
    return Images(pixels[parts[split]], labels[parts[split]], low, high, seed, split)


def _shipped(name: str) -> Path:
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


def to_floats(pixels: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Bytes to floats: low + (high - low) u / 255, float32; 0 and 255 become low and high exactly."""
    return pixels.to(torch.float32).div_(255).mul_(high - low).add_(low)


def to_bytes(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Floats to bytes: the nearest of the 256 levels, uint8; outside of [low, high] is clipped.

    >>> to_bytes(torch.tensor([-1.0, 0.0, 1.0, 7.0])).tolist()
    [0, 128, 255, 255]
    """
    return x.sub(low).mul(255 / (high - low)).round_().clamp_(0, 255).to(torch.uint8)


def _take(labels: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if labels is None else labels.index_select(0, rows)


def _count_classes(labels: Tensor | None) -> int:
    return 0 if labels is None else int(labels.max()) + 1


def _check_labels(labels: Tensor | None, length: int) -> None:
    if labels is None:
        return
    if labels.dtype != torch.int64 or labels.shape != (length,) or labels.min() < 0:
        raise ValueError(f"{length} examples need int64 labels [{length}] from 0 up: got {_describe(labels)}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
