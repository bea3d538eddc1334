"""Samples as one chooses them, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zerosum import pictures
from zerosum.data.columns import Columns
from zerosum.data.sheet import Sheet
from zerosum.data.where import Where, conditions, draw_where
from zerosum.game.prior import normal
from zerosum.sampling.generator import Generator
from zerosum.sampling.prior import SamplingError, lerp, slerp, truncated

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Sampler"]

_REAL = 2500  # points that are drawn of the data, and below a path


@dataclass(frozen=True)
class Sampler:
    """Samples of G.

    seed: of the noise and of the classes. classes: those wanted, in turn, by name or number ("all" for each
    in turn); as the data have them unless given. truncation: the bound on the coordinates of z (`truncated`).
    where: conditions on the columns of a table that all of its rows meet (`zerosum.data.where`).

    Raises SamplingError where G has not what is wanted.
    """

    G: Generator
    seed: int = 0
    classes: tuple[int | str, ...] = ()
    truncation: float | None = None
    where: Where | None = None

    def __post_init__(self) -> None:
        self.labels_of(1)  # a class that there is not is an error now,
        self._moved(self.G.noise(1))  # and so is a truncation of a prior that has none
        if self.where is not None:
            if not isinstance(self.G.codec, Columns) or self.G.conditional:
                raise SamplingError("where: conditions are on the columns of a table without classes")
            try:
                conditions(self.where, self.G.codec)
            except ValueError as error:
                raise SamplingError(f"where: {error}") from error

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes that come in turn; none where they come as the data have them, or there are none."""
        if self.classes == ("all",) and "all" not in self.G.classes and self.G.classes:
            return tuple(range(len(self.G.classes)))
        return tuple(map(self.G.class_number, self.classes))

    def labels_of(self, n: int, first: int = 0) -> Tensor | None:
        """y of the samples first, ..., first + n - 1: int64 ``[n]``; None where there are no classes."""
        if not self.labels:
            return self.G.conditions(n, self.seed, first)
        return torch.tensor(self.labels)[torch.arange(first, first + n) % len(self.labels)]

    def _moved(self, z: Tensor) -> Tensor:
        return z if self.truncation is None else truncated(z, self.truncation, self.G.prior)

    def noise(self, n: int, first: int = 0) -> Tensor:
        """z of the same samples: ``[n, *latent]``."""
        return self._moved(self.G.noise(n, self.seed, first))

    def parts(self, n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """`n` samples x ``[m, *shape]``, as G gives them, and their labels y ``[m]``, part by part."""
        return self.G.parts(n, self.seed, self.labels_of, self._moved)

    def decoded(self, n: int) -> Iterator[tuple[Any, Tensor | None]]:
        """The same in the form that people keep; of a table with `where`, only rows that meet it."""
        if self.where is not None:
            try:
                yield draw_where(self._rows, self.where, n, self.G.codec), None
            except ValueError as error:
                raise SamplingError(f"where: {error}") from error
            return
        first = 0
        for x, y in self.parts(n):
            yield self.G.decode(x, first), y
            first += len(x)

    def _rows(self, n: int, first: int) -> Sheet:
        """The rows first, ..., first + n - 1 of the stream that `where` chooses from."""
        starts = range(first, first + n, self.G.part)
        sizes = [min(self.G.part, first + n - start) for start in starts]
        with torch.no_grad():
            x = [self.G(self.noise(m, start)).float() for m, start in zip(sizes, starts, strict=True)]
        return self.G.decode(torch.cat(x), first)

    def viewed(self, n: int) -> Tensor:
        """`n` samples to look at: uint8 ``[n, C, H, W]``, or float32 ``[n, d]``."""
        return torch.cat([self.G.codec.view(x) for x, _ in self.parts(n)])

    # pictures -------------------------------------------------------------------------------------------

    @classmethod
    def overview(
        cls, G: Generator, real: Callable[[int], Tensor | None] | None = None, n: int | None = None
    ) -> Image:
        """What a generator makes, in a picture: 64 images, each class in a column, or 2,500 points over
        `real(2500)`; `n` of them if given."""
        if G.of_images:
            return cls(G, classes=("all",) if G.classes else ()).picture(n or 64)
        return cls(G).picture(n or _REAL, real=None if real is None else real(_REAL))

    def columns(self, n: int) -> int:
        return pictures.columns_for(n, len(self.labels))

    def picture(self, n: int, columns: int | None = None, real: Tensor | None = None) -> Image:
        """A grid of images, with a column for each class that comes in turn unless `columns` are given; or a
        cloud of points over real ones (as G gives them).

        Raises SamplingError for more images than a picture holds.
        """
        if not self.G.of_images:
            x = torch.cat([x.cpu() for x, _ in self.parts(n)])
            fake, names = self._plane(x)
            below = None if real is None else self._plane(real)[0]
            return pictures.cloud(fake, below, names=names)
        columns = columns or self.columns(n)
        self._fitting(-(-n // columns), columns)
        return pictures.tiles(self.viewed(n).numpy(), columns)

    def _fitting(self, rows: int, columns: int) -> None:
        channels, height, width = self.G.shape
        try:
            pictures.grid_size(rows, columns * (channels if channels > 4 else 1), height, width)
        except ValueError as error:
            raise SamplingError(str(error)) from error

    def _plane(self, x: Tensor) -> tuple[np.ndarray, tuple[str, ...]]:
        """What is drawn of examples that are no images: two columns of numbers of a table in its own units,
        or the first two coordinates; and what they are called."""
        if self.G.codec.state_dict()["codec"] == "columns":
            sheet = self.G.codec.decode(x)
            numeric = {
                n: c for n, c in sheet.columns.items() if isinstance(c, np.ndarray) and c.dtype.kind in "iuf"
            }
            if numeric:
                two = list(numeric)[:2]
                return np.stack([np.asarray(numeric[name], dtype=np.float64) for name in two], 1), tuple(two)
        return self.G.codec.view(x).numpy(), ()

    # on the way from one sample to another --------------------------------------------------------------

    @torch.no_grad()
    def path(self, points: int, times: Tensor) -> Iterator[Tensor]:
        """A closed path through the first samples, at `times` in [0, 1] of each leg, leg by leg.

        Gives what is seen there, ``[T, classes, *shape]``, with an axis of 1 where no classes come in turn:
        leg i goes from sample i to the next, and the last one back to the first. The way is a great circle
        for the normal prior (`slerp`), a line for any other.
        """
        z = self.noise(points)
        between = slerp if self.G.prior is normal else lerp
        y = self.labels_of(points)
        for i in range(points):
            way = between(z[i : i + 1], z[(i + 1) % points][None], times)[0]
            labels = self.labels or ((None,) if y is None else (int(y[i]),))
            yield torch.stack([self._along(way, label) for label in labels], dim=1)

    def _along(self, way: Tensor, label: int | None) -> Tensor:
        parts: list[Tensor] = []
        for z in way.split(self.G.part):
            y = None if label is None else torch.full((len(z),), label, device=z.device)
            parts.append(self.G.codec.view(self.G(z, y).float()))
        return torch.cat(parts)

    def strip(self, points: int, frames: int) -> Image:
        """A row for each leg and class, from sample to sample; of points, the path over 2,500 samples.

        Raises SamplingError for more than a picture holds.
        """
        if self.G.of_images:
            self._fitting(points * max(1, len(self.labels)), frames)
        elif points * frames > 10**6:
            raise SamplingError(f"--frames {frames}: a path of at most {10**6 // points:,} points a leg")
        times = torch.linspace(0, 1, frames, dtype=torch.float64)
        if not self.G.of_images:
            x = torch.cat([leg.flatten(0, 1) for leg in self.path(points, times)])
            return pictures.cloud(x.numpy(), self.viewed(_REAL).numpy(), fake_name="path")
        legs = [leg.transpose(0, 1).flatten(0, 1) for leg in self.path(points, times)]
        return pictures.tiles(torch.cat(legs).numpy(), frames)

    def film(self, points: int, frames: int, most: int = 15_000) -> Iterator[Image]:
        """The path in `frames` pictures for each leg, classes side by side; SamplingError for points, and for
        more than `most` frames in all, ten minutes."""
        if not self.G.of_images:
            raise SamplingError("a film is of images, and this generator makes none: give --out a .png")
        if points * frames > most:
            raise SamplingError(
                f"a film of {points * frames:,} pictures: at most {most:,}, so --frames {most // points}"
            )
        times = torch.arange(frames, dtype=torch.float64) / frames
        for leg in self.path(points, times):
            for classes in leg:
                yield pictures.tiles(classes.numpy(), side=512)
