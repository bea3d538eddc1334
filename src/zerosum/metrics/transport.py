"""Optimal transport between two sets of samples: exact for small sets, sliced for any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, jackknife, student
from zerosum.metrics.inputs import matched
from zerosum.randomness import stream

__all__ = ["directions", "sliced_wasserstein", "wasserstein"]

BLOCKS = 10
LARGEST = 5_000


def wasserstein(real: Any, fake: Any, *, p: int = 2, space: str = "samples") -> Estimate:
    """W_p = (min over matchings of mean |x_i - y_s(i)|^p)^(1/p), exactly, for equally many samples (up to
    5,000). Lower is better.

    Solved as an assignment problem, O(N^3). The finite-sample value is biased upwards by about N^(-1/d): read
    it against `floor`. The interval is a delete-block jackknife (10 blocks of matched size) about this biased
    value.

    >>> x = torch.rand(50, 2)
    >>> round(float(wasserstein(x, x + 1, p=1)), 5)  # a shift by (1, 1)
    1.41421
    """
    x, y = matched(real=real, fake=fake, least=2 * BLOCKS)
    if len(x) != len(y) or len(x) > LARGEST:
        raise ValueError(
            f"exact transport needs equally many samples, at most {LARGEST:,}; real has {len(x):,} and fake "
            f"{len(y):,}: take subsets, or sliced_wasserstein"
        )
    cost = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").pow(p)

    def distance(rows: Tensor, columns: Tensor) -> float:
        return _matched_cost(cost[rows][:, columns]) ** (1 / p)

    every = torch.arange(len(x))
    value = distance(every, every)
    interval = student(value, jackknife(distance, every, every, blocks=BLOCKS), BLOCKS)
    return Estimate(value, *_positive(interval), len(y), space, f"Wasserstein-{p}", "delete-block jackknife")


def sliced_wasserstein(
    real: Any, fake: Any, *, p: int = 2, projections: int = 500, seed: int = 0, space: str = "samples"
) -> Estimate:
    """(E_u W_p^p(u.x, u.y))^(1/p) over `projections` random directions u, for sets of any sizes. Lower is
    better.

    (Rabin et al. 2012; Bonneel et al. 2015.) Each one-dimensional distance is exact: the integral of the
    difference of the two quantile functions. Less biased than W_p, but still upwards. The interval is a
    delete-block jackknife over 10 blocks of samples, for the directions drawn.

    >>> x = torch.rand(100, 2, dtype=torch.float64)
    >>> float(sliced_wasserstein(x, x))
    0.0
    """
    x, y = matched(real=real, fake=fake, least=2 * BLOCKS)
    u = directions(x.shape[1], projections, seed=seed).to(x)
    center = x.mean(0)

    def distance(a: Tensor, b: Tensor) -> float:
        return float(_line_costs(a, b, p).mean()) ** (1 / p)

    a, b = ((z - center) @ u for z in (x, y))
    value = distance(a, b)
    interval = student(value, jackknife(distance, a, b, blocks=BLOCKS), BLOCKS)
    return Estimate(
        value, *_positive(interval), len(y), space, f"sliced Wasserstein-{p}", "delete-block jackknife"
    )


def directions(d: int, count: int, *, seed: int = 0) -> Tensor:
    """`count` unit vectors `[d, count]` drawn uniformly, in float64."""
    u = torch.randn(d, count, dtype=torch.float64, generator=stream(seed, "directions"))
    return u / u.norm(dim=0)


def _matched_cost(cost: Tensor) -> float:
    from scipy.optimize import linear_sum_assignment

    table = cost.cpu().numpy()
    return float(table[linear_sum_assignment(table)].mean())


def _line_costs(a: Tensor, b: Tensor, p: int) -> Tensor:
    """W_p^p along each column of `[n, P]` and `[m, P]`: both quantile functions are steps, cut at i/n and
    j/m."""
    n, m = len(a), len(b)
    cuts = torch.cat(
        [torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]
    ).unique()  # in units of 1 / (n m)
    width = torch.diff(cuts, prepend=cuts.new_zeros(1)).to(a) / (n * m)
    last = (cuts - 1).to(a.device)
    gap = a.sort(0).values[last // m] - b.sort(0).values[last // n]
    return width @ gap.abs().pow(p)


def _positive(interval: tuple[float, float]) -> tuple[float, float]:
    return max(0.0, interval[0]), interval[1]
