"""What a sweep seeks: a metric of `zerosum evaluate`, or a reading of the log, over the seeds of a trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zerosum import metrics
from zerosum import recipe as recipes
from zerosum.evaluation import Judge, evaluate, real_data, subjects
from zerosum.metrics import Metric
from zerosum.recipe import Recipe, RecipeError, suggest
from zerosum.run import seeds
from zerosum.run.log import Log

__all__ = ["Best", "Goal"]

Best = Literal["lowest", "highest"]
READINGS: dict[str, Best] = {
    "modes_covered": "highest",
    "high_quality": "highest",
    "distance": "lowest",
    "duplicates": "lowest",
}
"""Readings that no metric has the name of, and of which it is plain which value is best."""


@dataclass
class Goal:
    """What a trial is worth: the mean over its seeds of a metric, or of the last value of a reading.

    metric: where the name is one, or a part of one, such as `density` of prdc. n: samples that are judged.
    """

    name: str
    best: Best
    metric: str = ""
    n: int = 5000
    _judges: dict[str, Judge] = field(default_factory=dict[str, Judge], repr=False)

    @classmethod
    def of(cls, source: Any, name: str = "", best: str = "", n: int = 5000) -> Goal:
        """The goal of this name on these data.

        Without one the Frechet distance of images, the sliced Wasserstein distance of anything else. Raises
        RecipeError for a reading where nobody says which value is best.
        """
        of_images = len(source.shape) == 3
        table = metrics.IMAGES if of_images else metrics.POINTS
        name = name or ("frechet_distance" if of_images else "sliced_wasserstein")
        parts = _parts(table)
        metric = parts.get(name, "")
        if metric and (higher := table[metric].higher_is_better) is not None:
            best = best or ("highest" if higher else "lowest")
        best = best or READINGS.get(name, "")
        if best not in ("lowest", "highest"):
            others = suggest(name, [*parts, *READINGS])
            raise RecipeError(f"--goal {name}: say which value of it is --best, lowest or highest{others}")
        return cls(name, best, metric, n)

    def values(self, trial: Path, recipe: Recipe) -> dict[int, float]:
        """Of each seed of a trial that has been played. Raises RecipeError where there is no such figure."""
        if self.metric:
            return dict(self._measured(trial, recipe))
        found: dict[int, float] = {}
        for run in seeds.members(trial):
            last = seeds.last_values(Log(run).records())
            if self.name not in last:
                there = [name for name in last if name not in ("step", "seconds", "steps_per_second")]
                near = suggest(self.name, there)
                raise RecipeError(
                    f"--goal {self.name}: no metric of these data, and no run of this recipe reads it{near}"
                )
            found[int(run.name.removeprefix("seed"))] = last[self.name]
        return found

    def _measured(self, trial: Path, recipe: Recipe) -> Sequence[tuple[int, float]]:
        judge = self._judge(recipe)
        found: list[tuple[int, float]] = []
        for subject in subjects(trial, judge.real, self.n):
            about = dict(subject.about)
            for row in evaluate(judge, subject.samples, [self.metric], subject.wanted, **about):
                Log(subject.results.parent).add_evaluation(row)
                if row["metric"] == self.name:
                    found.append((about["run_seed"], row["value"]))
        return found

    def _judge(self, recipe: Recipe) -> Judge:
        """One judge for all trials on the same data."""
        key = json.dumps(recipes.resolved(recipe)["data"], sort_keys=True)
        if key not in self._judges:
            source = recipes.build_source(recipe)
            self._judges[key] = Judge(real_data(source, recipes.name_of(recipe.data), self.n))
        return self._judges[key]


def _parts(table: dict[str, Metric]) -> dict[str, str]:
    """The names of figures, each with the metric that gives it."""
    return {part: name for name in table for part in (metrics.PRDC._fields if name == "prdc" else (name,))}
