"""Nearest neighbours: how well two sets cover each other, and whether a generator repeats its training set.

Distances are made in chunks and only the k smallest per row, or counts, are kept, so memory does not grow
with N times M. They are computed in the type of the input: give float64 where it matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, normal, wilson
from zerosum.metrics.inputs import matched

__all__ = ["PRDC", "memorisation_test", "nearest", "prdc", "squared_distances"]

CHUNK = 2**25  # distances held at a time


class PRDC(NamedTuple):
    """The four scores of `prdc`; all are better when higher."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def nearest(x: Tensor, reference: Tensor, k: int, *, itself: bool = False) -> Tensor:
    """Distances `[n, k]` from each x `[n, d]` to its k nearest in `reference` `[m, d]`, ascending.

    With `itself`, x is the reference and the pair of an example with itself does not count.

    >>> nearest(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [1.0]]), 2).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if k > len(reference) - itself:
        raise ValueError(f"{len(reference)} examples have no {k} neighbours; lower k or give more examples")
    found = []
    for start, squares in _chunks(x, reference):
        if itself:
            squares.diagonal(offset=start).fill_(math.inf)
        found.append(torch.topk(squares, k, largest=False).values)
    return torch.cat(found).sqrt()


def prdc(real: Any, fake: Any, *, k: int = 5, space: str = "samples") -> PRDC:
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    With B(x) the closed ball round x that reaches its k-th neighbour in its own set:

    - precision: share of fakes inside any B(real); recall: share of reals inside any B(fake);
    - density: mean over fakes of (number of B(real) it is in) / k; coverage: share of B(real) that hold a
    fake.

    All are 1 for identical sets, except density (about 1 for equal distributions). The intervals are binomial
    (Wilson; for density normal) over the examples that are counted, with the balls held fixed.

    >>> x = torch.randn(100, 2)
    >>> float(prdc(x, x).coverage), float(prdc(x, x + 100).precision)
    (1.0, 0.0)
    """
    x, y = matched(real=real, fake=fake)
    x, y = x - x.mean(0), y - x.mean(0)
    real_radius, fake_radius = (nearest(z, z, k, itself=True)[:, -1] for z in (x, y))
    holders = torch.zeros(len(y), dtype=torch.long, device=x.device)
    recalled, covered = [], []
    for start, squares in _chunks(x, y):
        radius = real_radius[start : start + len(squares), None]
        inside = squares <= radius * radius
        holders += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((squares <= fake_radius * fake_radius).any(1))
    density = holders.double() / k
    error = float(density.std()) / math.sqrt(len(y))
    mean = float(density.mean())
    return PRDC(
        _share(holders > 0, len(y), space, "precision"),
        _share(torch.cat(recalled), len(y), space, "recall"),
        Estimate(mean, *normal(mean, error), len(y), space, "density", "normal over examples"),
        _share(torch.cat(covered), len(y), space, "coverage"),
    )


def memorisation_test(
    real: Any, fake: Any, train: Any, *, k: int = 5, share: float = 0.01, space: str = "samples"
) -> Estimate:
    """Does the generator copy `train`? `real` are held-out examples it has not seen. The value is the share
    of suspect fakes.

    Each example's distance to its nearest training example is divided by that to its k-th: a copy has a ratio
    near 0, while a merely smooth or merely noisy image has not. A fake is suspect when its ratio is below the
    held-out set's own `share`-quantile. A generator that does not copy has about that share (`floor`). Lower
    is better.

    `p_value` is exact, whatever the distributions: if the m held-out and n fake ratios are exchangeable, the
    number of fakes below the j-th smallest held-out ratio follows from a random order of n + m. The interval
    of the value is Wilson's. (After Meehan, Chaudhuri & Dasgupta 2020 and Carlini et al. 2023.)

    >>> g = torch.Generator().manual_seed(0)
    >>> train, real, new = (torch.randn(1_000, 8, generator=g) for _ in range(3))
    >>> memorisation_test(real, torch.cat([train[:50], new]), train).p_value < 0.01
    True
    """
    from scipy.stats import hypergeom

    held, made, seen = matched(real=real, fake=fake, train=train)
    centre = seen.mean(0)
    known, asked = (_ratio(z - centre, seen - centre, k).sort().values for z in (held, made))
    n, m, j = len(asked), len(known), max(1, round(share * len(known)))
    suspect = int((asked < known[j - 1]).sum())
    # c fakes precede the j-th held-out when the first c + j - 1 of the joint order hold at most j - 1.
    p = float(hypergeom.cdf(j - 1, n + m, m, suspect + j - 1)) if suspect else 1.0
    return Estimate(
        suspect / n,
        *wilson(suspect, n),
        n,
        space,
        "share of suspected copies",
        "binomial",
        floor=j / (m + 1),
        p_value=p,
    )


def _ratio(x: Tensor, train: Tensor, k: int) -> Tensor:
    distances = nearest(x, train, k)
    return torch.where(distances[:, 0] > 0, distances[:, 0] / distances[:, -1], 0.0)


def _share(hits: Tensor, n: int, space: str, name: str) -> Estimate:
    count = int(hits.sum())
    return Estimate(count / len(hits), *wilson(count, len(hits)), n, space, name, "binomial")


def _chunks(x: Tensor, reference: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of consecutive rows of x to all of `reference`, with the first row's index."""
    rows = max(1, CHUNK // len(reference))
    for start in range(0, len(x), rows):
        yield start, squared_distances(x[start : start + rows], reference)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances `[n, m]` by one matrix product; never negative."""
    return torch.addmm((y * y).sum(1), x, y.T, alpha=-2).add_((x * x).sum(1, keepdim=True)).clamp_min_(0)
