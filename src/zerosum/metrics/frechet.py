r"""The Frechet distance between two sets of features, each summarised by a Gaussian.

    FD = |m_r - m_g|^2 + tr(S_r + S_g - 2 (S_r^{1/2} S_g S_r^{1/2})^{1/2})

(Dowson & Landau 1982; Heusel et al. 2017, Eq. 6). Computed from symmetric eigenvalues in float64, never with
a matrix square root of a non-symmetric product. The plug-in value is biased upwards by O(1/N):
`frechet_infinity` removes that. It is "FID" only in the features of the Inception network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerosum.metrics.estimate import Estimate, normal
from zerosum.metrics.inputs import matched
from zerosum.randomness import stream

__all__ = ["Moments", "frechet_distance", "frechet_infinity"]


class Moments:
    """Mean and covariance of a stream of `[n, d]` batches, in float64 (Chan, Golub & LeVeque 1979).

    >>> a, b = torch.randn(50, 3), torch.randn(70, 3)
    >>> whole, parts = Moments().update(torch.cat([a, b])), Moments().update(a).merge(Moments().update(b))
    >>> torch.allclose(whole.covariance, parts.covariance)
    True
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self.scatter = torch.zeros((), dtype=torch.float64)  # sum of (x - mean)(x - mean)^T

    def update(self, batch: Any) -> Moments:
        """Take in a batch `[n, d]` (or of images, flattened)."""
        (batch,) = matched(least=1, batch=batch)
        for rows in batch.split(8192):
            part, x = Moments(), rows.double()
            part.n, part.mean = len(x), x.mean(0)
            part.scatter = (x - part.mean).T @ (x - part.mean)
            self.merge(part)
        return self

    def merge(self, other: Moments) -> Moments:
        """Take in what another accumulator (another process, another shard) has seen."""
        if self.n and other.n and self.mean.shape != other.mean.shape:
            raise ValueError(f"cannot merge moments of {len(self.mean)} and of {len(other.mean)} dimensions")
        n, gap = self.n + other.n, other.mean - self.mean
        if other.n:
            self.scatter = self.scatter + other.scatter + torch.outer(gap, gap) * (self.n * other.n / n)
            self.mean, self.n = self.mean + gap * (other.n / n), n
        return self

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance `[d, d]`.

        Raises:
            ValueError: no more examples than dimensions; the covariance would be singular by construction.
        """
        if self.n <= self.mean.numel():
            raise ValueError(
                f"{self.n:,} examples are too few for a covariance in {self.mean.numel():,} dimensions; "
                "give more examples than dimensions, or use a smaller feature space"
            )
        return self.scatter / (self.n - 1)


def frechet_distance(real: Any, fake: Any, *, space: str = "samples") -> Estimate:
    """Frechet distance between `real` and `fake`: arrays `[N, d]`, iterables of batches, or `Moments`. Lower
    is better.

    The interval is the delta method's: the distance is differentiated in both means and covariances, and the
    error is that of the mean influence of an example. Examples that are no longer at hand (streams,
    `Moments`) are taken to be Gaussian there. The interval is about this biased value, not about the limit of
    many samples.

    >>> x = torch.randn(500, 2, generator=stream(0))
    >>> round(float(frechet_distance(x, x + 1)), 6)  # a pure shift: |(1, 1)|^2
    2.0
    """
    sets = {"real": real, "fake": fake}
    given: dict[str, Any] = {name: z for name, z in sets.items() if isinstance(z, (Tensor, np.ndarray))}
    rows = dict(zip(given, matched(**given), strict=True)) if given else {}
    a, b = (Moments().update(rows[name]) if name in rows else _gathered(z) for name, z in sets.items())
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"real has {a.mean.numel()} dimensions but fake has {b.mean.numel()}")
    value, slopes = _distance(a, b)
    parts = zip((a, b), (rows.get(name) for name in sets), slopes, strict=True)
    error = sum(_variance(m, x, *slope) / m.n for m, x, slope in parts) ** 0.5
    low, high = normal(value, error)
    how = "delta method over examples" if len(rows) == 2 else "delta method, Gaussian examples"
    return Estimate(value, max(low, 0.0), high, b.n, space, "frechet distance", how)


def frechet_infinity(real: Any, fake: Any, *, seed: int = 0, space: str = "samples") -> Estimate:
    """The Frechet distance extrapolated to infinitely many samples (after Chong & Forsyth 2020). Lower is
    better.

    Both sets are shuffled and cut into k = 1, 2 and 4 parts. The mean distance of the k pairs of parts is, to
    first order, FD + c k, because the bias is proportional to 1 / (N / k); the line through the three means
    is read at k = 0. Every example is used at every k, so little is lost in variance. May be negative when
    the true distance is near 0.

    The interval joins the delta method's error with the scatter of the parts, which carries the noise that
    remains when the distance is near 0.
    """
    x, y = matched(real=real, fake=fake)
    x = x[torch.randperm(len(x), generator=stream(seed, "frechet_infinity", "real"))]
    y = y[torch.randperm(len(y), generator=stream(seed, "frechet_infinity", "fake"))]
    folds = (1, 2, 4)
    parts = [[_plain(a, b) for a, b in zip(x.tensor_split(k), y.tensor_split(k), strict=True)] for k in folds]
    means = [float(np.mean(p)) for p in parts]
    value = float(np.polyfit(folds, means, 1)[-1])
    whole = frechet_distance(x, y)
    # The line at 0 is F1 + F2 / 2 - F4 / 2. Second-order noise has 1, 4 and 16 times the whole's variance in
    # a part: together at most 1 + 4/8 + 16/16 = 5/2 times the whole's, which is a sixteenth of a quarter's.
    second = float(np.var(parts[-1], ddof=1)) / 16 * 5 / 2
    error = (((whole.high - whole.value) / 1.96) ** 2 + second) ** 0.5
    return Estimate(
        value, *normal(value, error), len(y), space, "frechet distance at infinity", "delta method and parts"
    )


def _gathered(x: Moments | Iterable[Any]) -> Moments:
    """Moments as given, or of a stream of batches."""
    if isinstance(x, Moments):
        return x
    moments = Moments()
    for batch in x:
        moments.update(batch)
    return moments


def _plain(x: Tensor, y: Tensor) -> float:
    return _distance(Moments().update(x), Moments().update(y))[0]


def _distance(a: Moments, b: Moments) -> tuple[float, tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """The distance, and its slopes (in the mean `[d]`, in the covariance `[d, d]`) for either side."""
    s, t, gap = a.covariance, b.covariance, a.mean - b.mean
    root, inverse = _powers(s)
    middle, inner = _powers(root @ t @ root)
    value = gap @ gap + s.trace() + t.trace() - 2 * middle.trace()
    one = torch.eye(len(gap), dtype=gap.dtype, device=gap.device)
    return float(value.clamp_min(0)), (
        (2 * gap, one - inverse @ middle @ inverse),
        (-2 * gap, one - root @ inner @ root),
    )


def _powers(s: Tensor) -> tuple[Tensor, Tensor]:
    """S^{1/2} and its pseudo-inverse for a symmetric S >= 0; eigenvalues within rounding of 0 count as 0."""
    values, vectors = torch.linalg.eigh((s + s.T) / 2)
    values = torch.where(values > len(s) * torch.finfo(s.dtype).eps * values[-1].abs(), values, 0.0)
    inverse = torch.where(values > 0, values.rsqrt(), 0.0)
    return (vectors * values.sqrt()) @ vectors.T, (vectors * inverse) @ vectors.T


def _variance(m: Moments, x: Tensor | None, slope: Tensor, curve: Tensor) -> float:
    """Variance of one example's influence g.c + c^T A c, c = x - m; from the Gaussian's moments where x is
    not at hand."""
    if x is None:
        s = m.covariance
        bent = curve @ s
        return float(slope @ s @ slope + 2 * (bent * bent.T).sum())
    influence = []
    for rows in x.split(8192):
        c = rows.double() - m.mean
        influence.append(c @ slope + ((c @ curve) * c).sum(1))
    return float(torch.cat(influence).var())
