"""A run: a directory on disk, and the game that is played in it.

    recipe.yaml            the recipe, fully resolved
    metrics.jsonl          one object per logged step
    events.jsonl           started, resumed, fell_back, fault, stopped, finished
    samples/NNNNNN.png     what one fixed grid of noise has become
    checkpoints/NNNNNN/    see `zerosum.checkpoints`

To resume is to start again: a run that was killed at any instant goes on from its newest whole checkpoint, and ends with the
same bytes in its weights as one that never stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from zerosum import __version__, checkpoints, recipes
from zerosum.checkpoints import CheckpointError
from zerosum.game import Game, Turn
from zerosum.pictures import cloud, tiles
from zerosum.recipes import Recipe, RecipeError

__all__ = ["Run", "RunError"]

Record = dict[str, Any]


class RunError(Exception):
    """A run that cannot go on: what is wrong, where, and what to do, in one line."""


class Run:
    """A directory, its recipe, its game and, for training, its source. Made by `start` or `open`."""

    def __init__(self, path: Path, recipe: Recipe, game: Game, facts: Mapping[str, Any], source: Any = None) -> None:
        self.path = path
        self.recipe = recipe
        self.game = game
        self.facts = dict(facts)
        self.source = source
        self.notes: list[str] = []
        self.stop_reason = ""
        self.saved = -1

    # begin ------------------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, path: Path, recipe: Recipe, override: bool = False) -> Run:
        """Begin a run in `path`, or take up the one that is there.

        Raises RunError if the recipe there differs (unless `override`), if another process trains there, if no checkpoint can be
        read or if the disk refuses; RecipeError if the recipe cannot be built.
        """
        with _disk(path, "before the first step"):
            path.mkdir(parents=True, exist_ok=True)
            lock = _locked(path)
            _refuse_changes(path, recipe, override)
            if recipe.threads:
                torch.set_num_threads(recipe.threads)
            source = recipes.build_source(recipe)
            mean = source.batch(0, 4096)[0].double().mean(0) if recipe.centre else None
            game = recipes.build_game(recipe, source.shape, mean)
            facts = {"shape": list(source.shape), "range": _range(source)}
            run = cls(path, recipe, game, facts, source)
            run._lock = lock
            checkpoints.write(path / "recipe.yaml", recipes.dump(recipe).encode())
            run._restore()
        return run

    @classmethod
    def open(cls, path: Path, step: int | None = None) -> Run:
        """A run to look at: its game as it stood at a checkpoint (the newest that can be read, unless `step` is given)."""
        recipe = _recipe_of(path)
        known = checkpoints.steps(path / "checkpoints")
        if step is not None and step not in known:
            raise RunError(f"{path} has no checkpoint of step {step}: it has {', '.join(map(str, known)) or 'none'}")
        run = None
        for candidate in [step] if step is not None else reversed(known):
            try:
                state, manifest = checkpoints.load(path / "checkpoints" / f"{candidate:06d}")
            except CheckpointError as error:
                if step is not None:
                    raise RunError(str(error)) from error
                continue
            game = recipes.build_game(recipe, tuple(manifest["shape"]))
            game.load_state_dict(state)
            run = cls(path, recipe, game, {k: manifest[k] for k in ("shape", "range")})
            break
        if run is None:
            raise RunError(f"{path} has no checkpoint that can be read: train it first")
        return run

    def _restore(self) -> None:
        """Take up the newest checkpoint that can be read; without any, write the first."""
        folder = self.path / "checkpoints"
        found = checkpoints.steps(folder)
        for step in reversed(found):
            try:
                state, _ = checkpoints.load(folder / f"{step:06d}", self.game.device)
                self.game.load_state_dict(state)
            except (CheckpointError, RuntimeError, ValueError, KeyError) as error:
                self.notes.append(f"checkpoint {step} cannot be read, going back to the one before ({_line(error)})")
                self._event("fell_back", step=step, cause=_line(error))
                continue
            self.saved = step
            self._truncate_metrics()
            self._event("resumed", step=step, **_environment(self.game))
            return
        if found:
            raise RunError(f"none of the checkpoints in {folder} can be read: move {self.path} away to begin anew")
        self._truncate_metrics()
        self._event("started", step=0, **_environment(self.game))
        self.save()

    # train ------------------------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Record]:
        """Train to the recipe's last step, giving a record every `log_every` turns; everything else goes to the disk.

        `stop` ends it after the present turn, with a checkpoint. Raises RunError at a loss or weight that is not finite, and where the disk
        refuses: the checkpoints before that stay good.
        """
        recipe, pending, last, begun = self.recipe, [], time.monotonic(), time.monotonic()
        for turn in self.game.play(self.source, recipe.steps - self.game.step):
            done = turn.step + 1
            pending.append(turn)
            end = done == recipe.steps or bool(self.stop_reason)
            with _disk(self.path, f"at step {done}, the last good checkpoint is of step {self.saved}"):
                if done % recipe.log_every == 0 or end:
                    self._check_finite(pending)
                    now = time.monotonic()
                    record = _record(turn, self.game, len(pending) / max(now - last, 1e-9), now - begun)
                    self._append("metrics.jsonl", record)
                    pending, last = [], now
                    yield record
                if done % recipe.sample_every == 0 or end:
                    self.picture()
                if done % recipe.checkpoint_every == 0 or end:
                    self._check_finite(pending)
                    self.save()
                if end:
                    self._event("stopped" if done < recipe.steps else "finished", step=done, reason=self.stop_reason)
            if end:
                return

    def stop(self, reason: str) -> None:
        """Finish the present turn, save, and end `play`."""
        self.stop_reason = reason

    def save(self) -> None:
        """Write a checkpoint of this instant, unless there is one already, and remove the oldest."""
        if self.saved == self.game.step:
            return
        state = self.game.state_dict()
        self._check_weights(state)
        folder = self.path / "checkpoints"
        checkpoints.save(folder, state, self.facts)
        self.saved = self.game.step
        checkpoints.prune(folder, self.recipe.keep)

    def picture(self) -> None:
        """What the fixed grid of noise has become, as samples/NNNNNN.png."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        image = self.draw(64 if len(self.facts["shape"]) == 3 else 2500)
        target = folder / f"{self.game.step:06d}.png"
        temporary = target.with_name(f".{target.name}")
        image.save(temporary, format="PNG")
        temporary.replace(target)

    # look -------------------------------------------------------------------------------------------------------------

    def samples(self, n: int, seed: int = 0, live: bool = False, chunk: int = 1024) -> Iterator[np.ndarray]:
        """`n` samples in parts, in the form that users keep: uint8 ``[m, H, W]`` or ``[m, H, W, C]``, or float32 ``[m, d]``."""
        for first in range(0, n, chunk):
            x = self.game.generate(self.game.noise(min(chunk, n - first), seed, first), live)
            if len(self.facts["shape"]) != 3:
                yield x.float().cpu().numpy()
                continue
            pixels = self._bytes(x).numpy()
            yield pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)

    def draw(self, n: int, seed: int = 0, live: bool = False) -> Any:
        """A picture of `n` samples: a grid of images, or a cloud of points over real ones."""
        x = self.game.sample(n, seed, live)
        if len(self.facts["shape"]) == 3:
            return tiles(self._bytes(x).numpy())
        real = self.source.batch(0, 2500)[0].numpy() if self.source is not None else None
        return cloud(x.cpu().numpy(), real)

    def _bytes(self, x: Tensor) -> Tensor:
        low, high = self.facts["range"] or (-1.0, 1.0)
        return to_bytes(x.float().cpu(), low, high)

    # what may go wrong ------------------------------------------------------------------------------------------------

    def _check_finite(self, turns: list[Turn]) -> None:
        """Raise at the first turn with a loss or penalty that is not finite; one look at the device for all turns."""
        named = [(t.step + 1, name, value) for t in turns for name, value in _terms(t).items()]
        if not named:
            return
        finite = torch.stack([value.float() for _, _, value in named]).isfinite().tolist()
        for (step, name, value), ok in zip(named, finite, strict=True):
            if not ok:
                self._fault(step, name, f"{name} is {float(value)}")

    def _check_weights(self, state: Mapping[str, Any]) -> None:
        for player in ("G", "D"):
            for name, tensor in state[player]["network"].items():
                if not tensor.isfinite().all():
                    self._fault(self.game.step, f"{player}.{name}", f"the weights {player}.{name} are not finite")

    def _fault(self, step: int, term: str, what: str) -> None:
        self._event("fault", name="non-finite", step=step, term=term)
        raise RunError(
            f"step {step}: {what}. The last good checkpoint is of step {self.saved}, in {self.path / 'checkpoints'}. "
            "Try half of g_optimizer.lr and d_optimizer.lr, or a penalty such as r1 (add --override)"
        )

    # files ------------------------------------------------------------------------------------------------------------

    def _event(self, event: str, **facts: Any) -> None:
        self._append("events.jsonl", {"event": event, "time": round(time.time(), 3), **facts})

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        checkpoints.append(self.path / name, record)

    def _truncate_metrics(self) -> None:
        """Forget what was logged after the checkpoint: those steps are played again."""
        path = self.path / "metrics.jsonl"
        kept = [line for line in _lines(path) if line["step"] <= self.game.step]
        checkpoints.write(path, b"".join(json.dumps(line).encode() + b"\n" for line in kept))


def _record(turn: Turn, game: Game, rate: float, seconds: float) -> Record:
    """What is logged of a turn. V(D, G) is 2014's value, in nats, where logits are probabilities; -log 4 at equilibrium."""
    record: Record = {"step": turn.step + 1, **{name: float(value) for name, value in _terms(turn).items()}}
    real, fake = turn.real_logits.double(), turn.fake_logits.double()
    record |= {"real_logit": float(real.mean()), "fake_logit": float(fake.mean())}
    if game.objective.probability is not None:
        p, q = game.objective.probability(real), game.objective.probability(fake)
        value = p.log().clamp(min=-100).mean() + (1 - q).log().clamp(min=-100).mean()  # as nn.BCELoss clamps
        record |= {"d_real": float(p.mean()), "d_fake": float(q.mean()), "value": float(value)}
    return record | {"steps_per_second": round(rate, 2), "seconds": round(seconds, 3)}


def to_bytes(x,low,high): return x.sub(low).mul(255 / (high - low)).round_().clamp_(0, 255).to(torch.uint8)

def _terms(turn: Turn) -> dict[str, Tensor]:
    return {"d_loss": turn.d_loss, "g_loss": turn.g_loss, **turn.penalties}


def _environment(game: Game) -> dict[str, Any]:
    return {
        "zerosum": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(game.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }


def _range(source: Any) -> list[float] | None:
    """The values that black and white have in an image source."""
    return [source.low, source.high] if len(source.shape) == 3 else None


def _recipe_of(path: Path) -> Recipe:
    if not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} is not a run: it holds no recipe.yaml (a run is what `zerosum train` writes)")
    return recipes.load(str(path / "recipe.yaml"))


def _refuse_changes(path: Path, recipe: Recipe, override: bool) -> None:
    if override or not (path / "recipe.yaml").exists():
        return
    changed = recipes.differences(recipes.resolved(_recipe_of(path)), recipes.resolved(recipe))
    if changed:
        raise RunError(
            f"{path} was begun with another recipe ({'; '.join(changed)}): "
            "give --out another directory, or --override to go on with the new one"
        )


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file."""
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:  # cut short by a kill
            continue
    return [line for line in lines if isinstance(line, dict) and "step" in line]


def _locked(path: Path) -> int:
    """Hold the run for this process; the lock ends with the process, however it ends."""
    descriptor = os.open(path / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunError(f"another process is training in {path}: wait for it, or give --out another directory") from None
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


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
