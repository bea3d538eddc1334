"""The study of a sweep: which trials there are, who plays them, and what they came to.

    OUT/sweep.yaml         the recipe, the ranges, the goal: what makes it this sweep and no other
    OUT/sweep.journal      optuna's journal of trials, unless they are kept in a database
    OUT/trials/0007/       a directory of seeds, as `zerosum train --seeds` would leave it
    OUT/best.yaml          the recipe that won so far
    OUT/sweep.html         the search as a page

Several processes, on one machine or on many that share the folder, play one sweep. Who plays a trial holds
the lock in its directory, which ends with the process, however that ends: a trial that is under way and that
nobody holds is taken over by the next who asks, and goes on from its checkpoints.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import yaml
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from zerosum import recipe as recipes
from zerosum.randomness import key
from zerosum.recipe import Recipe
from zerosum.run import files, seeds
from zerosum.run.log import RunError, disk, keep_apart
from zerosum.sweep.goal import Best, Goal
from zerosum.sweep.ranges import Range
from zerosum.text import printable

__all__ = ["Claim", "Outcome", "Sweep"]

LIVES = 3
"""So many processes may die over one trial before it is given up."""


@dataclass(frozen=True)
class Outcome:
    """What a trial came to. drawn: a value for each range, as optuna has it; settings: fields of the recipe.

    state: "complete", "ill" (ended by a fault of the diagnosis, which `reason` names), "failed" (a recipe
    that cannot be, as `reason` says) or "playing". values: the goal for each seed; value, low, high: their
    mean and its 95 % interval over seeds.
    """

    number: int
    state: str
    drawn: Mapping[str, Any]
    settings: Mapping[str, Any]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    values: Mapping[int, float] = field(default_factory=dict[int, float])
    reason: str = ""


@dataclass(frozen=True)
class Claim:
    """A trial that this process plays, until it is told or given up. lock: on it."""

    trial: Trial
    path: Path
    settings: Mapping[str, Any]
    lock: Lock


class Sweep:
    """A search for the settings of a recipe that serve a goal best. Made by `begin`, also to take part in one
    that is under way."""

    def __init__(self, path: Path, recipe: Recipe, ranges: Sequence[Range], goal: Goal, seeds: int) -> None:
        self.path = path
        self.recipe = recipe
        self.ranges = ranges
        self.goal = goal
        self.seeds = seeds
        self.study: optuna.Study

    @classmethod
    def begin(
        cls, path: Path, recipe: Recipe, ranges: Sequence[Range], goal: Goal, seeds: int, storage: str = ""
    ) -> Sweep:
        """Begin a sweep in a folder, or take part in the one that is there.

        storage: the address of a database, such as ``postgresql://host/name``; a journal in the folder
        without. Raises RunError where another sweep is there, or where the disk or the database refuses.
        """
        sweep = cls(path, recipe, ranges, goal, seeds)
        keep_apart(path, "sweep")
        with disk(path, "before the first trial"):
            (path / "trials").mkdir(parents=True, exist_ok=True)
            with sweep.alone():
                name = sweep._named()
                sweep.study = _study(path, name, goal.best, storage)
                if not sweep.study.get_trials(deepcopy=False):
                    sweep._queue_the_recipe()
        return sweep

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, no other process takes or begins a trial of this sweep."""
        lock = Lock(self.path / "sweep.lock")
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _named(self) -> str:
        """The name of the study, which is that of this sweep alone. Raises RunError if another is here."""
        file, own = self.path / "sweep.yaml", self._about()
        if not file.exists():
            name = f"{self.recipe.name}-{uuid4().hex[:12]}"
            text = yaml.safe_dump({"study": name, **own}, sort_keys=False, allow_unicode=True, width=110)
            files.write(file, text.encode(), within=self.path)
            return name
        there: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
        a, b = (dict(recipes.leaves({k: v for k, v in one.items() if k != "study"})) for one in (there, own))
        if changed := [f"{k}: {a.get(k)!r} -> {b.get(k)!r}" for k in {**a, **b} if a.get(k) != b.get(k)]:
            raise RunError(
                f"{printable(self.path)} holds another sweep ({printable('; '.join(changed[:3]))}): "
                "give --out another directory"
            )
        return str(there["study"])

    def _about(self) -> dict[str, Any]:
        """What makes it this sweep, as it is written."""
        goal = {"name": self.goal.name, "best": self.goal.best, "n": self.goal.n}
        about = {"ranges": {r.name: r.text for r in self.ranges}, "goal": goal, "seeds": self.seeds}
        return {**about, "recipe": yaml.safe_load(recipes.dump(self.recipe))}

    def _queue_the_recipe(self) -> None:
        """The first trial is the recipe as it is, as far as that lies within the ranges."""
        drawn = {r.name: value for r in self.ranges if (value := r.drawn(self.recipe)) is not None}
        if drawn:
            self.study.enqueue_trial(drawn)

    # trials -----------------------------------------------------------------------------------------------

    def claim(self, most: int | None = None) -> Claim | None:
        """A trial to play: one that its process has left, or a new one; None where `most` have begun."""
        with self.alone():
            begun = self.begun()
            for frozen in begun:
                left = self._free(frozen.number) if frozen.state == TrialState.RUNNING else None
                if left is not None and (claim := self._taken_over(frozen, left)) is not None:
                    return claim
            if most is not None and len(begun) >= most:
                return None
            # a sampler for each trial: what it draws follows from the trials before, and from nothing else
            seed = key(self.recipe.seed, len(begun), "sweep") % 2**32
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
            trial = self.study.ask({r.name: r.distribution for r in self.ranges})
            lock = self._free(trial.number)
            assert lock is not None  # a new directory, and nobody else looks
            return self._begun(trial, lock)

    def begun(self) -> list[FrozenTrial]:
        return [t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]

    def _free(self, number: int) -> Lock | None:
        """The lock of a trial, held from now on; None where another process holds it."""
        path = self.path / "trials" / f"{number:04d}"
        path.mkdir(exist_ok=True)
        lock = Lock(path / "lock")
        return lock if lock.acquire(wait=False) else None

    def _taken_over(self, frozen: FrozenTrial, lock: Lock) -> Claim | None:
        """A trial that its process has left; None where too many have, which is then its end."""
        trial = Trial(self.study, frozen._trial_id)
        if frozen.user_attrs.get("lives", LIVES) > 0 and {r.name for r in self.ranges} <= {*frozen.params}:
            return self._begun(trial, lock)
        trial.set_user_attr("reason", "processes ended while they played it")
        self.study.tell(frozen.number, state=TrialState.FAIL)
        lock.release()
        return None

    def _begun(self, trial: Trial, lock: Lock) -> Claim:
        trial.set_user_attr("lives", trial.user_attrs.get("lives", LIVES) - 1)
        return Claim(trial, lock.path.parent, self.settings(trial.params), lock)

    def settings(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the recipe that a trial sets."""
        return {k: v for r in self.ranges if r.name in drawn for k, v in r.settings(drawn[r.name]).items()}

    def give_up(self, claim: Claim) -> None:
        """Leave a trial as it is, for whoever asks next."""
        claim.trial.set_user_attr("lives", LIVES)
        claim.lock.release()

    def tell(self, claim: Claim, values: Mapping[int, float], ill: str = "", failed: str = "") -> Outcome:
        """Write down what a trial came to."""
        reason, trial, number = ill or failed, claim.trial, claim.trial.number
        with self.alone():  # so that nobody thinks that it was left
            if reason:
                trial.set_user_attr("reason", reason)
                self.study.tell(number, state=TrialState.PRUNED if ill else TrialState.FAIL)
            else:
                found = seeds.over_seeds([*values.values()])
                trial.set_user_attr("seeds", {str(seed): value for seed, value in values.items()})
                trial.set_user_attr("interval", [found["low"], found["high"]])
                self.study.tell(number, found["mean"])
            claim.lock.release()
        return next(outcome for outcome in self.outcomes() if outcome.number == number)

    # what came out ------------------------------------------------------------------------------------------

    def outcomes(self) -> list[Outcome]:
        """All trials that have begun, in their order."""
        return [self._outcome(frozen) for frozen in self.begun()]

    def _outcome(self, frozen: FrozenTrial) -> Outcome:
        words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "ill", TrialState.FAIL: "failed"}
        low, high = frozen.user_attrs.get("interval", (None, None))
        values = {int(seed): x for seed, x in frozen.user_attrs.get("seeds", {}).items()}
        state, reason = words.get(frozen.state, "playing"), frozen.user_attrs.get("reason", "")
        value = frozen.value if state == "complete" else None
        drawn = dict(frozen.params)
        return Outcome(
            frozen.number, state, drawn, self.settings(drawn), value, low, high, values, str(reason)
        )

    def ranked(self) -> list[Outcome]:
        """The trials that were played to the end, the best first."""
        sign = -1 if self.goal.best == "highest" else 1
        done = [outcome for outcome in self.outcomes() if outcome.value is not None]
        return sorted(done, key=lambda outcome: sign * (outcome.value or 0.0))

    def importances(self) -> dict[str, float]:
        """The share of each range in how the goal varies over all of them, the largest first.

        By PED-ANOVA (Watanabe et al. 2023). Nothing where too few trials came to an end.
        """
        if len(self.ranked()) < 4:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def write_best(self) -> Path | None:
        """Write best.yaml, the recipe that won so far; None where no trial came to an end."""
        ranked = self.ranked()
        if not ranked:
            return None
        best, done = ranked[0], len(self.outcomes())
        about = f"trial {best.number} of {done}: {self.goal.name} {best.value:.4g}, {self.goal.best} of all"
        won = recipes.changed(self.recipe, best.settings)
        won = replace(won, name=f"{self.recipe.name}-best", about=about)
        target = self.path / "best.yaml"
        with disk(self.path, "after a trial"):
            files.write(target, recipes.dump(won).encode(), within=self.path)
        return target


class Lock:
    """A lock that ends with the process that holds it, however that ends.

    On a file that is open for writing, as locks between machines want it (NFS).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holds = -1

    def acquire(self, wait: bool = True) -> bool:
        """Whether it is held now; without `wait` it may not be."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._holds = descriptor
        return True

    def release(self) -> None:
        """Let go, if it is held."""
        if self._holds >= 0:
            os.close(self._holds)
        self._holds = -1


def _study(path: Path, name: str, best: Best, storage: str) -> optuna.Study:
    """The study of this name, made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "maximize" if best == "highest" else "minimize"
    if storage:
        try:
            return optuna.create_study(
                storage=storage, study_name=name, direction=direction, load_if_exists=True
            )
        except Exception as error:  # whatever the driver of a database raises
            line = printable(" ".join(str(error).split()))[:200]
            raise RunError(f"--storage {printable(storage)}: {line}") from error
    journal = path / "sweep.journal"
    lock: Any = Lock(path / "sweep.journal.lock")  # optuna keeps the type of its own to itself
    backend = JournalFileBackend(str(journal), lock)
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=name,
        direction=direction,
        load_if_exists=True,
    )
