"""A session: what a run does after each turn, from its start or resumption to its end.

Look, log, judge, draw, save, and take up what is wished: in this order, so that a checkpoint never knows of a
change that comes after its turn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zerosum import recipe as recipes
from zerosum.game import Game, Turn
from zerosum.recipe import Recipe
from zerosum.run import changes
from zerosum.run.changes import Change
from zerosum.run.log import Record, RunError
from zerosum.text import printable
from zerosum.watch import best, instruments
from zerosum.watch.instrument import Examples, Instrument, Reading, read
from zerosum.watch.samples import FEWEST

if TYPE_CHECKING:
    from zerosum.run.run import Run

__all__ = ["Session", "numbers_of", "picture_is_due", "watch_of"]


FEW = 32
"""Fewer examples than this are not held out for the instruments: they would say nothing."""


class Session:
    """One sitting of a run. Whoever plays its game calls `after` at each turn, then `prune`; at last `end`.

    over: the present turn was the last one. stop_at_fault: end as soon as a fault stands. stop_when_done: if
    the checkpoints get no better, let the schedules end soon, and the run with them. steered: take up changes
    of the recipe.

    Raises RunError for a run that cannot tell whether they do.
    """

    def __init__(
        self, run: Run, stop_at_fault: bool = False, stop_when_done: bool = False, steered: bool = True
    ) -> None:
        if stop_when_done and not any(i.name == best.READING for i in run.watch):
            raise RunError(
                f"--stop-when-done: nothing judges the checkpoints of {printable(run.path)}: give --watch "
                f"standard, and {FEWEST} real examples"
            )
        self.run = run
        self.stop_at_fault = stop_at_fault
        self.stop_when_done = stop_when_done
        self.steered = steered
        self.over = run.game.step >= run.recipe.turns or self._is_done()
        if not self.over and run.done:
            with run.on_disk():
                changes.play(run)
        self._step = run.game.step  # which may go on without this session, where many games are one
        self._window: dict[int, dict[str, Tensor]] = {}  # the terms of the turns since the last line
        self._begun = self._last = time.monotonic()
        self._turns = 0  # since the last line
        self._to_prune = True

    def after(self, turn: Turn) -> Record | None:
        """See to a turn that the run's game has just played: its record, every `log_every` turns.

        The record of a turn at which something was read in between is written too.

        Raises RunError at a loss or a weight that is not finite, and where the disk refuses.
        """
        run = self.run
        step = self._step = run.game.step
        self._window[step] = _terms(turn)
        self._turns += 1
        readings = read(run.watch, run.game, turn)
        if step >= run.recipe.turns:
            readings += [
                r for i in run.watch if i.name == best.READING and not i.due(step) for r in i(run.game, turn)
            ]
        self.over = step >= run.recipe.turns or bool(run.stop_reason)
        log, save = (self.over or step % n == 0 for n in (run.recipe.log_every, run.recipe.checkpoint_every))
        picture = self.over or picture_is_due(step, run.recipe.sample_every)
        record: Record | None = None
        with run.on_disk():
            if log or picture or save or readings:
                self._refuse_losses_not_finite()
            if log or readings:
                record = self._logged(turn, readings, log)
            if log and self._fault_ends():
                self.over = picture = save = True
            if record is not None and best.READING in record:
                run.best = best.best(run.history)
                if not self.over and self._is_done():
                    self.over = picture = save = True
            if picture:
                run.picture()
            if save:
                run.save()
                self._to_prune = True
            if self.steered and not self.over:
                changes.take_up(run)
                if step >= run.recipe.turns:  # fewer turns are wished than are played
                    record, log = self._end_here(turn, record), True
        return record if log else None

    def _end_here(self, turn: Turn, record: Record | None) -> Record:
        """The record of a turn that has become the last one, with all that belongs to it."""
        self.over = self._to_prune = True
        self.run.picture()
        if self.run.saved != self._step:
            self.run.save()
        return record or self._logged(turn, (), timed=True)

    def prune(self) -> None:
        """Remove the checkpoints that are too many, when all that belongs to the newest one is there."""
        if not self._to_prune:
            return
        with self.run.on_disk():
            self.run.prune()
        self._to_prune = False

    def end(self) -> None:
        """Write down why it ended."""
        run = self.run
        self.prune()
        with run.on_disk():
            kind = "finished" if self._step >= run.recipe.turns else "stopped"
            found = {} if run.best is None else {"best": run.best.step}
            run.log.add_event(kind, self._step, reason=run.stop_reason, **found)

    def _logged(self, turn: Turn, readings: Iterable[Reading], timed: bool) -> Record:
        """Write the record of this turn; before it that of the last turn in which a lazy penalty was due."""
        run, step = self.run, self.run.game.step
        for name in {name for terms in self._window.values() for name in terms} - self._window[step].keys():
            due = max(at for at, terms in self._window.items() if name in terms)
            if due > max((record["step"] for record in run.history[-1:]), default=-1):
                self._write({"step": due, **_numbers(self._window[due])})
        record: Record = {"step": step, **_numbers(self._window[step]), **_scores(turn, run.game)}
        record = _with_readings(record, readings)
        now = time.monotonic()
        if timed:
            record["steps_per_second"] = round(self._turns / max(now - self._last, 1e-9), 2)
            self._last, self._turns = now, 0
        record["seconds"] = round(now - self._begun, 3)
        self._window = {}
        self._write(record)
        return record

    def _write(self, record: Record) -> None:
        self.run.log.add_record(record)
        self.run.history.append(record)

    def _fault_ends(self) -> bool:
        """Judge what stands now; faults that came and went become events. Whether to end for one of them."""
        run, before = self.run, {finding.name for finding in self.run.faults}
        run.findings = run.diagnosed(run.history)
        for finding in run.faults:
            if finding.name not in before:
                run.log.add_event("fault", run.game.step, **finding.as_dict())
        for name in sorted(before - {finding.name for finding in run.faults}):
            run.log.add_event("recovered", run.game.step, name=name)
        run.stopped_by_fault = self.stop_at_fault and bool(run.faults)
        if run.stopped_by_fault:
            run.stop(f"the fault {run.faults[0].name!r}")
        return run.stopped_by_fault

    def _is_done(self) -> bool:
        """Whether to end as the checkpoints get no better. What schedules have still to do is done first: a
        change, to be played at this step."""
        run, step = self.run, self.run.game.step
        if not self.stop_when_done or run.best is None or not run.best.done:
            return False
        for change in run.changes:
            if change.reason:
                run.done = change.reason
                if change.fields["steps"] > step:
                    return False
        reason = run.done or f"no longer improving since step {run.best.since:,}"
        fields = changes.sooner(run.recipe, step)
        if fields is None:
            return False
        run.done = reason
        if fields:
            run.changes.append(Change(step, fields, written=False, reason=reason))
        else:
            run.stop(reason)
        return not fields

    def _refuse_losses_not_finite(self) -> None:
        """Raise at the first loss or penalty that is not finite; one look at the device for all turns."""
        named = [(step, name, x) for step, terms in self._window.items() for name, x in terms.items()]
        if not named:
            return
        finite = torch.stack([x.isfinite() for _, _, x in named]).tolist()
        for (step, name, x), good in zip(named, finite, strict=True):
            if not good:
                raise self.run.lost(step, name, f"{name} is {float(x)}")


def picture_is_due(step: int, every: int) -> bool:
    """At steps 0, 10, 20, 50, 100, 200, ... at first, then at the multiples of `every`.

    >>> [step for step in range(1001) if picture_is_due(step, 400)]
    [0, 10, 20, 50, 100, 200, 400, 800]
    """
    if step % every == 0:
        return True
    return 10 <= step < every and step / 10 ** (len(str(step)) - 1) in (1, 2, 5)


def numbers_of(turn: Turn, game: Game) -> Record:
    """The losses and penalties of a turn, and what D made of its examples."""
    return {**_numbers(_terms(turn)), **_scores(turn, game)}


def _terms(turn: Turn) -> dict[str, Tensor]:
    """In the order of the turn, so that the first that is not finite is the cause."""
    return {"d_loss": turn.d_loss, **turn.penalties, "g_loss": turn.g_loss}


def _numbers(terms: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(x) for name, x in terms.items()}


def _scores(turn: Turn, game: Game) -> dict[str, float]:
    """What D made of the turn's examples.

    V(D, G) is 2014's value, in nats, where logits are probabilities; -log 4 at equilibrium.
    """
    real, fake = turn.real_logits.double(), turn.fake_logits.double()
    scores = {"real_logit": real.mean(), "fake_logit": fake.mean()}
    if game.objective.probability is not None:
        p, q = game.objective.probability(real), game.objective.probability(fake)
        value = p.log().clamp(min=-100).mean() + (1 - q).log().clamp(min=-100).mean()  # as nn.BCELoss clamps
        scores |= {"d_real": p.mean(), "d_fake": q.mean(), "value": value}
    return {name: float(x) for name, x in scores.items() if x.isfinite()}


def _with_readings(record: Record, readings: Iterable[Reading]) -> Record:
    """A reading with an interval says more than the number of the same name that the turn has."""
    finite = [reading for reading in readings if math.isfinite(reading.value)]
    ends = {
        r.name: [_short(r.low), _short(r.high)] for r in finite if r.low is not None and r.high is not None
    }
    record |= {r.name: _short(r.value) for r in finite if r.name in ends or r.name not in record}
    return record | ({"intervals": ends} if ends else {})


def _short(x: float) -> float:
    """To six digits: what is read by people, and far more than is certain."""
    return float(f"{x:.6g}")


def watch_of(recipe: Recipe, game: Game, source: Any) -> list[Instrument]:
    """The instruments that a recipe asks for, with the data's other split for what must be held out."""
    if recipe.watch == "none":
        return []
    other: Any = source.split("test") if "test" in source.splits else None
    room = max(FEW, 2**24 // math.prod(source.shape))  # 64 MiB
    most = min(4096, room, len(other) if hasattr(other, "__len__") else 4096)
    held = None if other is None or most < FEW else Examples(*other.batch(0, most))
    watch = instruments.standard(game, source, held, recipe.checkpoint_every)
    watch += instruments.thorough(game, source, held) if recipe.watch == "thorough" else []
    return watch + recipes.build_instruments(recipe, game, source, held)
