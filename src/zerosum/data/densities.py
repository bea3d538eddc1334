r"""Densities: sources that know their own p_data(x), so that a game can be judged against the truth.

Two kinds are enough. A `GaussianMixture` is

.. math:: p(x) = \sum_k w_k N(x; m_k, s^2 I)

and a `NoisyCurve`, a curve c: [0, 1] -> R^2 with noise, is its continuous limit

.. math:: p(x) = \int_0^1 N(x; c(u), s^2 I) du

Every batch is drawn afresh: a density has no epochs and no labels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zerosum.data.codec import Codec, Numbers
from zerosum.data.source import no_such_split
from zerosum.randomness import stream

__all__ = [
    "Density",
    "GaussianMixture",
    "NoisyCurve",
    "gaussian",
    "grid",
    "mixture",
    "ring",
    "swiss_roll",
    "two_moons",
]


_MOST_MODES = 2**16
"""Every reading of the watch compares its samples with each of them."""


class Density(ABC):
    """A source with `sample`, `log_prob`, `modes` float32 [K, d] and `std`, the width of the noise."""

    modes: Tensor
    std: float
    seed: int

    classes = 0
    class_names: tuple[str, ...] = ()
    class_shares: tuple[float, ...] = ()
    splits: tuple[str, ...] = ()
    fingerprint = ""
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.modes.shape[1],)

    @property
    def codec(self) -> Codec:
        return Numbers(self.shape)

    def split(self, name: str) -> Density:
        """Nothing is divided: every batch is fresh."""
        raise no_such_split(name, self.splits)

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points, float32 [n, d]. Without a generator: always the same n points of this seed."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, for x [n, d] -> [n], computed in the precision of x."""

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        """Fresh points x [n, d] for each step; no labels."""
        return self.sample(n, stream(self.seed, step, "data")), None


@dataclass(frozen=True, eq=False)
class GaussianMixture(Density):
    r"""K Gaussians of one width: p(x) = sum_k w_k N(x; m_k, s^2 I).

    Arguments:
        modes: The means m_k, float32 [K, d].
        std: The width s > 0.
        weights: The weights w_k > 0, float64 [K]; they sum to 1.
        seed: The seed of the batches.

    Raises:
        ValueError: if a shape, the width or a weight is impossible.
    """

    modes: Tensor
    std: float
    weights: Tensor
    seed: int = 0

    def __post_init__(self) -> None:
        if self.modes.ndim != 2 or self.modes.numel() == 0:
            raise ValueError(f"a mixture needs means [K, d], K and d >= 1: got {list(self.modes.shape)}")
        if self.weights.shape != self.modes.shape[:1]:
            raise ValueError(f"{len(self.modes)} means need as many weights: got {list(self.weights.shape)}")
        if not (self.weights > 0).all() or not torch.isclose(self.weights.sum(), self.weights.new_ones(())):
            raise ValueError(f"the weights of a mixture are > 0 and sum to 1: got {self.weights.tolist()}")
        _check_positive("std", self.std)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        generator = generator or stream(self.seed, "sample")
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return _blur(self.modes[k], self.std, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return _log_prob(x, self.modes, self.std, self.weights)


@dataclass(frozen=True, eq=False)
class NoisyCurve(Density):
    r"""A plane curve with Gaussian noise: x = c(u) + s e, with u uniform on [0, 1) and e ~ N(0, I).

    `log_prob` computes p(x) = \int_0^1 N(x; c(u), s^2 I) du by composite Gauss-Legendre quadrature:
    six or more panels of 32 nodes, at most 16 s long, with a border at u = 1/2, where the curve may jump.
    Within 8 s of the curve the error of p is below 1e-11 of its peak; anywhere else the error of `log_prob`
    is below 1e-3 of its value.

    Arguments:
        curve: The function u [n] -> c(u) [n, 2]; smooth, but for a jump at u = 1/2.
        speed: The largest |dc/du|.
        std: The width s > 0 of the noise.
        seed: The seed of the batches.
    """

    curve: Callable[[Tensor], Tensor]
    speed: float
    std: float
    seed: int = 0
    modes: Tensor = field(init=False, repr=False, default_factory=lambda: torch.zeros(0, 2))

    def __post_init__(self) -> None:
        _check_positive("noise", self.std)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        generator = generator or stream(self.seed, "sample")
        return _blur(self.curve(torch.rand(n, generator=generator, dtype=torch.float32)), self.std, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        nodes, weights = _gauss_legendre(panels=2 * math.ceil(2 + self.speed / (32 * self.std)))
        return _log_prob(x, self.curve(nodes), self.std, weights)


def ring(modes: int = 8, *, radius: float = 1.0, std: float = 0.01, seed: int = 0) -> GaussianMixture:
    """Gaussians at equal distances on a circle; the defaults are those of PacGAN (Lin et al., 2018).

    >>> ring(4).modes.round(decimals=3).abs().tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    _check_positive("modes", modes, _MOST_MODES)
    angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return mixture(radius * torch.stack([angles.cos(), angles.sin()], dim=1), std, seed=seed)


def grid(side: int = 5, *, spacing: float = 2.0, std: float = 0.05, seed: int = 0) -> GaussianMixture:
    """`side` x `side` Gaussians round the origin; the defaults are PacGAN's {-4, -2, 0, 2, 4}^2.

    >>> grid(2).modes.tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    _check_positive("side", side, math.isqrt(_MOST_MODES))
    ticks = spacing * (torch.arange(side) - (side - 1) / 2)
    return mixture(torch.cartesian_prod(ticks, ticks), std, seed=seed)


def mixture(
    means: Tensor | Sequence[float] | Sequence[Sequence[float]],
    std: float,
    weights: Tensor | Sequence[float] | None = None,
    *,
    seed: int = 0,
) -> GaussianMixture:
    """Gaussians of width `std` at `means`: K numbers (on the line) or K points [K, d].

    `weights` are made to sum to 1; without them all are equal.

    >>> two = mixture([-2.0, 2.0], std=0.5, weights=[1, 3])
    >>> two.shape, two.weights.tolist()
    ((1,), [0.25, 0.75])
    """
    m = torch.as_tensor(means, dtype=torch.float32)
    m = m.reshape(-1, 1) if m.ndim == 1 else m
    w = torch.as_tensor([1.0] * len(m) if weights is None else weights, dtype=torch.float64)
    return GaussianMixture(m, std, w / w.sum(), seed)


def gaussian(dim: int = 1, *, mean: float = 0.0, std: float = 1.0, seed: int = 0) -> GaussianMixture:
    """One Gaussian N(mean, std^2 I) in `dim` dimensions.

    >>> gaussian().log_prob(torch.zeros(1, 1)).exp().item() * math.sqrt(2 * math.pi)  # doctest: +ELLIPSIS
    1.000000...
    """
    return mixture(torch.full((1, dim), float(mean)), std, seed=seed)


def swiss_roll(noise: float = 0.25 / 7.5, *, seed: int = 0) -> NoisyCurve:
    r"""The spiral c = (t cos t, t sin t) / 7.5 with t uniform on [3 pi / 2, 9 pi / 2).

    The coordinates, scale and noise are those of the toy data of WGAN-GP (Gulrajani et al., 2017, figure 1).
    `noise` is the standard deviation in these coordinates, where the roll is 1.9 in radius.

    >>> swiss_roll().batch(0, 3)[0].shape
    torch.Size([3, 2])
    """
    return NoisyCurve(_spiral, speed=math.pi / 2.5 * math.hypot(1, 4.5 * math.pi), std=noise, seed=seed)


def two_moons(noise: float = 0.05, *, seed: int = 0) -> NoisyCurve:
    """Two half circles of radius 1 that reach into each other, as in scikit-learn's `make_moons`.

    The upper one is centred at (0, 0), the lower one at (1, 1/2); each has half the points.

    >>> two_moons().log_prob(torch.tensor([[0.0, 1.0], [0.0, 3.0]])).diff().item() < -100
    True
    """
    return NoisyCurve(_moons, speed=2 * math.pi, std=noise, seed=seed)


def _spiral(u: Tensor) -> Tensor:
    t = 1.5 * math.pi * (1 + 2 * u)
    return torch.stack([t.cos(), t.sin()], dim=1) * (t / 7.5)[:, None]


def _moons(u: Tensor) -> Tensor:
    """One full circle, whose lower half is moved by (1, 1/2)."""
    t, lower = 2 * math.pi * u, (u >= 0.5).to(u)
    return torch.stack([t.cos() + lower, t.sin() + lower / 2], dim=1)


def _blur(points: Tensor, std: float, generator: torch.Generator) -> Tensor:
    return torch.randn(points.shape, generator=generator, dtype=torch.float32).mul_(std).add_(points)


def _log_prob(x: Tensor, means: Tensor, std: float, weights: Tensor) -> Tensor:
    """log sum_k w_k N(x; m_k, s^2 I); by slices of x, to bound the [n, K, d] of differences."""
    if x.ndim != 2 or x.shape[1] != means.shape[1]:
        raise ValueError(f"log_prob takes points [n, {means.shape[1]}]: got {list(x.shape)}")
    means, log_weights = means.to(x), weights.log().to(x)
    constant = x.shape[1] / 2 * math.log(2 * math.pi * std**2)
    parts: list[Tensor] = []
    for part in torch.split(x, 1 + 2**20 // len(means)):
        squares = (part[:, None] - means).square().sum(dim=2)
        parts.append(torch.logsumexp(log_weights - squares / (2 * std**2), dim=1))
    return torch.cat(parts) - constant


def _gauss_legendre(panels: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the quadrature on [0, 1] that has 32 nodes in each of equal panels: float64."""
    from numpy.polynomial.legendre import leggauss

    u, w = map(torch.as_tensor, leggauss(32))
    left = torch.arange(panels, dtype=torch.float64)[:, None]
    return ((left + (u + 1) / 2) / panels).flatten(), (w / 2 / panels).repeat(panels)


def _check_positive(name: str, value: float, most: float = math.inf) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is a positive number: got {value}")
    if value > most:
        raise ValueError(f"{name} is at most {most:,}: got {value}")
