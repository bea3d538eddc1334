r"""The density p_g that a generator induces: exact where the map can be inverted, estimated where it cannot.

If x = G(z) with z ~ p_z and as many latent as data dimensions, then

.. math:: p_g(x) = \sum_{z : G(z) = x} p_z(z) / |\det J_G(z)|,

which `pushforward` computes. A generator that folds the plane, or whose latent space has another dimension,
leaves only its samples: `by_kernel_density` estimates from them, and says how far the estimate may be off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zerosum.theory.densities import Density, Function, Quantity, in_double

__all__ = [
    "KernelDensity",
    "NormalPrior",
    "Prior",
    "UniformPrior",
    "bandwidth",
    "by_kernel_density",
    "pushforward",
]


class Prior(Density, Protocol):
    """A density of latents, zero or negligible (even in a ratio of densities) beyond `bound` on any axis."""

    @property
    def dim(self) -> int: ...
    @property
    def bound(self) -> float: ...


@dataclass(frozen=True)
class NormalPrior:
    """z ~ N(0, I) in `dim` dimensions."""

    dim: int
    bound: float = 1000.0

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.square().sum(1) / 2 - self.dim * math.log(2 * math.pi) / 2

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.dim, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class UniformPrior:
    """z uniform on [-sqrt 3, sqrt 3]^dim: mean 0, variance 1 (Goodfellow 2014)."""

    dim: int
    bound: float = math.sqrt(3)

    def log_prob(self, x: Tensor) -> Tensor:
        inside = x.new_full((len(x),), -self.dim * math.log(2 * self.bound))
        return inside.masked_fill((x.abs() > self.bound).any(1), -math.inf)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        u = torch.rand(n, self.dim, generator=generator, dtype=torch.float64)
        return self.bound * (2 * u - 1)


def pushforward(generator: Function, prior: Prior) -> Density:
    r"""The density of G(z), z ~ prior, by change of variables; G maps [n, d] to [n, d].

    With d = 1, G may be any map that is nowhere flat: all preimages are bracketed on a grid of 2^14 latents,
    then refined by Newton's method. With d > 1, G must be one to one; its inverse is Newton's method from the
    nearest of 2^14 images. A module is evaluated as a float64 copy in eval mode.

    Raises ValueError where there is no such density: other dimensions, a flat piece (an atom of p_g), or a
    Jacobian that changes sign (a fold of the plane). An injective Jacobian does not prove an injective map: a
    plane wound twice round shows as missing mass, which `quadrature` adds to its error.

    >>> folded = pushforward(lambda z: z.abs(), NormalPrior(1))
    >>> folded.log_prob(torch.tensor([[0.5], [-0.5]], dtype=torch.float64)).exp()
    tensor([0.7041, 0.0000], dtype=torch.float64)
    """
    G = in_double(generator)
    images = G(prior.sample(2, torch.Generator().manual_seed(0)))
    if images.shape != (2, prior.dim):
        raise ValueError(
            f"G must map [n, {prior.dim}] to itself, not to [n, {images.shape[1]}]: use by_kernel_density"
        )
    return _Line(G, prior) if prior.dim == 1 else _Sheet(G, prior)


class _Line:
    """p_g on the line, the sum over the monotone pieces of G."""

    def __init__(self, G: Function, prior: Prior) -> None:
        self.G, self.prior = G, prior
        self._evaluate(_axis(prior, 2**14 + 1))
        # p_g is unbounded where G turns, so the turn is sought within its two cells, or mass would be lost
        turn = self.slope.diff().nonzero()[:, 0] + 1
        share = torch.linspace(0, 1, 2**12, dtype=torch.float64)
        near = torch.lerp(self.z[turn - 1, None], self.z[turn + 1, None], share)
        self._evaluate(torch.cat([self.z, near.flatten()]).unique())
        mass = self.prior.log_prob(self.z[:-1, None]).exp() * self.z.diff()
        flat = float(mass[self.slope == 0].sum())
        if flat > 1e-6:
            raise ValueError(
                f"p_g has no density: G is flat on {flat:.2g} of the prior; use by_kernel_density"
            )

    def _evaluate(self, z: Tensor) -> None:
        x = self.G(z[:, None])[:, 0]
        self.z, self.x = z[x.isfinite()], x[x.isfinite()]
        self.slope = self.x.diff().sign()  # of each cell of the grid

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.G(self.prior.sample(n, generator))

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.double()
        here, cell = (torch.cat(parts) for parts in zip(*self._brackets(x[:, 0]), strict=True))
        low, high = self.z[cell, None], self.z[cell + 1, None]
        z = _newton(self.G, (low + high) / 2, x[here], low, high)
        terms = _density_at(self.G, self.prior, z)
        here, terms = here[terms > -math.inf], terms[terms > -math.inf]
        # log-sum-exp over the preimages of each x, of which there may be none
        peak = x.new_full((len(x),), -math.inf).scatter_reduce(0, here, terms, "amax")
        return peak + torch.zeros_like(peak).index_add(0, here, (terms - peak[here]).exp()).log()

    def _brackets(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each monotone piece: the indices of the x it reaches, and the grid cell of each preimage."""
        starts = [0, *(self.slope.diff().nonzero()[:, 0] + 1).tolist(), len(self.slope)]
        for start, stop in pairwise(starts):
            rising = self.slope[start] * self.x[start : stop + 1]
            target = self.slope[start] * x
            here = ((target >= rising[0]) & (target < rising[-1])).nonzero()[:, 0]
            cell = start + torch.searchsorted(rising, target[here], right=True) - 1
            yield here, cell


class _Sheet:
    """p_g of a one-to-one map of d > 1 dimensions."""

    def __init__(self, G: Function, prior: Prior) -> None:
        from scipy.spatial import KDTree

        self.G, self.prior = G, prior
        dets = torch.linalg.det(_jacobians(G, prior.sample(4096, torch.Generator().manual_seed(0))))
        if not ((dets > 0).all() or (dets < 0).all()):
            share = float(torch.minimum((dets > 0).double().mean(), (dets < 0).double().mean()))
            raise ValueError(
                f"G is not one to one (det J changes sign on {share:.2g} of p_z): use by_kernel_density"
            )
        z = torch.cartesian_prod(*[_axis(prior, round(2 ** (14 / prior.dim)))] * prior.dim)
        images = G(z)
        finite = images.isfinite().all(1)
        self.z, self.tree = z[finite], KDTree(images[finite].numpy())

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.G(self.prior.sample(n, generator))

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.double()
        nearest: Any = self.tree.query(x.numpy())[1]
        bound = x.new_full(x.shape, self.prior.bound)
        z = _newton(self.G, self.z[nearest], x, -bound, bound)
        reached = (self.G(z) - x).norm(dim=1) <= 1e-8 * (1 + x.norm(dim=1))
        return torch.where(reached, _density_at(self.G, self.prior, z), -math.inf)


def _axis(prior: Prior, n: int) -> Tensor:
    """n latents from -bound to bound, dense (evenly to first order) where |z| < 1 and ever sparser beyond."""
    reach = math.asinh(prior.bound)
    return torch.linspace(-reach, reach, n, dtype=torch.float64).sinh().clamp(-prior.bound, prior.bound)


def _jacobians(G: Function, z: Tensor) -> Tensor:
    """dG/dz of each row: [n, d] -> [n, d, d]."""
    return torch.func.vmap(torch.func.jacrev(lambda row: G(row[None])[0]))(z)


def _density_at(G: Function, prior: Prior, z: Tensor) -> Tensor:
    """log p_z(z) - log |det J(z)|: what the preimage z gives to the density of G(z)."""
    log_det = torch.linalg.slogdet(_jacobians(G, z)).logabsdet
    # where G turns the density is infinite, in a single point that has no mass
    return torch.where(log_det > -math.inf, prior.log_prob(z) - log_det, -math.inf)


def _newton(G: Function, z: Tensor, x: Tensor, low: Tensor, high: Tensor, steps: int = 10) -> Tensor:
    """Solve G(z) = x for each row inside [low, high]; a row that fails keeps its residual."""
    for _ in range(steps):
        # a singular Jacobian gives no step rather than an exception for all the rows
        step = torch.linalg.solve_ex(_jacobians(G, z), G(z) - x).result.nan_to_num(0.0, 0.0, 0.0)
        before, z = z, (z - step).clamp(low, high)
        if (z - before).abs().le(1e-13 * (1 + z.abs())).all():
            break
    return z


# Estimates from samples -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KernelDensity:
    r"""p(x) = mean_i N(x; x_i, h^2 I) over points x_i [n, d] (Parzen 1962), with h = `bandwidth`."""

    points: Tensor
    bandwidth: float

    def log_prob(self, x: Tensor) -> Tensor:
        log_kernels = [_log_kernels(part, self.points, self.bandwidth) for part in x.split(2**12)]
        return torch.cat([part.logsumexp(1) for part in log_kernels]) - math.log(len(self.points))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        chosen = self.points[torch.randint(len(self.points), (n,), generator=generator)]
        return chosen + self.bandwidth * torch.randn(chosen.shape, generator=generator, dtype=chosen.dtype)


def bandwidth(points: Tensor) -> float:
    """The bandwidth at which points [n, d] are likeliest, each left out of its own estimate.

    Twenty-four candidates lie between half the typical distance to the nearest neighbour and the spread.
    """
    apart = torch.cdist(points, points).fill_diagonal_(math.inf)
    nearest, spread = apart.amin(1).mean(), points.std(0).mean()
    if not nearest > 0:
        raise ValueError("a kernel density needs distinct points: the generator gives the same few again")
    candidates = torch.logspace(float(torch.log10(nearest / 2)), float(torch.log10(spread)), 24).tolist()

    def likelihood(h: float) -> float:
        return float((-apart.square() / (2 * h * h)).logsumexp(1).mean()) - points.shape[1] * math.log(h)

    return max(candidates, key=likelihood)


def by_kernel_density(functional: Callable[[Density], Quantity], points: Tensor) -> Quantity:
    r"""functional(p_g) where p_g is known only by points [n, d], with the bias of the estimate as its error.

    The smoothing bias grows as h^2, so it is functional(sqrt(2) h) - functional(h). The bias of few points
    and the standard error come from the jackknife: eight more estimates, an eighth of the points left out of
    each. The error adds both biases, the 95 % interval and the error of `functional` itself; `method` tells
    n, h and the biases, signed. Ten calls of `functional`: on the plane, let it integrate loosely.

    >>> from zerosum.randomness import stream
    >>> from zerosum.theory import jsd
    >>> points = NormalPrior(1).sample(500, stream(0, "points"))
    >>> by_kernel_density(lambda q: jsd(NormalPrior(1), q), points).agrees(0.0)
    True
    """
    from scipy.special import stdtrit

    points = points.double()
    h = bandwidth(points)
    whole = functional(KernelDensity(points, h))
    smoothing = float(functional(KernelDensity(points, math.sqrt(2) * h))) - whole.value
    folds = points.tensor_split(8)
    rest = [torch.cat([*folds[:i], *folds[i + 1 :]]) for i in range(8)]
    left = np.array([float(functional(KernelDensity(part, h))) for part in rest])
    few = 7 * (float(left.mean()) - whole.value)  # Quenouille: the bias falls as 1/n
    sampling = stdtrit(7, 0.975) * math.sqrt(7 / 8 * np.square(left - left.mean()).sum())
    method = f"kernel density, n = {len(points)}, h = {h:.3g}, smoothing {smoothing:+.2g}, sample {few:+.2g}"
    return Quantity(whole.value, whole.error + abs(smoothing) + abs(few) + float(sampling), method)


def _log_kernels(x: Tensor, points: Tensor, h: float) -> Tensor:
    """log N(x; x_i, h^2 I): [m, d], [n, d] -> [m, n]."""
    d = points.shape[1]
    return -torch.cdist(x.double(), points).square() / (2 * h * h) - d * math.log(h * math.sqrt(2 * math.pi))
