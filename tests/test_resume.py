"""A run that was stopped or killed at any instant and started again ends in the bytes of one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import struct
import sys
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from zerosum import cli, objectives, optimizers, penalties
from zerosum import recipe as recipes
from zerosum.recipe import Recipe
from zerosum.run import checkpoints
from zerosum.run.run import Run

SEEDS = count()
SMALL = {"name": "mlp", "width": 4, "depth": 1}
BASE = {
    "data": "ring",
    "latent": 2,
    "G": SMALL,
    "D": SMALL,
    "batch": 8,
    "steps": 7,
    "log_every": 1,
    "sample_every": 1000,
    "checkpoint_every": 1000,
    "threads": 1,
}


def named(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **options}


def both(optimizer: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"g_optimizer": optimizer, "d_optimizer": optimizer, **more}


ramp = named("ramp", start=0.1, end=0.01, steps=6)
sgd, adam = named("sgd", lr=0.05, momentum=0.9), named("adam", lr=0.01)
OPTIMIZERS = {
    "sgd": both(sgd),
    "adam": both(adam),
    "extragradient": both(named("extragradient", base=adam), simultaneous=True),
    "optimistic": both(named("optimistic", base=sgd)),
    "lookahead_minmax": both(named("lookahead_minmax", base=adam, every=3)),
    "clipped": both(named("clipped", base=adam, bound=0.05)),
    "scheduled": both(named("scheduled", base=sgd, lr=ramp, momentum=ramp)),
    "nested": both(
        named("lookahead_minmax", base=named("optimistic", base=named("clipped", base=adam)), every=2)
    ),
}
PENALTIES = {name: {"penalties": (named(name, every=2),)} for name in penalties.__all__ if name != "Penalty"}
OBJECTIVES = {
    name: {"objective": name} for name in objectives.__all__ if name not in ("Objective", "f_divergence")
} | {"f_divergence": {"objective": named("f_divergence", f="pearson")}}
DATA = {
    "grid": "grid",
    "swiss_roll": "swiss_roll",
    "two_moons": "two_moons",
    "gaussian": named("gaussian", dim=3),
    "mixture": named("mixture", means=[-2.0, 1.0], std=0.5, weights=[1, 2]),
    "digits": "digits",
    "idx_folder": named("idx_folder", path=""),
}
SHAPES = {
    "no_ema": {"ema": None},
    "ema_with_buffers": {"ema": 0.9, "G": named("mlp", width=4, depth=1, norm="BatchNorm1d")},
    "batch_norm_in_D": {"D": named("mlp", width=4, depth=1, norm="BatchNorm1d")},
    "dropout": {
        "G": named("mlp", width=4, dropout=0.5),
        "D": named("mlp", width=4, dropout=0.3, dropout_in=0.2),
    },
    "maxout": {"D": named("maxout", units=3, pieces=2), "centre": True},
    "spectral": {"D": named("mlp", width=4, depth=2, spectral=True)},
    "accumulate": {
        "accumulate": 4,
        "D": named("mlp", width=4, depth=1, dropout=0.5),
        "penalties": ("lecam",),
    },
    "k": {"k": 3, "penalties": (named("r1", every=2),)},
    "simultaneous": {"simultaneous": True, "k": 2},
    "uniform": {"prior": "uniform"},
    "mixture": {"prior": named("mixture", std=0.2)},
    "annealed": {"penalties": (named("r1", weight=ramp),)},
}
SPEED: dict[str, dict[str, Any]] = {
    "bf16": {"precision": "bf16", "penalties": ["r1"]},
    **({"compiled": {"compile": True, "penalties": ["r1", "r2"]}} if shutil.which("g++") else {}),
}
CASES = {
    **OPTIMIZERS,
    **PENALTIES,
    **OBJECTIVES,
    **{k: {"data": v} for k, v in DATA.items()},
    **SHAPES,
    **SPEED,
}


def test_the_families_are_whole() -> None:
    """Whoever adds an optimizer finds here that its resume is not tested yet; the other families are read."""
    assert set(optimizers.__all__) <= set(OPTIMIZERS)


def idx(folder: Path) -> str:
    for kind, shape in (("images-idx3", (20, 3, 4)), ("labels-idx1", (20,))):
        size = torch.Size(shape).numel()
        content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(range(size))
        (folder / f"train-{kind}-ubyte").write_bytes(content)
    return str(folder)


def train(path: Path, recipe: Recipe, stop_after: int = 10**9) -> None:
    """Start or take up a run; after so many records it is asked to stop, which it does a turn later.

    Torch's generator is never twice the same: a new process has another, or has used it.
    """
    torch.manual_seed(next(SEEDS))
    with Run.start(path, recipe) as run:
        for i, _ in enumerate(run.play()):
            if i + 1 == stop_after:
                run.stop("test")


def final(path: Path) -> dict[str, Any]:
    """Everything in the newest checkpoint: weights, averages, moments, counters."""
    step = checkpoints.steps(path / "checkpoints")[-1]
    return dict(recipes.leaves(checkpoints.load(path / f"checkpoints/{step:06d}").state))


def assert_same_bytes(a: Path, b: Path) -> None:
    left, right = final(a), final(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, torch.Tensor):
            other = right[name]
            assert (value.dtype, value.shape) == (other.dtype, other.shape), name
            assert value.numpy().tobytes() == other.numpy().tobytes(), name
        else:
            assert value == right[name], name
    for name in ("G", "D", "ema"):
        files = [max((p / "checkpoints").iterdir()) / f"{name}.safetensors" for p in (a, b)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_resuming_is_exact(case: str, tmp_path: Path) -> None:
    changes = dict(CASES[case])
    if case == "idx_folder":
        changes["data"] = named("idx_folder", path=idx(tmp_path))
    recipe = Recipe(**{**BASE, **changes})
    train(tmp_path / "straight", recipe)
    train(tmp_path / "stopped", recipe, stop_after=2)
    assert checkpoints.steps(tmp_path / "stopped/checkpoints") == [0, 3]
    train(tmp_path / "stopped", recipe, stop_after=1)
    train(tmp_path / "stopped", recipe)
    assert_same_bytes(tmp_path / "straight", tmp_path / "stopped")
    for a, b in zip(logged(tmp_path / "straight"), logged(tmp_path / "stopped"), strict=True):
        for clock in ("seconds", "steps_per_second"):
            del a[clock], b[clock]
        assert a == b
    last = "samples/000007.png"
    assert (tmp_path / "straight" / last).read_bytes() == (tmp_path / "stopped" / last).read_bytes()


# killed ---------------------------------------------------------------------------------------------------

KILLED = {
    **BASE,
    **both(named("optimistic", base=adam)),
    "steps": 60,
    "penalties": ["lecam", named("r1", every=3)],
    "D": named("mlp", width=4, depth=1, dropout=0.3),
    "ema": 0.9,
    "log_every": 4,
    "sample_every": 15,
    "checkpoint_every": 5,
    "keep": 2,
}
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}


def train_as_told(argv: list[str], deadly: int, report: Any) -> None:
    """The command line, in a process that kills itself at its `deadly`-th touch of the run's files.

    Reports how often it touched them, if it lived.
    """
    touches = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal touches
        if event in FILE_EVENTS and argv[3] in str(args[0]):
            touches += 1
            if touches == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    code = cli.main(argv)
    report.send((code, touches))


PRELOADED = ["pytest", "yaml", "pydantic", "torch._dynamo", "PIL.PngImagePlugin"]
OURS = ["cli", "display", "run.run", "data", "networks", "objectives", "optimizers", "penalties", "schedules"]


class Trainer:
    """Processes forked from one that has torch imported, each training by the command line."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([*PRELOADED, *(f"zerosum.{name}" for name in OURS)])

    def start(self, recipe: Path, out: Path, deadly: int = 0) -> tuple[BaseProcess, Any]:
        mine, theirs = self.context.Pipe(duplex=False)
        argv = ["train", str(recipe), "--out", str(out), "--quiet"]
        process = self.context.Process(target=train_as_told, args=(argv, deadly, theirs))
        process.start()
        theirs.close()
        return process, mine

    def finish(self, recipe: Path, out: Path, deadly: int = 0) -> tuple[int | None, int]:
        """The exit code and how often the run's files were touched: (-9, 0) if it was killed."""
        process, pipe = self.start(recipe, out, deadly)
        process.join()
        if process.exitcode != 0:
            return process.exitcode, 0
        code, touches = pipe.recv()
        return code, touches


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(KILLED))
    return path


def assert_whole(path: Path) -> None:
    """What a run that ended leaves: whole lines, growing steps, the last checkpoints, nothing temporary."""
    records = logged(path)
    assert [r["step"] for r in records] == sorted({r["step"] for r in records})
    assert records[-1]["step"] == 60
    events = [json.loads(line)["event"] for line in (path / "events.jsonl").read_text().splitlines()]
    assert events[0] == "started" and events[-1] == "finished" and "fell_back" not in events
    assert checkpoints.steps(path / "checkpoints") == [55, 60]
    assert not list(path.rglob(".*"))
    assert {p.name for p in (path / "samples").iterdir()} == {f"{s:06d}.png" for s in (0, 10, 15, 30, 45, 60)}


def test_killed_at_random_touches_of_its_files(trainer: Trainer, recipe: Path, tmp_path: Path) -> None:
    """By SIGKILL, again and again; the same command resumes."""
    straight, path = tmp_path / "straight", tmp_path / "killed"
    code, touches = trainer.finish(recipe, straight)
    assert code == 0
    chance = random.Random(20)
    for _ in range(6):
        assert trainer.finish(recipe, path, chance.randrange(1, touches // 6))[0] == -signal.SIGKILL
    assert trainer.finish(recipe, path)[0] == 0
    assert_same_bytes(straight, path)
    assert_whole(path)


def test_killed_at_every_touch_of_a_file(tmp_path: Path) -> None:
    """Between any two operations on its files, those inside a checkpoint's write and removal included.

    What a kill leaves is what lies on the disk at that instant: a copy of it.
    """
    recipe = Recipe(
        **{**KILLED, "steps": 4, "checkpoint_every": 2, "log_every": 2, "keep": 1, "watch": "none"}
    )
    straight, instants = tmp_path / "straight", list[Path]()
    copying = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal copying
        if copying and event in FILE_EVENTS and str(straight) in str(args[0]) and straight.exists():
            copying = False
            instants.append(tmp_path / f"instant{len(instants)}")
            shutil.copytree(straight, instants[-1])
            copying = True

    sys.addaudithook(hook)
    train(straight, recipe)
    copying = False
    assert len(instants) > 40
    for path in instants:
        for step in checkpoints.steps(path / "checkpoints"):  # whatever instant it died at: all whole
            checkpoints.load(path / f"checkpoints/{step:06d}")
        train(path, recipe)
        assert_same_bytes(straight, path)
        assert checkpoints.steps(path / "checkpoints") == [4]
        assert not list(path.rglob(".*"))
