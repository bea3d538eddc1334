"""The metrics that are computed when nobody asks for particular ones, as a table of facts about each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from zerosum.metrics.diversity import ms_ssim_diversity
from zerosum.metrics.estimate import Estimate, jackknife, student
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
from zerosum.metrics.table_models import detection, nearness_to_training, utility
from zerosum.metrics.tables import (
    QualityEstimates,
    conditions_obeyed,
    table_quality,
    training_copies,
    values_outside,
    values_present,
)
from zerosum.metrics.transport import sliced_wasserstein
from zerosum.metrics.two_sample import referee, two_sample_test

__all__ = ["IMAGES", "POINTS", "TABLES", "Metric"]

_SETS = "real", "fake", "train", "validation", "unseen", "wanted"
_KNOWN = "modes", "std", "weights", "classes", "expected", "target", "obeys"
_BLOCKS = 10


@dataclass(frozen=True)
class Metric:
    """A metric function and what it needs. It returns an `Estimate`, or a number, whose interval is then that
    of the delete-a-block jackknife (10 blocks of every set, Student).

    `sets` are its positional arguments: `real` (held out from training), `fake`, `train`, `validation`,
    `unseen` (real, and held out in any case), and `wanted` (the labels asked of a conditional generator).
    `view` is how it wants to see them: `samples`, `features`, a classifier's `probabilities` or `labels`, or
    of tables the `rows` as `zerosum.metrics.tables` has them or the `sheet` that their file holds. `known`
    are keyword arguments that come from the source: `modes`, `std`, `weights` (shares of the modes),
    `classes`, `expected` (shares of the real labels), `target`, `obeys`. `higher_is_better` is None where
    being near the real data's value is best. `equal_sizes`: its value depends on how many examples each set
    has, and says something only where these are as many. `floor_of`: the set that stands for `fake` where it
    is asked what real data score, if that is not held-out examples.
    """

    compute: Callable[..., Estimate | PRDC | QualityEstimates | float | Tensor]
    sets: tuple[str, ...]
    view: str
    higher_is_better: bool | None
    known: tuple[str, ...] = ()
    equal_sizes: bool = False
    floor_of: str = ""

    @classmethod
    def of(cls, function: Callable[..., Any], view: str = "samples") -> Self:
        """A function of samples: the names of its arguments say which `sets` and which `known` facts it is
        given, all of them tensors of one `view`, ``[N, C, H, W]`` in [-1, 1] or ``[N, d]``.

        Raises ValueError for an argument without a default that is neither.

        >>> Metric.of(lambda real, fake: (real.mean() - fake.mean()).abs()).sets
        ('real', 'fake')
        """
        arguments = inspect.signature(function).parameters.values()
        for p in arguments:
            varying = p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            if p.name not in (*_SETS, *_KNOWN, "space") and p.default is p.empty and not varying:
                raise ValueError(
                    f"a metric has no argument {p.name!r}: there is {', '.join((*_SETS, *_KNOWN, 'space'))}"
                )
        names = [p.name for p in arguments]
        sets = tuple(name for name in names if name in _SETS)
        if "fake" not in sets:
            raise ValueError("a metric takes `fake`, the samples that it judges")
        return cls(function, sets, view, None, tuple(name for name in names if name in _KNOWN))

    @property
    def name(self) -> str:
        return getattr(self.compute, "__name__", type(self.compute).__name__)

    def __call__(
        self, sets: Mapping[str, Any], *, space: str, known: Mapping[str, Any]
    ) -> dict[str, Estimate]:
        """Estimates by name, from `sets` in this metric's view and the `known` facts; each mapping may hold
        more than is needed."""
        arguments = inspect.signature(self.compute).parameters
        facts = {name: known[name] for name in self.known}
        if "space" in arguments or any(p.kind is p.VAR_KEYWORD for p in arguments.values()):
            facts["space"] = space
        given = [sets[name] for name in self.sets]

        def computed(*some: Any) -> Any:
            if all(name in arguments for name in self.sets):  # in whatever order it has them
                return self.compute(**dict(zip(self.sets, some, strict=True)), **facts)
            return self.compute(*some, **facts)

        result = computed(*given)
        if isinstance(result, PRDC | QualityEstimates):
            return result._asdict()
        if isinstance(result, Estimate):
            return {self.name: result}

        def number(*some: Tensor) -> float:
            value = computed(*some)
            if isinstance(value, bool) or getattr(value, "ndim", 0) or not hasattr(value, "__float__"):
                raise ValueError(f"it gives {type(value).__name__}, where an Estimate or a number is wanted")
            if not math.isfinite(value):
                raise ValueError(
                    f"it gives {float(value)} of {', '.join(str(len(x)) for x in some)} examples"
                )
            return float(value)

        value = number(*given)
        low, high = student(value, jackknife(number, *given, blocks=_BLOCKS), _BLOCKS)
        n = len(sets["fake"])
        return {self.name: Estimate(value, low, high, n, space, self.name, "delete-block jackknife")}


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
    "reverse_kl": Metric(
        reverse_kl, ("fake",), "samples", higher_is_better=False, known=("modes", "std", "weights")
    ),
    "referee": Metric(referee, PAIR, "samples", higher_is_better=False),
    "two_sample_test": Metric(two_sample_test, PAIR, "samples", higher_is_better=False),
    "sliced_wasserstein": Metric(sliced_wasserstein, PAIR, "samples", higher_is_better=False),
    "frechet_distance": Metric(frechet_distance, PAIR, "samples", higher_is_better=False),
    "kernel_distance": Metric(kernel_distance, PAIR, "samples", higher_is_better=False),
    "prdc": Metric(prdc, PAIR, "samples", higher_is_better=True, equal_sizes=True),
    "memorisation_test": COPIES,
    **CLASSES,
}

TABLES: dict[str, Metric] = {
    "table_quality": Metric(table_quality, PAIR, "rows", higher_is_better=True),
    "detection": Metric(detection, PAIR, "rows", higher_is_better=False),
    "utility": Metric(
        utility, ("fake", "unseen"), "rows", higher_is_better=True, known=("target",), floor_of="train"
    ),
    "values_present": Metric(values_present, ("train", "fake"), "rows", higher_is_better=True),
    "values_outside": Metric(values_outside, ("train", "fake"), "rows", higher_is_better=False),
    "conditions_obeyed": Metric(
        conditions_obeyed, ("fake",), "sheet", higher_is_better=True, known=("obeys",)
    ),
    "nearness_to_training": Metric(
        nearness_to_training, ("train", "unseen", "fake"), "rows", higher_is_better=False
    ),
    "training_copies": Metric(
        training_copies, ("train", "fake"), "rows", higher_is_better=False, floor_of="unseen"
    ),
    **POINTS,
}
