"""Kernel judges of samples: the squared maximum mean discrepancy (KID in Inception features) and the Parzen
likelihood of 2014."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, jackknife_error, normal, student
from zerosum.metrics.inputs import as_images, matched
from zerosum.metrics.neighbours import squared_distances
from zerosum.randomness import key

__all__ = [
    "gaussian",
    "kernel_distance",
    "kmeans_centres",
    "parzen_log_likelihood",
    "parzen_references",
    "polynomial",
]

Kernel = Callable[[Tensor, Tensor], Tensor]
BLOCKS = 10
GROUP = 5_000
SIGMAS = np.logspace(-1, 0, 10)


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    """KID's kernel (x.y / d + 1)^3, `[n, d], [m, d] -> [n, m]` (Binkowski et al. 2018)."""
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def gaussian(bandwidth: float) -> Kernel:
    """The kernel exp(-|x - y|^2 / (2 bandwidth^2)); it sees every difference between two distributions."""
    return lambda x, y: torch.exp(squared_distances(x, y).div_(-2 * bandwidth**2))


def kernel_distance(real: Any, fake: Any, *, kernel: Kernel = polynomial, space: str = "samples") -> Estimate:
    """Unbiased squared MMD, E k(x, x') + E k(y, y') - 2 E k(x, y), over pairs of different examples. Lower is
    better.

    (Gretton et al. 2012, Eq. 3; Binkowski et al. 2018.) Being unbiased, it may be negative when the sets
    agree. Beyond 5,000 examples the sets are dealt into groups of at most that size and the groups' values
    averaged, so that the time grows as N. The interval is a delete-block jackknife over 10 blocks, which
    holds at 0 too.

    >>> x = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> e = kernel_distance(x, x + 1)
    >>> e.low > 0
    True
    """
    x, y = matched(real=real, fake=fake, least=2 * BLOCKS)
    groups = math.ceil(max(len(x), len(y)) / GROUP)
    if min(len(x), len(y)) // groups < 2 * BLOCKS:
        raise ValueError(f"real has {len(x):,} examples and fake {len(y):,}; take a subset of the larger set")
    deleted = np.zeros(BLOCKS)
    value = 0.0
    for g in range(groups):
        tables, sizes = _tables(x[g::groups], y[g::groups], kernel)
        value += _mmd(tables, sizes, np.ones(BLOCKS)) / groups
        deleted += [_mmd(tables, sizes, 1 - row) / groups for row in np.eye(BLOCKS)]
    interval = student(value, jackknife_error(list(deleted)), BLOCKS)
    return Estimate(
        value, *interval, len(y), space, "kernel distance (squared MMD)", "delete-block jackknife"
    )


def _tables(x: Tensor, y: Tensor, kernel: Kernel) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Kernel sums between blocks, `[B, B]` for xx, yy (without the pairs of an example with itself) and xy;
    block sizes."""
    xs, ys = ([z[b::BLOCKS] for b in range(BLOCKS)] for z in (x, y))

    def total(a: Tensor, b: Tensor) -> float:
        k = kernel(a, b)
        k = k.fill_diagonal_(0) if a is b else k
        return float(k.sum(dtype=torch.float64))

    xx, yy = np.zeros((BLOCKS, BLOCKS)), np.zeros((BLOCKS, BLOCKS))
    for i in range(BLOCKS):
        for j in range(i + 1):
            xx[i, j] = xx[j, i] = total(xs[i], xs[j])
            yy[i, j] = yy[j, i] = total(ys[i], ys[j])
    xy = np.array([[total(a, b) for b in ys] for a in xs])
    return (xx, yy, xy), tuple(np.array([len(b) for b in z]) for z in (xs, ys))


def _mmd(tables: tuple[np.ndarray, ...], sizes: tuple[np.ndarray, ...], keep: np.ndarray) -> float:
    """The U-statistic on the blocks with `keep` = 1."""
    (xx, yy, xy), (n, m) = tables, (float(s @ keep) for s in sizes)
    within = keep @ xx @ keep / (n * (n - 1)) + keep @ yy @ keep / (m * (m - 1))
    return float(within - 2 * (keep @ xy @ keep) / (n * m))


def parzen_log_likelihood(real: Any, fake: Any, validation: Any, *, space: str = "samples") -> Estimate:
    """Mean log-density (nats) of the test set `real` under a Gaussian window on 10,000 samples `fake`. Higher
    is better.

        log p(x) = log mean_j exp(-|x - s_j|^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi))

    The protocol of Goodfellow et al. 2014, Table 1, exactly: the first 10,000 samples; sigma of ten values
    from 0.1 to 1 (logspace(-1, 0, 10)), the best in the mean on the first 1,000 `validation` examples; all of
    `real`; the interval is ± 1.96 standard errors over the test examples, which is not the spread over seeds.
    Images, uint8 or `[N, C, H, W]`, are scored with pixels in [0, 1], as then; other floats in their own
    units.

    A known flaw: the number says little about samples or likelihood in high dimension. k-means centres score
    higher than the training data themselves (Theis, van den Oord & Bethge 2016): see `parzen_references`, and
    quote it beside.

    >>> x = torch.rand(100, 1)
    >>> parzen_log_likelihood(x, x, x).metric.startswith("Parzen log-likelihood")
    True
    """
    tensors = matched(real=real, fake=fake, validation=validation)
    pixels = any(
        x.ndim == 4 or (x.ndim == 3 and str(x.dtype).endswith("uint8")) for x in (real, fake, validation)
    )
    test, samples, held = ((x.double() + 1) / 2 if pixels else x.double() for x in tensors)
    samples, held = samples[:10_000], held[:1_000]
    means = [float(score.mean()) for score in _parzen(held, samples, SIGMAS)]
    sigma = float(SIGMAS[int(np.argmax(means))])
    (score,) = _parzen(test, samples, np.array([sigma]))
    value, error = float(score.mean()), float(score.std(correction=0)) / math.sqrt(len(score))
    name = f"Parzen log-likelihood in nats, sigma {sigma:.3g}"
    return Estimate(
        value, *normal(value, error), len(samples), space, name, "standard error over test examples"
    )


def parzen_references(
    real: Any, train: Any, validation: Any, *, samples: int = 10_000, seed: int = 0, space: str = "samples"
) -> dict[str, Estimate]:
    """The two rows without which a Parzen score misleads: training data as samples, and k-means centres of
    them as samples."""
    matched(real=real, train=train, validation=validation)
    picked = np.random.default_rng(key(seed, "parzen_references")).permutation(len(train))[:samples]
    centres = kmeans_centres(train, min(samples, len(train)), seed=seed)
    return {
        "training data as samples": parzen_log_likelihood(real, train[picked], validation, space=space),
        "k-means centres as samples": parzen_log_likelihood(real, centres, validation, space=space),
    }


def kmeans_centres(train: Any, k: int, *, iterations: int = 5, seed: int = 0) -> Tensor:
    """`k` centres after some of Lloyd's `iterations` from random examples, shaped as float examples."""
    (x,) = matched(train=train)
    order = np.random.default_rng(key(seed, "kmeans")).permutation(len(x))
    centres = x[order[:k]]
    for _ in range(iterations):
        owner = torch.cat([squared_distances(rows, centres).argmin(1) for rows in x.split(4096)])
        size = torch.bincount(owner, minlength=k)[:, None]
        total = torch.zeros_like(centres).index_add_(0, owner, x)
        centres = torch.where(size > 0, total / size.clamp_min(1), centres)
    pixels = train.ndim > 2 and str(train.dtype).endswith("uint8")
    return centres.reshape(-1, *(as_images(train[:1]).shape[1:] if pixels else train.shape[1:]))


def _parzen(x: Tensor, samples: Tensor, sigmas: np.ndarray) -> Tensor:
    """Log-density of each x `[n, d]` for each sigma: `[len(sigmas), n]`, in chunks so that memory stays
    small."""
    scores = []
    for rows in x.split(max(1, 2**24 // len(samples))):
        squares = squared_distances(rows, samples)
        scores.append(torch.stack([torch.logsumexp(squares / (-2 * s * s), 1) for s in sigmas.tolist()]))
    scale = torch.as_tensor(sigmas, device=x.device) * math.sqrt(2 * math.pi)
    return torch.cat(scores, 1) - math.log(len(samples)) - x.shape[1] * scale.log()[:, None]
