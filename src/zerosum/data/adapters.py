"""What somebody has in a program (arrays, frames, datasets, loaders, a source of their own), as a source."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.data.array_files import channels_first
from zerosum.data.arrays import Finite, Images, Vectors, checksum, named
from zerosum.data.codec import Codec, Numbers, Pixels
from zerosum.data.source import Source, complete, order
from zerosum.data.tables import frame
from zerosum.randomness import key, seeded

__all__ = ["MapStyle", "source"]


def source(x: Any, y: Any = None, *, seed: int = 0) -> Source:
    """The source in something that holds examples.

    Arguments:
        x: A `Source` (given back as it is), or an object with `shape` and `batch` (completed); a tensor or
            array: uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W], or numbers [N, ...]; a pandas or
            polars frame; a map-style dataset, whose items are examples or (example, label); a
            DataLoader, of which only the dataset is used: the game draws its own batches.
        y: The labels of an array, [N]: whole numbers or names. The classes are called what they say.
        seed: The seed of the order.

    Raises:
        ValueError: for values that cannot be an example.
        TypeError: for an object that holds no examples.

    >>> source([[0.5, 1.0], [2.0, 3.0]], ["cat", "dog"]).class_names
    ('cat', 'dog')
    >>> source(np.zeros((4, 8, 8), dtype=np.uint8)).codec
    Pixels(shape=(1, 8, 8), low=-1.0, high=1.0)
    """
    if hasattr(x, "batch") and hasattr(x, "shape"):
        return complete(x)
    if hasattr(x, "dataset") and hasattr(x, "batch_size"):
        return source(x.dataset, y, seed=seed)
    if hasattr(x, "to_numpy") and hasattr(x, "columns"):
        return frame(x, "all", seed=seed)
    if isinstance(x, Tensor | np.ndarray | list | tuple):
        return _array(x, y, seed)
    if hasattr(x, "__getitem__") and hasattr(x, "__len__") and not isinstance(x, Mapping | str | bytes):
        return MapStyle(x, seed)
    raise TypeError(
        f"a {type(x).__name__} holds no examples: give a tensor, an array, a data frame, a map-style "
        "dataset, a DataLoader, or an object with shape and batch(step, n)"
    )


def _array(x: Any, y: Any, seed: int) -> Source:
    values = torch.as_tensor(np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x).detach().cpu()
    labels, names = (None, ()) if y is None else named(y)
    if values.dtype == torch.uint8 and values.ndim in (3, 4):
        return Images(_channels_first(values), labels, seed=seed, class_names=names)
    values = values.to(torch.float32)
    return Vectors(values[:, None] if values.ndim == 1 else values, labels, seed=seed, class_names=names)


def _channels_first(images: Tensor) -> Tensor:
    return torch.from_numpy(channels_first(images.numpy()))


class MapStyle(Finite):
    """A dataset with `__getitem__` and `__len__`, whose items are read when a batch needs them.

    An item is an example, or (example, y): the example a tensor, an array or a PIL image, of which bytes of
    two or three axes are images; y a class number or name, or any tensor. Random transforms are seeded from
    `seed` and the place in the order, so that a batch is always the same. The classes are those of the
    dataset's `targets`, called as its `classes` say; without `targets` every item is looked at once.

    Raises:
        ValueError: if there are no items, or they are no examples of one shape.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        if not len(dataset):
            raise ValueError("the dataset has no items")
        self.dataset, self.seed = dataset, seed
        self.labels, self.class_names = None, ()
        self.split_name, self.splits, self.opener, self.notes = "all", (), None, ()
        x, y = self._item(0)
        self._codec = Pixels(_three(x)) if x.dtype == torch.uint8 and x.ndim > 1 else Numbers(tuple(x.shape))
        if y is not None and np.asarray(y).ndim == 0 and np.asarray(y).dtype.kind in "biuU":
            targets = getattr(dataset, "targets", None)
            if targets is None:
                targets = [self._item(i)[1] for i in range(len(dataset))]
            self.labels, self.class_names = named([int(t) if isinstance(t, Tensor) else t for t in targets])
            called = getattr(dataset, "classes", self.class_names)
            self.class_names = tuple(map(str, called)) if len(called) == self.classes else self.class_names
        some = torch.arange(0, len(dataset), max(1, len(dataset) // 16))
        self.checksum = checksum(self.at(some)[0], self.labels, self.class_names, len(dataset))

    @property
    def values(self) -> Any:
        return self.dataset

    @property
    def codec(self) -> Codec:
        return self._codec

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        with _seeded(key(self.seed, "items", *rows.tolist())):
            return self._joined(rows, [self._item(i) for i in rows.tolist()])

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """In the order of `zerosum.data.order`; each item's transforms are seeded from its place in that."""
        items: list[tuple[Tensor, Any]] = []
        rows = order(len(self), self.seed, step, n)
        for place, i in enumerate(rows.tolist(), step * n):
            with _seeded(key(self.seed, "item", place)):
                items.append(self._item(i))
        return self._joined(rows, items)

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, Tensor | None]:
        """The rank-th of `world` equal parts of batch (step, n), for which no other items are read."""
        return self.batch(step * world + rank, n // world)

    def _joined(self, rows: Tensor, items: list[tuple[Tensor, Any]]) -> tuple[Tensor, Tensor | None]:
        for i, (x, _) in zip(rows.tolist(), items, strict=True):
            if x.shape != items[0][0].shape:
                shapes = f"item {i} has the shape {list(x.shape)}, another {list(items[0][0].shape)}"
                raise ValueError(f"{shapes}: resize them in the dataset")
        x = torch.stack([x for x, _ in items])
        x = self.codec.encode(_channels_first(x) if isinstance(self.codec, Pixels) else x)
        if self.labels is not None:
            return x, self.labels[rows]
        return x, None if items[0][1] is None else torch.stack([torch.as_tensor(y) for _, y in items])

    def _item(self, i: int) -> tuple[Tensor, Any]:
        item = self.dataset[i]
        x, y = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
        if isinstance(x, tuple | list) and len(x) == 1:  # of a TensorDataset
            x = x[0]
        try:
            return torch.as_tensor(x if isinstance(x, Tensor) else np.array(x)), y
        except (TypeError, ValueError) as error:
            raise ValueError(f"item {i} of the dataset is no example, but a {type(x).__name__}") from error


def _three(image: Tensor) -> tuple[int, int, int]:
    channels, height, width = _channels_first(image[None])[0].shape
    return channels, height, width


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """In here, the generators of torch, numpy and Python begin at `seed`; afterwards they are as before."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    with seeded(seed % 2**63):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
