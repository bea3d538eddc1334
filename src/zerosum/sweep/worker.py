"""A worker: a process that plays trials of a sweep, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from zerosum import recipe as recipes
from zerosum.recipe import Recipe, RecipeError
from zerosum.run import seeds
from zerosum.run.log import NotFinite
from zerosum.run.run import Run
from zerosum.run.seeds import StackedSeeds
from zerosum.sweep.study import Claim, Outcome, Sweep

__all__ = ["Worker"]

_WAIT = 0.5  # seconds between two looks at whether the others are done
TIME_IS_UP = "the time is up"


class Worker:
    """Plays trials of a sweep. interrupted: why it ended early, "" while it has not."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.interrupted = ""
        self._playing: Run | StackedSeeds | None = None
        self._deadline = float("inf")

    def stop(self, reason: str) -> None:
        """Finish the present turn, save, and end `work`: whoever asks next goes on from there."""
        self.interrupted = reason
        if self._playing is not None:
            self._playing.stop(reason)

    def work(self, trials: int | None = None, minutes: float | None = None) -> Iterator[Outcome]:
        """Play until as many trials have begun, or so many minutes are over; gives each as it ends.

        Where other workers play the last trials it waits for them, and takes over what they leave. Raises
        RunError where the disk refuses; the trial is then left to whoever asks next.
        """
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        while not self._over():
            claim = self.sweep.claim(trials)
            if claim is None:
                if all(outcome.state != "playing" for outcome in self.sweep.outcomes()):
                    return
                time.sleep(_WAIT)
                continue
            try:
                outcome = self._told(claim)
            finally:
                self._playing = None
                claim.lock.release()  # whatever happened
            if outcome is not None:
                yield outcome

    def _over(self) -> bool:
        if time.monotonic() >= self._deadline and not self.interrupted:
            self.stop(TIME_IS_UP)
        return bool(self.interrupted)

    def _told(self, claim: Claim) -> Outcome | None:
        """Play a trial to its end; None where this worker was stopped before."""
        sweep = self.sweep
        try:
            recipe = recipes.changed(sweep.recipe, claim.settings)
            ill = self._ill(claim) or self._play(claim, recipe) or self._ill(claim)
        except RecipeError as error:  # these settings do not go together
            return sweep.tell(claim, {}, failed=str(error))
        if ill:
            return sweep.tell(claim, {}, ill=ill)
        if self.interrupted:
            sweep.give_up(claim)
            return None
        return sweep.tell(claim, sweep.goal.values(claim.path, recipe))

    def _ill(self, claim: Claim) -> str:
        """The fault that ended a seed of this trial, with its step and seed; "" where there is none."""
        faults = ((run.name, seeds.ending_fault(run)) for run in seeds.members(claim.path))
        return next((f"{fault} of {name}" for name, fault in faults if fault), "")

    def _play(self, claim: Claim, recipe: Recipe) -> None:
        """Play the seeds to their end or to the first fault: as one computation where the networks allow."""
        numbers = seeds.numbered(recipe, self.sweep.seeds)
        if len(numbers) > 1:
            try:
                stacked = StackedSeeds(claim.path, recipe, len(numbers))
            except RecipeError:
                raise
            except ValueError:
                pass  # such as convolutions, which are faster one by one
            else:
                with stacked:
                    self._follow(stacked)
                return
        for seed in numbers:
            with Run.start(seeds.folder(claim.path, seed), replace(recipe, seed=seed)) as run:
                self._follow(run)
            if self.interrupted or self._ill(claim):
                return

    def _follow(self, runs: Run | StackedSeeds) -> None:
        self._playing = runs
        if self.interrupted:  # by a signal that came before
            runs.stop(self.interrupted)
        try:
            for _ in runs.play(stop_at_fault=True):
                if isinstance(runs, StackedSeeds) and any(run.stopped_by_fault for run in runs.runs):
                    runs.stop("another seed's fault")
                self._over()
        except NotFinite:
            pass  # which the run has written down
