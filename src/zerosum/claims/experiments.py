"""The games that the rows are measured on: pure functions of the seed, each played once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from zerosum import data, networks, objectives, penalties, theory
from zerosum.data import Examples as Source
from zerosum.game import Game, Turn
from zerosum.objectives import Objective
from zerosum.optimizers import Factory, adam, sgd
from zerosum.randomness import key, seeded, stream
from zerosum.theory import NormalPrior, Quantity, pushforward

__all__ = [
    "DIRAC_RATE", "GAMES", "MEAN", "MOMENTS", "RATE", "STEPS", "WIDTHS", "Best", "Curve", "Draws", "Match",
    "Origin", "Point", "Rejected", "Slope", "Still", "Training", "Watched", "dirac_path", "dirac_theory",
    "drawn", "equal", "first_turns", "fixed_generator", "fixed_match", "flat", "logits_of_halfway",
    "rejected_fakes", "three_modes", "training", "undecided", "watch", "watched_at_the_best", "watched_match",
]  # fmt: skip

# Players and data -------------------------------------------------------------------------------------


class Still:
    """An optimizer that keeps the gradients, [P] of each step, and moves nothing; `moves` hears its name."""

    def __init__(self, parameters: Iterable[Tensor], name: str = "", moves: list[str] | None = None) -> None:
        self.parameters = list(parameters)
        self.name, self.moves = name, moves if moves is not None else []
        self.gradients: list[Tensor] = []

    def step(self) -> None:
        self.moves.append(self.name)
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None]))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None


class Curve(nn.Module):
    """G(z) = shift + scale (z + bend tanh(sharpness z)): one to one on the line, so p_g is known exactly."""

    def __init__(self, shift: float, scale: float, bend: float = 0.0, sharpness: float = 1.0) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.weights = nn.Parameter(torch.tensor([shift, scale, bend], dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        shift, scale, bend = self.weights
        return shift + scale * (z + bend * (self.sharpness * z).tanh())


class Best(nn.Module):
    """The optimal logit a*(x) as a player: scale a*(x) + tilt x + shift, at scale 1, tilt 0 and shift 0.

    Where only one density is zero a* is infinite; +-1000 stands for it, so that no gradient is 0 times inf.
    """

    def __init__(self, p: theory.Density, q: theory.Density) -> None:
        super().__init__()
        self.logit = theory.optimal_logit(p, q)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        scale, tilt, shift = self.weights
        return scale * self.logit(x.detach()).clamp(-1000, 1000) + tilt * x[:, 0] + shift


class Point(nn.Module):
    """The generator of Dirac-GAN: every z becomes theta."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    """The discriminator of Dirac-GAN, with the logit -psi x: theory's D is high on fakes, ours on real."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return -self.psi * x[:, 0]


@dataclass(frozen=True)
class Draws:
    """A source of real examples from any density on the line."""

    density: theory.Density
    seed: int
    shape: tuple[int, ...] = (1,)
    classes: int = 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return self.density.sample(n, stream(self.seed, step, "data")), None


class Origin:
    """The data of Dirac-GAN: a point at 0."""

    shape, classes = (1,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.zeros(n, 1), None


def three_modes(seed: int) -> data.GaussianMixture:
    """p_data of most rows: three Gaussians on the line."""
    return data.mixture([-2.0, 0.0, 2.0], std=0.4, weights=[3, 2, 3], seed=seed)


MEAN, STD = 0.5, 0.75


def equal(seed: int, mean: float = MEAN) -> tuple[data.GaussianMixture, Curve]:
    """A Gaussian, and the generator that makes N(MEAN, STD^2) of the prior."""
    return data.gaussian(mean=mean, std=STD, seed=seed), Curve(MEAN, STD)


def fixed_generator(seed: int) -> Curve:
    """A generator that covers the three modes with one, so that D* has three humps; the seed bends it."""
    shift, scale, bend = torch.rand(3, generator=stream(seed, "fixed generator")).tolist()
    return Curve(0.2 * shift - 0.1, 0.75 + 0.1 * scale, 0.4 + 0.2 * bend)


def drawn(make: Callable[[], nn.Module], *path: int | str) -> nn.Module:
    """A float64 network whose initial weights follow from the path."""
    with seeded(key(*path)):
        return make().double()


def undecided(D: nn.Module) -> nn.Module:
    """The same network with a last layer of zeros, so that D = 1/2 everywhere."""
    D = deepcopy(D)
    for last in list(D.parameters())[-2:]:
        nn.init.zeros_(last)
    return D


@dataclass(frozen=True)
class Watched:
    """Turns between players that stood still, and the gradients of each: [turns, P]."""

    turns: list[Turn]
    g: Tensor
    d: Tensor

    @property
    def d_losses(self) -> Tensor:
        return torch.stack([turn.d_loss for turn in self.turns])


def watch(
    G: nn.Module,
    D: nn.Module,
    objective: Objective,
    source: Source,
    seed: int,
    turns: int = 100,
    **settings: Any,
) -> Watched:
    """A game whose players stand still: with the same seed, the same examples and noise for any D."""
    still: dict[str, Any] = {
        "latent": 1,
        "batch": 1024,
        "ema": None,
        "optimizers": (Still, Still),
        "seed": seed,
    }
    play = Game(G, D, objective, **{**still, **settings})
    seen = list(play.play(source, turns))
    g, d = (torch.stack(player.optimizer.gradients) for player in (play.G, play.D))
    return Watched(seen, g, d)


# Experiments that several rows share: pure functions of the seed, played once -----------------------------

WIDTHS = (1, 2, 32)
STEPS = (20, 200, 2000)


@dataclass(frozen=True)
class Match:
    """Discriminators trained against one fixed generator.

    p, q: p_data and p_g. D: by (width, steps). x: a grid of the support [n, 1], where p_data and p_g together
    have all but 1 % of their mass.
    """

    p: data.GaussianMixture
    q: theory.Density
    G: Curve
    D: dict[tuple[int, int], nn.Module]
    x: Tensor

    def sup_error(self, width: int, steps: int) -> Quantity:
        """sup |D - D*| over the support; the error is what every second point of the grid would change."""
        best = theory.optimal_discriminator(self.p, self.q)(self.x)
        with torch.no_grad():
            gap = (torch.sigmoid(self.D[width, steps](self.x)) - best).abs()
        return Quantity(float(gap.max()), float(gap.max() - gap[::2].max()), f"grid of {len(gap):,} points")

    @property
    def halfway(self) -> nn.Module:
        """A discriminator that has learnt much, and not all."""
        return self.D[WIDTHS[-1], STEPS[1]]


@cache
def fixed_match(seed: int) -> Match:
    """D of three widths trained for three numbers of steps by Algorithm 1, G at learning rate 0."""
    p, G, k, school = three_modes(seed), fixed_generator(seed), 10, key(seed, "training")
    q = pushforward(G, NormalPrior(1))
    trained = dict[tuple[int, int], nn.Module]()
    for width in WIDTHS:
        D = drawn(partial(networks.mlp, (1,), (), width, 1, nn.Tanh), seed, "D", width)
        still = Game(
            G,
            D,
            objectives.minimax(),
            latent=1,
            ema=None,
            batch=512,
            k=k,
            seed=school,
            optimizers=(sgd(lr=0.0), adam(lr=0.02, betas=(0.9, 0.999))),
        )
        for turn in still.play(Draws(p, school), STEPS[-1] // k):
            if (turn.step + 1) * k in STEPS:
                trained[width, (turn.step + 1) * k] = deepcopy(D)
    both = torch.cat([p.sample(2**16).double(), q.sample(2**16, stream(seed, "support"))])
    low, high = both[:, 0].quantile(torch.tensor([0.005, 0.995], dtype=torch.float64)).tolist()
    return Match(p, q, G, trained, torch.linspace(low, high, 1001, dtype=torch.float64)[:, None])


def logits_of_halfway(seed: int) -> Callable[[Tensor], Tensor]:
    """The half-trained D, without a graph."""
    return torch.no_grad()(fixed_match(seed).halfway)


@cache
def watched_match(seed: int) -> Watched:
    """The fixed generator against the discriminator that is half trained."""
    match = fixed_match(seed)
    return watch(match.G, match.halfway, objectives.nonsaturating(), match.p, seed)


@cache
def watched_at_the_best(seed: int) -> Watched:
    """The same examples and noise, judged by D*."""
    match = fixed_match(seed)
    return watch(match.G, Best(match.p, match.q), objectives.nonsaturating(), match.p, seed)


@dataclass(frozen=True)
class Rejected:
    """A real game soon after its start, when D rejects the fakes: the players, and what moves G by each loss.

    history: the fake logits of every turn up to here, [n].
    """

    G: nn.Module
    D: nn.Module
    history: Tensor
    minimax: Watched
    nonsaturating: Watched

    @property
    def logits(self) -> Tensor:
        """Of the fakes, [n]: the same under both losses."""
        return torch.cat([turn.fake_logits for turn in self.minimax.turns])


@cache
def rejected_fakes(seed: int) -> Rejected:
    """25 turns of the minimax game on the digits, then both losses at the point that it has come to."""
    digits = data.digits(seed=seed)
    G = drawn(partial(networks.mlp, (1,), digits.shape, 32, 2, nn.Tanh), seed, "digits G")
    D = drawn(partial(networks.mlp, digits.shape, (), 64, 2, nn.SiLU), seed, "digits D")
    start = Game(G, D, objectives.minimax(), latent=1, ema=None, lr=(2e-4, 5e-3), seed=key(seed, "start"))
    history = torch.cat([turn.fake_logits for turn in start.play(digits, 25)])
    seen = [watch(G, D, f(), digits, seed) for f in (objectives.minimax, objectives.nonsaturating)]
    return Rejected(G, D, history, *seen)


@dataclass(frozen=True)
class Training:
    """Both players trained: V of each turn, and at some turns G, p_g and its JSD from p_data."""

    p: theory.Density
    values: list[float]
    generators: dict[int, nn.Module]
    densities: dict[int, theory.Density]
    jsd: dict[int, Quantity]


MOMENTS = (0, 10, 30, 100, 300, 1000)


@cache
def training(seed: int) -> Training:
    """The non-saturating game with R1, whose data some weights of G make exactly: two modes on the line."""
    p = pushforward(Curve(shift=0.3, scale=0.6, bend=1.5, sharpness=3.0), NormalPrior(1))
    G = Curve(shift=-0.5, scale=1.0, sharpness=3.0)
    D = drawn(partial(networks.mlp, (1,), (), 32, 1, nn.Tanh), seed, "D")
    both = Game(
        G,
        D,
        objectives.nonsaturating(),
        [penalties.r1(0.1)],
        latent=1,
        ema=None,
        lr=(0.01, 0.01),
        seed=key(seed, "training"),
    )
    generators, values = dict[int, nn.Module]({0: deepcopy(G)}), list[float]()
    for turn in both.play(Draws(p, key(seed, "training")), MOMENTS[-1]):
        values.append(-float(turn.d_loss))
        if turn.step + 1 in MOMENTS:
            generators[turn.step + 1] = deepcopy(G)
    densities = {step: pushforward(G, NormalPrior(1)) for step, G in generators.items()}
    jsd = {step: theory.jsd(p, q) for step, q in densities.items()}
    return Training(p, values, generators, densities, jsd)


RATE, GAMES = 0.05, 100


@cache
def first_turns(seed: int) -> tuple[Tensor, list[nn.Module]]:
    """One turn of many games by SGD, from one start: how D moved [games, P]; of others, the G that moved."""
    before = flat(fixed_match(seed).halfway)
    moves = [flat(_after_a_turn(seed, i, d=sgd(RATE))[1]) - before for i in range(GAMES)]
    return torch.stack(moves), [_after_a_turn(seed, i, g=sgd(RATE))[0] for i in range(GAMES)]


def _after_a_turn(seed: int, i: int, g: Factory = Still, d: Factory = Still) -> tuple[nn.Module, nn.Module]:
    """G and D of the fixed match after game i of one turn, on examples and noise of its own."""
    match, fresh = fixed_match(seed), key(seed, "first turn", i)
    G, D = deepcopy(match.G), deepcopy(match.halfway)
    one = Game(
        G,
        D,
        objectives.nonsaturating(),
        latent=1,
        ema=None,
        batch=4096,
        optimizers=(g, d),
        seed=fresh,
    )
    next(one.play(Draws(match.p, fresh), 1))
    return G, D


def flat(network: nn.Module) -> Tensor:
    """All weights of a network as one vector, [P]."""
    return nn.utils.parameters_to_vector(network.parameters()).detach()


DIRAC_RATE = 0.2


def dirac_path(start: tuple[float, float], turns: int, weight: float = 0.0, at_once: bool = False) -> Tensor:
    """(theta, psi) of the game's minimax Dirac-GAN by SGD, with R1 of this weight: [turns + 1, 2]."""
    G, D = Point(start[0]), Slope(start[1])
    r1 = [penalties.r1(weight)] if weight else []
    play = Game(
        G,
        D,
        objectives.minimax(),
        r1,
        latent=1,
        batch=1,
        ema=None,
        simultaneous=at_once,
        optimizers=(sgd(DIRAC_RATE), sgd(DIRAC_RATE)),
    )
    path = [start, *((G.theta.item(), D.psi.item()) for _ in play.play(Origin(), turns))]
    return torch.tensor(path, dtype=torch.float64)


def dirac_theory(weight: float, at_once: bool) -> tuple[theory.Field, theory.Play]:
    """The field and the play that `dirac_path` should follow."""
    field = theory.gradient_penalty(theory.dirac_minimax, weight) if weight else theory.dirac_minimax
    return field, theory.simultaneous if at_once else theory.alternating()
