"""The prior: noise kept near its middle, and the ways from one point of it to another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zerosum.game.prior import Prior, normal, uniform

__all__ = ["SamplingError", "lerp", "slerp", "truncated"]


class SamplingError(ValueError):
    """What is asked of a generator cannot be: what, why and what to do, in one line."""

    exit_code = 2


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
        raise SamplingError("--truncation is for the priors normal and uniform: this generator has its own")
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
