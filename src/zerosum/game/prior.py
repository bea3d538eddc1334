"""Priors p_z: the noise that G makes examples of, of unit variance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["normal", "uniform"]

Prior = Callable[[Sequence[int], torch.Generator, torch.dtype], Tensor]
"""``(shape, generator, dtype) -> z``, drawn by the generator, on its device."""


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ N(0, 1), independent."""
    return torch.randn(*shape, generator=generator, dtype=dtype, device=generator.device)


def uniform(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ U[-sqrt 3, sqrt 3], independent, of unit variance: the prior of Goodfellow et al. (2014)."""
    return (2 * torch.rand(*shape, generator=generator, dtype=dtype, device=generator.device) - 1) * 3**0.5
