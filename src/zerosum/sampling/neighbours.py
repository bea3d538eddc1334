"""Samples beside the training examples that they are nearest to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zerosum import pictures
from zerosum.metrics import find_neighbours
from zerosum.sampling.prior import SamplingError
from zerosum.sampling.sampler import Sampler

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Neighbours", "neighbours"]

_NUMBERS = 2**22  # numbers of the data that are held at a time
_HELD_OUT = 1000  # real examples that the distances of samples are compared with, fewer of large images


@dataclass(frozen=True)
class Neighbours:
    """Samples beside the training examples that they are nearest to.

    samples: ``[n, *shape]``; nearest: ``[n, k, *shape]``, the nearest first; distances: ``[n, k]``, root mean
    squares over the numbers of an example, in `unit`. real: ``[m]``, the distances of real examples (`which`)
    to their nearest. mirrored: a distance is the smaller of those to an example and to its mirror image.
    """

    samples: Tensor
    nearest: Tensor
    distances: Tensor
    real: Tensor
    which: str
    unit: str
    mirrored: bool = False

    def picture(self) -> Image:
        """A row for each sample: itself, then its nearest with their distances; or the samples over these."""
        samples, nearest = self.samples.numpy(), self.nearest.numpy()
        if samples.ndim != 4:
            return pictures.cloud(samples, nearest.reshape(-1, samples.shape[1]))
        captions = [
            [f"sample {i}", *(f"{d:.3g}" + " away" * (j == 0) for j, d in enumerate(row))]
            for i, row in enumerate(self.distances.tolist())
        ]
        return pictures.beside(samples, nearest, captions)

    def line(self) -> str:
        """How near the samples are, beside how near real data are."""
        fake, real = (float(x.quantile(0.5)) for x in (self.distances[:, 0], self.real))
        copies = int((self.distances[:, 0] == 0).sum())
        exact = "exact copies, mirrored or not" if self.mirrored else "exact copies"
        return (
            f"distance to the nearest training example, median: {fake:.3g} of samples, {real:.3g} of "
            f"{self.which} ({len(self.real)}), in {self.unit}; {exact}: {copies}"
        )


def neighbours(sampler: Sampler, train: Any, n: int, k: int, mirrored: bool = False) -> Neighbours:
    """The `k` nearest of `n` samples in the source `train`, and how near real data come to them.

    The data are read twice, batch by batch. mirrored: the players see images mirrored too. Raises
    SamplingError where the data have no end, or are not what G makes.
    """
    if not hasattr(train, "__len__"):
        raise SamplingError("--nearest: the data have new examples at every step: nothing can be copied")
    if tuple(train.shape) != sampler.G.shape:
        raise SamplingError(
            f"--nearest: the data are {list(train.shape)} each, and what G makes is {list(sampler.G.shape)}"
        )
    held_out, which, skip = train, "training examples among themselves", 1  # the nearest is itself
    if "test" in train.splits:
        held_out, which, skip = train.split("test"), "held-out real examples", 0
    if len(train) < k + skip:
        raise SamplingError(f"--nearest {k}: there are {len(train)} training examples")
    data = _Batches(train, sampler.G.codec)
    few = max(100, min(_HELD_OUT, _NUMBERS // math.prod(train.shape)))
    samples, real = sampler.viewed(n), next(iter(_Batches(held_out, sampler.G.codec, few)))
    found = find_neighbours(
        torch.cat([samples, real]), data, k + skip, mirrored=sampler.G.of_images and mirrored
    )
    distances = found.distances / math.sqrt(math.prod(train.shape))
    return Neighbours(
        samples,
        data.at(found.rows[:n, :k]),
        distances[:n, :k],
        distances[n:, skip],
        which,
        "grey levels" if sampler.G.of_images else "units of training",
        sampler.G.of_images and mirrored,
    )


class _Batches:
    """Every example of a finite source once, as it is viewed, in batches; and those at some places of
    that."""

    def __init__(self, source: Any, codec: Any, rows: int | None = None) -> None:
        self.source, self.codec = source, codec
        self.rows = min(rows or max(1, _NUMBERS // math.prod(source.shape)), len(source))

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(-(-len(self.source) // self.rows)):
            yield self._batch(step)

    def _batch(self, step: int) -> Tensor:
        rows = len(self.source) - step * self.rows
        return self.codec.view(self.source.batch(step, self.rows)[0])[:rows]

    def at(self, places: Tensor) -> Tensor:
        """The examples at places ``[n, k]`` of the order in which they come: ``[n, k, *shape]``."""
        steps, within = places // self.rows, places % self.rows
        out: Tensor | None = None
        for step in steps.unique().tolist():
            batch = self._batch(step)
            out = batch.new_empty(*places.shape, *batch.shape[1:]) if out is None else out
            here = steps == step
            out[here] = batch[within[here]]
        assert out is not None
        return out
