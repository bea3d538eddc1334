"""Trackers: what a run has logged, sent to TensorBoard, Weights & Biases, MLflow or Trackio.

One adapter reads the run's own log, so a run that has ended is sent as one that is still played; training
knows of no tracker. `Follower` sends what is new each time that it is asked.

    send(Path("runs/mine"), "tensorboard")        # to runs/mine/tensorboard
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zerosum import recipe as recipes
from zerosum.run.log import Log, RunError
from zerosum.text import printable

__all__ = ["TRACKERS", "Follower", "Tracker", "send"]


class Tracker(Protocol):
    """Where numbers, pictures and texts go."""

    def scalars(self, step: int, values: dict[str, float]) -> None: ...
    def picture(self, step: int, png: bytes) -> None: ...
    def text(self, step: int, name: str, text: str) -> None: ...
    def close(self) -> None: ...


class Follower:
    """A run's log on its way to a tracker. Raises RunError for what is no run, or where the tracker is not
    installed.
    """

    def __init__(self, path: Path, tracker: str) -> None:
        self.log = Log(path)
        recipe = self.log.recipe()
        self.sent = {"records": 0, "events": 0, "pictures": 0, "evaluations": 0}
        try:
            self.tracker: Tracker = TRACKERS[tracker](path, recipes.resolved(recipe))
        except ImportError as error:
            package = (error.name or tracker).split(".")[0]
            raise RunError(f"--to {tracker} needs {package}: pip install {package}") from error
        self.tracker.text(0, "recipe", f"```yaml\n{recipes.dump(recipe)}```")

    def catch_up(self) -> dict[str, int]:
        """Send what has come since; how many of each there are by now."""
        for record in self._new("records", self.log.records()):
            self.tracker.scalars(record["step"], dict(_numbers(record)))
        for event in self._new("events", self.log.events()):
            self.tracker.text(event["step"], f"events/{event['event']}", _sentence(event))
        for step, path in self._new("pictures", list(self.log.pictures().items())):
            self.tracker.picture(step, path.read_bytes())
        for row in self._new("evaluations", self.log.evaluations()):
            self.tracker.scalars(row.get("step", 0), {f"evaluation/{row['metric']}": row["value"]})
        return self.sent

    def _new(self, kind: str, items: list[Any]) -> list[Any]:
        new = items[self.sent[kind] :]
        self.sent[kind] = len(items)
        return new

    def close(self) -> None:
        self.tracker.close()


def send(path: Path, tracker: str) -> str:
    """All that a run has logged, at once; what was sent, in words."""
    follower = Follower(path, tracker)
    try:
        counts = follower.catch_up()
    finally:
        follower.close()
    return f"sent to {tracker}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


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
        from PIL import Image

        with Image.open(BytesIO(png)) as image:
            self.writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def text(self, step: int, name: str, text: str) -> None:
        self.writer.add_text(name, text, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of wandb, or of trackio, which has the same calls."""

    module = "wandb"

    def __init__(self, path: Path, recipe: dict[str, Any]) -> None:
        self.api = import_module(self.module)
        self.run = self.api.init(project="zerosum", name=path.name, config=recipe)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.api.log({**values, "step": step})

    def picture(self, step: int, png: bytes) -> None:
        from PIL import Image

        with Image.open(BytesIO(png)) as image:
            self.api.log({"samples": self.api.Image(image.convert("RGB")), "step": step})

    def text(self, step: int, name: str, text: str) -> None:
        if name != "recipe":  # that is its configuration
            self.api.log({name: text, "step": step})

    def close(self) -> None:
        self.api.finish()


class Trackio(WeightsAndBiases):
    module = "trackio"


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
        from PIL import Image

        with Image.open(BytesIO(png)) as image:
            self.api.log_image(image.convert("RGB"), f"samples/{step:06d}.png")

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
