"""Priors p_z: the noise that G makes examples of, of unit variance; and what the i-th sample of a seed is
made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zerosum.randomness import stream

__all__ = ["mixture", "normal", "numbered_classes", "numbered_noise", "uniform"]

Prior = Callable[[Sequence[int], torch.Generator, torch.dtype], Tensor]
"""``(shape, generator, dtype) -> z``, drawn by the generator, on its device."""
NARROW = 0.1  # std of each Gaussian of `mixture`


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ N(0, 1), independent."""
    return torch.randn(*shape, generator=generator, dtype=dtype, device=generator.device)


def uniform(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ U[-sqrt 3, sqrt 3], independent, of unit variance: the prior of Goodfellow et al. (2014)."""
    return (2 * torch.rand(*shape, generator=generator, dtype=dtype, device=generator.device) - 1) * 3**0.5


def mixture(
    shape: Sequence[int],
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    std: float = NARROW,
) -> Tensor:
    """z = sqrt(1 - std^2) s + std e, s = 1 or -1 and e ~ N(0, 1), independent: 2^d narrow Gaussians in d
    coordinates, of unit variance.

    A continuous G takes a connected prior to connected samples, and some of them lie between modes that are
    apart. A prior in parts can be cut there. std: of each Gaussian; 1 is `normal`.

    Raises ValueError for a std that is not above 0 and at most 1.
    """
    if not 0 < std <= 1:
        raise ValueError(f"std of a mixture is above 0 and at most 1, not {std:g}")
    sign = 2 * torch.randint(2, shape, generator=generator, dtype=dtype, device=generator.device) - 1
    return (1 - std**2) ** 0.5 * sign + std * normal(shape, generator, dtype)


# samples by number --------------------------------------------------------------------------------------

BLOCK = 256  # samples that are drawn for at a time: parts of any size join to the same whole


def numbered_noise(
    prior: Prior,
    latent: Sequence[int],
    n: int,
    seed: int,
    first: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """z of the samples first, ..., first + n - 1 of this seed, ``[n, *latent]``: each follows from the seed
    and its own number."""
    streams = [stream(seed, i, "sample", device=device) for i in _blocks(n, first)]
    blocks = [prior((BLOCK, *latent), generator, dtype) for generator in streams]
    return torch.cat(blocks)[first % BLOCK :][:n]


def numbered_classes(shares: Sequence[float], n: int, seed: int, first: int) -> Tensor:
    """Classes of the same samples, int64 ``[n]``, each as often as its share says."""
    weights = torch.tensor(shares, dtype=torch.float64)
    streams = [stream(seed, i, "condition") for i in _blocks(n, first)]
    blocks = [torch.multinomial(weights, BLOCK, True, generator=generator) for generator in streams]
    return torch.cat(blocks)[first % BLOCK :][:n]


def _blocks(n: int, first: int) -> range:
    return range(first // BLOCK, (first + n) // BLOCK + 1)
