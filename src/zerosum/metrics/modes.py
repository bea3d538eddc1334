"""Modes and classes: what a generator produces, counted against what it should produce.

Where the modes of the data are known (rings, grids), samples are judged as PacGAN does (Lin et al. 2018,
section 4.1): a sample is of *high quality* if it lies strictly within 3 standard deviations of its nearest
mode, and a mode is *covered* if it has at least one such sample. Where a classifier stands for the modes
(stacked MNIST, labelled images) the same counts are made of its labels or probabilities.

A histogram over K modes of n samples of a perfect generator still shows a divergence of about (K - 1) / 2n:
that is the `floor`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, normal, wilson
from zerosum.metrics.inputs import as_images, as_labels, matched
from zerosum.randomness import key

__all__ = [
    "agreement",
    "class_coverage",
    "class_kl",
    "classifier_score",
    "high_quality_share",
    "mode_coverage",
    "reverse_kl",
    "stacked_labels",
]

RESAMPLES = 1_000


def mode_coverage(
    fake: Any, modes: Tensor, std: float | Tensor, *, radius: float = 3.0, space: str = "points"
) -> Estimate:
    """Number of `modes` `[K, d]` with at least one sample of `fake` `[N, d]` strictly within `radius` *
    `std`. Higher is better.

    `std` is a number or one per dimension `[d]` (a diagonal Mahalanobis distance). The interval is a
    bootstrap over samples; its top is the value itself, since no resampling can show a mode that was never
    hit. What n samples can say of such a mode is that its probability is below 3 / n.

    >>> modes = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> print(mode_coverage(torch.zeros(100, 2), modes, 0.1))
    1 of 2 [1, 1] (mode coverage, n = 100, space: points)
    """
    counts, n = _hits(fake, modes, std, radius)
    return _coverage(counts, n, space, "mode coverage")


def high_quality_share(
    fake: Any, modes: Tensor, std: float | Tensor, *, radius: float = 3.0, space: str = "points"
) -> Estimate:
    """Share of samples strictly within `radius` * `std` of their nearest mode, with Wilson's interval. Higher
    is better, up to `floor`.

    Samples of the mixture itself score P(chi^2_d < radius^2), 0.98889 in two dimensions at 3, given as
    `floor`. More than that means modes narrower than the data's, not better ones.

    >>> print(high_quality_share(torch.zeros(100, 2), torch.zeros(1, 2), 0.1).value)
    1.0
    """
    from scipy.special import chdtr

    counts, n = _hits(fake, modes, std, radius)
    hits, perfect = int(counts.sum()), float(chdtr(modes.shape[1], radius**2))
    return Estimate(hits / n, *wilson(hits, n), n, space, "high-quality share", "binomial", floor=perfect)


def reverse_kl(
    fake: Any,
    modes: Tensor,
    std: float | Tensor,
    *,
    weights: Tensor | None = None,
    radius: float = 3.0,
    space: str = "points",
) -> Estimate:
    """KL(q || w) in nats of the modes' shares q among high-quality samples against `weights` w `[K]` (equal
    by default). Lower is better.

    Finite when modes are missing, and blind to where the samples of low quality are: read it with
    `high_quality_share`.

    >>> x = torch.tensor([[0.0], [1.0]]).repeat(50, 1)
    >>> reverse_kl(x, torch.tensor([[0.0], [1.0]]), 0.1).value
    0.0
    """
    counts, _ = _hits(fake, modes, std, radius)
    weights = torch.ones(len(modes)) if weights is None else weights
    return _divergence(counts, _expected(weights, len(modes)), space, "reverse KL over modes")


def class_coverage(labels: Any, classes: int, *, space: str = "classifier") -> Estimate:
    """Number of `classes` that occur among the `labels` `[N]` of the samples (stacked MNIST: 1,000). Higher
    is better.

    The interval is the bootstrap of `mode_coverage`.

    >>> float(class_coverage(torch.tensor([0, 0, 3]), classes=10))
    2.0
    """
    labels = as_labels(labels, classes)
    return _coverage(_counts(labels, classes), len(labels), space, "class coverage")


def class_kl(labels: Any, expected: Any, *, space: str = "classifier") -> Estimate:
    """KL(q || p) in nats of the classes' shares q among the samples' `labels` `[N]` against `expected` `[K]`.
    Lower is better.

    `expected` are weights or counts, e.g. of the real labels; for stacked MNIST `torch.ones(1_000)`.

    >>> class_kl(torch.tensor([0, 1, 2, 3]), torch.ones(4)).value
    0.0
    """
    weights = torch.as_tensor(expected)
    labels = as_labels(labels, len(weights))
    return _divergence(_counts(labels, len(weights)), _expected(weights, len(weights)), space, "class KL")


def classifier_score(probabilities: Any, *, space: str = "classifier") -> Estimate:
    """exp(E KL(p(y|x) || p(y))) of class probabilities `[N, K]`, between 1 and K (Salimans et al. 2016).
    Higher is better.

    It is the Inception score only with Inception's probabilities. The interval is the delta method's: the
    logarithm is the mean of KL(p(y|x) || p(y)), to first order also when p(y) is estimated.

    >>> round(float(classifier_score(torch.eye(4).repeat(10, 1))), 6)
    4.0
    """
    (p,) = matched(probabilities=probabilities)
    p = p.double()
    if p.min() < 0 or (p.sum(1) - 1).abs().max() > 1e-3:
        raise ValueError("probabilities must be >= 0 and sum to 1 in each row; apply softmax to logits first")
    terms = (torch.xlogy(p, p) - torch.xlogy(p, p.mean(0))).sum(1)
    mean, error = float(terms.mean()), float(terms.std()) / len(p) ** 0.5
    low, high = (float(np.exp(end)) for end in normal(mean, error))
    return Estimate(
        float(np.exp(mean)), low, high, len(p), space, "classifier score", "delta method over examples"
    )


def agreement(wanted: Any, predicted: Any, *, classes: int, space: str = "classifier") -> Estimate:
    """Share of samples that a classifier gives the label that was `wanted` of the generator (both `[N]`).
    Higher is better.

    The reference is the same share for real labelled images; the interval is Wilson's.

    >>> float(agreement(torch.tensor([0, 1]), torch.tensor([0, 2]), classes=3))
    0.5
    """
    asked, given = as_labels(wanted, classes, "wanted"), as_labels(predicted, classes, "predicted")
    if len(asked) != len(given):
        raise ValueError(f"{len(asked):,} labels wanted but {len(given):,} predicted")
    hits, n = int((asked == given).sum()), len(given)
    return Estimate(hits / n, *wilson(hits, n), n, space, "label agreement", "binomial")


def stacked_labels(classify: Callable[[Tensor], Tensor], images: Any) -> Tensor:
    """Labels 0 ... 999 of stacked digits: 100 a + 10 b + c, where `classify` names the digit in each of the
    three channels.

    >>> stacked_labels(lambda x: torch.full((len(x),), 7), torch.zeros(2, 3, 8, 8)).tolist()
    [777, 777]
    """
    images = as_images(images)
    if images.shape[1] != 3:
        raise ValueError(f"stacked digits have 3 channels, not {images.shape[1]}")
    a, b, c = (classify(images[:, i : i + 1]) for i in range(3))
    return 100 * a + 10 * b + c


def _hits(fake: Any, modes: Tensor, std: float | Tensor, radius: float) -> tuple[np.ndarray, int]:
    """High-quality samples per mode `[K]`, and the number of samples."""
    x, m = matched(fake=fake, modes=modes, least=1)
    scale = torch.as_tensor(std, dtype=torch.float64, device=x.device)
    if (scale <= 0).any():
        raise ValueError(f"std must be positive, not {float(scale.min()):.3g}")
    counts = torch.zeros(len(m), dtype=torch.long)
    for rows in x.double().split(65_536):
        gap = torch.cdist(rows / scale, m.double() / scale, compute_mode="donot_use_mm_for_euclid_dist")
        distance, mode = gap.min(1)
        counts += torch.bincount(mode[distance < radius], minlength=len(m)).cpu()
    return counts.numpy(), len(x)


def _counts(labels: Tensor, classes: int) -> np.ndarray:
    return torch.bincount(labels, minlength=classes).cpu().numpy()


def _expected(weights: Tensor, k: int) -> np.ndarray:
    w = weights.detach().double().cpu().numpy()
    if w.shape != (k,) or not np.isfinite(w).all() or w.min() < 0 or w.sum() == 0:
        raise ValueError(f"expected weights must be {k} finite numbers >= 0, not all 0")
    return w / w.sum()


def _resampled(counts: np.ndarray, n: int) -> np.ndarray:
    """Bootstrap histograms `[RESAMPLES, K]`: n samples redrawn, those outside every mode included."""
    share = np.append(counts, n - counts.sum()) / n
    rng = np.random.default_rng(key("modes", "bootstrap"))
    return rng.multinomial(n, share, size=RESAMPLES)[:, :-1]


def _coverage(counts: np.ndarray, n: int, space: str, metric: str) -> Estimate:
    low, high = np.quantile((_resampled(counts, n) > 0).sum(1), [0.025, 0.975])
    value = float((counts > 0).sum())
    return Estimate(
        value, float(low), float(high), n, space, metric, "bootstrap over examples", of=len(counts)
    )


def _divergence(counts: np.ndarray, weights: np.ndarray, space: str, metric: str) -> Estimate:
    """KL of a histogram; the bootstrap is centred on the value, because resampling adds the floor a second
    time."""
    n = int(counts.sum())
    if n == 0:
        raise ValueError("no sample lies within reach of any mode; the divergence over modes is undefined")
    if (counts[weights == 0] > 0).any():
        raise ValueError(
            f"samples fall into {int((counts[weights == 0] > 0).sum())} classes that are expected never"
        )
    value = float(_kl(counts, weights))
    redrawn = _kl(_resampled(counts, n), weights)
    low, high = value + np.quantile(redrawn, [0.025, 0.975]) - redrawn.mean()
    floor = float((weights > 0).sum() - 1) / (2 * n)
    return Estimate(
        value, max(0.0, float(low)), float(high), n, space, metric, "centred bootstrap", floor=floor
    )


def _kl(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from scipy.special import rel_entr

    return rel_entr(counts / counts.sum(-1, keepdims=True), weights).sum(-1)
