"""What G makes: the modes that its samples cover, how varied they are, the range of their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from zerosum import metrics
from zerosum.data import GaussianMixture
from zerosum.game import Game, Turn
from zerosum.metrics.estimate import wilson
from zerosum.metrics.neighbours import squared_distances
from zerosum.watch.instrument import (
    Examples,
    Instrument,
    Scale,
    Value,
    asked,
    copies,
    noise,
    parts,
)

__all__ = ["diversity", "modes", "output_range", "sample_distance"]

NEIGHBOURS = 5  # of a real example: diversity is read from one more on
WIDE = 1_024  # numbers in an example
FEWEST = 20  # examples of which the energy distance has an interval
PIXELS = 32  # of an image's side at which distances between images are taken


def plain(x: Tensor) -> Tensor:
    """Examples as flat vectors [n, d]; of images wider than 32 pixels, of the means that fill 32 x 32."""
    if x.ndim == 4 and max(x.shape[2:]) > PIXELS:
        x = adaptive_avg_pool2d(x, (min(x.shape[2], PIXELS), min(x.shape[3], PIXELS)))
    return x.flatten(1)


def modes(
    density: GaussianMixture, held: Examples | Tensor | None = None, n: int = 1024, every: int = 200
) -> Instrument:
    """`modes_covered`, `high_quality` and `reverse_kl` of n samples against the modes of a known mixture.

    See `metrics.mode_coverage`, `metrics.high_quality_share` and `metrics.reverse_kl` (nan if fewer than 20
    samples lie at a mode at all). The references are what the density itself scores.
    """
    from scipy.special import chdtr

    K, d = density.modes.shape

    def function(fake: Tensor) -> dict[str, Value]:
        covered = metrics.mode_coverage(fake, density.modes, density.std)
        good = metrics.high_quality_share(fake, density.modes, density.std)
        found: dict[str, Value] = {
            "modes_covered": (covered.value, covered.low, covered.high),
            "high_quality": (good.value, good.low, good.high),
            "reverse_kl": math.nan,
        }
        if good.value * n >= 20:
            kl = metrics.reverse_kl(fake, density.modes, density.std, weights=density.weights)
            found["reverse_kl"] = (kl.value, kl.low, kl.high)
        return found

    gives = {
        "modes_covered": Scale(f"of {K} modes", float(K)),
        "high_quality": Scale("share", float(chdtr(d, 9))),
        "reverse_kl": Scale("nats", (K - 1) / (2 * n)),
    }
    some = Examples.of(density.modes if held is None else held)
    return of_samples("modes", function, some, n, every, gives, "Lin et al. 2018 (PacGAN), section 4.1")


def diversity(real: Examples | Tensor, n: int = 512, every: int = 200) -> Instrument:
    """How like the data and how varied the samples are, beside n of `real` (held-out where there are any), as
    flat vectors; large images at 32 x 32 pixels.

    `spread`: sqrt(tr Cov(G(z)) / tr Cov(x)), the ratio of the root mean square distances between two samples;
    0 for a single point. `coverage`: share of real examples with a sample within reach of their 5th
    neighbour; `precision`: share of samples within such a reach of a real example (`metrics.prdc`).
    `distance`: the energy distance over the mean distance of two real examples, which is 0 only if p_g =
    p_data and falls long before any sample is good,

        (2 E|x - G(z)| - E|x - x'| - E|G(z) - G(z')|) / E|x - x'|.

    `duplicates`: share of samples that have another one nearer than all but 1 % of the real examples have
    (the birthday test: c such pairs among n samples suggest a support of about n^2 / 2c).
    """
    some = Examples.of(real)
    real = plain(some.x[:n])
    closest = metrics.nearest(real, real, 5, itself=True)[:, 0]  # an early error for fewer than 6 examples
    near = torch.quantile(closest, 0.01)
    apart = _mean_distance(real)

    def function(fake: Tensor) -> dict[str, Value]:
        fake = plain(fake)
        found = metrics.prdc(real, fake, k=NEIGHBOURS)
        pairs = int((metrics.nearest(fake, fake, 1, itself=True)[:, 0] <= near).sum())
        readings: dict[str, Value] = {
            "spread": float((fake.var(0).sum() / real.var(0).sum()).sqrt()),
            "coverage": (found.coverage.value, found.coverage.low, found.coverage.high),
            "precision": (found.precision.value, found.precision.low, found.precision.high),
            "duplicates": (pairs / len(fake), *wilson(pairs, len(fake))),
        }
        if len(real) >= FEWEST:
            energy = metrics.kernel_distance(real, fake, kernel=lambda x, y: -_distances(x, y))
            readings["distance"] = (energy.value / apart, energy.low / apart, energy.high / apart)
        return readings

    gives = {
        "spread": Scale("ratio", 1.0),
        "coverage": Scale("share", 1 - 2**-5),
        "precision": Scale("share"),
        "duplicates": Scale("share", float((closest <= near).float().mean())),
        "distance": Scale("ratio", 0.0),
    }
    source = "Naeem et al. 2020; Arora et al. 2018; Szekely and Rizzo 2013"
    return of_samples("diversity", function, some, len(real), every, gives, source)


def sample_distance(real: Examples | Tensor, n: int = 1024, every: int = 1_000) -> Instrument:
    """`sample_distance`: the energy distance, as `diversity` has it, of n samples of the generator that a
    checkpoint is sampled from, the average of G where it keeps one, from n of `real`; fewer of wide ones.

    The noise and the real examples are the same at every reading, so that two readings differ by the
    generator alone. The interval is that of one reading.
    """
    some = Examples.of(real)
    n = min(n, max(256, math.isqrt(2**29 // math.prod(some.x.shape[1:]))))
    real = plain(some.x[:n])
    apart = _mean_distance(real)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        fake = plain(samples(game, 0, "sample_distance", some, n, average=True))
        if not fake.isfinite().all():
            return {"sample_distance": math.nan}
        energy = metrics.kernel_distance(real, fake, kernel=lambda x, y: -squared_distances(x, y).sqrt())
        return {"sample_distance": (energy.value / apart, energy.low / apart, energy.high / apart)}

    gives = {"sample_distance": Scale("ratio", 0.0)}
    return Instrument("sample_distance", function, every, gives, "Szekely and Rizzo 2013", at_once=False)


def _mean_distance(x: Tensor) -> float:
    """Of two different examples; 1 where all are the same."""
    return float(_distances(x, x).sum()) / (len(x) * (len(x) - 1)) or 1.0


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """In double precision, but for examples so wide that it would take longest of all."""
    if x.shape[1] <= WIDE:
        x, y = x.double(), y.double()
    return squared_distances(x, y).sqrt()


def output_range(real: Examples | Tensor, n: int = 256, every: int = 200) -> Instrument:
    """`output_low`, `output_high`: the 1 % and 99 % quantiles of all numbers in n samples. `output_outside`:
    the share of them beyond the least or the greatest number in `real` by more than 5 % of its range.
    """
    some, ends = Examples.of(real), torch.tensor([0.01, 0.99], dtype=torch.float64)
    real = some.x
    first, last = float(real.min()), float(real.max())
    margin = 0.05 * (last - first)

    def quantiles(x: Tensor) -> tuple[float, float]:
        low, high = torch.quantile(x.flatten()[: 2**24].double(), ends).tolist()
        return low, high

    def function(fake: Tensor) -> dict[str, Value]:
        low, high = quantiles(fake)
        outside = (fake < first - margin) | (fake > last + margin)
        return {"output_low": low, "output_high": high, "output_outside": float(outside.double().mean())}

    low, high = quantiles(real)
    gives = {
        "output_low": Scale("data units", low),
        "output_high": Scale("data units", high),
        "output_outside": Scale("share", 0.0),
    }
    return of_samples("output_range", function, some, n, every, gives, "counted")


def of_samples(
    name: str,
    function: Callable[[Tensor], dict[str, Value]],
    real: Examples,
    n: int,
    every: int,
    gives: Mapping[str, Scale],
    source: str,
    at_once: bool = True,
) -> Instrument:
    """An instrument that looks at n samples of G only, on the CPU; of the conditions that `real` has."""

    def judged(game: Game, turn: Turn) -> Mapping[str, Value]:
        fake = samples(game, turn.step, name, real, n)
        return function(fake) if fake.isfinite().all() else dict.fromkeys(gives, math.nan)

    return Instrument(name, judged, every, gives, source, at_once=at_once)


@torch.no_grad()
def samples(game: Game, step: int, name: str, real: Examples, n: int, average: bool = False) -> Tensor:
    """n samples of the G that plays, or of its `average` where there is one, ``[n, *shape]`` on the CPU."""
    G = deepcopy(game.G.average).eval() if average and game.G.average is not None else copies(game)[0]
    z, y = noise(game, step, name, n), real.conditions(game, step, name, n)
    made = (asked(game, G, z[r], None if y is None else y[r]) for r in parts(game, n))
    return torch.cat([x.float().cpu() for x in made])
