"""Priors p_z: the noise that G makes examples of, of unit variance; and what the i-th sample of a seed is
made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zerosum.randomness import stream

__all__ = ["normal", "numbered_classes", "numbered_noise", "uniform"]

Prior = Callable[[Sequence[int], torch.Generator, torch.dtype], Tensor]
"""``(shape, generator, dtype) -> z``, drawn by the generator, on its device."""


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ N(0, 1), independent."""
    return torch.randn(*shape, generator=generator, dtype=dtype, device=generator.device)


def uniform(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ U[-sqrt 3, sqrt 3], independent, of unit variance: the prior of Goodfellow et al. (2014)."""
    return (2 * torch.rand(*shape, generator=generator, dtype=dtype, device=generator.device) - 1) * 3**0.5


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
