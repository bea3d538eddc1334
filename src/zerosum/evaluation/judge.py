"""A judge: real data, and the feature space that examples are seen in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from zerosum import metrics
from zerosum.data.columns import Columns
from zerosum.evaluation.examples import Examples
from zerosum.evaluation.real import Real
from zerosum.metrics import Classifier, Estimate, FeatureSpace, Metric
from zerosum.metrics.estimate import halves

__all__ = ["Impossible", "Inapplicable", "Judge", "Views"]

Progress = Callable[[str], None]
_ABSENT = {
    "validation": "a validation split",
    "wanted": "samples with the labels that were asked for",
    "unseen": "50 held-out examples that training has not seen",
}


class Impossible(ValueError):
    """A metric cannot be told of these examples, as where they are too few."""


class Inapplicable(Impossible):
    """A metric has no meaning for this kind of data."""


@dataclass(frozen=True)
class Judge:
    """Real data and the feature space that samples are seen in; what is costly is made once for all samples.

    features: pixels, classifier (trained on the data's labels), encoder (self-supervised on the data),
    filters (random ones: nothing is trained), efficientnet or inception; auto takes the first that the data
    allow of classifier, encoder and, where what training saw is judged against too, filters. Features that
    are learnt compare none of the examples that they were learnt on. progress: is told what takes time."""

    real: Real
    features: str = "auto"
    seed: int = 0
    progress: Progress = field(default=lambda what: None)

    def examples(self, samples: Examples | Tensor) -> Examples:
        """Samples as they are held: images from floats ``[N, C, H, W]`` in [-1, 1], or numbers."""
        if isinstance(samples, Examples):
            return samples
        if self.real.of_images and samples.dtype != torch.uint8:
            return Examples(metrics.as_images(samples).add(1).mul(127.5).round().to(torch.uint8))
        return Examples(samples if self.real.of_images else samples.float().flatten(1))

    # spaces ---------------------------------------------------------------------------------------------

    @cached_property
    def classifier(self) -> Classifier | None:
        """Of labelled data, trained on examples that are not judged."""
        real = self.real
        if real.train_labels is None or not real.class_names:
            return None
        rows = slice(real.learn_from, None)
        return metrics.train_classifier(
            real.train.take(rows),
            real.train_labels[rows],
            classes=len(real.class_names),
            seed=self.seed,
            name=f"classifier of {real.name}",
            progress=lambda share: self.progress(f"training a classifier: {share:.0%}"),
        )

    @cached_property
    def kind(self) -> str:
        """Which features are used: `features`, or what `auto` comes to."""
        if not self.real.of_images:
            return "points"
        if self.features != "auto":
            return self.features
        if not self.real.independent:
            return "filters"
        return "encoder" if self.real.train_labels is None else "classifier"

    @cached_property
    def compared(self) -> Real:
        """The real data with the examples that samples are compared with: of those that the features were
        learnt on, none."""
        real = self.real
        if self.kind not in ("classifier", "encoder") or real.apart >= len(real.judged):
            return real
        rows = slice(real.apart)
        return replace(
            real,
            split=f"{real.split}, less those that the features were learnt on",
            judged=real.judged.take(rows),
            labels=None if real.labels is None else real.labels[rows],
        )

    @cached_property
    def space(self) -> FeatureSpace:
        if self.kind in ("points", "pixels"):
            return FeatureSpace(self.kind, lambda x: x)
        if self.kind == "classifier":
            if self.classifier is None:
                raise ValueError(
                    f"--features classifier: {self.real.name} has no labels; use encoder or pixels"
                )
            return self.classifier.space
        self.progress(f"making the features ({self.kind})")
        makers: dict[str, Callable[[], FeatureSpace]] = {
            "encoder": lambda: metrics.train_encoder(
                self.real.train.take(slice(self.real.learn_from, None)),
                seed=self.seed,
                name=f"encoder of {self.real.name}",
                progress=lambda share: self.progress(f"training an encoder: {share:.0%}"),
            ),
            "filters": lambda: metrics.random_filters(
                self.real.judged.shape[0], min(128, max(2, len(self.real.judged) // 10)), seed=self.seed
            ),
            "efficientnet": metrics.efficientnet,
            "inception": metrics.inception,
        }
        return makers[self.kind]()

    def space_of(self, metric: Metric) -> str:
        """The name of the space that a metric's figure is of."""
        if metric.view in ("rows", "sheet"):
            return "rows"
        if metric.view == "samples":
            return "pixels" if self.real.of_images else "points"
        return self.space.name if metric.view == "features" else f"classifier of {self.real.name}"

    # views ----------------------------------------------------------------------------------------------

    def view(self, examples: Examples, kind: str) -> Any:
        """Examples as a metric of this view wants them: samples, features, probabilities, labels, rows or a
        sheet."""
        if kind in ("rows", "sheet") and isinstance(self.real.codec, Columns):
            sheet = self.real.codec.decode(examples.values) if examples.sheet is None else examples.sheet
            return sheet if kind == "sheet" else self.real.codec.arrays(sheet)
        if kind == "samples" or (kind == "features" and self.kind in ("points", "pixels")):
            return examples.viewed()
        if kind == "features":
            return self.space(examples.in_full if self.kind in ("efficientnet", "inception") else examples)
        if self.classifier is None:
            raise Inapplicable("it needs labelled real data")
        return (
            self.classifier.probabilities(examples)
            if kind == "probabilities"
            else self.classifier.labels(examples)
        )

    @cached_property
    def views(self) -> dict[str, Views]:
        """The sets of real examples that there are, by the names that metrics have for them."""
        real = self.compared
        sets = {
            "real": real.judged,
            "train": real.train,
            "validation": real.validation,
            "unseen": real.unseen,
        }
        return {name: Views(self, x) for name, x in sets.items() if x is not None}

    def sets(self, metric: Metric, fake: Mapping[str, Any], wanted: Tensor | None = None) -> dict[str, Any]:
        """The sets that a metric needs, in its view.

        wanted: the labels that a conditional generator was asked for, ``[n]``. Raises Impossible where one
        cannot be had, Inapplicable where there is none in data of this kind.
        """
        views: dict[str, Mapping[str, Any]] = {**self.views, "fake": fake}
        views |= {} if wanted is None else {"wanted": {"labels": wanted}}
        for name in metric.sets:
            if name not in views:
                raise (Impossible if name == "unseen" else Inapplicable)(f"it needs {_ABSENT[name]}")
        sets = {name: views[name][metric.view] for name in metric.sets}
        if metric.equal_sizes and "real" in sets:  # one half, for the floor has the other in place of fakes
            sets["real"] = sets["real"][halves(len(sets["real"]), self.seed)[0]]
            sets = _cut(sets)
        return sets

    def known(self, metric: Metric) -> dict[str, Any]:
        absent = [name for name in metric.known if name not in self.real.known]
        if absent:
            raise Inapplicable(f"it needs data with known {' and '.join(absent)}")
        return {name: self.real.known[name] for name in metric.known}

    # floors ---------------------------------------------------------------------------------------------

    @cached_property
    def floors(self) -> dict[tuple[Metric, int], Mapping[str, Estimate]]:
        return {}

    def floor(self, metric: Metric, n: int) -> Mapping[str, Estimate]:
        """What real data score: one half of the held-out examples in the place of `n` samples; made once.

        A metric whose value depends on how many there are compares the same half with as many samples. One
        that sees nothing but samples gets all of the held-out examples, or `n` of them; one that
        sees classes none that the classifier was trained on."""
        if (metric, n) not in self.floors:
            self.floors[metric, n] = self._floor(metric, n)
        return self.floors[metric, n]

    def _floor(self, metric: Metric, n: int) -> Mapping[str, Estimate]:
        known, space, real = self.known(metric), self.space_of(metric), self.compared
        if metric.view in ("rows", "sheet"):
            return self._floor_of_rows(metric, n)
        compared = next((part for part in ("real", "unseen") if part in metric.sets), None)
        if compared is not None:
            sets = self.sets(metric, self.views[compared])

            def halved(first: Tensor, second: Tensor) -> dict[str, Estimate]:
                pair = {compared: first, "fake": second}
                pair = _cut(pair) if metric.equal_sizes else pair
                return metric(sets | pair, space=space, known=known)

            return metrics.floor(halved, self.views[compared][metric.view], n=n, seed=self.seed)
        rows = slice(min(n, real.apart if metric.view in ("labels", "probabilities") else len(real.judged)))
        fake = {metric.view: self.views["real"][metric.view][rows]}
        wanted = None if real.labels is None else real.labels[rows]
        return metric(self.sets(metric, fake, wanted), space=space, known=known)

    def _floor_of_rows(self, metric: Metric, n: int) -> Mapping[str, Estimate]:
        """The same for a metric of rows: the held-out ones, in two halves where they are what is compared
        with."""
        known, space = self.known(metric), self.space_of(metric)
        if metric.floor_of and metric.floor_of not in self.views:
            return {}
        if metric.floor_of:
            stand_in = Views(self, self.views[metric.floor_of].examples.take(slice(n)))
            return metric(self.sets(metric, stand_in), space=space, known=known)
        compared = next((part for part in ("real", "unseen") if part in metric.sets), None)
        held_out = self.views[compared or "real"].examples
        halves = [held_out.take(slice(i, None, 2)) for i in (0, 1)] if compared else [held_out, held_out]
        first, second = (Views(self, half) for half in (halves[0], halves[1].take(slice(n))))
        sets = self.sets(metric, second) | ({compared: first[metric.view]} if compared else {})
        return metric(sets, space=space, known=known)


def _cut(sets: Mapping[str, Any]) -> dict[str, Any]:
    """The first of each set, as many as the smallest has."""
    n = min(len(x) for x in sets.values())
    return {name: x[:n] for name, x in sets.items()}


class Views(dict[str, Any]):
    """One set of examples as each view shows it, made when it is first asked for."""

    def __init__(self, judge: Judge, examples: Examples) -> None:
        super().__init__()
        self.judge = judge
        self.examples = examples

    def __missing__(self, kind: str) -> Any:
        return self.setdefault(kind, self.judge.view(self.examples, kind))
