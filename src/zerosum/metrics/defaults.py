"""The metrics that are computed when nobody asks for particular ones, as a table of facts about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zerosum.metrics.diversity import ms_ssim_diversity
from zerosum.metrics.estimate import Estimate
from zerosum.metrics.frechet import frechet_distance, frechet_infinity
from zerosum.metrics.kernels import kernel_distance, parzen_log_likelihood
from zerosum.metrics.modes import (
    agreement,
    class_coverage,
    class_kl,
    classifier_score,
    high_quality_share,
    mode_coverage,
    reverse_kl,
)
from zerosum.metrics.neighbours import PRDC, memorisation_test, prdc
from zerosum.metrics.transport import sliced_wasserstein
from zerosum.metrics.two_sample import referee, two_sample_test

__all__ = ["IMAGES", "POINTS", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A metric function and what it needs.

    `sets` are its positional arguments: `real` (held out from training), `fake`, `train`, `validation`,
    `unseen` (real, and held out in any case), and `wanted` (the labels asked of a conditional generator).
    `view` is how it wants to see them: `samples`,
    `features`, or a classifier's `probabilities` or `labels`. `known` are keyword arguments that come from
    the source: `modes`, `std`, `classes`, `expected` (shares of the real labels). `higher_is_better` is None
    where being near the real data's value is best. `equal_sizes`: its value depends on how many examples each
    set has, and says something only where these are as many.
    """

    compute: Callable[..., Estimate | PRDC]
    sets: tuple[str, ...]
    view: str
    higher_is_better: bool | None
    known: tuple[str, ...] = ()
    equal_sizes: bool = False

    def __call__(
        self, sets: Mapping[str, Tensor], *, space: str, known: Mapping[str, Any]
    ) -> dict[str, Estimate]:
        """Estimates by name, from `sets` in this metric's view and the `known` facts; each mapping may hold
        more than is needed."""
        facts = {name: known[name] for name in self.known}
        result = self.compute(*(sets[name] for name in self.sets), **facts, space=space)
        return result._asdict() if isinstance(result, PRDC) else {self.compute.__name__: result}


PAIR = ("real", "fake")

COPIES = Metric(memorisation_test, ("unseen", "fake", "train"), "samples", higher_is_better=False)
CLASSES: dict[str, Metric] = {
    "class_coverage": Metric(class_coverage, ("fake",), "labels", higher_is_better=True, known=("classes",)),
    "agreement": Metric(agreement, ("wanted", "fake"), "labels", higher_is_better=True, known=("classes",)),
    "class_kl": Metric(class_kl, ("fake",), "labels", higher_is_better=False, known=("expected",)),
}

IMAGES: dict[str, Metric] = {
    "frechet_distance": Metric(frechet_distance, PAIR, "features", higher_is_better=False),
    "frechet_infinity": Metric(frechet_infinity, PAIR, "features", higher_is_better=False),
    "kernel_distance": Metric(kernel_distance, PAIR, "features", higher_is_better=False),
    "prdc": Metric(prdc, PAIR, "features", higher_is_better=True, equal_sizes=True),
    "two_sample_test": Metric(two_sample_test, PAIR, "features", higher_is_better=False),
    "referee": Metric(referee, PAIR, "features", higher_is_better=False),
    "sliced_wasserstein": Metric(sliced_wasserstein, PAIR, "samples", higher_is_better=False),
    "memorisation_test": COPIES,
    "parzen_log_likelihood": Metric(
        parzen_log_likelihood, (*PAIR, "validation"), "samples", higher_is_better=True
    ),
    "ms_ssim_diversity": Metric(ms_ssim_diversity, ("fake",), "samples", higher_is_better=None),
    "classifier_score": Metric(classifier_score, ("fake",), "probabilities", higher_is_better=True),
    **CLASSES,
}

POINTS: dict[str, Metric] = {
    "mode_coverage": Metric(
        mode_coverage, ("fake",), "samples", higher_is_better=True, known=("modes", "std")
    ),
    "high_quality_share": Metric(
        high_quality_share, ("fake",), "samples", higher_is_better=True, known=("modes", "std")
    ),
    "reverse_kl": Metric(reverse_kl, ("fake",), "samples", higher_is_better=False, known=("modes", "std")),
    "referee": Metric(referee, PAIR, "samples", higher_is_better=False),
    "two_sample_test": Metric(two_sample_test, PAIR, "samples", higher_is_better=False),
    "sliced_wasserstein": Metric(sliced_wasserstein, PAIR, "samples", higher_is_better=False),
    "frechet_distance": Metric(frechet_distance, PAIR, "samples", higher_is_better=False),
    "kernel_distance": Metric(kernel_distance, PAIR, "samples", higher_is_better=False),
    "prdc": Metric(prdc, PAIR, "samples", higher_is_better=True, equal_sizes=True),
    "memorisation_test": COPIES,
    **CLASSES,
}
