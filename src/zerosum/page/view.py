"""What a game looks like at a moment, as numbers that a page draws.

Of points in the plane: real and generated ones, D over the plane beside the best D, where D pushes the
generated ones, and what G makes of a sheet of noise. Of points on the line: the two densities and D over x.
Of images: a grid of them.
"""

from __future__ import annotations

import base64
import math
from io import BytesIO
from typing import Any, Protocol

import torch
from torch import Tensor

from zerosum.data.densities import Density
from zerosum.game import Game
from zerosum.run.run import Run
from zerosum.theory import KernelDensity, bandwidth, optimal_discriminator

__all__ = ["View", "view"]

POINTS = 600  # of each kind, at most
SIDE = 40  # cells of the surface of D along a side
ARROWS = 80
LINES, ALONG = 11, 41  # of the sheet of noise: lines each way, and points on each
BEST_EVERY = 6  # frames between two estimates of the best D
SEED = 2**31  # of the noise and the real examples that are shown, which no turn plays


class View(Protocol):
    """How a kind of data is looked at."""

    def fakes(self, game: Game) -> Tensor:
        """What G makes of the noise that is shown."""
        ...

    def draw(self, game: Game, before: Tensor | None = None) -> dict[str, Any]:
        """The picture; before: fakes to be shown in place of what G makes now."""
        ...


def view(run: Run) -> View:
    """The view of a run's data."""
    shape = run.data.shape
    if len(shape) == 1 and shape[0] in (1, 2):
        return Points(run)
    return Grid(run)


class Points:
    """Points on the line or in the plane."""

    def __init__(self, run: Run) -> None:
        source = run.source
        n = min(POINTS, len(source)) if hasattr(source, "__len__") else POINTS
        self.real = source.batch(SEED, n)[0].double()
        self.density = source if isinstance(source, Density) else None
        self.z = run.game.noise(POINTS, SEED)
        self.sheet = _sheet(run.game)
        low, high = self.real.amin(0), self.real.amax(0)
        room = 0.25 * (high - low).clamp(min=1e-3)
        self.low, self.high = low - room, high + room
        axes = [
            torch.linspace(float(a), float(b), self._cells) for a, b in zip(self.low, self.high, strict=True)
        ]
        self.cells = torch.cartesian_prod(*axes).reshape(-1, len(axes)).double()
        self.frames, self.best = 0, dict[str, Any]()

    @property
    def _cells(self) -> int:
        return SIDE if self.real.shape[1] == 2 else 4 * SIDE

    def fakes(self, game: Game) -> Tensor:
        return game.generate(self.z, live=True).double().cpu()

    def draw(self, game: Game, before: Tensor | None = None) -> dict[str, Any]:
        fakes = self.fakes(game) if before is None else before
        D = _Judge(game, self.real, fakes)
        if self.frames % BEST_EVERY == 0 and before is None:
            self.best = self._best(fakes)
        self.frames += 1
        flat = self.real.shape[1] == 2
        return {
            "kind": "plane" if flat else "line",
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "real": self._places(self.real),
            "fake": self._places(fakes),
            "surface": _bytes(D(self.cells)),
            "centred": D.centred,
            "pair": [D.real, D.fake],
            "arrows": self._arrows(game, fakes[:ARROWS]) if flat else [],
            "sheet": self._places(self._made(game, self.sheet)) if flat and self.sheet is not None else [],
            "along": ALONG,
            **self.best,
        }

    def _places(self, x: Tensor) -> list[int]:
        """In thousandths of the frame, one coordinate after the other."""
        shares = (x - self.low) / (self.high - self.low) * 1000
        return shares.nan_to_num(-1e4).clamp(-1e4, 1e4).round().int().flatten().tolist()

    def _made(self, game: Game, z: Tensor) -> Tensor:
        return game.generate(z, live=True).double().cpu()

    def _arrows(self, game: Game, fakes: Tensor) -> list[int]:
        """-dL_G/dx of fakes, where each begins and ends; the typical one a twentieth of the frame long."""
        x = fakes.to(game.device, game.dtype).requires_grad_()
        D = game.D.network.eval()
        real = D(self.real[: len(x)].to(x)).detach() if game.objective.needs_real_logits else None
        n = len(x) if real is None else min(len(x), len(real))
        loss = game.objective.g(None if real is None else real[:n], D(x)[:n]).sum()
        (slope,) = torch.autograd.grad(loss, x)
        way = -slope.double().cpu()
        typical = float(way.norm(dim=1).median()) or 1.0
        length = 0.05 * float((self.high - self.low).max())
        ends = fakes + way / typical * length
        return self._places(torch.cat([fakes, ends], dim=1).reshape(-1, 2))

    def _best(self, fakes: Tensor) -> dict[str, Any]:
        """D* = p_data/(p_data + p_g) and the divergence, with p_g estimated from the fakes."""
        if self.density is None or not fakes.isfinite().all():
            return {"best": [], "jsd": None}
        try:
            q = KernelDensity(fakes, bandwidth(fakes))
        except ValueError:  # G gives the same few points again
            return {"best": [], "jsd": None}
        best = optimal_discriminator(self.density, q)
        halves = [best(self.real), 1 - best(fakes)]
        jsd = math.log(2) + sum(float(half.clamp(min=1e-12).log().mean()) for half in halves) / 2
        line = {} if self.real.shape[1] == 2 else {
            "p_data": self._density(self.density), "p_g": self._density(q)
        }  # fmt: skip
        return {"best": _bytes(best(self.cells)), "jsd": max(jsd, 0.0), **line}

    def _density(self, p: Any) -> list[float]:
        return [float(f"{y:.4g}") for y in p.log_prob(self.cells).exp().tolist()]


class _Judge:
    """D as a probability over x; of critics centred between what it says of real and of fake, on average."""

    def __init__(self, game: Game, real: Tensor, fake: Tensor) -> None:
        self.game = game
        a, b = self._logits(real), self._logits(fake)
        self.centred = game.objective.probability is None
        self.centre = float(a.mean() + b.mean()) / 2 if self.centred else 0.0
        self.real, self.fake = (_short(float(self._probability(x).mean())) for x in (a, b))

    def __call__(self, x: Tensor) -> Tensor:
        return self._probability(self._logits(x))

    @torch.no_grad()
    def _logits(self, x: Tensor) -> Tensor:
        network = self.game.D.network.eval()
        return network(x.to(self.game.device, self.game.dtype)).double().cpu()

    def _probability(self, logits: Tensor) -> Tensor:
        shape = torch.sigmoid if self.centred else self.game.objective.probability
        return shape(logits - self.centre) if shape else logits


class Grid:
    """A grid of images, or nothing to be seen of longer vectors."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def fakes(self, game: Game) -> Tensor:
        return torch.empty(0)

    def draw(self, game: Game, before: Tensor | None = None) -> dict[str, Any]:
        if len(self.run.data.shape) != 3:
            return {"kind": "none"}
        buffer = BytesIO()
        self.run.draw(36, live=True).save(buffer, "PNG", compress_level=1)
        return {
            "kind": "images",
            "image": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
        }


def _sheet(game: Game) -> Tensor | None:
    """Lines of a square of noise, one way and the other: of the first two coordinates, the others 0."""
    latent = math.prod(game.latent)
    if latent < 2 or len(game.latent) != 1:
        return None
    across, along = torch.linspace(-1.7, 1.7, LINES), torch.linspace(-1.7, 1.7, ALONG)
    one = torch.cartesian_prod(across, along)
    z = torch.zeros(2 * len(one), latent)
    z[:, :2] = torch.cat([one, one.flip(1)])
    return z.to(game.device, game.dtype)


def _bytes(shares: Tensor) -> list[int]:
    return shares.clamp(0, 1).mul(255).nan_to_num(0).round().int().flatten().tolist()


def _short(x: float) -> float | None:
    return float(f"{x:.4g}") if math.isfinite(x) else None
