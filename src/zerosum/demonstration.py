r"""The theory of the game, shown on the engine that plays it: every claim predicted, measured and compared.

A `Row` is one claim. What is predicted comes from a closed form or from `zerosum.theory`; what is measured
comes from the games that `zerosum.game` plays, with the objectives of `zerosum.objectives`. The two agree if

.. math:: |measured - predicted| \le 3 (e_{measured} + e_{predicted}),

with e as a `theory.Quantity` states it: half of a 95 % interval, or the error of the numerical method. (At
once that error, one sound row in twenty would be refused; at three times, one in some hundred million.) And
since an error may be so large that everything agrees, a row also names answers that must *not* agree, the
slips that circulate above all: V = log 4, z drawn from the data, a generator that minimises log D(G(z)).

>>> row = value_at_equilibrium(seed=0)
>>> round(row.predicted.value, 5), row.agrees, row.fits(math.log(4))
(-1.38629, True, False)

Players that stand still (`Still`) make the turns of a game independent draws, so that their mean has an honest
interval. All games but the one that trains both players are played in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from zerosum import data, game, networks, objectives, penalties, theory
from zerosum.data import Source
from zerosum.game import Game, Turn
from zerosum.objectives import Objective
from zerosum.optimizers import adam, sgd
from zerosum.randomness import key, stream
from zerosum.theory import NormalPrior, Quantity, UniformPrior, pushforward

__all__ = ["MULTIPLE", "ROWS", "Row", "fixed_match", "rejected_fakes", "rows", "training"]

MULTIPLE = 3
"""How many times their stated errors a prediction and a measurement may differ."""

ROUNDING = 1e-12
"""What float64 may lose in the sums of one turn, whose terms are of order one."""


@dataclass(frozen=True)
class Row:
    """One claim about the game, predicted beside measured.

    topic: the row of the design's table that it belongs to. relation: measured is "=", "<" or ">" predicted,
    where "<" and ">" must hold by more than the errors. how: where the two numbers come from. wrong: answers
    by name that the measurement must tell from the right one.

    >>> half = Quantity(0.5, 0.01, "by hand")
    >>> Row("coins", "heads", half, half, "", {"always": 1.0}).agrees
    True
    """

    topic: str
    claim: str
    predicted: Quantity
    measured: Quantity
    how: str
    wrong: dict[str, float] = field(default_factory=dict)
    relation: str = "="

    def fits(self, prediction: Quantity | float) -> bool:
        """Whether the measurement stands in `relation` to a prediction, at `MULTIPLE` times the errors."""
        other = prediction if isinstance(prediction, Quantity) else exactly(prediction)
        gap = self.measured.value - other.value
        allowed = MULTIPLE * (self.measured.error + other.error)
        return {"=": abs(gap) <= allowed, "<": gap < -allowed, ">": gap > allowed}[self.relation]

    @property
    def agrees(self) -> bool:
        """Whether the prediction fits, and no wrong answer does."""
        return self.fits(self.predicted) and not any(self.fits(value) for value in self.wrong.values())

    def as_dict(self) -> dict[str, Any]:
        """The row as plain numbers and text, for JSON."""
        return {**asdict(self), "agrees": self.agrees}


def rows(seed: int = 0) -> Iterator[Row]:
    """Every row of `ROWS`, in order, as it is measured: some thirty seconds in all on two cores."""
    return (row(seed) for row in ROWS)


# Quantities -----------------------------------------------------------------------------------------------


def exactly(value: float) -> Quantity:
    """A number that is known in closed form."""
    return Quantity(value, 0.0, "closed form")


def largest(differences: Tensor) -> Quantity:
    """The largest of differences that only rounding should part from zero."""
    return Quantity(float(differences.abs().max()), ROUNDING, f"largest of {differences.numel():,}")


def mean(draws: Tensor) -> Quantity:
    """The mean of independent draws [n]; the error is 1.96 standard errors and rounding."""
    error = 1.96 * float(draws.std()) / math.sqrt(len(draws))
    return Quantity(float(draws.mean()), error + ROUNDING, f"mean of {len(draws)} turns")


def squared_norm(draws: Tensor) -> Quantity:
    """|E g|^2 from independent draws g [n, d], without bias: the mean of g . g' over disjoint pairs."""
    return mean((draws[0::2] * draws[1::2]).sum(1))


def along(draws: Tensor, direction: Tensor) -> Quantity:
    """E g . u for draws g [n, d], u the unit vector of a direction [d]."""
    return mean(draws @ direction / direction.norm())


def expectation(f: Callable[[Tensor], Tensor], density: theory.Density) -> Tensor:
    """E f(x) on the line, for f [n, 1] -> [n]: the trapezoid rule, exact to rounding for smooth f."""
    x = torch.linspace(-15, 15, 2**14 + 1, dtype=torch.float64)[:, None]
    return (density.log_prob(x).exp() * f(x)).sum() * float(x[1] - x[0])


# Players and material -------------------------------------------------------------------------------------


class Still:
    """An optimizer that keeps the gradients [turns, P] and moves nothing."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.gradients: list[Tensor] = []

    def step(self) -> None:
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None]))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None


class Curve(nn.Module):
    """G(z) = shift + scale (z + bend tanh z) on the line: one to one, so that p_g is known exactly."""

    def __init__(self, shift: float, scale: float, bend: float = 0.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([shift, scale, bend], dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        shift, scale, bend = self.weights
        return shift + scale * (z + bend * z.tanh())


class Best(nn.Module):
    """The optimal logit a*(x) as a player: scale a*(x) + tilt x + shift, at scale 1, tilt 0 and shift 0."""

    def __init__(self, p: theory.Density, q: theory.Density) -> None:
        super().__init__()
        self.logit = theory.optimal_logit(p, q)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        scale, tilt, shift = self.weights
        return scale * self.logit(x.detach()) + tilt * x[:, 0] + shift


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


def two_modes(seed: int) -> data.GaussianMixture:
    """p_data of most rows: two Gaussians on the line, of unequal weight."""
    return data.mixture([-1.5, 1.5], std=0.5, weights=[2, 3], seed=seed)


def fixed_generator(seed: int) -> Curve:
    """A generator that covers both modes and has neither; the seed bends it."""
    shift, scale, bend = torch.rand(3, generator=stream(seed, "fixed generator")).tolist()
    return Curve(0.4 * shift - 0.2, 0.9 + 0.2 * scale, 0.4 + 0.2 * bend)


def _drawn(make: Callable[[], nn.Module], *path: int | str) -> nn.Module:
    """A float64 network whose initial weights follow from the path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(*path))
        return make().double()


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
    G: nn.Module, D: nn.Module, objective: Objective, source: Source, seed: int, turns: int = 100, **settings: Any
) -> Watched:
    """A game whose players stand still: with the same seed, the same examples and noise for any D."""
    still = {"latent": 1, "batch": 512, "ema": None, "optimizers": (Still, Still), "seed": seed}
    play = Game(G, D, objective, **{**still, **settings})
    seen = list(play.play(source, turns))
    g, d = (torch.stack(player.optimizer.gradients) for player in (play.G, play.D))
    return Watched(seen, g, d)


# Experiments that several rows share: pure functions of the seed, played once --------------------------------

WIDTHS = (1, 2, 32)
STEPS = (20, 200, 2000)


@dataclass(frozen=True)
class Match:
    """Discriminators against one fixed generator: p, q, G, the trained D by (width, steps), the support's grid.

    The support is where p_data and p_g together have all but 1 % of their mass.
    """

    p: data.GaussianMixture
    q: theory.Density
    G: Curve
    D: dict[tuple[int, int], nn.Module]
    x: Tensor

    def sup_error(self, width: int, steps: int) -> float:
        """sup |D - D*| over the support."""
        best = theory.optimal_discriminator(self.p, self.q)(self.x)
        with torch.no_grad():
            return float((torch.sigmoid(self.D[width, steps](self.x)) - best).abs().max())

    @property
    def halfway(self) -> nn.Module:
        """A discriminator that has learnt much, and not all."""
        return self.D[WIDTHS[-1], STEPS[1]]


@cache
def fixed_match(seed: int) -> Match:
    """D of three widths trained for three numbers of steps by Algorithm 1, G at learning rate 0."""
    p, G, k = two_modes(seed), fixed_generator(seed), 10
    q = pushforward(G, NormalPrior(1))
    trained = dict[tuple[int, int], nn.Module]()
    for width in WIDTHS:
        D = _drawn(lambda width=width: networks.mlp((1,), (), width, 1, nn.Tanh), seed, "D", width)
        still = Game(
            G, D, objectives.minimax(), latent=1, ema=None, batch=512, k=k, seed=seed,
            optimizers=(sgd(lr=0.0), adam(lr=0.02, betas=(0.9, 0.999))),
        )  # fmt: skip
        for turn in still.play(p, STEPS[-1] // k):
            if (turn.step + 1) * k in STEPS:
                trained[width, (turn.step + 1) * k] = deepcopy(D)
    both = torch.cat([p.sample(2**16).double(), q.sample(2**16, stream(seed, "support"))])
    low, high = both[:, 0].quantile(torch.tensor([0.005, 0.995], dtype=torch.float64)).tolist()
    return Match(p, q, G, trained, torch.linspace(low, high, 1001, dtype=torch.float64)[:, None])


@cache
def _watched(seed: int) -> Watched:
    """The fixed generator against the discriminator that is half trained."""
    match = fixed_match(seed)
    return watch(match.G, match.halfway, objectives.nonsaturating(), match.p, seed)


@cache
def _watched_at_the_best(seed: int) -> Watched:
    """The same examples and noise, judged by D*."""
    match = fixed_match(seed)
    return watch(match.G, Best(match.p, match.q), objectives.nonsaturating(), match.p, seed)


@dataclass(frozen=True)
class Rejected:
    """A real game soon after its start, when D rejects the fakes: the players, and what moves G by loss."""

    G: nn.Module
    D: nn.Module
    minimax: Watched
    nonsaturating: Watched

    @property
    def logits(self) -> Tensor:
        """Of the fakes, [n]: the same under both losses."""
        return torch.cat([turn.fake_logits for turn in self.minimax.turns])


@cache
def rejected_fakes(seed: int) -> Rejected:
    """100 turns of the minimax game on the ring, then both losses at the point that it has come to."""
    ring = data.ring(seed=seed)
    G = _drawn(lambda: networks.mlp((1,), (2,), 32, 2, nn.Tanh), seed, "ring G")
    D = _drawn(lambda: networks.mlp((2,), (), 64, 2, nn.SiLU), seed, "ring D")
    start = Game(G, D, objectives.minimax(), latent=1, ema=None, lr=(1e-3, 1e-3), seed=seed)
    for _ in start.play(ring, 100):
        pass
    seen = [watch(G, D, f(), ring, seed + 1) for f in (objectives.minimax, objectives.nonsaturating)]
    return Rejected(G, D, *seen)


@dataclass(frozen=True)
class Training:
    """Both players trained: V of each turn, and at some turns p_g and its JSD from p_data."""

    p: data.GaussianMixture
    values: list[float]
    generators: dict[int, theory.Density]
    jsd: dict[int, Quantity]


@cache
def training(seed: int) -> Training:
    """Two modes on the line by the non-saturating game with R1; p_g by change of variables of the live G."""
    p = two_modes(seed)
    G = _drawn(lambda: networks.mlp((1,), (1,), 32, 2, nn.Tanh), seed, "G").float()
    D = _drawn(lambda: networks.mlp((1,), (), 32, 2, nn.Tanh), seed, "D").float()
    both = Game(
        G, D, objectives.nonsaturating(), [penalties.r1(0.05)], latent=1, ema=None, lr=(2e-3, 5e-3), seed=seed
    )  # fmt: skip
    looks = (0, 50, 150, 500, 1500)
    generators = {0: pushforward(G, NormalPrior(1))}
    values = list[float]()
    for turn in both.play(p, looks[-1]):
        values.append(-float(turn.d_loss))
        if turn.step + 1 in looks:
            generators[turn.step + 1] = pushforward(G, NormalPrior(1))
    return Training(p, values, generators, {step: _roughly_jsd(p, q) for step, q in generators.items()})


def _roughly_jsd(p: theory.Density, q: theory.Density) -> Quantity:
    return theory.jsd(p, q, lambda f, g, p, q: theory.quadrature(f, g, p, q, tolerance=1e-4))


# The value ------------------------------------------------------------------------------------------------


def value_of_a_game(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    return Row(
        "value", "V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))] is what the game's turns average",
        V, mean(-_watched(seed).d_losses),
        "quadrature over p_data and p_g; minus the mean d_loss of turns between players that stand still",
        {"-V": -V.value},
    )  # fmt: skip


def value_by_sampling(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    sampled = theory.value(
        match.halfway, match.p, match.q, lambda f, g, p, q: theory.monte_carlo(f, g, p, q, seed=seed)
    )
    return Row(
        "value", "V by quadrature is V by Monte Carlo", V, sampled,
        "quadrature over p_data and p_g; draws of both", {"-V": -V.value},
    )  # fmt: skip


def real_term(seed: int) -> Row:
    match, D = fixed_match(seed), match_logits(seed)
    logits = torch.stack([turn.real_logits for turn in _watched(seed).turns])
    return Row(
        "value", "the real term is E_x[log D(x)], x from the data",
        exactly(float(expectation(lambda x: logsigmoid(D(x)), match.p))), mean(logsigmoid(logits).mean(1)),
        "trapezoid rule over p_data; mean of log D over the real logits of the turns",
        {"E_z[log D(z)]": float(expectation(lambda z: logsigmoid(D(z)), NormalPrior(1)))},
    )  # fmt: skip


def fake_term(seed: int) -> Row:
    match, D = fixed_match(seed), match_logits(seed)

    def log_rejection(z: Tensor) -> Tensor:
        return logsigmoid(-D(match.G(z))).detach()

    logits = torch.stack([turn.fake_logits for turn in _watched(seed).turns])
    return Row(
        "value", "the fake term is E_z[log(1 - D(G(z)))], z from the prior p_z",
        exactly(float(expectation(log_rejection, NormalPrior(1)))), mean(logsigmoid(-logits).mean(1)),
        "trapezoid rule over p_z; mean of log(1 - D) over the fake logits of the turns",
        {"z from p_data": float(expectation(log_rejection, match.p))},
    )  # fmt: skip


def match_logits(seed: int) -> Callable[[Tensor], Tensor]:
    """The half-trained D, without a graph."""
    return torch.no_grad()(fixed_match(seed).halfway)


# The loss of D --------------------------------------------------------------------------------------------


def loss_is_minus_the_value(seed: int) -> Row:
    turns = _watched(seed).turns
    V = torch.stack(
        [t.real_logits.sigmoid().log().mean() + (1 - t.fake_logits.sigmoid()).log().mean() for t in turns]
    )
    losses = _watched(seed).d_losses
    return Row(
        "D loss", "L_D = -V on every minibatch", exactly(0.0), largest(losses + V),
        "largest |L_D + V|, with log and sigmoid written out on the logits of each turn",
        {"L_D = V": float((losses - V).abs().max())},
    )  # fmt: skip


def half_form(seed: int) -> Row:
    match = fixed_match(seed)
    V = theory.value(match.halfway, match.p, match.q)
    halved = watch(match.G, match.halfway, objectives.nonsaturating(d_weight=0.5), match.p, seed)
    return Row(
        "D loss", "d_weight = 0.5 is the form that halves it: -V/2",
        Quantity(-V.value / 2, V.error / 2, V.method), mean(halved.d_losses),
        "quadrature; mean d_loss of a game with nonsaturating(d_weight=0.5)", {"-V": -V.value},
    )  # fmt: skip


def loss_is_cross_entropy(seed: int) -> Row:
    real, fake = _logits(seed)
    loss, ones, zeros = objectives.minimax().d(real, fake), torch.ones_like(real), torch.zeros_like(fake)

    def difference(real_label: Tensor, fake_label: Tensor) -> Tensor:
        labelled = [(real, real_label), (fake, fake_label)]
        return loss - sum(cross_entropy(a, y, reduction="none") for a, y in labelled)

    return Row(
        "D loss", "per example it is BCEWithLogits, label 1 for real and 0 for fake", exactly(0.0),
        largest(difference(ones, zeros)), "largest difference from torch's cross entropy, over the turns' logits",
        {"labels swapped": float(difference(zeros, ones).abs().max())},
    )  # fmt: skip


def _logits(seed: int) -> tuple[Tensor, Tensor]:
    """All real and all fake logits of the watched turns: [n], [n]."""
    turns = _watched(seed).turns
    return torch.cat([t.real_logits for t in turns]), torch.cat([t.fake_logits for t in turns])


# The two losses of G ----------------------------------------------------------------------------------------


def logit_gradient(objective: Objective, logits: Tensor) -> Tensor:
    """d L_G / d a of each fake, by autograd: [n] -> [n]."""
    a = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.g(None, a).sum(), a)
    return gradient


def _weighted_gradient(G: nn.Module, D: nn.Module, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """E_z[weight(a) d a(G(z)) / d theta_g], [P], by the trapezoid rule over z."""

    def integrand(z: Tensor) -> Tensor:
        logits = D(G(z))
        return weight(logits.detach()) * logits

    gradients = torch.autograd.grad(expectation(integrand, NormalPrior(1)), list(G.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def minimax_slope(a: Tensor) -> Tensor:
    """-D(G(z)): what the minimax loss of G has for a gradient in the logit."""
    return -torch.sigmoid(a)


def nonsaturating_slope(a: Tensor) -> Tensor:
    """-(1 - D(G(z))): the same of the non-saturating loss."""
    return -torch.sigmoid(-a)


def minimax_in_the_logit(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.minimax(), a)
    return Row(
        "minimax G loss", "L_G = E_z[log(1 - D(G(z)))] has the gradient -D(G(z)) in the logit", exactly(0.0),
        largest(gradient - minimax_slope(a)), "largest difference of autograd from it, on the fakes of a real game",
        {"-(1 - D)": float((gradient - nonsaturating_slope(a)).abs().max())},
    )  # fmt: skip


def nonsaturating_in_the_logit(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    gradient = logit_gradient(objectives.nonsaturating(), a)
    return Row(
        "non-saturating G loss", "L_G = -E_z[log D(G(z))] has the gradient -(1 - D(G(z))) in the logit",
        exactly(0.0), largest(gradient - nonsaturating_slope(a)),
        "largest difference of autograd from it, on the fakes of a real game",
        {"-D": float((gradient - minimax_slope(a)).abs().max())},
    )  # fmt: skip


def minimax_in_the_weights(seed: int) -> Row:
    start = rejected_fakes(seed)
    right, other = (_weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    return Row(
        "minimax G loss", "so G moves by E_z[-D(G(z)) da/dtheta_g]: its norm", exactly(float(right.norm())),
        along(start.minimax.g, right),
        "trapezoid rule over z; mean gradient of the game's G steps along that direction",
        {"weighted by -(1 - D)": float(other @ right / right.norm())},
    )  # fmt: skip


def nonsaturating_in_the_weights(seed: int) -> Row:
    start = rejected_fakes(seed)
    right, other = (_weighted_gradient(start.G, start.D, f) for f in (nonsaturating_slope, minimax_slope))
    return Row(
        "non-saturating G loss", "so G moves by E_z[-(1 - D(G(z))) da/dtheta_g]: its norm",
        exactly(float(right.norm())), along(start.nonsaturating.g, right),
        "trapezoid rule over z; mean gradient of the game's G steps along that direction",
        {"weighted by -D": float(other @ right / right.norm())},
    )  # fmt: skip


def fakes_labelled_real(seed: int) -> Row:
    fake = rejected_fakes(seed).logits
    loss = objectives.nonsaturating().g(None, fake)
    as_real = cross_entropy(fake, torch.ones_like(fake), reduction="none")
    as_fake = cross_entropy(fake, torch.zeros_like(fake), reduction="none")
    return Row(
        "non-saturating G loss", "it is the cross entropy of the fakes labelled real", exactly(0.0),
        largest(loss - as_real), "largest difference from torch's cross entropy, on the fakes of a real game",
        {"labelled fake": float((loss - as_fake).abs().max())},
    )  # fmt: skip


def ratio_of_gradients(seed: int) -> Row:
    a = rejected_fakes(seed).logits
    ratio = logit_gradient(objectives.nonsaturating(), a) / logit_gradient(objectives.minimax(), a)
    predicted = theory.gradient_ratio(a)
    return Row(
        "non-saturating G loss", "over the minimax gradient it is (1 - D)/D for each fake: mean log10",
        exactly(float(predicted.log10().mean())),
        Quantity(float(ratio.log10().mean()), ROUNDING, f"mean of {len(a):,} fakes"),
        "closed form and autograd, on the same fakes of a real game soon after its start",
        {"equal gradients": 0.0, "D/(1 - D)": -float(predicted.log10().mean())},
    )  # fmt: skip


def minimax_vanishes(seed: int) -> Row:
    start = rejected_fakes(seed)
    small, large = (_weighted_gradient(start.G, start.D, f) for f in (minimax_slope, nonsaturating_slope))
    minimax, other = along(start.minimax.g, small), along(start.nonsaturating.g, large)
    quotient = minimax.value / other.value
    error = abs(quotient) * (minimax.error / abs(minimax.value) + other.error / abs(other.value))
    rejection = float(start.logits.sigmoid().mean())
    return Row(
        "non-saturating G loss",
        "where D rejects the fakes the minimax gradient of G's weights vanishes, this one does not: quotient",
        exactly(float(small.norm() / large.norm())), Quantity(quotient, error, minimax.method),
        f"trapezoid rule over z; the game's G steps under both losses, where the mean of D(G(z)) is {rejection:.2g}",
        {"equal norms": 1.0},
    )  # fmt: skip


def log_d_is_maximised(seed: int) -> Row:
    match = fixed_match(seed)
    moved = _first_turns(seed)[1]
    gain = torch.stack([_log_d(G, match.halfway) for G in moved]) - _log_d(match.G, match.halfway)
    return Row(
        "non-saturating G loss", "G's step raises E_z[log D(G(z))], which it maximises", exactly(0.0), mean(gain),
        "change by one G step of SGD, by the trapezoid rule over z, in each of many games", relation=">",
    )  # fmt: skip


@torch.no_grad()
def _log_d(G: nn.Module, D: nn.Module) -> Tensor:
    return expectation(lambda z: logsigmoid(D(G(z))), NormalPrior(1))


# The optimal D ----------------------------------------------------------------------------------------------


def nothing_beats_the_optimum(seed: int) -> Row:
    match, undecided = fixed_match(seed), deepcopy(fixed_match(seed).halfway)
    nn.init.zeros_(undecided.get_parameter("layers.2.weight"))
    nn.init.zeros_(undecided.get_parameter("layers.2.bias"))
    elsewhere = watch(match.G, undecided, objectives.minimax(), match.p, seed)
    return Row(
        "optimal D", "at D* = p_data/(p_data + p_g) the gradient of V in D is zero: its square",
        exactly(0.0), squared_norm(_watched_at_the_best(seed).d),
        "the game's D steps at D*, as a player with a scale, a tilt and a shift",
        {"at D = 1/2": squared_norm(elsewhere.d).value},
    )  # fmt: skip


def error_falls_with_steps(seed: int) -> Row:
    errors = [fixed_match(seed).sup_error(WIDTHS[-1], steps) for steps in STEPS]
    return Row(
        "optimal D", f"a trained D approaches D*: sup |D - D*| falls from {STEPS[0]} to {STEPS[1]} to {STEPS[2]} steps",
        exactly(1.0), _largest_ratio(errors),
        f"larger ratio of successive errors, width {WIDTHS[-1]}: {_list(errors)}", relation="<",
    )  # fmt: skip


def error_falls_with_capacity(seed: int) -> Row:
    errors = [fixed_match(seed).sup_error(width, STEPS[-1]) for width in WIDTHS]
    return Row(
        "optimal D", f"and falls from width {WIDTHS[0]} to {WIDTHS[1]} to {WIDTHS[2]}",
        exactly(1.0), _largest_ratio(errors),
        f"larger ratio of successive errors, {STEPS[-1]} steps: {_list(errors)}", relation="<",
    )  # fmt: skip


def _largest_ratio(errors: Sequence[float]) -> Quantity:
    """The error is that of a supremum over a thousand points of a function of slope one on a unit interval."""
    ratio = max(after / before for before, after in pairwise(errors))
    return Quantity(ratio, 1e-3 / min(errors), "grid of 1,001 points")


def _list(errors: Sequence[float]) -> str:
    return ", ".join(f"{error:.3f}" for error in errors)


# The value at D* ----------------------------------------------------------------------------------------------


def value_at_the_optimum(seed: int) -> Row:
    match = fixed_match(seed)
    jsd = theory.jsd(match.p, match.q)
    return Row(
        "value at D*", "max_D V = -log 4 + 2 JSD(p_data, p_g)",
        Quantity(-math.log(4) + 2 * jsd.value, 2 * jsd.error, jsd.method),
        mean(-_watched_at_the_best(seed).d_losses),
        "quadrature; minus the mean d_loss of turns that D* judges",
        {"log 4 + 2 JSD": math.log(4) + 2 * jsd.value, "-log 4 + JSD": -math.log(4) + jsd.value},
    )  # fmt: skip


def what_a_trained_d_lacks(seed: int) -> Row:
    match = fixed_match(seed)
    logits, best = match_logits(seed), theory.optimal_logit(match.p, match.q)

    def divergence(x: Tensor) -> Tensor:
        a, b = best(x), logits(x)
        return torch.sigmoid(a) * (logsigmoid(a) - logsigmoid(b)) + torch.sigmoid(-a) * (
            logsigmoid(-a) - logsigmoid(-b)
        )

    lack = [theory.kl(match.p, match.q, _weighted(divergence))]
    return Row(
        "value at D*", "V(D*) - V(D) = 2 E_m[KL(D* || D)], m = (p_data + p_g)/2: what a trained D lacks",
        lack[0], mean(_watched(seed).d_losses - _watched_at_the_best(seed).d_losses),
        "quadrature; difference of the two d_losses on the same minibatches", {"E_m[KL]": lack[0].value / 2},
    )  # fmt: skip


def _weighted(f: Callable[[Tensor], Tensor]) -> theory.Integrator:
    """E_p[f] + E_q[f] = 2 E_m[f] in place of the two expectations asked for."""
    return lambda _f, _g, p, q: theory.quadrature(lambda x, _: f(x), lambda x, _: f(x), p, q)


def no_trained_d_is_better(seed: int) -> Row:
    match = fixed_match(seed)
    values = [theory.value(D, match.p, match.q) for D in match.D.values()]
    return Row(
        "value at D*", "no trained D has a greater V: the greatest of nine", theory.value(
            theory.optimal_logit(match.p, match.q), match.p, match.q),
        max(values, key=float), "quadrature of V at D*; of V at each D trained by the game", relation="<",
    )  # fmt: skip


def the_gap_shrinks(seed: int) -> Row:
    match = fixed_match(seed)
    first, last = (theory.value(match.D[WIDTHS[-1], steps], match.p, match.q) for steps in (STEPS[0], STEPS[-1]))
    best = theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q)
    return Row(
        "value at D*", f"V(D*) - V(D) after {STEPS[-1]} steps is below that after {STEPS[0]}",
        _difference(best, first), _difference(best, last), "quadrature of V at D* and at the trained D",
        relation="<",
    )  # fmt: skip


def _difference(a: Quantity, b: Quantity) -> Quantity:
    return Quantity(a.value - b.value, a.error + b.error, a.method)


def disjoint_supports(seed: int) -> Row:
    G, prior = Curve(shift=10.0, scale=1.0), UniformPrior(1)
    best = Best(prior, pushforward(G, prior))
    turns = watch(G, best, objectives.minimax(), Draws(prior, seed), seed, turns=10, prior=game.uniform)
    return Row(
        "value at D*", "JSD is at most log 2, for disjoint supports, where max_D V = 0", exactly(0.0),
        mean(-turns.d_losses), "minus the mean d_loss of turns that D* judges: p_data and p_g uniform, 10 apart",
        {"-log 4": -math.log(4), "log 4": math.log(4)},
    )  # fmt: skip


# The equilibrium ----------------------------------------------------------------------------------------------

MEAN, STD = 0.5, 0.75


def _equal(seed: int, mean: float = MEAN) -> tuple[data.GaussianMixture, Curve]:
    """A Gaussian, and the generator that makes N(MEAN, STD^2) of the prior."""
    return data.gaussian(mean=mean, std=STD, seed=seed), Curve(MEAN, STD)


def undecided_everywhere(seed: int) -> Row:
    x = torch.linspace(-2, 3, 501, dtype=torch.float64)[:, None]

    def differences(mean: float) -> Tensor:
        p, G = _equal(seed, mean)
        return theory.optimal_discriminator(p, pushforward(G, NormalPrior(1)))(x) - 0.5

    return Row(
        "equilibrium", "D* = 1/2 everywhere when p_g = p_data: largest |D* - 1/2|", exactly(0.0),
        largest(differences(MEAN)), "p_g by change of variables of a generator that has the data's law",
        {"data moved by 0.1": float(differences(MEAN + 0.1).abs().max())},
    )  # fmt: skip


def value_at_equilibrium(seed: int) -> Row:
    p, G = _equal(seed)
    turns = watch(G, Best(p, pushforward(G, NormalPrior(1))), objectives.minimax(), p, seed, turns=20)
    return Row(
        "equilibrium", "V = -log 4, and L_D = log 4", exactly(-math.log(4)), mean(-turns.d_losses),
        "minus the mean d_loss of turns that D* judges, where p_g = p_data",
        {"V = log 4": math.log(4), "V = 0": 0.0},
    )  # fmt: skip


def generator_loss_at_equilibrium(seed: int) -> Row:
    p, G = _equal(seed)
    turns = watch(G, Best(p, pushforward(G, NormalPrior(1))), objectives.nonsaturating(), p, seed, turns=20).turns
    return Row(
        "equilibrium", "non-saturating L_G = log 2", exactly(math.log(2)),
        mean(torch.stack([turn.g_loss for turn in turns])), "mean g_loss of turns that D* judges, where p_g = p_data",
        {"-log 2": -math.log(2), "log 4": math.log(4)},
    )  # fmt: skip


def training_approaches_it(seed: int) -> Row:
    jsd = training(seed).jsd
    first, last = (jsd[step] for step in (min(jsd), max(jsd)))
    return Row(
        "equilibrium", f"training approaches it: log 4 - L_D(D*) = 2 JSD after {max(jsd):,} turns, below that at the start",
        Quantity(2 * first.value, 2 * first.error, first.method),
        Quantity(2 * last.value, 2 * last.error, last.method),
        "quadrature, p_g by change of variables of the trained generator, before and after", relation="<",
    )  # fmt: skip


def from_below(seed: int) -> Row:
    trained = training(seed)
    gaps = [
        _difference(Quantity(0.0, 0.0, ""), _best_value_gap(trained.p, q)) for q in trained.generators.values()
    ]
    highest = max(gaps, key=float)
    return Row(
        "equilibrium", "and L_D(D*) approaches log 4 from below: the highest of L_D(D*) - log 4",
        exactly(0.0), Quantity(highest.value, highest.error, "quadrature"),
        f"quadrature of V at D* at {len(gaps)} moments of training", relation="<",
    )  # fmt: skip


def _best_value_gap(p: theory.Density, q: theory.Density) -> Quantity:
    V = theory.value(theory.optimal_logit(p, q), p, q, lambda f, g, p, q: theory.quadrature(f, g, p, q, 1e-4))
    return Quantity(V.value + math.log(4), V.error, V.method)


# The updates --------------------------------------------------------------------------------------------------

RATE, GAMES = 0.05, 100


@cache
def _first_turns(seed: int) -> tuple[Tensor, list[nn.Module]]:
    """One turn of many games from one start by SGD: how D moved [games, P], and, of others, the G that moved."""
    match = fixed_match(seed)
    d_moves, generators = list[Tensor](), list[nn.Module]()
    for i in range(GAMES):
        for movers in ((Still, sgd(RATE)), (sgd(RATE), Still)):
            G, D = deepcopy(match.G), deepcopy(match.halfway)
            one = Game(
                G, D, objectives.nonsaturating(), latent=1, ema=None, batch=512, optimizers=movers,
                seed=key(seed, "first turn", i),
            )  # fmt: skip
            next(one.play(data.GaussianMixture(match.p.modes, match.p.std, match.p.weights, one.seed), 1))
            d_moves.append(_flat(D) - _flat(match.halfway))
            generators.append(G)
    return torch.stack(d_moves[0::2]), generators[1::2]


def _flat(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


def discriminator_ascends(seed: int) -> Row:
    match = fixed_match(seed)
    D = match.halfway

    def real(x: Tensor) -> Tensor:
        return torch.sigmoid(-D(x)).detach() * D(x)

    def fake(z: Tensor) -> Tensor:
        logits = D(match.G(z).detach())
        return torch.sigmoid(logits).detach() * logits

    rise = expectation(real, match.p) - expectation(fake, NormalPrior(1))
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(rise, list(D.parameters()))])
    return Row(
        "updates", "theta_d <- theta_d + eta_d grad V: D's step over eta_d, along grad V",
        exactly(float(slope.norm())), along(_first_turns(seed)[0] / RATE, slope),
        "norm of grad V = E_x[(1 - D) da] - E_z[D(G(z)) da] by the trapezoid rule; one SGD step of many games",
        {"D descends": -float(slope.norm()), "half of V": float(slope.norm()) / 2},
    )  # fmt: skip


def generator_descends(seed: int) -> Row:
    match = fixed_match(seed)
    slope = _weighted_gradient(match.G, match.halfway, nonsaturating_slope)
    moves = torch.stack([_flat(G) for G in _first_turns(seed)[1]]) - _flat(match.G)
    return Row(
        "updates", "theta_g <- theta_g - eta_g grad L_G: G's step over eta_g, along -grad L_G",
        exactly(float(slope.norm())), along(moves / RATE, -slope),
        "norm of grad L_G by the trapezoid rule over z; one SGD step of many games",
        {"G ascends": -float(slope.norm())},
    )  # fmt: skip


def order_of_steps(seed: int) -> Row:
    k, turns, moves = 3, 20, list[str]()

    def noting(who: str) -> Callable[..., Still]:
        def make(parameters: Sequence[Tensor]) -> Still:
            optimizer = Still(parameters)
            step = optimizer.step
            optimizer.step = lambda: (moves.append(who), step())[1]
            return optimizer

        return make

    match = fixed_match(seed)
    watched = Game(
        match.G, match.halfway, objectives.nonsaturating(), latent=1, k=k, seed=seed, ema=None,
        optimizers=(noting("G"), noting("D")),
    )  # fmt: skip
    played = list(watched.play(match.p, turns))
    whole = sum("".join(moves[i : i + k + 1]) == "D" * k + "G" for i in range(0, len(moves), k + 1))
    return Row(
        "updates", f"k steps of D, then one of G: turns of the form {'D' * k}G, of {turns}",
        exactly(turns), Quantity(whole * len(played) / turns, 0.0, "count"),
        f"the players' steps as they happen, k = {k}", {"no such turn": 0.0},
    )  # fmt: skip


def fresh_noise(seed: int) -> Row:
    k, turns, drawn = 3, 20, list[Tensor]()

    def prior(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        drawn.append(game.normal(shape, generator, dtype))
        return drawn[-1]

    match = fixed_match(seed)
    watch(match.G, match.halfway, objectives.nonsaturating(), match.p, seed, turns, k=k, prior=prior)
    z = torch.cat(drawn)
    repeated = z.numel() - z.unique().numel()
    return Row(
        "updates", "every D step and the G step have minibatches of noise of their own: latents used twice",
        exactly(0.0), Quantity(repeated, 0.0, "count"), f"all {z.numel():,} latents of {turns} turns, k = {k}",
        {"G reuses D's last minibatch": float(turns * 512)},
    )  # fmt: skip


# The fixed point ----------------------------------------------------------------------------------------------


def _equal_and_undecided(seed: int, objective: Objective, mean: float = MEAN) -> Watched:
    """p_g = p_data (or moved data), and a network for D whose last layer is zero, so that it says 1/2."""
    p, G = _equal(seed, mean)
    D = _drawn(lambda: networks.mlp((1,), (), 16, 1, nn.Tanh), seed, "undecided")
    nn.init.zeros_(D.get_parameter("layers.2.weight"))
    nn.init.zeros_(D.get_parameter("layers.2.bias"))
    return watch(G, D, objective, p, seed)


def discriminator_rests(seed: int) -> Row:
    moved = _equal_and_undecided(seed, objectives.minimax(), MEAN + 0.5)
    return Row(
        "fixed point", "where p_g = p_data and D = 1/2, D has no gradient: its square", exactly(0.0),
        squared_norm(_equal_and_undecided(seed, objectives.minimax()).d),
        "the game's D steps, by products of independent minibatch gradients",
        {"data moved by 0.5": squared_norm(moved.d).value},
    )  # fmt: skip


def generator_rests(seed: int) -> Row:
    both = [_equal_and_undecided(seed, f()).g for f in (objectives.minimax, objectives.nonsaturating)]
    elsewhere = _watched(seed).g
    return Row(
        "fixed point", "nor has G, under the minimax and the non-saturating loss alike: largest component",
        exactly(0.0), largest(torch.cat(both)), "the game's G steps under both losses",
        {"against a trained D": float(elsewhere.abs().max())},
    )  # fmt: skip


def _velocity(objective: Objective, theta: float, psi: float) -> Tensor:
    """Where the game's players want to go in Dirac-GAN: minus their gradients, [2]."""
    seen = watch(Point(theta), Slope(psi), objective, Origin(), 0, turns=1, batch=1)
    return -torch.cat([seen.g[0], seen.d[0]])


def _jacobian(objective: Objective, theta: float, psi: float, h: float = 1e-4) -> Tensor:
    """By central differences of the game's gradients; they err by order h^2."""
    columns = [
        (_velocity(objective, theta + a, psi + b) - _velocity(objective, theta - a, psi - b)) / (2 * h)
        for a, b in ((h, 0.0), (0.0, h))
    ]
    return torch.stack(columns, 1)


def one_fixed_point(seed: int) -> Row:
    def difference(theta: float, psi: float) -> Tensor:
        J, K = (_jacobian(f(), theta, psi) for f in (objectives.minimax, objectives.nonsaturating))
        return (J - K).abs().max()

    return Row(
        "fixed point", "both losses have one Jacobian at the equilibrium of Dirac-GAN: largest difference",
        exactly(0.0), Quantity(float(difference(0.0, 0.0)), 1e-8, "central differences"),
        "the game's gradients near theta = psi = 0", {"at (1, 1), off the equilibrium": float(difference(1.0, 1.0))},
    )  # fmt: skip


def rotation(seed: int) -> Row:
    origin = torch.zeros(2, dtype=torch.float64)
    predicted = theory.eigenvalues(theory.dirac_minimax, origin).imag.max()
    measured = torch.linalg.eigvals(_jacobian(objectives.minimax(), 0.0, 0.0))
    return Row(
        "fixed point", "its eigenvalues are +-i/2, a rotation: their imaginary part", exactly(float(predicted)),
        Quantity(float(measured.imag.max()), 1e-8, "central differences"),
        "theory's field; the game's gradients near theta = psi = 0", {"Wasserstein's, +-i": 1.0},
    )  # fmt: skip


# Dirac-GAN ----------------------------------------------------------------------------------------------------

DIRAC_RATE = 0.2


def dirac_path(
    start: tuple[float, float], turns: int, weight: float = 0.0, at_once: bool = False
) -> Tensor:
    """(theta, psi) of the game's minimax Dirac-GAN by SGD, with R1 of this weight: [turns + 1, 2]."""
    G, D = Point(start[0]), Slope(start[1])
    r1 = [penalties.r1(weight)] if weight else []
    play = Game(
        G, D, objectives.minimax(), r1, latent=1, batch=1, ema=None, simultaneous=at_once,
        optimizers=(sgd(DIRAC_RATE), sgd(DIRAC_RATE)),
    )  # fmt: skip
    path = [start, *((G.theta.item(), D.psi.item()) for _ in play.play(Origin(), turns))]
    return torch.tensor(path, dtype=torch.float64)


def dirac_theory(weight: float, at_once: bool) -> tuple[theory.Field, theory.Play]:
    """The field and the play that `dirac_path` should follow."""
    field = theory.gradient_penalty(theory.dirac_minimax, weight) if weight else theory.dirac_minimax
    return field, theory.simultaneous if at_once else theory.alternating()


def _predicted_rate(weight: float, at_once: bool) -> float:
    field, play = dirac_theory(weight, at_once)
    return theory.predicted_rate(field, torch.zeros(2, dtype=torch.float64), DIRAC_RATE, play)


def dirac_rate(weight: float, at_once: bool) -> Callable[[int], Row]:
    """The row of the linear rate of Dirac-GAN, with R1 of this weight, both players at once or in turn."""

    def row(seed: int) -> Row:
        angle = 2 * math.pi * float(torch.rand(1, generator=stream(seed, "angle")))
        start = (1e-6 * math.cos(angle), 1e-6 * math.sin(angle))  # so near that the game is linear
        name = f"R1 of weight {weight:g}" if weight else "no penalty"
        end = "converges" if weight else "does not converge"
        other = 0.0 if weight else 0.3
        return Row(
            "Dirac-GAN", f"{name}, {'both at once' if at_once else 'D first, then G'}: {end}, factor per turn",
            exactly(_predicted_rate(weight, at_once)),
            theory.measured_rate(dirac_path(start, 400, weight, at_once)),
            "spectral radius of one update; slope of the log distance in the game's path",
            {f"with R1 of weight {other:g}" if other else "with no penalty": _predicted_rate(other, at_once)},
        )  # fmt: skip

    return row


def dirac_follows_theory(weight: float) -> Callable[[int], Row]:
    """The row of the game's path laid over theory's."""

    def row(seed: int) -> Row:
        turns, start = 500, torch.ones(2, dtype=torch.float64)
        field, play = dirac_theory(weight, at_once=False)
        path = dirac_path((1.0, 1.0), turns, weight)
        other = theory.trajectory(field, start, DIRAC_RATE, turns, theory.simultaneous)
        return Row(
            "Dirac-GAN", f"{f'R1 of weight {weight:g}' if weight else 'no penalty'}: the game walks theory's path, "
            "largest distance",
            exactly(0.0), largest(path - theory.trajectory(field, start, DIRAC_RATE, turns, play)),
            f"{turns} turns from (1, 1) at rate {DIRAC_RATE}, D first",
            {"both at once": float((path - other).abs().max())},
        )  # fmt: skip

    return row


def dirac_stays_away(seed: int) -> Row:
    distance = dirac_path((1.0, 1.0), 500, at_once=True).norm(dim=1)
    return Row(
        "Dirac-GAN", "no penalty, both at once: after 500 turns it is farther away than it began",
        exactly(float(distance[0])), Quantity(float(distance[-1]), ROUNDING, "one path"),
        "distance of the game's path from the equilibrium, from (1, 1)", relation=">",
    )  # fmt: skip


def dirac_arrives(seed: int) -> Row:
    distance = dirac_path((1.0, 1.0), 500, weight=0.3).norm(dim=1)
    return Row(
        "Dirac-GAN", "R1 of weight 0.3: after 500 turns it is a thousand times nearer than it began",
        exactly(float(distance[0]) / 1000), Quantity(float(distance[-1]), ROUNDING, "one path"),
        "distance of the game's path from the equilibrium, from (1, 1)", relation="<",
    )  # fmt: skip


ROWS: tuple[Callable[[int], Row], ...] = (
    value_of_a_game,
    value_by_sampling,
    real_term,
    fake_term,
    loss_is_minus_the_value,
    half_form,
    loss_is_cross_entropy,
    minimax_in_the_logit,
    minimax_in_the_weights,
    nonsaturating_in_the_logit,
    nonsaturating_in_the_weights,
    fakes_labelled_real,
    ratio_of_gradients,
    minimax_vanishes,
    log_d_is_maximised,
    nothing_beats_the_optimum,
    error_falls_with_steps,
    error_falls_with_capacity,
    value_at_the_optimum,
    what_a_trained_d_lacks,
    no_trained_d_is_better,
    the_gap_shrinks,
    disjoint_supports,
    undecided_everywhere,
    value_at_equilibrium,
    generator_loss_at_equilibrium,
    training_approaches_it,
    from_below,
    discriminator_ascends,
    generator_descends,
    order_of_steps,
    fresh_noise,
    discriminator_rests,
    generator_rests,
    one_fixed_point,
    rotation,
    *(dirac_rate(weight, at_once) for weight in (0.0, 0.3, 1.0) for at_once in (True, False)),
    dirac_follows_theory(0.0),
    dirac_follows_theory(0.3),
    dirac_stays_away,
    dirac_arrives,
)
"""One function of the seed for each row, in the order of the design's table."""
