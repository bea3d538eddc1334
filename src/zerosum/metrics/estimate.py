"""A number with its uncertainty: what every metric returns.

A metric of samples is itself a random number. An `Estimate` therefore carries a 95 % confidence interval, how
that interval came about, how many generated examples were judged and in which feature space: the same value
in another space is another quantity. What remains to be asked, "what would real data score?", is answered for
every two-sample metric by `floor`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

import torch
from torch import Tensor

from zerosum.metrics.inputs import matched
from zerosum.randomness import stream
from zerosum.text import facts_html

__all__ = ["Estimate", "floor", "halves", "jackknife", "jackknife_error", "normal", "student", "wilson"]

Z = NormalDist().inv_cdf(0.975)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Estimate:
    """`value` with its 95 % interval [`low`, `high`], from `n` generated examples seen in feature space
    `space`.

    `metric` names the quantity in words and `interval` the way the interval came about. Some metrics know
    more: `of` is the largest value possible, `floor` what a perfect generator scores on average with this
    many examples, `p_value` the probability of a result at least this extreme under the metric's null
    hypothesis.

    >>> e = Estimate(0.113, 0.105, 0.121, 5_000, "pixels", "frechet distance", "delta method")
    >>> print(e)
    0.113 [0.105, 0.121] (frechet distance, n = 5,000, space: pixels)
    >>> float(e)
    0.113
    """

    value: float
    low: float
    high: float
    n: int
    space: str
    metric: str
    interval: str
    of: int | None = None
    floor: float | None = None
    p_value: float | None = None

    def __float__(self) -> float:
        return self.value

    def _repr_html_(self) -> str:
        """For notebooks: the value with its interval, and what goes with it."""
        interval = f"[{self.low:.4g}, {self.high:.4g}] ({self.interval})"
        more = {"of": self.of, "floor": self.floor, "p-value": self.p_value}
        facts = {"95 % interval": interval, "n": f"{self.n:,}", "space": self.space}
        facts |= {name: f"{value:.4g}" for name, value in more.items() if value is not None}
        return facts_html(f"{self.metric}: {self.value:.4g}", facts)

    def __str__(self) -> str:
        width = self.high - self.low
        plain = self.of is not None or not 0 < width < math.inf
        digits = 0 if plain else max(0, math.ceil(-math.log10(width / 10)))

        def show(x: float) -> str:
            return f"{x:.4g}" if plain else f"{x:,.{digits}f}"

        whole = "" if self.of is None else f" of {self.of:,}"
        notes = [self.metric, f"n = {self.n:,}", f"space: {self.space}"]
        notes += [] if self.floor is None else [f"floor {self.floor:.3g}"]
        notes += [] if self.p_value is None else [f"p = {self.p_value:.2g}"]
        return f"{show(self.value)}{whole} [{show(self.low)}, {show(self.high)}] ({', '.join(notes)})"


def normal(value: float, error: float) -> tuple[float, float]:
    """The interval value ± 1.96 standard errors."""
    return value - Z * error, value + Z * error


def student(value: float, error: float, blocks: int) -> tuple[float, float]:
    """The interval value ± t standard errors, for an error that was itself estimated from `blocks` blocks."""
    from scipy.special import stdtrit

    reach = float(stdtrit(blocks - 1, 0.975)) * error
    return value - reach, value + reach


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Wilson's binomial interval for a share of `hits` in `n` (Wilson 1927): honest at 0 and at 1.

    >>> wilson(0, 10)[0], round(wilson(10, 10)[0], 3)
    (0.0, 0.722)
    """
    share, unit = hits / n, Z * Z / n
    centre = (share + unit / 2) / (1 + unit)
    reach = math.sqrt(share * (1 - share) * unit + unit * unit / 4) / (1 + unit)
    return (0.0 if hits == 0 else centre - reach), (1.0 if hits == n else centre + reach)


def jackknife(statistic: Callable[..., float], *sets: Tensor, blocks: int = 10) -> float:
    """Standard error of `statistic(*sets)` by deleting one interleaved block of each set at a time (`blocks`
    times)."""
    index = [torch.arange(len(s), device=s.device) % blocks for s in sets]
    return jackknife_error(
        [statistic(*(s[i != b] for s, i in zip(sets, index, strict=True))) for b in range(blocks)]
    )


def jackknife_error(deleted: list[float]) -> float:
    """Standard error from the B values with one block deleted: sqrt((B - 1) / B * sum (v_b - mean)^2) (Tukey
    1958)."""
    mean = math.fsum(deleted) / len(deleted)
    return math.sqrt((len(deleted) - 1) / len(deleted) * math.fsum((v - mean) ** 2 for v in deleted))


def floor(
    metric: Callable[..., Result], real: Any, *, n: int | None = None, seed: int = 0, **settings: Any
) -> Result:
    """The finite-sample reference: `metric` between two random halves of real data.

    No generator can be expected to score better than this with half as many examples as `real` has; give 2 n
    real examples to get the reference for n generated ones. n: no more than this stand for the generated
    ones, as where there are fewer of these than half the real. `settings` are passed on to `metric`.

    >>> from zerosum.metrics import sliced_wasserstein
    >>> print(floor(sliced_wasserstein, torch.randn(2_000, 2, generator=stream(0))).metric)
    sliced Wasserstein-2
    """
    real = real if isinstance(real, Tensor) else torch.as_tensor(real)
    matched(least=4, real=real)
    first, second = halves(len(real), seed)
    return metric(real[first], real[second[:n]], **settings)


def halves(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Which of n examples `floor` takes as real, and which in the place of the generated ones."""
    order = torch.randperm(n, generator=stream(seed, "floor"))
    return order[: n // 2], order[n // 2 :]
