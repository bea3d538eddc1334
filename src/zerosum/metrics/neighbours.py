"""Nearest neighbours: how well two sets cover each other, and whether a generator repeats its training set.

Distances are made in chunks and only the k smallest per row, or counts, are kept, so memory does not grow
with N times M. They are computed in the type of the input: give float64 where it matters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, normal, wilson
from zerosum.metrics.inputs import matched

__all__ = [
    "PRDC",
    "Neighbours",
    "find_neighbours",
    "memorisation_test",
    "nearest",
    "prdc",
    "squared_distances",
]

CHUNK = 2**25  # distances held at a time
ROUNDING = 4  # last digits by which sums of squares that are equal may differ
NO_COPY = 1 / 2  # what is not nearer to one training example than this share of the usual distance is no copy


class PRDC(NamedTuple):
    """The four scores of `prdc`; all are better when higher."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


class Neighbours(NamedTuple):
    """The k nearest of each example, the nearest first: Euclidean distances `[n, k]`, and which they are,
    int64 `[n, k]`, counted from 0 over the whole reference."""

    distances: Tensor
    rows: Tensor


def find_neighbours(
    x: Tensor, reference: Tensor | Iterable[Tensor], k: int, *, itself: bool = False, mirrored: bool = False
) -> Neighbours:
    """The k nearest to each x `[n, ...]` in `reference` `[m, ...]`, or in the batches that it gives.

    No more than a batch is held at a time. Candidates come from one matrix product, their distances from the
    differences, so that 0 means a copy, exactly. itself: x is the reference, and the pair of an example with
    itself does not count. mirrored: the distance of an image `[C, H, W]` is the smaller of those to an
    example and to its mirror image.

    >>> data = torch.tensor([[0.0, 0.0], [3.0, 3.0], [5.0, 5.0]])
    >>> found = find_neighbours(torch.tensor([[3.0, 3.0]]), iter(data.split(2)), k=2)
    >>> found.rows.tolist(), [round(d, 3) for d in found.distances[0].tolist()]
    ([[1, 2]], [0.0, 2.828])
    """
    x = x if x.is_floating_point() else x.float()
    queries = [q.flatten(1) for q in ([x, x.flip(-1)] if mirrored else [x])]
    best = Neighbours(
        queries[0].new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long, device=x.device)
    )
    start = 0
    for batch in [reference] if isinstance(reference, Tensor) else reference:
        near = _candidates(queries, batch.flatten(1).to(queries[0]), k, start if itself else None)
        joined = (torch.cat(pair, 1) for pair in zip(best, (near.distances, near.rows + start), strict=True))
        best = _smallest(*joined, k)
        start += len(batch)
    if k > start - itself:
        raise ValueError(f"{start} examples are too few for {k} neighbours of each: it takes {k + itself}")
    return best


def _candidates(queries: list[Tensor], reference: Tensor, k: int, own: int | None) -> Neighbours:
    """The k nearest in one batch; own: where in the reference the batch begins, if x is the reference."""
    k, parts = min(k, len(reference)), list[Neighbours]()
    rows = max(1, CHUNK // max(len(reference), k * reference.shape[1]))
    for start in range(0, len(queries[0]), rows):
        some = [query[start : start + rows] for query in queries]
        squares = torch.stack([squared_distances(x, reference) for x in some]).amin(0)
        if own is not None:
            squares.diagonal(offset=start - own).fill_(math.inf)
        near, index = torch.topk(squares, k, largest=False)
        exact = torch.stack([(reference[index] - x[:, None]).square_().sum(2) for x in some]).amin(0).sqrt_()
        parts.append(_smallest(exact.masked_fill_(near.isinf(), math.inf), index, k))
    return Neighbours(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _smallest(distances: Tensor, index: Tensor, k: int) -> Neighbours:
    """The k smallest distances, in ascending order."""
    order = distances.argsort(dim=1, stable=True)[:, :k]
    return Neighbours(distances.gather(1, order), index.gather(1, order))


def nearest(x: Tensor, reference: Tensor, k: int, *, itself: bool = False) -> Tensor:
    """The distances `[n, k]` of `find_neighbours` alone.

    >>> nearest(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [1.0]]), 2).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    return find_neighbours(x, reference, k, itself=itself).distances


def prdc(real: Any, fake: Any, *, k: int = 5, space: str = "samples") -> PRDC:
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    With B(x) the closed ball round x that reaches its k-th neighbour in its own set (what a matrix product
    cannot tell from its edge is measured by the differences, so that rows which repeat, and rows as far as
    the k-th, are inside):

    - precision: share of fakes inside any B(real); recall: share of reals inside any B(fake);
    - density: mean over fakes of (number of B(real) it is in) / k; coverage: share of B(real) that hold a
      fake.

    All are 1 for identical sets, except density (about 1 for equal distributions). Precision and recall fall
    as the sets grow, so compare them only at equal sizes. The intervals know of the uncertainty of both sets
    (the variance over what is counted, and that over what counts it, each left out once): normal for density,
    binomial (Wilson) for shares, over as many examples as that variance is worth, at most the smaller set's.

    >>> x = torch.randn(100, 2)
    >>> float(prdc(x, x).coverage), float(prdc(x, x + 100).precision)
    (1.0, 0.0)
    """
    x, y = matched(least=k + 1, real=real, fake=fake)
    real, fake = _Rows.of(x, x.mean(0)), _Rows.of(y, x.mean(0))
    real_reach, fake_reach = _reach(real, k), _reach(fake, k)
    holders, holder = (torch.zeros(len(y), dtype=torch.long, device=x.device) for _ in range(2))
    recalled, held = list[tuple[Tensor, Tensor]](), list[tuple[Tensor, Tensor]]()
    for start, squares in _chunks(real.centred, fake.centred):
        some = real.at(start, len(squares))
        inside = _inside(squares, real_reach[start : start + len(squares), None], some, fake)
        holders += inside.sum(0)
        holder = torch.where(inside.amax(0) > 0, start + inside.argmax(0), holder)
        held.append((inside.sum(1), inside.argmax(1)))
        inside = _inside(squares, fake_reach[None], some, fake)
        recalled.append((inside.sum(1), inside.argmax(1)))
    in_fake, in_ball = ([torch.cat(parts) for parts in zip(*rows, strict=True)] for rows in (recalled, held))
    density, shares = holders.double() / k, in_ball[0].double() * len(x) / (k * len(y))
    mean = float(density.mean())
    error = math.sqrt(float(density.var()) / len(y) + float(shares.var()) / len(x))

    def share(name: str, holders: Tensor, holder: Tensor, others: int) -> Estimate:
        """The share of rows that one of the others holds; holder: which one, of those that one alone
        holds."""
        n, value = len(holders), float((holders > 0).double().mean())
        alone = torch.bincount(holder[holders == 1], minlength=others).double() / n
        spread = value * (1 - value)
        worth = spread / (spread / n + float((alone - alone.mean()).square().sum())) if spread else n
        known = min(n, others, worth)
        return Estimate(value, *wilson(value * known, known), len(y), space, name, "binomial over both sets")

    return PRDC(
        share("precision", holders, holder, len(x)),
        share("recall", in_fake[0], in_fake[1], len(y)),
        Estimate(mean, *normal(mean, error), len(y), space, "density", "normal over both sets"),
        share("coverage", in_ball[0], in_ball[1], len(y)),
    )


def memorisation_test(
    real: Any, fake: Any, train: Any, *, k: int = 5, share: float = 0.01, space: str = "samples"
) -> Estimate:
    """Does the generator copy `train`? `real` are held-out examples it has not seen. The value is the share
    of suspect fakes.

    Of each example x the nearness to the training set is

        t(x) = max(d_1(x) / d_k(x), d_1(x) / s),

    d_i the distance to its i-th nearest training example, s the median of d_1 among (1,000) training examples
    themselves; 0 of a copy. It is small only where one training example is near, as training examples go, and
    the others are not: a merely smooth example has d_1 = d_k, a merely noisy one, or one far from all data,
    d_1 > s. A fake is suspect when its t is below the held-out set's own `share`-quantile. A generator that
    does not copy has about that share (`floor`). Lower is better.

    `p_value` is exact, whatever the distributions: if the m held-out and n fake values are exchangeable, the
    number of fakes below the j-th smallest held-out value follows from a random order of n + m; ties, as rows
    of 0 and 1 have them, only raise it. The interval of the value is Wilson's. (After Meehan, Chaudhuri &
    Dasgupta 2020 and Carlini et al. 2023.)

    >>> g = torch.Generator().manual_seed(0)
    >>> train, real, new = (torch.randn(1_000, 8, generator=g) for _ in range(3))
    >>> memorisation_test(real, torch.cat([train[:50], new]), train).p_value < 0.01
    True
    """
    from scipy.stats import hypergeom

    real, fake, train = matched(real=real, fake=fake, train=train)
    centre = train.mean(0)
    real, fake, train = real - centre, fake - centre, train - centre
    some = train[torch.linspace(0, len(train) - 1, min(len(train), 1_000)).long()]
    scale = nearest(some, train, 2)[:, 1].median()  # the nearest is the example itself
    held_out, generated = (_nearness(x, train, k, scale).sort().values for x in (real, fake))
    n, m, j = len(generated), len(held_out), max(1, round(share * len(held_out)))
    limit = held_out[j - 1].clamp(max=NO_COPY)
    before = j - 1 if held_out[j - 1] <= NO_COPY else int((held_out < limit).sum())
    suspect = int((generated < limit).sum())
    # c fakes precede the j-th held-out when the first c + j - 1 of the joint order hold at most j - 1.
    p = float(hypergeom.cdf(before, n + m, m, suspect + before)) if suspect else 1.0
    return Estimate(
        suspect / n,
        *wilson(suspect, n),
        n,
        space,
        "share of suspected copies",
        "binomial",
        floor=(before + 1) / (m + 1),
        p_value=p,
    )


def _nearness(x: Tensor, train: Tensor, k: int, scale: Tensor) -> Tensor:
    near = nearest(x, train, k)
    first = near[:, 0]
    return torch.where(first > 0, torch.maximum(first / near[:, -1], first / scale), 0.0)


class _Rows(NamedTuple):
    """Rows `[n, d]`, the same about a centre, and by how much each at most makes squared distances of a
    matrix product wrong `[n]`."""

    exact: Tensor
    centred: Tensor
    doubt: Tensor

    @classmethod
    def of(cls, x: Tensor, centre: Tensor) -> Self:
        centred = x - centre
        unit = 2 * (ROUNDING + math.sqrt(x.shape[1])) * torch.finfo(x.dtype).eps
        return cls(x, centred, unit * (centred * centred).sum(1))

    def at(self, start: int, n: int) -> Self:
        return type(self)(*(part[start : start + n] for part in self))


def _reach(x: _Rows, k: int) -> Tensor:
    """The squared distance of each row of x to its k-th neighbour in x itself: [n]."""
    found = list[Tensor]()
    for start, squares in _chunks(x.centred, x.centred):
        squares.diagonal(offset=start).fill_(math.inf)
        last = squares.topk(k, dim=1, largest=False).values[:, -1:]  # faster than kthvalue
        _measure(squares, last, x.at(start, len(squares)), x)
        found.append(squares.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(found)


def _inside(squares: Tensor, limit: Tensor, x: _Rows, y: _Rows) -> Tensor:
    """Whether the squared distances of x to y reach no further than `limit`, but for what a sum is rounded
    by: uint8 `[n, m]`."""
    _measure(squares, limit, x, y)
    return (squares <= limit * (1 + ROUNDING * torch.finfo(limit.dtype).eps)).byte()


def _measure(squares: Tensor, limit: Tensor, x: _Rows, y: _Rows) -> None:
    """Where rounding may have put a squared distance on the wrong side of `limit`, take it from the
    difference of the two rows."""
    gap = (squares - limit).abs_().sub_(x.doubt[:, None]).sub_(y.doubt)
    for pairs in (gap <= 0).nonzero().split(max(1, CHUNK // x.exact.shape[1])):
        of, to = pairs.unbind(1)
        squares[of, to] = (x.exact[of] - y.exact[to]).square_().sum(1, dtype=torch.float64).to(squares)


def _chunks(x: Tensor, reference: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of consecutive rows of x to all of `reference`, with the first row's index."""
    rows = max(1, CHUNK // len(reference))
    for start in range(0, len(x), rows):
        yield start, squared_distances(x[start : start + rows], reference)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances `[n, m]` by one matrix product; never negative."""
    return torch.addmm((y * y).sum(1), x, y.T, alpha=-2).add_((x * x).sum(1, keepdim=True)).clamp_min_(0)
