"""Trackers: what a run has logged, sent to TensorBoard, Weights & Biases, MLflow or Trackio.

One adapter reads the run's own log, so a run that has ended is sent as one that is still played; training
knows of no tracker. `Follower` sends what is new each time that it is asked ::

    send(Path("runs/mine"), "tensorboard")  # to runs/mine/tensorboard
    with keeping_up(Path("runs/mine"), ["wandb"], print) as keep_up:
        for record in run.play():
            keep_up()
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zerosum import recipe as recipes
from zerosum.run.log import Log, Row, RunError, circumstances
from zerosum.text import printable

__all__ = ["TRACKERS", "Follower", "Tracker", "check", "keeping_up", "send"]

_EVERY = 10.0  # seconds between two looks at the log of a run that is played


class Tracker(Protocol):
    """Where numbers, pictures and texts go."""

    def scalars(self, step: int, values: dict[str, float]) -> None: ...
    def picture(self, step: int, png: bytes) -> None: ...
    def text(self, step: int, name: str, text: str) -> None: ...
    def close(self) -> None: ...


class Follower:
    """A run's log on its way to a tracker. Raises RunError for what is no run, or where the tracker is not
    installed, and whatever the tracker raises.
    """

    def __init__(self, path: Path, tracker: str) -> None:
        check([tracker])
        self.log = Log(path)
        recipe = self.log.recipe()
        self.sent = {"records": 0, "events": 0, "pictures": 0, "evaluations": 0}
        self._read = 0  # bytes of the records
        self._judged: dict[str, dict[str, str]] = {}  # of each metric, how it was judged first
        self.tracker: Tracker = TRACKERS[tracker](path, recipes.resolved(recipe))
        self.tracker.text(0, "recipe", f"```yaml\n{recipes.dump(recipe)}```")

    def catch_up(self) -> dict[str, int]:
        """Send what has come since; how many of each there are by now."""
        records, self._read = self.log.follow(self._read, most=2**63)
        self.sent["records"] += len(records)
        for record in records:
            self.tracker.scalars(record["step"], dict(_numbers(record)))
        for event in self._new("events", self.log.events()):
            self.tracker.text(event["step"], f"events/{event['event']}", _sentence(event))
        for step, path in self._new("pictures", list(self.log.pictures().items())):
            self.tracker.picture(step, path.read_bytes())
        for row in self._new("evaluations", self.log.evaluations()):
            self.tracker.scalars(row.get("step", 0), {self._name(row): row["value"]})
        return self.sent

    def _name(self, row: Row) -> str:
        """The curve of a figure: its metric, and wherein it was judged otherwise than the first of that
        metric. A condition is always said."""
        now = circumstances(row)
        first = self._judged.setdefault(row["metric"], {**now, "where": ""})
        other = [f"{key} {value}" for key, value in now.items() if value != first[key]]
        return "evaluation/" + re.sub(r"[^\w.\-/ ]+", " ", " ".join([row["metric"], *other]))

    def _new(self, kind: str, items: list[Any]) -> list[Any]:
        new = items[self.sent[kind] :]
        self.sent[kind] = len(items)
        return new

    def close(self) -> None:
        self.tracker.close()


def check(trackers: Sequence[str]) -> None:
    """Raise RunError for a tracker that is not installed."""
    for name in trackers:
        if find_spec(name) is None:
            raise RunError(f"{name} is not installed: pip install {name}")


def send(path: Path, tracker: str) -> str:
    """All that a run has logged, at once; what was sent, in words. Raises RunError where the tracker
    fails."""
    try:
        follower = Follower(path, tracker)
        counts = follower.catch_up()
        follower.close()
    except (RunError, recipes.RecipeError):
        raise
    except Exception as error:  # whatever somebody else's tracker raises
        raise RunError(f"{tracker} failed: {_cause(error)}") from error
    return f"sent to {tracker}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


@contextmanager
def keeping_up(
    path: Path, trackers: Sequence[str], warn: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Within, a function that sends what the run at `path` has logged since, at most every ten seconds; the
    rest is sent at the end.

    A tracker that fails is told of once, by `warn`, and left alone: the run goes on.
    """
    followers = dict[str, Follower | None].fromkeys(trackers)
    latest = -math.inf

    def attempt(do: Callable[[Follower], object]) -> None:
        for name in [*followers]:
            try:
                follower = followers[name] or Follower(path, name)
                followers[name] = follower
                do(follower)
            except (Exception, SystemExit) as error:  # whatever somebody else's tracker raises
                del followers[name]
                warn(
                    f"warning: {name} failed and is left out: {_cause(error)}; "
                    f"afterwards, zerosum log {printable(path)} --to {name} sends all of it"
                )

    def keep_up() -> None:
        nonlocal latest
        if time.monotonic() - latest >= _EVERY:
            attempt(Follower.catch_up)
            latest = time.monotonic()

    try:
        yield keep_up
    finally:
        attempt(Follower.catch_up)
        attempt(Follower.close)


def _cause(error: BaseException) -> str:
    return printable(" ".join(f"{type(error).__name__}: {error}".split())[:200])


def _numbers(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if name != "step" and isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)
    for name, (low, high) in record.get("intervals", {}).items():
        yield f"intervals/{name}_low", float(low)
        yield f"intervals/{name}_high", float(high)


def _sentence(event: Any) -> str:
    facts = {k: v for k, v in event.items() if k not in ("event", "step", "time", "judged", "scales")}
    return "\n\n".join(f"**{printable(name)}**: {printable(value)}" for name, value in facts.items()) or "-"


# the trackers -------------------------------------------------------------------------------------------


def _picture(png: bytes) -> Any:
    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        return image.convert("RGB")


class TensorBoard:
    """Event files in the run's folder ``tensorboard``, written anew."""

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = path / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer = SummaryWriter(str(folder))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, step: int, png: bytes) -> None:
        self.writer.add_image("samples", np.asarray(_picture(png)), step, dataformats="HWC")

    def text(self, step: int, name: str, text: str) -> None:
        self.writer.add_text(name, text, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of wandb. Its own count of steps only goes up, and a picture may come after the numbers of later
    turns: so the turn is a value beside the others, and is declared to be their axis."""

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.api = import_module("wandb")
        self.api.init(project="zerosum", name=path.name, config=recipe)
        self.api.define_metric("*", step_metric="turn")

    def log(self, step: int, values: dict[str, Any]) -> None:
        self.api.log({**values, "turn": step})

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.log(step, values)

    def picture(self, step: int, png: bytes) -> None:
        self.log(step, {"samples": self.api.Image(_picture(png))})

    def text(self, step: int, name: str, text: str) -> None:
        if name != "recipe":  # that is its configuration
            self.log(step, {name: text})

    def close(self) -> None:
        self.api.finish()


class Trackio(WeightsAndBiases):
    """A run of trackio: wandb's calls, with steps in any order."""

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.api = import_module("trackio")
        self.api.init(project="zerosum", name=path.name, config=recipe)

    def log(self, step: int, values: dict[str, Any]) -> None:
        self.api.log(values, step=step)


class MLflow:
    """A run of mlflow, at the address that its environment names."""

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.api = import_module("mlflow")
        self.api.set_experiment("zerosum")
        self.api.start_run(run_name=path.name)
        self.api.log_dict(recipe, "recipe.yaml")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.api.log_metrics(values, step=step)

    def picture(self, step: int, png: bytes) -> None:
        self.api.log_image(_picture(png), f"samples/{step:06d}.png")

    def text(self, step: int, name: str, text: str) -> None:
        self.api.log_text(text, f"{name}-{step:06d}.md")

    def close(self) -> None:
        self.api.end_run()


TRACKERS: dict[str, Callable[[Path, dict[str, Any]], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""What makes each tracker of a run's directory and its resolved recipe."""
