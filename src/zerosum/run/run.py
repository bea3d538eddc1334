"""A run: a directory on disk, and the game that is played in it.

    recipe.yaml            the recipe, fully resolved
    metrics.jsonl          one object for each step at which something was logged or read: its turn alone
    events.jsonl           started, resumed, fell_back, fault, recovered, stopped, finished
    samples/NNNNNN.png     what one fixed grid of noise has become
    checkpoints/NNNNNN/    see `zerosum.run.checkpoints`

To resume is to start again: a run that was killed at any instant goes on from its newest whole checkpoint,
and ends with the same bytes in its weights as one that never stopped.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from zerosum import __version__
from zerosum import recipe as recipes
from zerosum.data import ImageFolder
from zerosum.data import codec as codecs
from zerosum.data.arrays import to_bytes
from zerosum.data.columns import Columns, plain
from zerosum.data.source import Ahead, Source
from zerosum.game import Game, Turn
from zerosum.pictures import cloud, columns_for, tiles
from zerosum.recipe import Recipe
from zerosum.run import autotune, checkpoints, runtime
from zerosum.run.checkpoints import CheckpointError
from zerosum.watch import diagnosis, instruments
from zerosum.watch.diagnosis import Finding
from zerosum.watch.instrument import Examples, Instrument, Reading, read

__all__ = ["Examined", "NotFinite", "Run", "RunError", "Session", "examine", "records"]

FEW = 32
"""Fewer examples than this are not held out for the instruments: they would say nothing."""
Record = dict[str, Any]
State = dict[str, Any]


class RunError(Exception):
    """A run that cannot go on: what is wrong, where, and what to do, in one line."""

    exit_code = 1


class NotFinite(RunError):
    """A loss, a weight or a moment that is no finite number."""


class Run:
    """A directory, its recipe, its game and, for training, its source. Made by `start` or `open`.

        with Run.start(Path("runs/mine"), recipes.load("ring", {"steps": 500})) as run:
            for record in run.play():
                print(record["step"], record["d_loss"])

    facts: the shape of an example, and for images the values of black and white. notes: what a person should
    hear of before the run goes on. saved: the step of the last checkpoint. history: the records so far;
    findings: what `zerosum.watch.diagnosis` makes of them.
    """

    def __init__(
        self, path: Path, recipe: Recipe, game: Game, facts: Mapping[str, Any], source: Any = None
    ) -> None:
        self.path = path
        self.recipe = recipe
        self.game = game
        self.facts = dict(facts)
        self.source = source
        self.notes: list[str] = []
        self.stop_reason = ""
        self.stopped_by_fault = False
        self.saved = -1
        self.watch: list[Instrument] = []
        self.judged = diagnosis.Facts()
        self.history: list[Record] = []
        self.findings: list[Finding] = []
        self._unlock: Callable[[], object] = lambda: None

    # begin ----------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, path: Path, recipe: Recipe, override: bool = False, at_most: int | None = None) -> Run:
        """Begin a run in `path`, or take up the one that is there.

        at_most: forget the checkpoints of later steps.

        The directory belongs to this run until `close`, or until the process ends.

        Raises RunError if the recipe there differs (unless `override`), if another process trains there, if
        no checkpoint can be used or if the disk refuses; RecipeError if the recipe cannot be built.
        """
        runtime.keep_memory()
        source = recipes.build_source(recipe)
        recipe, chosen = _settled(path, recipe, source)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        game, _ = recipes.build(recipe, source)
        run = cls(path, recipe, game, _facts(source), source)
        run.notes = [*source.notes, *([chosen] if chosen else [])]
        run.watch = recipes.call(lambda: _watch(recipe, game, source), "watch")
        try:
            with _disk(path, "before the first step"):
                run._begin(override, at_most)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, override: bool, at_most: int | None = None) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._unlock = finalize(self, os.close, _locked(self.path))
        if not override:
            _refuse_changes(self.path, self.recipe)
        for folder in (self.path, self.path / "samples", self.path / "checkpoints"):
            checkpoints.sweep(folder)
        broken: list[str] = []
        if at_most is not None:
            checkpoints.forget(self.path / "checkpoints", at_most)
        found = _newest(self.path / "checkpoints", broken, self.game.device)
        if found is not None:
            self._adopt(found[0], override)
            self.saved = self.game.step
            self.recipe = replace(self.recipe, steps=max(self.recipe.steps, self.game.step))
        checkpoints.write(self.path / "recipe.yaml", recipes.dump(self.recipe).encode())
        self._keep("events.jsonl", lambda event: "event" in event)
        self._keep("metrics.jsonl", lambda record: record.get("step") in range(self.game.step + 1))
        for cause in broken:
            self._event("fell_back", step=self.game.step, cause=cause)
        self.notes += _fallen(broken, self.game.step)
        now = self.facts["fingerprint"]
        if found is not None and found[1].get("fingerprint", now) != now:
            self._event("data_changed", step=self.game.step)
            self.notes.append(
                f"warning: the images of the data are not those that step {self.game.step} was reached with: "
                "the run goes on with these, and is not what one without a stop would be"
            )
        self.history = records(self.path)
        self.judged = recipes.call(lambda: diagnosis.facts(self.game, self.source), "watch")
        self.findings = diagnosis.diagnose(self.history, self.judged)
        scales = {name: [x.unit, _known(x.equilibrium)] for i in self.watch for name, x in i.gives.items()}
        judged = {**asdict(self.judged), "examples": _known(self.judged.examples)}
        about = {**_environment(self.game), "judged": judged, "scales": scales}
        self._event("started" if found is None else "resumed", step=self.game.step, **about)
        self.save()

    @classmethod
    def open(cls, path: Path, step: int | None = None) -> Run:
        """A run to look at: its game as a checkpoint has it, the newest good one unless `step` is given.

        Neither the data nor the device of the training is needed. Raises RunError if there is no such
        checkpoint.
        """
        recipe = _recipe_of(path)
        folder, broken = path / "checkpoints", list[str]()
        found = _newest(folder, broken) if step is None else _exactly(folder, step)
        if found is None:
            raise RunError(f"{path} has no checkpoint yet: train it first")
        state, facts = found
        codec = codecs.restore(facts["codec"]) if "codec" in facts else None
        about: dict[str, Any] = {"device": "auto", "classes": facts["classes"], "codec": codec}
        game = recipes.build_game(recipe, tuple(facts["shape"]), **about)
        run = cls(path, recipe, game, facts)
        run._adopt(state)
        run.notes, run.saved = _fallen(broken, run.game.step), run.game.step
        return run

    def _adopt(self, state: State, override: bool = False) -> None:
        """Put the game where a checkpoint left it; `override`: with the recipe's settings of optimizers."""
        players = (self.game.G, self.game.D)
        wanted = [dict(group) for player in players for group in player.optimizer.param_groups]
        try:
            self.game.load_state_dict(state)
            groups = [group for player in players for group in player.optimizer.param_groups]
            if not all(new.keys() <= old.keys() for new, old in zip(wanted, groups, strict=True)):
                raise ValueError("its optimizers are of another kind")
        except Exception as error:  # whatever a state of another game makes the loaders raise
            raise RunError(
                f"the checkpoint of step {state['step']} in {self.path} is not of this recipe's game "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): "
                "go back to its recipe, or give --out another directory"
            ) from error
        for new, old in zip(wanted, groups, strict=True) if override else ():
            old.update({name: setting for name, setting in new.items() if name != "params"})

    def close(self) -> None:
        """Leave the directory to others."""
        self._unlock()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # train ----------------------------------------------------------------------------------------------

    def play(self, stop_at_fault: bool = False) -> Iterator[Record]:
        """Train to the recipe's last step, giving a record every `log_every` turns.

        The instruments of `watch` look on, and each record is judged: `findings` says how the game stands.
        stop_at_fault: end as soon as a fault stands.

        `stop` ends it after the present turn, with a checkpoint. Raises RunError at a loss or weight that is
        not finite, at whatever goes wrong inside a turn, and where the disk refuses: the checkpoints before
        that stay good.
        """
        session = Session(self, stop_at_fault)
        for turn in self._turns():
            record = session.after(turn)
            if record is not None:
                yield record
            if session.over:
                break
        session.end()

    def _turns(self) -> Iterator[Turn]:
        """The game's turns; an error inside one becomes a line, and its traceback an event."""
        try:
            source = Ahead(self.source) if isinstance(self.source, ImageFolder) else self.source
            yield from self.game.play(source, self.recipe.steps - self.game.step)
        except Exception as error:
            raise self.failed(error) from error

    def failed(self, error: Exception) -> RunError:
        """What went wrong inside a turn, as a line; its traceback becomes an event."""
        name, line = type(error).__name__, " ".join(str(error).split())
        told = "".join(traceback.format_exception(error))
        with self._on_disk():
            self._event("fault", name=name, step=self.game.step + 1, traceback=told)
        return RunError(
            f"step {self.game.step + 1}: {name}: {line} "
            f"(traceback: the last line of {self.path / 'events.jsonl'}). "
            f"The last good checkpoint is of step {self.saved}"
        )

    def _judge(self, record: Record, stop_at_fault: bool) -> bool:
        """What stands now; faults that came and went become events. Whether to end for one of them."""
        self.history.append(record)
        before = {finding.name for finding in self.faults}
        self.findings = diagnosis.diagnose(self.history, self.judged)
        for finding in self.faults:
            if finding.name not in before:
                self._event("fault", **_plain(finding), step=self.game.step)
        for name in sorted(before - {finding.name for finding in self.faults}):
            self._event("recovered", name=name, step=self.game.step)
        self.stopped_by_fault = stop_at_fault and bool(self.faults)
        if self.stopped_by_fault:
            self.stop(f"the fault {self.faults[0].name!r}")
        return self.stopped_by_fault

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.fault]

    def stop(self, reason: str) -> None:
        """Finish the present turn, save, and end `play`."""
        self.stop_reason = reason

    def save(self) -> None:
        """Write a checkpoint of this instant, unless there is one already, and remove the oldest."""
        folder = self.path / "checkpoints"
        if self.saved != self.game.step:
            state = self.game.state_dict()
            self._check_state(state)
            checkpoints.save(folder, state, self.facts)
            self.saved = self.game.step
        checkpoints.prune(folder, self.recipe.keep, self.saved)

    def picture(self) -> None:
        """What the fixed grid of noise has become, as samples/NNNNNN.png."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        content = BytesIO()
        self.draw(64 if len(self.facts["shape"]) == 3 else 2500).save(content, format="PNG")
        checkpoints.write(folder / f"{self.game.step:06d}.png", content.getvalue())

    # look -----------------------------------------------------------------------------------------------

    def samples(self, n: int, seed: int = 0, live: bool = False, chunk: int = 1024) -> Iterator[np.ndarray]:
        """`n` samples in parts, in the form that users keep (see `kept`); of all classes in turn."""
        for first in range(0, n, chunk):
            some = min(chunk, n - first)
            y = self.game.labels(some, first) if self.game.classes else None
            yield self.kept(self.game.generate(self.game.noise(some, seed, first), live, y))

    def kept(self, x: Tensor) -> np.ndarray:
        """What G gives, in the form that users keep.

        uint8 ``[m, H, W]`` or ``[m, H, W, C]`` for images, float32 ``[m, *shape]`` for anything else; of a
        table all its columns, in its own units.
        """
        if self.columns is not None:
            return np.asarray(self.columns.decode(x))
        if len(self.facts["shape"]) != 3:
            return x.float().cpu().numpy()
        pixels = self._bytes(x)
        return pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)

    @property
    def columns(self) -> Columns | None:
        """The codec of a table; None of anything else."""
        if "scale" in self.facts:  # of a run of format 1
            return plain(self.facts["columns"], self.facts["mean"], self.facts["scale"])
        codec = codecs.restore(self.facts["codec"]) if "codec" in self.facts else None
        return codec if isinstance(codec, Columns) else None

    def draw(self, n: int, seed: int = 0, live: bool = False) -> Any:
        """A picture of `n` samples: a grid of images, or a cloud of points over real ones."""
        y = self.game.labels(n) if self.game.classes else None
        x = self.game.sample(n, seed, live, y=y)
        if len(self.facts["shape"]) == 3:
            return tiles(self._bytes(x), columns_for(n, self.game.classes))
        real = self.source.batch(0, 2500)[0].flatten(1).numpy() if self.source is not None else None
        return cloud(x.flatten(1).float().cpu().numpy(), real)

    def _bytes(self, x: Tensor) -> np.ndarray:
        return to_bytes(x.float().cpu(), *self.facts["range"]).numpy()

    # what may go wrong ----------------------------------------------------------------------------------

    def _check_losses(self, window: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Raise at the first loss or penalty that is not finite; one look at the device for all turns."""
        named = [(step, name, value) for step, terms in window.items() for name, value in terms.items()]
        finite = torch.stack([value.isfinite() for _, _, value in named]).tolist()
        for (step, name, value), good in zip(named, finite, strict=True):
            if not good:
                self._fault(step, name, f"{name} is {float(value)}")

    def _check_state(self, state: State) -> None:
        """Raise at the first weight, average or moment of an optimizer that is not finite."""
        named = [(name, value) for name, value in recipes.leaves(state) if isinstance(value, Tensor)]
        finite = torch.stack([value.isfinite().all().cpu() for _, value in named]).tolist()
        for (name, _), good in zip(named, finite, strict=True):
            if not good:
                self._fault(self.game.step, name, f"{name} is not finite")

    def _fault(self, step: int, term: str, what: str) -> None:
        broken = {"name": "non-finite", "step": step, "term": term}
        self._event("fault", **broken)
        self.findings = diagnosis.diagnose([*self.history, {"event": "fault", **broken}], self.judged)
        self.stopped_by_fault = bool(self.faults)
        raise NotFinite(
            f"step {step}: {what}. "
            f"The last good checkpoint is of step {self.saved}, in {self.path / 'checkpoints'}. "
            "Try half of g_optimizer.lr and d_optimizer.lr, or a penalty such as r1 (add --override)"
        )

    # files ----------------------------------------------------------------------------------------------

    def _on_disk(self) -> Any:
        return _disk(self.path, f"at step {self.game.step}, the last good checkpoint is of step {self.saved}")

    def _event(self, event: str, **facts: Any) -> None:
        self._append("events.jsonl", {"event": event, "time": round(time.time(), 3), **facts})

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        checkpoints.append(self.path / name, record)

    def _keep(self, name: str, wanted: Callable[[Record], bool]) -> None:
        """Rewrite a file of records without the unwanted, and without a line that a kill cut short."""
        path = self.path / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        checkpoints.write(path, b"".join(line for line in lines if wanted(_parsed(line))))


class Session:
    """What a run does after each turn, from start or resumption to the end: look, log, judge, draw, save."""

    def __init__(self, run: Run, stop_at_fault: bool = False) -> None:
        self.run = run
        self.stop_at_fault = stop_at_fault
        self.over = False
        self._window: dict[int, dict[str, Tensor]] = {}  # the terms of the turns since the last record
        self._pending: dict[int, Record] = {}  # what was read since the last record, by its step
        self._begun = self._last = time.monotonic()

    def after(self, turn: Turn) -> Record | None:
        """See to a turn that the run's game has just played: its record, if it is time for one."""
        run, step = self.run, self.run.game.step
        self._window[step] = _terms(turn)
        if readings := read(run.watch, run.game, turn):
            seconds = round(time.monotonic() - self._begun, 3)
            self._pending[step] = {**_flat(readings), **_record(turn, run.game), "seconds": seconds}
        self.over = step >= run.recipe.steps or bool(run.stop_reason)
        every = (run.recipe.log_every, run.recipe.sample_every, run.recipe.checkpoint_every)
        log, picture, save = (self.over or step % turns == 0 for turns in every)
        record: Record | None = None
        with run._on_disk():
            if log or picture or save:
                run._check_losses(self._window)
            if log:
                record = self._logged(turn)
                if run._judge(record, self.stop_at_fault):
                    self.over = picture = save = True
            if picture:
                run.picture()
            if save:
                run.save()
        return record

    def _logged(self, turn: Turn) -> Record:
        """The record of this turn, behind those of the turns at which something was read."""
        now, run = time.monotonic(), self.run
        rate = round(len(self._window) / max(now - self._last, 1e-9), 2)
        record = self._pending.pop(turn.step + 1, None) or _record(turn, run.game)
        record |= {"steps_per_second": rate, "seconds": round(now - self._begun, 3)}
        for penalty in run.game.penalties:  # of one that is not always due, its last turn
            steps = [step for step, terms in self._window.items() if penalty.name in terms]
            if steps and steps[-1] != turn.step + 1:
                terms = {name: float(value) for name, value in self._window[steps[-1]].items()}
                self._pending[steps[-1]] = {"step": steps[-1], **terms, **self._pending.get(steps[-1], {})}
        earlier = [self._pending[step] for step in sorted(self._pending)]
        for each in (*earlier, record):
            run._append("metrics.jsonl", each)
        run.history += earlier
        self._window, self._pending, self._last = {}, {}, now
        return record

    def end(self) -> None:
        """Write down why it ended."""
        run = self.run
        with run._on_disk():
            finished = run.game.step >= run.recipe.steps
            run._event("finished" if finished else "stopped", step=run.game.step, reason=run.stop_reason)


def records(path: Path, name: str = "metrics.jsonl") -> list[Record]:
    """The records (or "events.jsonl") of a run, of those lines that are whole."""
    file = path / name
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [record for line in lines if isinstance((record := _parsed(line)).get("step"), int)]


@dataclass(frozen=True)
class Examined:
    """How a run stands, from its files alone. scales: the unit and the equilibrium of each reading."""

    path: Path
    records: list[Record]
    events: list[Record]
    findings: list[Finding]
    scales: Mapping[str, tuple[str, float | None]]

    def as_dict(self) -> Record:
        step = self.records[-1]["step"] if self.records else 0
        return {"run": str(self.path), "step": step, "findings": [_plain(f) for f in self.findings]}


def examine(path: Path) -> Examined:
    """Judge a run from its files, finished or still running. Raises RunError if it is no run, or began before
    runs were watched.
    """
    _recipe_of(path)
    happened = [event for event in records(path, "events.jsonl") if "event" in event]
    begun = next((e for e in reversed(happened) if "judged" in e), None)
    if begun is None:
        raise RunError(f"{path} has no record of its game in events.jsonl: train it on, and ask again")
    seen = records(path)
    last = happened[-1]
    broken = [last] if last["event"] == "fault" and last.get("name") == "non-finite" else []
    judged: Record = {**begun["judged"], "examples": begun["judged"]["examples"] or math.inf}
    findings = diagnosis.diagnose([*seen, *broken], diagnosis.Facts(**judged))
    return Examined(path, seen, happened, findings, begun["scales"])


def _settled(path: Path, recipe: Recipe, source: Any) -> tuple[Recipe, str]:
    """The recipe with what is `auto` settled, as it was when the run began; and what to say of it."""
    begun = _recipe_of(path) if (path / "recipe.yaml").is_file() else None
    recipe = recipes.settled(recipe, begun)
    auto = {name for name in ("precision", "compile") if getattr(recipe, name) == "auto"}
    if not auto or begun is None:
        return autotune.settled(recipe, source)
    kept = {name: getattr(begun, name) for name in auto}
    return replace(recipe, **kept, threads=recipe.threads or begun.threads), ""


def _watch(recipe: Recipe, game: Game, source: Any) -> list[Instrument]:
    """The instruments that a recipe asks for, with the data's other split for what must be held out."""
    if recipe.watch == "none":
        return []
    other: Any = source.split("test") if "test" in source.splits else None
    room = max(FEW, 2**24 // math.prod(source.shape))  # 64 MiB
    most = min(4096, room, len(other) if hasattr(other, "__len__") else 4096)
    held = None if other is None or most < FEW else Examples(*other.batch(0, most))
    watch = instruments.standard(game, source, held)
    return watch + (instruments.thorough(game, source, held) if recipe.watch == "thorough" else [])


def _flat(readings: Iterable[Reading]) -> Record:
    """Readings as a record: name: value, and the intervals of those that have one; nothing that is nan."""
    finite = [reading for reading in readings if math.isfinite(reading.value)]
    found: Record = {reading.name: _short(reading.value) for reading in finite}
    ends = {
        r.name: [_short(r.low), _short(r.high)] for r in finite if r.low is not None and r.high is not None
    }
    return found | ({"intervals": ends} if ends else {})


def _known(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None


def _short(x: float) -> float:
    """To six digits: what is read by people, and far more than is known."""
    return float(f"{x:.6g}")


def _plain(finding: Finding) -> Record:
    """A finding as an event has it."""
    return finding.as_dict()


def _record(turn: Turn, game: Game) -> Record:
    """What is logged of a turn.

    V(D, G) is 2014's value, in nats, where logits are probabilities; -log 4 at equilibrium.
    """
    real, fake = turn.real_logits.double(), turn.fake_logits.double()
    record: Record = {
        "step": turn.step + 1,
        **{name: float(value) for name, value in _terms(turn).items()},
        "real_logit": float(real.mean()),
        "fake_logit": float(fake.mean()),
    }
    if game.objective.probability is not None:
        p, q = game.objective.probability(real), game.objective.probability(fake)
        value = p.log().clamp(min=-100).mean() + (1 - q).log().clamp(min=-100).mean()  # as nn.BCELoss clamps
        record |= {"d_real": float(p.mean()), "d_fake": float(q.mean()), "value": float(value)}
    return record


def _terms(turn: Turn) -> dict[str, Tensor]:
    """In the order of the turn, so that the first that is not finite is the cause."""
    return {"d_loss": turn.d_loss, **turn.penalties, "g_loss": turn.g_loss}


def _environment(game: Game) -> dict[str, Any]:
    return {
        "zerosum": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(game.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }


def _facts(source: Source) -> Record:
    """What must be known of the data to sample without them."""
    black_and_white = [getattr(source, "low", -1.0), getattr(source, "high", 1.0)]
    facts = {"shape": list(source.shape), "range": black_and_white, "classes": source.classes}
    facts |= {"class_names": list(source.class_names), "class_shares": list(source.class_shares)}
    facts |= {"fingerprint": source.fingerprint, "codec": source.codec.state_dict()}
    return facts


def _recipe_of(path: Path) -> Recipe:
    if not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} is not a run: it holds no recipe.yaml (a run is what `zerosum train` writes)")
    return recipes.load(str(path / "recipe.yaml"))


def _refuse_changes(path: Path, recipe: Recipe) -> None:
    if not (path / "recipe.yaml").exists():
        return
    changed = recipes.differences(recipes.resolved(_recipe_of(path)), recipes.resolved(recipe))
    if changed:
        raise RunError(
            f"{path} was begun with another recipe ({'; '.join(changed)}): "
            "give --out another directory, or --override to go on with the new one"
        )


def _newest(folder: Path, broken: list[str], device: Any = "cpu") -> tuple[State, Record] | None:
    """The newest checkpoint that can be read, None if there is none; adds to `broken` what it passed over."""
    for step in reversed(checkpoints.steps(folder)):
        try:
            return checkpoints.load(folder / f"{step:06d}", device)
        except CheckpointError as error:
            broken.append(str(error))
    if broken:
        raise RunError(
            f"none of the {len(broken)} checkpoints in {folder} can be read: "
            f"move {folder.parent} away to begin anew (the newest: {broken[0]})"
        )
    return None


def _fallen(broken: list[str], step: int) -> list[str]:
    return [f"warning: falling back to the checkpoint of step {step}: {cause}" for cause in broken]


def _exactly(folder: Path, step: int) -> tuple[State, Record]:
    known = checkpoints.steps(folder)
    if step not in known:
        held = ", ".join(map(str, known)) or "none"
        raise RunError(f"{folder.parent} has no checkpoint of step {step}: it has {held}")
    try:
        return checkpoints.load(folder / f"{step:06d}")
    except CheckpointError as error:
        raise RunError(str(error)) from error


def _parsed(line: bytes) -> Record:
    """A line of a file of records; an empty record in place of one that was cut short."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        record = {}
    return record if isinstance(record, dict) else {}


def _locked(path: Path) -> int:
    """Hold the run for this process; the lock ends with the process, however it ends."""
    descriptor = os.open(path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        raise RunError(
            f"another process is training in {path}: wait for it, or give --out another directory"
        ) from None
    return descriptor


@contextmanager
def _disk(path: Path, when: str) -> Iterator[None]:
    """Turn what the disk refuses into one line that says where and when."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to {path}: {error.strerror or error} ({when}); "
            "free the disk or mend the directory, then give the same command again"
        ) from error
