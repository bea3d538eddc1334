"""What a game looks like at a moment, as numbers that a page draws.

Of points in the plane: real and generated ones, D over the plane beside the best D, where D pushes the
generated ones, and what G makes of a sheet of noise. Of points on the line: the two densities and D over x.
Of images: a grid of them, a square of noise to be dragged through, the nearest training examples, and what D
takes most and least for real.
"""

from __future__ import annotations

import base64
import math
from io import BytesIO
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from zerosum import metrics
from zerosum.data.densities import Density
from zerosum.game import Game
from zerosum.pictures import tiles
from zerosum.run.run import Run
from zerosum.theory import KernelDensity, bandwidth

__all__ = ["View", "difference", "view"]

POINTS = 600  # of each kind, at most
KERNELS = 250  # of the generated points, from which p_g is estimated; the others are judged by it
SIDE = 40  # cells of the surface of D along a side
ARROWS = 80
LINES, ALONG = 11, 41  # of the sheet of noise: lines each way, and points on each
RARELY = 6  # frames between two pictures of what takes long
SEED = 2**31  # of the noise and the real examples that are shown, which no turn plays
WALK = 9  # images along a side of the square of noise that is dragged through
RANKED, ENDS = 128, 8  # images that D ranks, and those shown of either end
SEARCHED = 2048  # training examples among which the nearest are looked for
PIXELS = 360  # a picture's longer side, about


class View(Protocol):
    """How a kind of data is looked at."""

    def fakes(self, game: Game) -> Tensor:
        """What G makes of the noise that is shown."""
        ...

    def draw(self, game: Game, before: Tensor | None = None, fresh: bool = False) -> dict[str, Any]:
        """The picture. before: fakes to be shown in place of what G makes now. fresh: also what takes long,
        and may else be of some frames ago."""
        ...


def view(run: Run) -> View:
    """The view of a run's data."""
    shape = run.data.shape
    if len(shape) == 1 and shape[0] in (1, 2):
        return Points(run)
    return Images(run) if len(shape) == 3 else Vectors()


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What must be said of a frame to who knows the one before: what has gone is None."""
    gone = dict.fromkeys(before.keys() - after.keys())
    return gone | {name: value for name, value in after.items() if before.get(name, gone) != value}


class Vectors:
    """Vectors that are not looked at one by one."""

    def fakes(self, game: Game) -> Tensor:
        return torch.empty(0)

    def draw(self, game: Game, before: Tensor | None = None, fresh: bool = False) -> dict[str, Any]:
        return {"kind": "none"}


class Points:
    """Points on the line or in the plane."""

    def __init__(self, run: Run) -> None:
        source = run.source
        n = min(POINTS, len(source)) if hasattr(source, "__len__") else POINTS
        real, labels = source.batch(SEED, n)
        self.real, self.labels = real.double(), labels if run.game.conditional else None
        self.density = source if isinstance(source, Density) else None
        self.z, self.y = run.game.noise(POINTS, SEED), run.game.conditions(POINTS, SEED)
        self.sheet = _sheet(run.game)
        seen = torch.cat([self.real, self.fakes(run.game)])
        low, high = seen.amin(0), seen.amax(0)
        room = 0.25 * (high - low).clamp(min=1e-3)
        self.low, self.high = low - room, high + room
        if players := _players(run.game):  # which may go round
            reach = 1.2 * math.hypot(*(x or 0.0 for x in players))
            self.low, self.high = low.clamp(max=-reach), high.clamp(min=reach)
        axes = [
            torch.linspace(float(a), float(b), self._cells) for a, b in zip(self.low, self.high, strict=True)
        ]
        self.cells = torch.cartesian_prod(*axes).reshape(-1, len(axes)).double()
        self.frames, self.best = 0, dict[str, Any]()
        self.log_p = (
            None if self.density is None else [self.density.log_prob(x) for x in (self.cells, self.real)]
        )
        others = self._divergence(source.batch(SEED + 1, POINTS)[0].double()) if self.density else None
        self.floor = others[0] if others else 0.0

    @property
    def _cells(self) -> int:
        return SIDE if self.real.shape[1] == 2 else 4 * SIDE

    def fakes(self, game: Game) -> Tensor:
        return game.generate(self.z, live=True, y=self.y).detach().double().cpu()

    def draw(self, game: Game, before: Tensor | None = None, fresh: bool = False) -> dict[str, Any]:
        fakes = self.fakes(game) if before is None else before
        D = _Judge(game, (self.real, self.labels), (fakes, self.y))
        if before is None and (fresh or self.frames % RARELY == 0):
            self.best = self._best(fakes)
        self.frames += 1
        flat = self.real.shape[1] == 2
        return {
            "kind": "plane" if flat else "line",
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "real": self._places(self.real),
            "fake": self._places(fakes),
            "surface": self._shares(D(self.cells) if self.y is None else self.cells[:0]),  # a place has no y
            "centred": D.centred,
            "pair": [D.real, D.fake],
            "players": _players(game),
            "arrows": self._arrows(game, fakes[:ARROWS]) if flat else [],
            "sheet": self._folded(game) if flat else [],
            "along": ALONG,
            **{name: value for name, value in self.best.items() if name != "numbers"},
            "numbers": {**D.numbers, **self._modes(fakes), **self.best.get("numbers", {})},
        }

    def _shares(self, shares: Tensor) -> str | list[float]:
        """Of the plane as bytes, in base64."""
        if self.real.shape[1] == 2:
            return _bytes(shares)
        return [round(x, 4) for x in shares.clamp(0, 1).nan_to_num(0).flatten().tolist()]

    def _places(self, x: Tensor) -> list[int]:
        """In thousandths of the frame, one coordinate after the other."""
        shares = (x - self.low) / (self.high - self.low) * 1000
        return shares.nan_to_num(-1e4).clamp(-1e4, 1e4).round().int().flatten().tolist()

    def _folded(self, game: Game) -> list[int]:
        """What G makes of the sheet of noise, all of it of one class where there are any."""
        if self.sheet is None:
            return []
        y = None if self.y is None else self.y[:1].expand(len(self.sheet))
        return self._places(game.generate(self.sheet, live=True, y=y).double().cpu())

    def _arrows(self, game: Game, fakes: Tensor) -> list[int]:
        """-dL_G/dx of fakes, where each begins and ends; the typical one a twentieth of the frame long."""
        x = fakes.to(game.device, game.dtype).requires_grad_()
        needed = game.objective.needs_real_logits
        real = _logits(game, self.real[: len(x)], self.labels).detach() if needed else None
        n = len(x) if real is None else min(len(x), len(real))
        fake = _logits(game, x[:n], self.y)
        loss = game.objective.g(None if real is None else real[:n], fake).sum()
        (slope,) = torch.autograd.grad(loss, x)
        way = -slope.double().cpu()
        typical = float(way.norm(dim=1).median()) or 1.0
        length = 0.05 * float((self.high - self.low).max())
        ends = fakes + way / typical * length
        return self._places(torch.cat([fakes, ends], dim=1).reshape(-1, 2))

    def _modes(self, fakes: Tensor) -> dict[str, Any]:
        """How many modes of a mixture have a twentieth of their share of the generated points."""
        if self.density is None or not len(self.density.modes):
            return {}
        modes = self.density.modes.double()
        near = torch.cdist(fakes.nan_to_num(1e9), modes) < 3 * self.density.std
        return {"modes": int((near.sum(0) > 0.05 * len(fakes) / len(modes)).sum()), "modes_of": len(modes)}

    def _best(self, fakes: Tensor) -> dict[str, Any]:
        """D* = p_data/(p_data + p_g) and the divergence, with p_g estimated from the fakes; D* fades where
        neither has mass."""
        found = self._divergence(fakes)
        if found is None or self.log_p is None:
            return {"best": "", "numbers": {"jsd": None, "best_value": None}}
        (jsd, error, log_q), log_p = found, self.log_p[0]
        mass = torch.logaddexp(log_p, log_q)
        strength = (mass - mass.max() + math.log(30)).exp().clamp(max=1)
        shown = 0.5 + (torch.sigmoid(log_p - log_q) - 0.5) * strength
        line = {} if self.real.shape[1] == 2 else {
            "p_data": _densities(log_p), "p_g": _densities(log_q)
        }  # fmt: skip
        numbers = {"jsd": jsd, "jsd_error": error, "best_value": 2 * jsd - math.log(4)}
        numbers = {name: _short(x) for name, x in {**numbers, "floor": self.floor}.items()}
        return {"best": self._shares(shown), "numbers": numbers, **line}

    def _divergence(self, fakes: Tensor) -> tuple[float, float, Tensor] | None:
        """JSD(p_data, p_g), with half of its 95 % interval, and log p_g over the cells.

        p_g is estimated from a part of the fakes, and judged by the others: so it is a lower bound, on
        average. None where p_g cannot be estimated.
        """
        if self.density is None or self.log_p is None or not fakes.isfinite().all():
            return None
        kernels, others = fakes[:KERNELS], fakes[KERNELS:]
        try:
            q = _Kernels(kernels)
        except ValueError:  # G gives the same few points again
            return None
        of_real = logsigmoid(self.log_p[1] - q.log_prob(self.real))
        of_fake = logsigmoid(q.log_prob(others) - self.density.log_prob(others))
        jsd = math.log(2) + float(of_real.mean() + of_fake.mean()) / 2
        variance = sum(float(half.var()) / len(half) for half in (of_real, of_fake)) / 4
        return max(jsd, 0.0), 1.96 * math.sqrt(variance), q.log_prob(self.cells)


class _Kernels:
    """A kernel density with a tenth of its mass four times as wide, for points that lie apart."""

    def __init__(self, points: Tensor) -> None:
        h = bandwidth(points)
        self.parts = [(0.9, KernelDensity(points, h)), (0.1, KernelDensity(points, 4 * h))]

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.stack([math.log(share) + part.log_prob(x) for share, part in self.parts]).logsumexp(0)


def _logits(game: Game, x: Tensor, y: Tensor | None) -> Tensor:
    """What D says of x, in a conditional game with the first of y."""
    D, x = game.D.network.eval(), x.to(game.device, game.dtype)
    return D(x) if y is None else D(x, y[: len(x)].to(game.device))


class _Judge:
    """D as a probability over x; of critics centred between what it says of real and of fake, on average.

    real, fake: points, and in a conditional game what belongs to each.
    """

    def __init__(
        self, game: Game, real: tuple[Tensor, Tensor | None], fake: tuple[Tensor, Tensor | None]
    ) -> None:
        self.game = game
        a, b = self._logits(*real), self._logits(*fake)
        self.centred = game.objective.probability is None
        self.centre = float(a.mean() + b.mean()) / 2 if self.centred else 0.0
        p, q = (self._probability(x) for x in (a, b))
        self.real, self.fake = _short(float(p.mean())), _short(float(q.mean()))
        self.numbers: dict[str, Any] = {"d_real": self.real, "d_fake": self.fake, **self._losses(a, b, p, q)}

    def __call__(self, x: Tensor) -> Tensor:
        return self._probability(self._logits(x))

    @torch.no_grad()
    def _logits(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return _logits(self.game, x, y).double().cpu()

    def _probability(self, logits: Tensor) -> Tensor:
        shape = torch.sigmoid if self.centred else self.game.objective.probability
        return shape(logits - self.centre) if shape else logits

    def _losses(self, a: Tensor, b: Tensor, p: Tensor, q: Tensor) -> dict[str, Any]:
        """V, the losses, and what either loss of 2014 gives a generated point in the logit, on average."""
        n = min(len(a), len(b))
        objective = self.game.objective
        losses = {"d_loss": objective.d(a[:n], b[:n]).mean(), "g_loss": objective.g(a[:n], b[:n]).mean()}
        if not self.centred:
            floor = 1e-43
            losses["value"] = p.clamp(min=floor).log().mean() + (1 - q).clamp(min=floor).log().mean()
            losses |= {"slope_minimax": q.mean(), "slope_nonsaturating": (1 - q).mean()}
        return {name: _short(float(x)) for name, x in losses.items()}


class Images:
    """A grid of images, and a closer look at them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        game = run.game
        self.z = game.noise(RANKED, SEED)
        self.y = game.conditions(RANKED, SEED)
        self.walk = _square(game.noise(3, SEED + 1))
        n = min(SEARCHED, 2**24 // math.prod(run.data.shape))  # 64 MiB
        n = min(n, len(run.source)) if hasattr(run.source, "__len__") else n
        self.real = run.source.batch(SEED, n)[0]
        self.frames, self.rare = 0, dict[str, Any]()

    def fakes(self, game: Game) -> Tensor:
        return torch.empty(0)

    def draw(self, game: Game, before: Tensor | None = None, fresh: bool = False) -> dict[str, Any]:
        if fresh or self.frames % RARELY == 0:
            self.rare = self._closer(game)
        self.frames += 1
        return {"kind": "images", "image": _png(self.run.draw(36, live=True)), **self.rare}

    def _closer(self, game: Game) -> dict[str, Any]:
        """A square of noise; what D ranks first and last; samples over their nearest training examples."""
        x = game.generate(self.z, y=self.y, live=True)
        y = None if self.y is None else self.y[:1].expand(len(self.walk), *self.y.shape[1:])
        walk = game.generate(self.walk, y=y, live=True)
        with torch.no_grad():
            rank = _logits(game, x, self.y).argsort(descending=True)
        samples = x[:ENDS].float().cpu()
        found = metrics.find_neighbours(samples.flatten(1), self.real.float().flatten(1), 1)
        pairs = torch.cat([samples, self.real[found.rows[:, 0]].float()])
        return {
            "walk": self._sheet(walk, WALK),
            "along": WALK,
            "most": self._sheet(x[rank[:ENDS]], ENDS),
            "least": self._sheet(x[rank[-ENDS:]], ENDS),
            "nearest": self._sheet(pairs, ENDS),
        }

    def _sheet(self, x: Tensor, columns: int) -> str:
        return _png(tiles(self.run.data.codec.view(x).numpy(), columns, PIXELS))


def _square(corners: Tensor) -> Tensor:
    """Noise over a square, a row after the other: z = cos(v)(cos(u) a + sin(u) b) + sin(v) c, which of a
    normal prior is as likely everywhere."""
    a, b, c = corners
    angle = torch.linspace(0, math.pi / 2, WALK, dtype=a.dtype, device=a.device).reshape(-1, *[1] * a.ndim)
    across = a * angle.cos() + b * angle.sin()
    rows = [across * v.cos() + c * v.sin() for v in angle]
    return torch.cat(rows)


def _png(picture: Any) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _players(game: Game) -> list[float | None] | None:
    """Where both players stand, if each is one number."""
    numbers = [list(player.network.parameters()) for player in (game.G, game.D)]
    if any(sum(p.numel() for p in parameters) != 1 for parameters in numbers):
        return None
    return [_short(parameters[0].item()) for parameters in numbers]


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


def _bytes(shares: Tensor) -> str:
    """Shares as bytes, in base64."""
    levels = shares.clamp(0, 1).mul(255).nan_to_num(0).round().to(torch.uint8).flatten()
    return base64.b64encode(levels.numpy().tobytes()).decode()


def _densities(log_density: Tensor) -> list[float]:
    return [float(f"{y:.4g}") for y in log_density.exp().tolist()]


def _short(x: float) -> float | None:
    return float(f"{x:.4g}") if math.isfinite(x) else None
