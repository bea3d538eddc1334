"""A run: a directory on disk, and the game that is played in it.

    recipe.yaml, metrics.jsonl, events.jsonl, samples/    see `zerosum.run.log`
    checkpoints/NNNNNN/                                   see `zerosum.run.checkpoints`

To resume is to start again: a run that was killed at any instant goes on from its newest whole checkpoint,
and ends with the same bytes in its weights as one that never stopped.
"""

from __future__ import annotations

import math
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zerosum import recipe as recipes
from zerosum.data import ImageFolder
from zerosum.data.codec import Pixels
from zerosum.data.source import Ahead
from zerosum.game import Game, Turn
from zerosum.pictures import tiles
from zerosum.recipe import Recipe
from zerosum.run import autotune, changes, checkpoints, ranks, runtime, transfer
from zerosum.run.changes import Change
from zerosum.run.checkpoints import Checkpoint, CheckpointError, Misfit
from zerosum.run.datacard import DataCard
from zerosum.run.log import FORMAT, Log, NotFinite, Record, RunError, disk
from zerosum.run.session import Session, watch_of
from zerosum.sampling import Generator, Sampler
from zerosum.text import facts_html, png, printable
from zerosum.watch import best, diagnosis
from zerosum.watch.diagnosis import Finding
from zerosum.watch.instrument import Instrument

__all__ = ["Run", "RunError"]

State = dict[str, Any]


class Run:
    """A directory, its recipe, its game and, for training, its source. Made by `start` or `open`.

        with Run.start("runs/mine", recipes.load("ring", {"steps": 500})) as run:
            for record in run.play():
                print(record["step"], record["d_loss"])

    recipe: as it is now, after all changes. data: what the run keeps of its data. notes: what a person should
    hear of before the run goes on. saved: the step of the last checkpoint. history: the records so far, and
    what the watch makes of them: findings, the best checkpoint. changes: of the recipe, while it was played.
    """

    def __init__(self, path: Path, recipe: Recipe, game: Game, data: DataCard, source: Any = None) -> None:
        self.path = path
        self.recipe = recipe
        self.game = game
        self.data = data
        self.source = source
        self.log = Log(path)
        self.notes: list[str] = []
        self.stop_reason = ""
        self.stopped_by_fault, self.done = False, ""
        self.best = best.best([])
        self.saved = -1
        self.watch: list[Instrument] = []
        self.judged = diagnosis.Facts()
        self.history: list[Record] = []
        self.findings: list[Finding] = []
        self.changes: list[Change] = []

    # begin ----------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        path: Path | str,
        recipe: Recipe,
        override: bool = False,
        at_most: int | None = None,
        steered: Sequence[Change] = (),
    ) -> Run:
        """Begin a run in `path`, or take up the one that is there.

        at_most: forget the checkpoints of later steps. steered: changes to be played at their steps. The
        directory belongs to this run until `close`, or until the process ends.

        Raises RunError if the recipe or the data there differ (unless `override`), if another process trains
        there, if no checkpoint can be used or if the disk refuses; RecipeError if the recipe cannot be built.
        Then what was there is as it was.
        """
        runtime.keep_memory()
        path = Path(path)
        source = recipes.build_source(recipe)
        recipe, chosen = _settled(path, recipe, source)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        game, _ = recipes.build(recipe, source, world=ranks.world())
        run = cls(path, recipe, game, DataCard.of(source), source)
        run.notes = [*source.notes, *([chosen] if chosen else [])]
        run.watch = recipes.call(lambda: watch_of(recipe, run.game, source), "watch")
        run.changes = [replace(change, written=False) for change in steered]
        try:
            with disk(path, "before the first step"):
                run._begin(override, at_most)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, override: bool, at_most: int | None) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.log.lock()
        events, begun_with, broken = self.log.events(), self.recipe, list[str]()
        if not override and os.path.lexists(self.path / "recipe.yaml"):
            _refuse_changes(self.path, recipes.resolved(self.log.recipe()), self.recipe)
        self.changes = changes.written(events) + self.changes
        found = checkpoints.newest(
            self.path / "checkpoints",
            lambda checkpoint: self._take_up(checkpoint, begun_with, override),
            broken,
            self.game.device,
            2**63 if at_most is None else at_most,
        )
        if found is None and (any("format" in event for event in events) or self.log.records()):
            raise RunError(
                f"the checkpoints of {printable(self.path)} are gone, and its records are not: "
                f"put them back, or move {printable(self.path)} away to begin anew"
            )
        other_data = found is not None and self._refuse_other_data(found, override)
        if found is not None and not override and not os.path.lexists(self.path / "recipe.yaml"):
            _refuse_changes(self.path, found.recipe, self.recipe)
        # what was there has been read: only from here on it is changed
        self.log.sweep()
        changes.sweep(self.log, events)
        if at_most is not None:
            checkpoints.forget(self.path / "checkpoints", at_most)
        if found is None and self.recipe.start is not None:
            self.notes.append(transfer.begin(self.game, self.recipe.start, Run.open))
        step = self.game.step
        changes.go_on(self, begun_with.turns)
        self.saved = step if found is not None else -1
        self.recipe = replace(self.recipe, steps=max(self.recipe.turns, step))
        self.log.write_recipe(replace(begun_with, steps=max(begun_with.steps, step)))
        self.log.keep_until(step)
        for cause in broken:
            self.log.add_event("fell_back", step, cause=cause)
        self.notes += _fallen(broken, step)
        if other_data:
            self.log.add_event("data_changed", step)
            self.notes.append(
                f"warning: the data are not those that step {step} was reached with: "
                "the run goes on with these, and is not what one without a stop would be"
            )
        self.history = self.log.records()
        self.best = best.best(self.history)
        self._judge_anew()
        self.save()
        if step == 0 and 0 not in self.log.pictures():
            self.picture()
            if isinstance(self.data.codec, Pixels):  # real images, to see beside those that the run makes
                real = self.data.codec.view(self.source.batch(0, 64)[0])
                self.log.write_real_picture(png(tiles(real.numpy())))
        again = found is not None and (step > 0 or any(event["event"] == "started" for event in events))
        about = {"format": FORMAT, **runtime.environment(self.game), **self.about_game()}
        self.log.add_event("resumed" if again else "started", step, **about)

    def _take_up(self, checkpoint: Checkpoint, begun_with: Recipe, override: bool) -> Checkpoint:
        """Put the game where a checkpoint left it, with the changes until then."""
        fields = changes.until(self.changes, checkpoint.step)
        recipe = recipes.changed(begun_with, fields) if fields else begun_with
        if recipe != self.recipe:
            self.recipe, (self.game, _) = recipe, recipes.build(recipe, self.source, world=ranks.world())
            self.watch = recipes.call(lambda: watch_of(recipe, self.game, self.source), "watch")
        then, now = checkpoint.recipe, recipes.resolved(recipe)
        others = bool(then) and bool(recipes.differences(then, now))  # written before they were changed
        _adopt(self.game, checkpoint.state, self.path, override or others)
        return checkpoint

    def _refuse_other_data(self, found: Checkpoint, override: bool) -> bool:
        """Whether the data are others than the checkpoint's. Raises RunError if so, unless `override`."""
        then, now = found.data.fingerprint, self.data.fingerprint
        if not then or then == now:
            return False
        if not override:
            raise RunError(
                f"the data are not those that step {found.step} of {printable(self.path)} was reached with: "
                "put those back, give --out another directory, or --override to go on with these"
            )
        return True

    @classmethod
    def open(cls, path: Path | str, step: int | str | None = None) -> Run:
        """A run to look at: its game as a checkpoint has it, the newest good one unless `step` is given, as a
        number or as "best" (`checkpoints.numbered`). Neither the data nor the device of the training is
        needed. Raises RunError if there is no such one."""
        path = Path(path)
        log = Log(path)
        step = checkpoints.numbered(log, step) if isinstance(step, str) else step
        recipe, steered, broken = log.recipe(), changes.written(log.events()), list[str]()

        def use(checkpoint: Checkpoint) -> Run:
            fields, data = changes.until(steered, checkpoint.step), checkpoint.data
            then = recipes.changed(recipe, fields) if fields else recipe
            about: dict[str, Any] = {"device": "auto", "classes": data.classes, "codec": data.codec}
            about["class_shares"] = data.class_shares
            game = recipes.build_game(then, data.shape, **about)
            _adopt(game, checkpoint.state, path)
            run = cls(path, then, game, data)
            run.changes = [change for change in steered if change.step <= checkpoint.step]
            return run

        if step is None:
            run = checkpoints.newest(path / "checkpoints", use, broken)
        else:
            run = _exactly(path / "checkpoints", step, use)
        if run is None:
            raise RunError(f"{printable(path)} has no checkpoint yet: train it first")
        run.notes, run.saved = _fallen(broken, run.game.step), run.game.step
        return run

    def close(self) -> None:
        """Leave the directory to others."""
        self.log.unlock()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # train ----------------------------------------------------------------------------------------------

    def play(self, stop_at_fault: bool = False, stop_when_done: bool = False) -> Iterator[Record]:
        """Train to the recipe's last step, giving a record every `log_every` turns.

        The instruments of `watch` look on, and each of these records is judged: `findings` says how the game
        stands. stop_at_fault: end as soon as a fault stands; stop_when_done: soon after it is done.

        `stop` ends it after the present turn, with a checkpoint. Raises RunError at a loss or weight that is
        not finite, at whatever goes wrong inside a turn, and where the disk refuses: the checkpoints before
        that stay good.
        """
        session = Session(self, stop_at_fault, stop_when_done)
        for turn in () if session.over else self.turns():
            record = session.after(turn)
            session.prune()
            if record is not None:
                yield record
            if session.over:
                break
        session.end()

    def turns(self) -> Iterator[Turn]:
        """The game's turns; an error inside one becomes a line, and its traceback an event."""
        try:
            source = Ahead(self.source) if isinstance(self.source, ImageFolder) else self.source
            while self.game.step < self.recipe.turns:
                game = self.game
                for turn in ranks.played(game, self.recipe, source, self.recipe.turns - game.step):
                    if ranks.stopped():
                        self.stop("SIGTERM")
                    yield turn
                    if self.game is not game:  # a change between two turns
                        break
        except Exception as error:
            raise self.failed(error) from error

    def change(self, fields: Mapping[str, Any]) -> None:
        """Go on with other values of some fields of the recipe: the same players, in a game that is built
        anew. Raises RecipeError or RunError where that cannot be; then nothing has changed."""
        recipe = recipes.changed(self.recipe, fields)
        game, _ = recipes.build(recipe, self.source, world=ranks.world())
        try:
            _adopt(game, self.game.state_dict(), self.path, override=True)
        except Misfit as error:
            raise RunError(str(error)) from error
        before = dict(vars(self))
        try:
            self.recipe, self.game = recipe, game
            self.watch = recipes.call(lambda: watch_of(recipe, game, self.source), "watch")
            self._judge_anew()
        except BaseException:
            vars(self).update(before)
            raise

    def _judge_anew(self) -> None:
        self.judged = recipes.call(
            lambda: diagnosis.facts(self.game, self.source, turns=self.recipe.turns), "watch"
        )
        self.findings = self.diagnosed(self.history)

    def diagnosed(self, history: Sequence[Record]) -> list[Finding]:
        """What stands at the end of these records."""
        return diagnosis.diagnose(history, self.judged, recipes.build_faults(self.recipe))

    def about_game(self) -> dict[str, Any]:
        """What a diagnosis needs of the game beside its records, as an event has it."""
        scales = {name: [x.unit, _finite(x.equilibrium)] for i in self.watch for name, x in i.gives.items()}
        judged = {**asdict(self.judged), "examples": _finite(self.judged.examples)}
        return {"judged": judged, "scales": scales}

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.fault]

    @property
    def interrupted(self) -> str:
        """What stopped the run before its end: neither a fault nor being done."""
        return "" if self.stopped_by_fault or self.stop_reason == self.done else self.stop_reason

    def stop(self, reason: str) -> None:
        """Finish the present turn, save, and end `play`."""
        self.stop_reason = reason

    def save(self) -> None:
        """Write a checkpoint of this instant, unless there is one already."""
        if self.saved == self.game.step:
            return
        state = self.game.state_dict()
        self._refuse_state_not_finite(state)
        self.log.check_held()
        checkpoints.save(self.path / "checkpoints", state, self.data, recipes.path_of_game(self.recipe))
        self.saved = self.game.step

    def prune(self) -> None:
        """Remove the oldest checkpoints, down to as many as the recipe keeps and the best one."""
        best = [self.best.step] if self.best else []
        checkpoints.prune(self.path / "checkpoints", self.recipe.keep, self.saved, best)

    def picture(self) -> None:
        """What the fixed grid of noise has become, as samples/NNNNNN.png."""
        self.log.write_picture(self.game.step, png(self.draw()))

    # look -----------------------------------------------------------------------------------------------

    def draw(self, n: int | None = None, live: bool = False) -> Any:
        """A picture of samples, `n` of them or as many as suit: see `Sampler.overview`."""
        real = None if self.source is None else lambda count: self.source.batch(0, count)[0]
        return Sampler.overview(Generator.of(self, live), real, n)

    def __repr__(self) -> str:
        return f"Run({printable(self.path)}, {printable(self.recipe.name)}, step {self.game.step:,})"

    def _repr_html_(self) -> str:
        names = ("value", "d_real", "d_fake", "d_loss", "g_loss", "modes_covered", "high_quality", "coverage")
        last = {name: f"{r[name]:.4g}" for r in self.history[-1:] for name in names if name in r}
        state = ", ".join(finding.name for finding in self.findings) or "too early to say"
        return facts_html(self, {"state": state, **last}, self.draw())

    # what may go wrong ----------------------------------------------------------------------------------

    def failed(self, error: Exception) -> RunError:
        """What went wrong inside a turn, as a line; its traceback becomes an event."""
        name, step = type(error).__name__, self.game.step + 1
        lines = "".join(traceback.format_exception(error))
        with self.on_disk():
            self.log.add_event("fault", step, name=name, traceback=lines)
        return RunError(
            f"step {step}: {name}: {printable(' '.join(str(error).split()))} "
            f"(traceback: the last line of {printable(self.path / 'events.jsonl')}). "
            f"The last good checkpoint is of step {self.saved}"
        )

    def lost(self, step: int, term: str, what: str) -> NotFinite:
        """The error of a number that is not finite; it becomes an event and a finding."""
        broken = {"name": "non-finite", "term": term}
        self.log.add_event("fault", step, **broken)
        self.findings = self.diagnosed([*self.history, {"event": "fault", "step": step, **broken}])
        self.stopped_by_fault = bool(self.faults)
        return NotFinite(
            f"step {step}: {what}. "
            f"The last good checkpoint is of step {self.saved}, in {printable(self.path / 'checkpoints')}. "
            "Try half of g_optimizer.lr and d_optimizer.lr, or a penalty such as r1 (add --override)"
        )

    def _refuse_state_not_finite(self, state: State) -> None:
        """Raise at the first weight, average or moment of an optimizer that is not finite."""
        named = [(name, value) for name, value in recipes.leaves(state) if isinstance(value, Tensor)]
        finite = torch.stack([value.isfinite().all().cpu() for _, value in named]).tolist()
        for (name, _), good in zip(named, finite, strict=True):
            if not good:
                raise self.lost(self.game.step, name, f"{name} is not finite")

    def on_disk(self) -> AbstractContextManager[None]:
        """Within, what the disk refuses is one line that says how far the run had come."""
        return disk(self.path, f"at step {self.game.step}, the last good checkpoint is of step {self.saved}")


def _adopt(game: Game, state: State, path: Path, override: bool = False) -> None:
    """Put a game where a checkpoint left it; `override`: with the recipe's settings of optimizers.

    Raises Misfit, and leaves the game as it is, if the state is another game's.
    """
    players = (game.G, game.D)
    wanted = [dict(group) for player in players for group in player.optimizer.param_groups]
    why = checkpoints.misfit(game, state)
    if not why:
        penalties = {p.name: state["penalties"].get(p.name, {}) for p in game.penalties}
        try:
            game.load_state_dict({**state, "penalties": penalties})
        except Exception as error:  # whatever a state of another game makes the loaders raise
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if why:
        raise Misfit(
            f"the checkpoint of step {state['step']} in {printable(path)} is not of this recipe's game "
            f"({printable(why)})"
        )
    groups = [group for player in players for group in player.optimizer.param_groups]
    for new, old in zip(wanted, groups, strict=True) if override else ():
        old.update({name: setting for name, setting in new.items() if name != "params"})


def _settled(path: Path, recipe: Recipe, source: Any) -> tuple[Recipe, str]:
    """The recipe with what is `auto` settled, as it was when the run began; and what to say of it."""
    begun = Log(path).recipe() if os.path.lexists(path / "recipe.yaml") else None
    left = autotune.left_open(recipe)
    if left and begun is not None:
        settled = {name: getattr(begun, name) for name in left}
        recipe = replace(recipe, **settled, threads=recipe.threads or begun.threads)
        turns = f"{begun.turns:,} turns, as settled when the run began: --steps N plays another number"
        said = turns if "steps" in left else ""
    else:
        recipe, said = autotune.settled(recipe, source)
    return transfer.settled(recipes.settled(recipe, begun), begun, Run.open), said


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None


def _refuse_changes(path: Path, before: Mapping[str, Any], now: Recipe) -> None:
    changed = recipes.differences(before, recipes.resolved(now)) if before else []
    if changed:
        raise RunError(
            f"{printable(path)} was begun with another recipe ({printable('; '.join(changed))}): "
            "give --out another directory, or --override to go on with the new one"
        )


def _fallen(broken: list[str], step: int) -> list[str]:
    return [f"warning: falling back to the checkpoint of step {step}: {cause}" for cause in broken]


def _exactly(folder: Path, step: int, use: Any) -> Run:
    there = checkpoints.steps(folder)
    if step not in there:
        listed = ", ".join(map(str, there)) or "none"
        raise RunError(f"{printable(folder.parent)} has no checkpoint of step {step}: it has {listed}")
    try:
        return use(checkpoints.load(folder / f"{step:06d}"))
    except CheckpointError as error:
        raise RunError(str(error)) from error
