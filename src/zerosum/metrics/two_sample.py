"""Can a fresh classifier tell generated examples from real ones? The two-sample test and the referee.

Half of either set trains the classifier, the other half only judges, so whatever is found there is not
overfitting. For any function a(x), trained well or badly, the 2014 theory gives on the judging half

    JSD(p_data, p_g) >= log 2 - BCE,    BCE = E_x[softplus(-a(x))] / 2 + E_z[softplus(a(G(z)))] / 2:

a weak referee gives a low bound, never a wrong one. The classifier is a small network on the standardised
coordinates and on the log-distances to near neighbours among the training half of either set, which show it
structure of any scale; it stops early and is calibrated on a validation fifth of the training half. It is a
judge, no player of the game: that is why it may step.
"""

from __future__ import annotations

import copy
import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zerosum.metrics.estimate import Estimate, wilson
from zerosum.metrics.features import fresh
from zerosum.metrics.inputs import matched
from zerosum.metrics.neighbours import nearest
from zerosum.randomness import key, stream

__all__ = ["referee", "two_sample_test"]

LARGEST = 20_000  # examples used of each set
RANKS = (3, 27)  # neighbours whose distances the classifier sees
WIDTH, BATCH, LR, DECAY = 128, 128, 5e-4, 1e-2
STEPS, EVERY, PATIENCE = 1_000, 20, 200
RESAMPLES = 1_000


def two_sample_test(real: Any, fake: Any, *, seed: int = 0, space: str = "samples") -> Estimate:
    """Held-out accuracy of the classifier (mean of both classes), with a p-value for "same distribution".
    Lower is better, to 1/2.

    (Lopez-Paz & Oquab 2017.) The p-value is the one-sided rank-sum test of the held-out logits, which is
    valid because they are exchangeable if the distributions are the same, and stronger than a test of the
    accuracy. The interval is Wilson's, over as many examples as the two accuracies are worth together.

    >>> g = stream(0)
    >>> x, y = torch.randn(400, 2, generator=g), torch.randn(400, 2, generator=g)
    >>> two_sample_test(x, y + 3).p_value < 1e-6
    True
    """
    from scipy.stats import mannwhitneyu

    a, b = _held_out_logits(real, fake, seed)
    p = float(mannwhitneyu(a.numpy(), b.numpy(), alternative="greater").pvalue)
    found = _accuracy(a > 0, b <= 0)
    return Estimate(*found, len(fake), space, "two-sample accuracy", "binomial", floor=0.5, p_value=p)


def _accuracy(*right: Tensor) -> tuple[float, float, float]:
    """The mean of the shares of two classes `[n]`, `[m]` that are right, with its interval: of equal shares
    it is worth 4 / (1/n + 1/m) examples, of a poor share of the smaller class fewer."""
    (n, m), shares = map(len, right), [float(x.double().mean()) for x in right]
    value = sum(shares) / 2
    variance = sum(s * (1 - s) / k for s, k in zip(shares, (n, m), strict=True)) / 4
    worth = 4 * n * m / (n + m)
    if variance > 0:
        worth = min(worth, value * (1 - value) / variance)
    return value, *wilson(value * worth, worth)


def referee(real: Any, fake: Any, *, seed: int = 0, space: str = "samples") -> Estimate:
    """A lower bound of JSD(p_data, p_g) in nats, 0 ... log 2, from a fresh classifier's held-out loss. Lower
    is better.

    In a feature space it bounds the divergence of the features, and so (data processing) that of the examples
    too. At most 20,000 examples of each set are used.

    The interval is a bootstrap over held-out examples. Its low end is a lower confidence bound of the JSD
    itself: for it, one error as grave as the most confident answer is added to either class, so that errors
    too rare to be seen are counted. Its high end speaks of the bound only; the JSD may lie above.

    >>> g = stream(0)
    >>> x, y = torch.randn(400, 2, generator=g), torch.randn(400, 2, generator=g)
    >>> float(referee(x, y)) < 0.05 < referee(x, y + 3).low
    True
    """
    a, b = _held_out_logits(real, fake, seed)
    right, wrong = softplus(-a), softplus(b)
    value = math.log(2) - float(right.mean() + wrong.mean()) / 2
    worst = softplus(torch.cat([a, b]).abs().max())[None]
    rng = np.random.default_rng(key(seed, "referee", "bootstrap"))
    _, high = _bootstrap(right, wrong, rng)
    low, _ = _bootstrap(torch.cat([right, worst]), torch.cat([wrong, worst]), rng)
    value, low, high = (min(max(v, 0.0), math.log(2)) for v in (value, low, high))
    return Estimate(
        value, low, high, len(fake), space, "JSD lower bound in nats", "bootstrap over held-out examples"
    )


def _bootstrap(right: Tensor, wrong: Tensor, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of log 2 - BCE, either class resampled by itself."""
    classes = [loss.numpy() for loss in (right, wrong)]
    means = [[x[rng.integers(len(x), size=len(x))].mean() for x in classes] for _ in range(RESAMPLES)]
    low, high = np.quantile(math.log(2) - np.mean(means, 1), [0.025, 0.975])
    return float(low), float(high)


_LOGITS: dict[bytes, tuple[Tensor, Tensor]] = {}
"""The last logits, by a digest of what they are of: the test and the referee ask the same classifier."""


def _held_out_logits(real: Any, fake: Any, seed: int) -> tuple[Tensor, Tensor]:
    """Calibrated logits of the judging halves, in float64 on the CPU; positive means real."""
    x, y = (z.cpu().double() for z in matched(real=real, fake=fake, least=100))
    digest = hashlib.blake2b(repr((x.shape, y.shape, seed)).encode())
    for z in (x, y):
        digest.update(z.contiguous().numpy().tobytes())
    if digest.digest() not in _LOGITS:
        while len(_LOGITS) > 3:
            _LOGITS.pop(next(iter(_LOGITS)))
        _LOGITS[digest.digest()] = _judged(x, y, seed)
    return _LOGITS[digest.digest()]


def _judged(x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    reals, fakes = _split(x, seed, "real"), _split(y, seed, "fake")
    both = torch.cat([reals[0], fakes[0]])
    mean, std = both.mean(0), both.std(0)
    std = torch.where(std > 0, std, 1.0)
    # A coordinate that hardly moved in training must not outweigh all others when it does: hence the clamp.
    reals, fakes = ([((z - mean) / std).clamp(-10, 10) for z in side] for side in (reals, fakes))
    views = [[_view(z, reals[0], fakes[0]) for z in side] for side in (reals, fakes)]
    both = torch.cat([views[0][0], views[1][0]])
    mean, std = both.mean(0), both.std(0).clamp_min(1e-6)
    trained, checked, judged = (tuple(((s[i] - mean) / std).float() for s in views) for i in range(3))
    with torch.enable_grad():
        network = _trained(trained, checked, seed)
        scale, shift = _calibration(*_logits(network, checked))
    a, b = (z * scale + shift for z in _logits(network, judged))
    # No held-out half can support more confidence than one error in its size.
    reach = math.log(min(len(a), len(b)))
    return a.clamp(-reach, reach), b.clamp(-reach, reach)


def _split(x: Tensor, seed: int, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Random parts for training (2/5), validation (1/10) and judging (1/2)."""
    x = x[torch.randperm(len(x), generator=stream(seed, "referee", name))[:LARGEST]]
    half = len(x) // 2
    return x[: half - half // 5], x[half - half // 5 : half], x[half:]


def _view(z: Tensor, reals: Tensor, fakes: Tensor) -> Tensor:
    """What the classifier sees of z: itself, its log-distances to near reals and fakes, and their
    differences."""
    ranks = torch.tensor(RANKS) - 1
    near, far = (
        nearest(z, side, RANKS[-1], itself=z is side)[:, ranks].clamp_min(1e-6).log()
        for side in (reals, fakes)
    )
    return torch.cat([z, near, far, near - far], 1)


def _trained(trained: tuple[Tensor, ...], checked: tuple[Tensor, ...], seed: int) -> nn.Module:
    """The network of the lowest validation loss seen within the steps."""
    draw = stream(seed, "referee", "batches")
    network = fresh(lambda: _mlp(trained[0].shape[1]), stream(seed, "referee", "weights"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    best, kept, since = math.inf, network, 0
    for step in range(1, STEPS + 1):
        batch = tuple(s[torch.randint(len(s), (BATCH,), generator=draw)] for s in trained)
        optimizer.zero_grad()
        _bce(*network(torch.cat(batch)).split(BATCH)).backward()
        optimizer.step()
        if step % EVERY:
            continue
        loss = float(_bce(*_logits(network, checked)))
        if loss < best:
            best, kept, since = loss, copy.deepcopy(network), step
        elif step - since >= PATIENCE:
            break
    return kept


def _mlp(d: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(d, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1), nn.Flatten(0)
    )


@torch.no_grad()
def _logits(network: nn.Module, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    real, fake = (network(part).double() for part in parts)
    return real, fake


def _bce(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2


def _calibration(real_logits: Tensor, fake_logits: Tensor) -> tuple[float, float]:
    """Scale > 0 and shift of the logits that minimise the validation loss (Platt 1999)."""
    knobs = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([knobs], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = _bce(real_logits * knobs[0].exp() + knobs[1], fake_logits * knobs[0].exp() + knobs[1])
        value.backward()
        return value

    optimizer.step(loss)
    scale, shift = knobs.detach()
    return float(scale.exp()), float(shift)
