"""Numbers of a claim with their errors: closed forms, means of independent draws, integrals over the line."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zerosum import theory
from zerosum.theory import Quantity

__all__ = ["ROUNDING", "along", "exactly", "expectation", "largest", "mean", "squared_norm"]

ROUNDING = 1e-12
"""What float64 may lose in the sums of one turn, whose terms are of order one."""


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
