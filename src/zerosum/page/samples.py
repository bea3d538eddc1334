"""The pictures of a run: its samples over time beside real ones, walks through z, the nearest examples."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from zerosum.page.figure import spread

if TYPE_CHECKING:
    from torch import Tensor

    from zerosum.run.run import Run

__all__ = ["Image", "Nearest", "Neighbour", "Walks", "encode", "nearest", "png", "real", "thinned", "walks"]

PICTURES = 40  # sample grids in a page, at most
BUDGET = 3_000_000  # bytes of sample grids, at most
HEAVY = 150_000  # bytes of a picture above which it is compressed
SIDE = 1000  # pixels that a small picture is enlarged to, and a heavy one is made smaller to
SEARCHED = 2**30  # numbers of training data searched for neighbours, at most


@dataclass(frozen=True)
class Image:
    """An encoded picture and the size to show it at: small ones are enlarged by whole factors."""

    data: bytes
    kind: str
    width: int
    height: int
    zoom: int = 1

    @property
    def uri(self) -> str:
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def png(data: bytes) -> Image | None:
    """The picture of a PNG file; None for anything else, which no other decoder is tried on."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(BytesIO(data), formats=("PNG",)) as picture:
            picture.load()
            return encode(picture, data)
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):  # so Pillow calls a broken file
        return None


def encode(picture: Any, data: bytes | None = None, side: int = SIDE) -> Image:
    """A picture as a PNG, or made smaller where that is heavy. data: the PNG that it is from."""
    if data is None:
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        data = buffer.getvalue()
    if len(data) <= HEAVY:
        zoom = max(1, side // max(picture.size))
        return Image(data, "png", picture.width * zoom, picture.height * zoom, zoom)
    small, buffer = picture.convert("RGB"), BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(buffer, "JPEG", quality=85)
    return Image(buffer.getvalue(), "jpeg", small.width, small.height)


def thinned(pictures: Sequence[tuple[int, Image]]) -> list[tuple[int, Image]]:
    """As many of (step, picture) as a page can hold, the first and the last among them."""
    chosen = spread(pictures, PICTURES)
    while len(chosen) > 2 and sum(len(image.data) for _, image in chosen) > BUDGET:
        chosen = spread(chosen, max(2, len(chosen) * 2 // 3))
    return chosen


def grid(pixels: Tensor, columns: int, side: int = SIDE) -> Image:
    """Images uint8 ``[N, C, H, W]`` side by side."""
    from zerosum.pictures import tiles

    rows = -(-len(pixels) // columns)
    return encode(tiles(pixels.numpy(), columns, 40 * max(rows, columns)), side=side)


def real(run: Run, source: Any, n: int = 64) -> Image | None:
    """Real examples of the run's data, laid out as its samples are; None where the run makes no images."""
    from zerosum.pictures import columns_for

    if len(run.data.shape) != 3:
        return None
    n = min(n, len(source)) if hasattr(source, "__len__") else n
    return grid(run.data.codec.view(source.batch(0, n)[0]), columns_for(n))


@dataclass(frozen=True)
class Walks:
    """Rows of images from one sample to another. classes: of the rows, where they have any."""

    image: Image
    rows: int
    columns: int
    great_circle: bool
    classes: list[str]


def walks(run: Run, rows: int = 5, columns: int = 9) -> Walks:
    """Walks through z between samples, each within one class, by the newest checkpoint."""
    import torch

    from zerosum.game import normal
    from zerosum.sampling import lerp, slerp

    game, names = run.game, run.data.class_names
    ends = game.noise(2 * rows, seed=1)
    path = slerp if game.prior is normal else lerp
    steps = torch.linspace(0, 1, columns, dtype=ends.dtype, device=ends.device)
    z = path(ends[:rows], ends[rows:], steps).flatten(0, 1)
    labels = [i * game.classes // rows for i in range(rows)] if game.classes else []
    y = torch.tensor(labels).repeat_interleave(columns) if labels else None
    shown = run.data.codec.view(game.generate(z, y=y))
    called = [names[label] if names else str(label) for label in labels]
    return Walks(grid(shown, columns), rows, columns, game.prior is normal, called)


@dataclass(frozen=True)
class Neighbour:
    """A sample beside its nearest training examples, with their distances."""

    sample: Image
    examples: Image
    distances: list[float]


@dataclass(frozen=True)
class Nearest:
    """typical: the median distance of samples; real: that of real examples, which are `which`."""

    neighbours: list[Neighbour]
    typical: float
    real: float
    which: str
    unit: str


def nearest(run: Run, source: Any, n: int = 12, k: int = 3) -> Nearest:
    """Samples beside the training examples that are nearest to them. Raises SamplingError where that cannot
    be said."""
    from zerosum.sampling import Generator, Sampler, SamplingError, neighbours

    size = len(source) * math.prod(source.shape) if hasattr(source, "__len__") else 0
    if size > SEARCHED:
        raise SamplingError(
            f"there are too many to look through here: `zerosum sample {run.path} --nearest {k}`"
        )
    G = Generator.of(run)
    answer = neighbours(Sampler(G), source, n, k, G.mirrored)
    cards = [
        Neighbour(grid(one[None], 1, 160), grid(near, k, 480), distances)
        for one, near, distances in zip(
            answer.samples, answer.nearest, answer.distances.tolist(), strict=True
        )
    ]
    typical, usual = (float(d.median()) for d in (answer.distances[:, 0], answer.real))
    return Nearest(cards, typical, usual, answer.which, answer.unit)
