r"""Two known densities p (data) and q (generator): the best discriminator between them, and their distances.

Every quantity of this chapter but one is a sum of two expectations,

.. math:: E_{x \sim p}[f(x, a^*(x))] + E_{x \sim q}[g(x, a^*(x))], \qquad a^* = \log p - \log q,

so there are two ways to compute them all: `quadrature` (d <= 2) and `monte_carlo`. The exception is the
Wasserstein distance, which is no function of the densities' ratio.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from zerosum.randomness import stream

__all__ = [
    "Density",
    "Function",
    "Integrator",
    "Quantity",
    "Term",
    "in_double",
    "jsd",
    "kl",
    "monte_carlo",
    "optimal_discriminator",
    "optimal_logit",
    "quadrature",
    "total_variation",
    "value",
    "wasserstein1",
]

Function = Callable[[Tensor], Tensor]
"""Of points [n, d]: a critic, a generator, a discriminator."""


class Density(Protocol):
    """Anything that can be drawn from and evaluated."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: [n, d] -> [n]; -inf outside the support."""
        ...

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent draws: [n, d]."""
        ...


@dataclass(frozen=True)
class Quantity:
    """A number with its error: the estimated error of a quadrature, or half of a 95 % confidence interval.

    >>> Quantity(0.5, 0.01, "by hand").agrees(0.505)
    True
    """

    value: float
    error: float
    method: str

    def __float__(self) -> float:
        return self.value

    def agrees(self, other: float | Quantity) -> bool:
        """Whether the two numbers differ by no more than their errors together, and 1e-12 for rounding."""
        error = self.error + (other.error if isinstance(other, Quantity) else 0.0)
        return math.isclose(self.value, float(other), rel_tol=1e-12, abs_tol=error + 1e-12)


Term = Callable[[Tensor, Tensor], Tensor]
"""A function of points and of their optimal logits: (x [n, d], a* [n]) -> [n]."""

Integrator = Callable[[Term, Term, Density, Density], Quantity]
"""(f, g, p, q) -> E_p[f] + E_q[g]: `quadrature`, `monte_carlo`, or `functools.partial` of either."""


# The discriminator ----------------------------------------------------------------------------------------


def optimal_logit(p: Density, q: Density) -> Function:
    r"""The logit of the optimal discriminator, a*(x) = log p(x) - log q(x): [n, d] -> [n].

    It is nan where both densities are zero: no discriminator is better than another there.
    """
    return lambda x: p.log_prob(x) - q.log_prob(x)


def optimal_discriminator(p: Density, q: Density) -> Function:
    r"""D*(x) = p(x) / (p(x) + q(x)) = sigmoid(a*(x)): [n, d] -> [n] (Goodfellow 2014, proposition 1).

    >>> from zerosum.theory import NormalPrior
    >>> optimal_discriminator(NormalPrior(1), NormalPrior(1))(torch.zeros(2, 1))
    tensor([0.5000, 0.5000])
    """
    logit = optimal_logit(p, q)
    return lambda x: torch.sigmoid(logit(x))


def value(critic: Function, p: Density, q: Density, by: Integrator | None = None) -> Quantity:
    r"""V(D, G) = E_{x ~ p}[log D(x)] + E_{x ~ q}[log(1 - D(x))] with D = sigmoid(critic), in nats.

    `critic` maps points [n, d] to raw logits [n]; a module is evaluated as a float64 copy in eval mode. At
    `optimal_logit` it is the greatest value there is, -log 4 + 2 JSD(p, q) (Goodfellow 2014, theorem 1).
    """
    logits = in_double(critic)
    return _integrator(p, by)(lambda x, _: logsigmoid(logits(x)), lambda x, _: logsigmoid(-logits(x)), p, q)


# Divergences ----------------------------------------------------------------------------------------------


def kl(p: Density, q: Density, by: Integrator | None = None) -> Quantity:
    r"""KL(p || q) = E_p[log p - log q], in nats; inf where q misses some of p. The other way is `kl(q, p)`.

    >>> from zerosum.theory import NormalPrior, pushforward
    >>> shifted = pushforward(lambda z: z + 1, NormalPrior(1))
    >>> kl(NormalPrior(1), shifted).agrees(1 / 2)
    True
    """
    return _integrator(p, by)(lambda _, a: a, lambda _, a: torch.zeros_like(a), p, q)


def jsd(p: Density, q: Density, by: Integrator | None = None) -> Quantity:
    r"""JSD(p, q) = KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, in nats: from 0 to log 2.

    As an expectation: E_p[log 2 D*]/2 + E_q[log 2(1 - D*)]/2.
    """
    return _integrator(p, by)(
        lambda _, a: (math.log(2) + logsigmoid(a)) / 2, lambda _, a: (math.log(2) + logsigmoid(-a)) / 2, p, q
    )


def total_variation(p: Density, q: Density, by: Integrator | None = None) -> Quantity:
    r"""TV(p, q) = \int |p - q| / 2 = E_p[(1 - q/p)^+]/2 + E_q[(1 - p/q)^+]/2: from 0 to 1."""
    return _integrator(p, by)(
        lambda _, a: torch.relu(-torch.expm1(-a)) / 2, lambda _, a: torch.relu(-torch.expm1(a)) / 2, p, q
    )


def wasserstein1(p: Density, q: Density, n: int = 512, seed: int = 0) -> Quantity:
    r"""W1(p, q) = inf E|x - y| over the joint laws of x ~ p and y ~ q, in the units of x.

    In one dimension it is \int |F_p - F_q| dx, by quadrature. In more, n points of each are matched exactly,
    8 times (`seed`, `n` matter only here). That overestimates W1, and by no more than E W1(p_n, p'_n) +
    E W1(q_n, q'_n), the cost of matching each density with itself; `value` is the middle of this interval.
    """
    return _by_distribution_functions(p, q) if _dimension(p) == 1 else _by_assignment(p, q, n, seed)


# Integration ----------------------------------------------------------------------------------------------


def quadrature(
    f: Term, g: Term, p: Density, q: Density, tolerance: float = 1e-5, budget: int = 2**20
) -> Quantity:
    r"""\int p f + q g dx for d <= 2, by 5-point Gauss-Lobatto cells that are halved where it matters.

    A cell's error is the change when it is halved along every axis, in the integral or in either density's
    mass; or a part of its parent's change, because at a kink or a jump one change may vanish by chance.
    Halving stops when the errors sum to `tolerance`, or after about `budget` points. What the cells miss of
    the densities' unit mass (heavy tails, a mode that no sample found, a density that does not integrate to
    one) is added to the error, so a wrong answer does not pass for an exact one.
    """

    def integrands(x: Tensor) -> Tensor:
        log_p, log_q = p.log_prob(x), q.log_prob(x)
        mass_p, mass_q = log_p.exp(), log_q.exp()
        a = log_p - log_q
        # 0 * inf is 0 in an expectation: what a density excludes does not count
        under_p = torch.where(mass_p > 0, mass_p * f(x, a), 0.0)
        under_q = torch.where(mass_q > 0, mass_q * g(x, a), 0.0)
        return torch.stack([under_p + under_q, mass_p, mass_q], 1)

    total, error, _ = _refine(integrands, _cells(p, q), tolerance, budget)
    result, *masses = total.tolist()
    if not math.isfinite(result):
        return Quantity(result, 0.0, "quadrature")
    missed = sum(abs(1 - mass) for mass in masses)
    return Quantity(result, error + missed * (1 + abs(result)), "quadrature")


def monte_carlo(f: Term, g: Term, p: Density, q: Density, n: int = 2**16, seed: int = 0) -> Quantity:
    """E_p[f] + E_q[g] from n draws of each; the error is 1.96 standard errors of the mean."""
    a = optimal_logit(p, q)
    x, y = _draw(p, n, seed, "p"), _draw(q, n, seed, "q")
    under_p, under_q = f(x, a(x)), g(y, a(y))
    error = 1.96 * torch.sqrt((under_p.var() + under_q.var()) / n)
    return Quantity(float(under_p.mean() + under_q.mean()), float(error), f"Monte Carlo, n = {n}")


def in_double(function: Function) -> Function:
    """A module as a frozen float64 copy in eval mode; any other function as it is."""
    if isinstance(function, nn.Module):
        return copy.deepcopy(function).double().eval().requires_grad_(False)
    return function


def _integrator(p: Density, by: Integrator | None) -> Integrator:
    return by or (quadrature if _dimension(p) <= 2 else monte_carlo)


def _dimension(p: Density) -> int:
    return p.sample(1, stream("theory", "dimension")).shape[1]


def _draw(p: Density, n: int, seed: int, who: str) -> Tensor:
    return p.sample(n, stream(seed, "theory", who)).double()


def _edges(x: Tensor) -> Tensor:
    """Break points of one axis: the eighths of the samples [n], then ever longer steps into the tails."""
    eighths = torch.quantile(x, torch.linspace(0, 1, 9, dtype=x.dtype))
    low, high = eighths[0], eighths[-1]
    tail = (high - low) * torch.tensor([2**-13, 2**-9, 2**-5, 1 / 2, 8], dtype=x.dtype)
    return torch.cat([low - tail.flip(0), eighths, high + tail]).unique()


def _cells(p: Density, q: Density) -> Tensor:
    """Boxes [m, d, 2] (lower, upper) that follow the samples of both densities and reach far beyond them."""
    pooled = torch.cat([_draw(p, 4096, 0, "p"), _draw(q, 4096, 0, "q")])
    d = pooled.shape[1]
    if d > 2:
        raise ValueError(f"quadrature is for 1 or 2 dimensions, not {d}: use by=monte_carlo")
    axes = [_edges(x) for x in pooled.unbind(1)]
    lower = torch.cartesian_prod(*[edges[:-1] for edges in axes]).view(-1, d)
    upper = torch.cartesian_prod(*[edges[1:] for edges in axes]).view(-1, d)
    return torch.stack([lower, upper], 2)


def _halved(cells: Tensor) -> Tensor:
    """Every box cut in two along each axis: [m, d, 2] -> [m, 2^d, d, 2]."""
    lower, upper = cells.unbind(2)
    half = (upper - lower)[:, None] / 2
    corner = torch.cartesian_prod(*[torch.arange(2.0, dtype=cells.dtype)] * cells.shape[1])
    start = lower[:, None] + half * corner.view(-1, cells.shape[1])
    return torch.stack([start, start + half], 3)


# Gauss-Lobatto on [0, 1]: exact to degree 7; its end points are nodes, so that no jump hides beside an edge
_NODES = torch.tensor(
    [0, (1 - math.sqrt(3 / 7)) / 2, 1 / 2, (1 + math.sqrt(3 / 7)) / 2, 1], dtype=torch.float64
)
_WEIGHTS = torch.tensor([1 / 20, 49 / 180, 16 / 45, 49 / 180, 1 / 20], dtype=torch.float64)


# What part of a cell's change counts as an error of each child, by dimension. At a kink or a jump the
# child's own change may vanish by chance; in the plane many cells meet it, and not all vanish together.
_INHERITED = {1: 1 / 4, 2: 1 / 1024}


def _lobatto(function: Function, cells: Tensor) -> Tensor:
    """The integral of a function [n, d] -> [n, c] over each box, by the 5^d point rule: [m, c]."""
    lower, upper = cells.unbind(2)
    d = lower.shape[1]
    node = torch.cartesian_prod(*[_NODES] * d).view(-1, d)
    weight = torch.cartesian_prod(*[_WEIGHTS] * d).view(-1, d).prod(1)
    x = lower[:, None] + (upper - lower)[:, None] * node
    values = torch.cat([function(part).double() for part in x.flatten(0, 1).split(2**16)])
    return torch.einsum("mkc,k,m->mc", values.unflatten(0, x.shape[:2]), weight, (upper - lower).prod(1))


def _refine(function: Function, cells: Tensor, tolerance: float, budget: int) -> tuple[Tensor, float, Tensor]:
    """The integral of a function [n, d] -> [n, c] over cells: its value [c], its error, the cells it took."""
    coarse, inherited = _lobatto(function, cells), cells.new_full(cells.shape[:1], math.inf)
    total, error, points, taken = torch.zeros_like(coarse[0]), 0.0, 0, list[Tensor]()
    while len(cells) > 0:
        children = _halved(cells)
        fine = _lobatto(function, children.flatten(0, 1)).unflatten(0, children.shape[:2])
        change = (fine.sum(1) - coarse).abs().amax(1)
        gap, order = torch.maximum(change, inherited).sort()
        points += len(_NODES) ** cells.shape[1] * len(fine.flatten(0, 1))
        # an infinite or undefined gap will not close: its cell is taken with the rest
        done = (points > budget) | ~fine.isfinite().all()
        enough = done | (gap.cumsum(0) <= (tolerance - error) / 2)
        taken.append(children[order[enough]].flatten(0, 1))
        total, error = total + fine[order[enough]].sum((0, 1)), error + float(gap[enough].sum())
        again = order[~enough]
        cells, coarse = children[again].flatten(0, 1), fine[again].flatten(0, 1)
        inherited = (_INHERITED[cells.shape[1]] * change[again]).repeat_interleave(children.shape[1])
    return total, error, torch.cat(taken)


def _by_distribution_functions(p: Density, q: Density) -> Quantity:
    def densities(x: Tensor) -> Tensor:
        return torch.stack([p.log_prob(x).exp(), q.log_prob(x).exp()], 1)

    masses, error, taken = _refine(densities, _cells(p, q), tolerance=1e-7, budget=2**17)
    edges = torch.cat([taken[:, 0, 0], taken[:, 0, 1]]).unique()

    def area(pieces: int) -> float:
        steps = torch.arange(pieces, dtype=edges.dtype) / pieces
        x = torch.cat([(edges[:-1, None] + edges.diff()[:, None] * steps).flatten(), edges[-1:]])
        below = _lobatto(densities, torch.stack([x[:-1], x[1:]], 1)[:, None]).cumsum(0)
        gap = (below / below[-1]).diff(dim=1)[:, 0].abs()  # |F_p - F_q| at x[1:]; it is 0 at x[0]
        return float(((gap.roll(1) + gap) / 2 * x.diff()).sum())

    coarse, fine = area(16), area(32)
    missed = error + float((1 - masses).abs().sum())
    # the trapezoid's error is of second order: two grids give the next order, and the error
    return Quantity(
        (4 * fine - coarse) / 3,
        abs(fine - coarse) + missed * float(edges[-1] - edges[0]),
        "distribution functions",
    )


def _by_assignment(p: Density, q: Density, n: int, seed: int, repeats: int = 8) -> Quantity:
    from scipy.special import stdtrit

    x, x_again, y, y_again = (
        _draw(density, n * repeats, seed, who).view(repeats, n, -1)
        for density, who in [(p, "p"), (p, "p again"), (q, "q"), (q, "q again")]
    )
    across, itself = _matched(x, y), (_matched(x, x_again) + _matched(y, y_again)) / 2
    sampling = stdtrit(repeats - 1, 0.975) * (across - itself).std(ddof=1) / math.sqrt(repeats)
    error = float(itself.mean() + sampling)
    return Quantity(float((across - itself).mean()), error, f"exact assignment, {repeats} x {n} points")


def _matched(x: Tensor, y: Tensor) -> np.ndarray:
    """Mean distance of the best matching in each of r pairs of clouds: [r, n, d] x 2 -> [r]."""
    from scipy.optimize import linear_sum_assignment

    costs = [distance.numpy() for distance in torch.cdist(x, y)]
    return np.array([cost[linear_sum_assignment(cost)].mean() for cost in costs])
