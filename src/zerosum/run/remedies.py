"""Forks and remedies: a run that begins at a checkpoint of another, with one thing changed.

A run that showed a fault is taken up before it, with what was advised changed.

The run that failed stays as it is. The remedy is a run of its own beside it, which begins at the last
checkpoint from before the fault, or anew where what is changed does not fit that checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerosum import recipe as recipes
from zerosum.recipe import Recipe, RecipeError
from zerosum.run import checkpoints, files
from zerosum.run.log import RunError
from zerosum.run.run import Run
from zerosum.text import printable
from zerosum.watch.diagnosis import Advice, Finding

__all__ = ["Remedy", "fork", "remedy", "verdict"]

QUALITY = ("modes_covered", "high_quality", "coverage", "spread")


@dataclass(frozen=True)
class Remedy:
    """A directory to train in, the changed recipe, what was advised, and the step that it begins from."""

    path: Path
    recipe: Recipe
    fault: Finding
    advice: Advice
    begins: int

    def __str__(self) -> str:
        start = f"from its checkpoint of step {self.begins:,}" if self.begins else "from the start"
        change = self.advice.option
        return f"following the advice: {change}, {start}, in {self.path}"


def remedy(run: Run, tried: Sequence[Advice] = ()) -> Remedy | None:
    """The first advice on the first fault of a run, made ready to train; None without.

    What was tried before is passed over, and what this recipe cannot take; what changes a field that was
    changed before comes last. Raises RunError if the disk refuses.
    """
    done = [advice.fields for advice in tried]
    advised = [
        (fault, advice) for fault in run.faults for advice in fault.advice if advice.fields not in done
    ]
    touched = {name for fields in done for name in fields}
    for fault, advice in sorted(advised, key=lambda pair: not touched.isdisjoint(pair[1].fields)):
        recipe = _changed(run, advice)
        if recipe is None:
            continue
        path = _free(run.path)
        good = [step for step in checkpoints.steps(run.path / "checkpoints") if 0 < step < fault.since]
        begins = good[-1] if good and _fits(run, recipe, good[-1], path) else 0
        return Remedy(path, recipe, fault, advice, begins)
    return None


def _changed(run: Run, advice: Advice) -> Recipe | None:
    """The recipe with what is advised; None where its parts have no such field, as a network of another
    kind may not."""
    try:
        recipe = recipes.changed(run.recipe, advice.fields)
        recipes.build_game(recipe, run.data.shape, classes=run.data.classes, codec=run.data.codec)
    except RecipeError:
        return None
    return recipe


def _free(path: Path) -> Path:
    """The first of run-remedy1, run-remedy2, ... that is not there."""
    stem = path.name.partition("-remedy")[0]
    numbers = (path.with_name(f"{stem}-remedy{i}") for i in range(1, 10_000))
    return next(beside for beside in numbers if not beside.exists())


def _fits(run: Run, recipe: Recipe, step: int, path: Path) -> bool:
    """Begin at `path` where the run was after `step` turns; whether this recipe can go on there."""
    try:
        fork(run.path, step, recipe, path)
    except (RunError, RecipeError):  # of another game: other shapes, another kind of optimizer
        return False
    return True


def fork(source: Path, step: int, recipe: Recipe, path: Path) -> None:
    """Begin a run in `path` where the run in `source` was after `step` turns, with this recipe.

    Raises RunError where there is no such checkpoint, where it does not fit the recipe's game or where the
    disk refuses, RecipeError where the recipe cannot be; then nothing is left of it.
    """
    checkpoint = f"checkpoints/{step:06d}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"cannot begin in {printable(path)}: {error.strerror or error}") from error
    try:
        (path / checkpoint).mkdir(parents=True)
        for name in checkpoints.FILES:
            files.write(path / checkpoint / name, files.read(source / checkpoint / name, within=source))
        files.write(path / "metrics.jsonl", files.read(source / "metrics.jsonl", within=source))
        Run.start(path, recipe, override=True).close()
    except OSError as error:
        shutil.rmtree(path)
        why = error.strerror or error
        raise RunError(f"cannot begin at step {step} of {printable(source)}: {why}") from error
    except (RunError, RecipeError):
        shutil.rmtree(path)
        raise


def verdict(before: Run, remedied: Run, fault: Finding) -> str:
    """Whether it helped, in words, with the readings of quality before and after."""
    left = [finding.name for finding in remedied.faults]
    found = [
        f"{name} {_last(before, name):g} -> {_last(remedied, name):g}"
        for name in QUALITY
        if _both(before, remedied, name)
    ]
    figures = f" ({', '.join(found)})" if found else ""
    if not left:
        return f"it helped: {fault.name} is gone{figures}"
    how = "still stands" if fault.name in left else "came instead"
    return f"it did not help: {', '.join(left)} {how}{figures}"


def _both(before: Run, after: Run, name: str) -> bool:
    return all(any(name in record for record in run.history) for run in (before, after))


def _last(run: Run, name: str) -> Any:
    return next(record[name] for record in reversed(run.history) if name in record)
