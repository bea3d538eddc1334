"""Sampling: what a trained generator makes, as one chooses: of which classes, how far from the middle of the
prior, on the way from one sample to another, and beside its nearest training examples.

Sample i of a seed follows from (seed, i) alone: asked for more, in parts of another size or by another form
of file, it stays the same but, through the order of additions in a network, for the last bits.

    sampler = Sampler(Run.open(Path("runs/mine")), seed=1, truncation=1.0)
    for x, y in sampler.parts(1_000_000):            # never more than a part in memory
        ...
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from zerosum import pictures
from zerosum import recipe as recipes
from zerosum.data.arrays import to_bytes
from zerosum.data.sheet import Sheet
from zerosum.data.writers import write_sheets
from zerosum.game import Prior, normal, uniform
from zerosum.recipe import Recipe, RecipeError
from zerosum.run.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Neighbours",
    "Sampler",
    "SamplingError",
    "lerp",
    "mirrors",
    "nearest",
    "slerp",
    "truncated",
    "write",
]

_PART = 1024  # samples made at a time, at most
_NUMBERS = 2**20  # numbers in the samples made at a time, so that large images come in smaller parts
_HELD_OUT = 1000  # real examples that the distances of samples are compared with, fewer of large images


class SamplingError(ValueError):
    """A wish that does not suit the run: what, why and what to do, in one line."""

    exit_code = 2


# the prior ----------------------------------------------------------------------------------------------


def truncated(z: Tensor, psi: float, prior: Prior = normal) -> Tensor:
    """z of the prior -> z of the prior given that every coordinate lies within [-psi, psi].

    For the normal prior this is the law of BigGAN's truncation trick (Brock et al. 2019, section 3.1), which
    draws a coordinate again until it lies within. Here it is not drawn again but moved, by the increasing map
    with Phi(z') - 1/2 = (2 Phi(psi) - 1) (Phi(z) - 1/2): z' follows from z alone, and goes to z as psi grows.
    For the uniform prior on [-sqrt 3, sqrt 3] the same is a scaling by min(1, psi / sqrt 3).

    Raises SamplingError for another prior.

    >>> truncated(torch.tensor([-3.0, 0.0, 0.1, 3.0]), psi=1.0)
    tensor([-0.9962,  0.0000,  0.0682,  0.9962])
    """
    if prior is uniform:
        return z * min(1.0, psi / math.sqrt(3))
    if prior is not normal:
        raise SamplingError("--truncation is for the priors normal and uniform: this run has its own")
    wide = z.cpu().double()
    moved = torch.erfinv(math.erf(psi / math.sqrt(2)) * torch.erf(wide / math.sqrt(2))) * math.sqrt(2)
    bound = wide.abs().clamp(max=psi)
    return moved.clamp(-bound, bound).to(z)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 - t) a + t b for points ``[K, *latent]`` and times ``[T]``: ``[K, T, *latent]``."""
    t = t.to(a).reshape(-1, *[1] * (a.ndim - 1))
    return (1 - t) * a[:, None] + t * b[:, None]


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """From a to b along the great circle: a, b ``[K, *latent]``, t ``[T]`` in [0, 1] -> ``[K, T, *latent]``.

    The direction turns by equal angles (Shoemake 1985) and the norm is (1 - t) |a| + t |b|. A straight line
    would pass through points far nearer to 0 than a normal prior ever gives (White 2016). Where a and b are
    parallel or opposite there is no circle, and the line is taken.

    >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([0.0, 0.5, 1.0]))
    tensor([[[1.0000, 0.0000],
             [1.4142, 1.4142],
             [0.0000, 3.0000]]])
    """
    start, end = (x.cpu().double().flatten(1)[:, None] for x in (a, b))
    t = t.to(start).reshape(1, -1, 1)
    lengths = [x.norm(dim=-1, keepdim=True).clamp_min(1e-300) for x in (start, end)]
    u, v = start / lengths[0], end / lengths[1]
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    length = (1 - t) * lengths[0] + t * lengths[1]
    turned = [
        torch.sin(share * angle) / torch.sin(angle) * (length / own) * x
        for share, own, x in ((1 - t, lengths[0], start), (t, lengths[1], end))
    ]
    on_a_line = torch.sin(angle) < 1e-6
    z = torch.where(on_a_line, lerp(start[:, 0], end[:, 0], t), turned[0] + turned[1])
    return z.unflatten(-1, a.shape[1:]).to(a)


# samples ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampler:
    """The samples of a run.

    seed: of the noise. live: the last weights, in place of their running average. classes: those wanted, in
    turn, of a conditional run, by name or by number from 0 (a name comes first where it is both); all unless
    given. truncation: the bound on the coordinates of z (`truncated`).

    Raises SamplingError where the run has not what is wanted.
    """

    run: Run
    seed: int = 0
    live: bool = False
    classes: tuple[int | str, ...] = ()
    truncation: float | None = None

    def __post_init__(self) -> None:
        if self.classes and not self.run.game.classes:
            named = ",".join(map(str, self.classes))
            raise SamplingError(f"--class {named}: {self.run.path} makes no classes: leave --class out")
        self.labels_of(1)  # a class that there is not is an error now,
        self.noise(1)  # and so is a truncation of a prior that has none

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes that come in turn; none where the run is not conditional."""
        return tuple(map(self._label, self.classes)) or tuple(range(self.run.game.classes))

    def _label(self, name: int | str) -> int:
        """The number of a class."""
        known, names = self.run.game.classes, self.run.facts.get("class_names", [])
        if name in names:
            return names.index(name)
        if str(name).isdecimal() and int(name) < known:
            return int(name)
        called = f", called {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
        called = "" if names == [str(i) for i in range(known)] else called
        raise SamplingError(f"--class {name}: the classes of {self.run.path} are 0 to {known - 1}{called}")

    @property
    def of_images(self) -> bool:
        return len(self.run.facts["shape"]) == 3

    @property
    def part(self) -> int:
        return max(1, min(_PART, _NUMBERS // math.prod(self.run.facts["shape"])))

    def noise(self, n: int, first: int = 0) -> Tensor:
        """z of the samples first, ..., first + n - 1: ``[n, *latent]``."""
        game = self.run.game
        z = game.noise(n, self.seed, first)
        return z if self.truncation is None else truncated(z, self.truncation, game.prior)

    def labels_of(self, n: int, first: int = 0) -> Tensor | None:
        """y of the same samples, int64 ``[n]``; None where the run is not conditional."""
        if not self.labels:
            return None
        return torch.tensor(self.labels)[torch.arange(first, first + n) % len(self.labels)]

    def parts(self, n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """`n` samples x ``[m, *shape]``, as G gives them, and their labels y ``[m]``, part by part."""
        for first in range(0, n, self.part):
            some = min(self.part, n - first)
            y = self.labels_of(some, first)
            yield self.run.game.generate(self.noise(some, first), self.live, y), y

    def shown(self, n: int) -> Tensor:
        """`n` samples to look at: uint8 ``[n, C, H, W]``, or float32 ``[n, d]``."""
        return torch.cat([self._seen(x) for x, _ in self.parts(n)])

    def _seen(self, x: Tensor) -> Tensor:
        x = x.float().cpu()
        return to_bytes(x, *self.run.facts["range"]) if self.of_images else x.flatten(1)

    def picture(self, n: int, columns: int | None = None) -> Image:
        """A grid of images, with a column for each class unless `columns` are given; or a cloud of points."""
        x = self.shown(n).numpy()
        return pictures.tiles(x, columns or self.columns(n)) if self.of_images else pictures.cloud(x)

    def columns(self, n: int) -> int:
        return pictures.columns_for(n, len(self.labels))

    # on the way from one sample to another --------------------------------------------------------------

    def path(self, points: int, times: Tensor) -> Tensor:
        """A closed path through the first samples, at `times` in [0, 1] of each leg.

        Returns what is seen there, ``[points, T, classes, *shape]``, with an axis of 1 where there are no
        classes: leg i goes from sample i to the next, and the last one back to the first. The way is a great
        circle for the normal prior (`slerp`), a line for any other.
        """
        z = self.noise(points)
        between = slerp if self.run.game.prior is normal else lerp
        way = between(z, z.roll(-1, dims=0), times).flatten(0, 1)
        labels = self.labels or (None,)
        seen = [self._along(way, label) for label in labels]
        return torch.stack(seen, dim=1).unflatten(0, (points, len(times)))

    def _along(self, way: Tensor, label: int | None) -> Tensor:
        seen: list[Tensor] = []
        for z in way.split(self.part):
            y = None if label is None else torch.full((len(z),), label)
            seen.append(self._seen(self.run.game.generate(z, self.live, y)))
        return torch.cat(seen)

    def strip(self, points: int, frames: int) -> Image:
        """A row for each leg and class, from sample to sample; of points, the path over 2,500 samples."""
        x = self.path(points, torch.linspace(0, 1, frames, dtype=torch.float64))
        if not self.of_images:
            return pictures.cloud(x.flatten(0, 2).numpy(), self.shown(2500).numpy())
        return pictures.tiles(x.transpose(1, 2).flatten(0, 2).numpy(), frames)

    def film(self, points: int, frames: int) -> Iterator[Image]:
        """The path in `frames` pictures for each leg, classes side by side; SamplingError for points."""
        if not self.of_images:
            raise SamplingError(f"{self.run.path} makes points: a film is of images; give --out a .png")
        x = self.path(points, torch.arange(frames, dtype=torch.float64) / frames).flatten(0, 1)
        return (pictures.tiles(classes.numpy(), least=128) for classes in x)

    # beside the training data ---------------------------------------------------------------------------

    def neighbours(self, n: int, k: int) -> Neighbours:
        """The `k` nearest training examples of `n` samples, and how near real data come to them.

        The data are read as the recipe names them, once, batch by batch. Raises SamplingError where they
        cannot be had, or have no end.
        """
        train = self._data()
        held_out = train.split("test") if "test" in train.splits else None
        which, skip = "held-out real examples", 0
        if held_out is None:
            held_out, which, skip = train, "training examples among themselves", 1  # the nearest is itself
        if len(train) < k + skip:
            raise SamplingError(f"--nearest {k}: there are {len(train)} training examples")
        samples, mirrored = self.shown(n), self.of_images and mirrors(self.run.recipe)
        real = next(self._examples(held_out, max(100, min(_HELD_OUT, 16 * _NUMBERS // samples[0].numel()))))
        distances, found = nearest(torch.cat([samples, real]), self._examples(train), k + skip, mirrored)
        unit = "grey levels" if self.of_images else "units of training"
        return Neighbours(
            samples, found[:n, :k], distances[:n, :k], distances[n:, skip], which, unit, mirrored
        )

    def _data(self) -> Any:
        """The source that the run was trained on."""
        try:
            source = recipes.build_source(self.run.recipe)
        except RecipeError as error:
            raise SamplingError(f"--nearest: the run's data cannot be had: {error}") from error
        if not hasattr(source, "__len__"):
            name = recipes.name_of(self.run.recipe.data)
            raise SamplingError(f"--nearest: {name} has new examples at every step: nothing can be copied")
        shapes = list(source.shape), list(self.run.facts["shape"])
        if shapes[0] != shapes[1]:
            raise SamplingError(f"--nearest: the run's data are {shapes[0]} each now, and were {shapes[1]}")
        return source

    def _examples(self, source: Any, rows: int | None = None) -> Iterator[Tensor]:
        """Every example of a finite source once, as it is seen, in batches."""
        rows = min(rows or max(1, 4 * _NUMBERS // math.prod(source.shape)), len(source))
        for step in range(-(-len(source) // rows)):
            yield self._seen(source.batch(step, rows)[0][: len(source) - step * rows])


@dataclass(frozen=True)
class Neighbours:
    """Samples beside the training examples that they are nearest to.

    samples: ``[n, *shape]``; found: ``[n, k, *shape]``, the nearest first; distances: ``[n, k]``, root mean
    squares over the numbers of an example, in `unit`. real: ``[m]``, the distances of real examples (`which`)
    to their nearest. mirrored: a distance is the smaller of those to an example and to its mirror image.
    """

    samples: Tensor
    found: Tensor
    distances: Tensor
    real: Tensor
    which: str
    unit: str
    mirrored: bool = False

    def picture(self, columns: int) -> Image:
        """Each sample with its nearest to its right, in a frame; or the samples over their nearest points."""
        samples, found = self.samples.numpy(), self.found.numpy()
        if samples.ndim != 4:
            return pictures.cloud(samples, found.reshape(-1, samples.shape[1]))
        return pictures.tiles(pictures.beside(samples, found), columns)

    def line(self) -> str:
        """How near the samples are, beside how near real data are."""
        made, real = (float(x.quantile(0.5)) for x in (self.distances[:, 0], self.real))
        copies = int((self.distances[:, 0] == 0).sum())
        exact = "exact copies, mirrored or not" if self.mirrored else "exact copies"
        return (
            f"distance to the nearest training example, median: {made:.3g} of samples, {real:.3g} of "
            f"{self.which} ({len(self.real)}), in {self.unit}; {exact}: {copies}"
        )


def mirrors(recipe: Recipe) -> bool:
    """Whether the players see images mirrored too: the data or an augmentation of D has ``flip: true``."""
    return any(
        path.endswith(".flip") and value is True for path, value in recipes.leaves(recipes.resolved(recipe))
    )


def nearest(x: Tensor, batches: Iterable[Tensor], k: int, mirrored: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest of what the batches hold: distances ``[n, k]``, ascending, and examples ``[n, k, ...]``.

    x is ``[n, ...]`` and a batch ``[m, ...]``, of one type. A distance is the root of the mean square of the
    differences: 0 for a copy, exactly. No more than a batch is held at a time. mirrored: the distance to an
    image is the smaller of those to it and to its mirror image; the image is given as it is in the batch.

    >>> data = torch.tensor([[0.0, 0.0], [3.0, 3.0], [5.0, 5.0]])
    >>> distances, found = nearest(torch.tensor([[2.0, 2.0]]), iter(data.split(2)), k=2)
    >>> distances.tolist(), found.tolist()
    ([[1.0, 2.0]], [[[3.0, 3.0], [0.0, 0.0]]])
    """
    queries = [q.flatten(1).float() for q in ([x, x.flip(-1)] if mirrored else [x])]
    best = queries[0].new_empty(len(x), 0)
    found = x.new_empty(len(x), 0, *x.shape[1:])
    for batch in batches:
        flat = batch.flatten(1).float()
        # but for |x|^2, alike for all
        squares = [torch.addmm(flat.square().sum(1), query, flat.T, alpha=-2) for query in queries]
        near = torch.stack(squares).amin(0).topk(min(k, len(batch)), largest=False)
        joined = torch.cat([best, near.values], dim=1)
        best, order = joined.topk(min(k, joined.shape[1]), largest=False)
        found = torch.cat([found, batch[near.indices]], dim=1)
        found = found[torch.arange(len(x))[:, None], order]
    exact = [
        torch.stack([(query - other).square().mean(1) for query in queries]).amin(0)
        for other in (examples.flatten(1).float() for examples in found.unbind(1))
    ]
    distances, order = torch.stack(exact, dim=1).sqrt().sort(dim=1)
    return distances, found[torch.arange(len(x))[:, None], order]


# files --------------------------------------------------------------------------------------------------


def write(sampler: Sampler, n: int, file: BinaryIO, form: str) -> None:
    """`n` samples as .npy, .npz or .csv, part by part, so that any number of them fits into memory.

    .npy holds the samples as `Run.kept` gives them; .npz the same as ``samples`` and, of a conditional run,
    ``labels``; .csv vectors, a row each under the names of their columns, with a last column ``class`` of a
    conditional run. Raises SamplingError for images as .csv.
    """
    {".npy": _write_npy, ".npz": _write_npz, ".csv": _write_csv}[form](sampler, n, file)


def _write_npy(sampler: Sampler, n: int, file: IO[bytes]) -> None:
    _write_array(file, n, (sampler.run.kept(x) for x, _ in sampler.parts(n)))


def _write_npz(sampler: Sampler, n: int, file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            _write_npy(sampler, n, entry)
        if sampler.labels:
            labels = (sampler.labels_of(min(2**16, n - i), i) for i in range(0, n, 2**16))
            with archive.open("labels.npy", "w", force_zip64=True) as entry:
                _write_array(entry, n, (y.numpy() for y in labels if y is not None))


def _write_array(file: IO[bytes], n: int, parts: Iterator[np.ndarray]) -> None:
    """The .npy form of the parts, `n` rows in all."""
    from numpy.lib import format as npy

    for i, part in enumerate(parts):
        if i == 0:
            form = {"descr": npy.dtype_to_descr(part.dtype), "fortran_order": False}
            npy.write_array_header_1_0(file, {**form, "shape": (n, *part.shape[1:])})
        file.write(part.tobytes())


def _write_csv(sampler: Sampler, n: int, file: BinaryIO) -> None:
    if sampler.of_images:
        raise SamplingError(f"{sampler.run.path} makes images: .csv is for vectors; give .npy, .npz or .png")
    first = 0
    sheets: list[Sheet] = []
    for x, y in sampler.parts(n):
        columns = sampler.run.columns
        sheet = _unnamed(sampler.run.kept(x)) if columns is None else columns.decode(x, first)
        sheets.append(sheet if y is None else Sheet({**sheet.columns, "class": y.numpy()}))
        first += len(x)
    write_sheets(sheets, file, ".csv", n)


def _unnamed(x: np.ndarray) -> Sheet:
    flat = x.reshape(len(x), -1)
    return Sheet({f"x{j}": flat[:, j] for j in range(flat.shape[1])})
