"""When to stop: is what `--stop-when-done` keeps as good as the best of a run of three times the length?

    python benchmarks/stopping.py                    all games, seed 1 (a quarter of an hour), and the docs
    python benchmarks/stopping.py --only digits      one of them

Each game is played to three times the length that its preset (or, where that is long, we) would give it, and
every checkpoint is kept. The run that stops is the same game up to the turn at which it is done, taken up
there with `--stop-when-done`. A judge that the run does not have says how good its `best` checkpoint is, and
how good the best of the long run's is: the Frechet distance in the features of a classifier (digits, photos,
MNIST) or of the rows themselves (table); on the ring, coverage. Turns are saved where the long run need not
have been that long: `needed` is the first checkpoint within a tenth of its best. The limits of the rule were
chosen on seed 0 of digits and ring.

What was played stays in --runs, and is not played again: a measurement that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch

import gallery
import ledger
from mnist_quality import N, quality
from zerosum import evaluation
from zerosum import recipe as recipes
from zerosum.evaluation import Judge
from zerosum.run import checkpoints
from zerosum.run.log import Log
from zerosum.run.run import Run
from zerosum.sampling import Generator
from zerosum.watch.best import READING, best

RESULT = ledger.RESULTS / "stopping.json"
TIMES = 3
LOOKS = 12  # checkpoints of the long run that are judged, and its last
TOLERANCE = 0.1
PHOTOS = 3_000  # squares of each photo: a judge of 128 features needs several times as many that are held out

# preset, changes, its length, turns between checkpoints, what judges it
GAMES: dict[str, tuple[str, dict[str, Any], int, int, str]] = {
    "digits": ("digits", {}, 6_000, 1_000, "frechet_distance"),
    "ring": ("ring", {}, 12_000, 1_000, "coverage"),
    "table": ("table", {}, 1_200, 200, "frechet_distance"),
    "photos": ("photos", {"G.width": 16, "D.network.width": 16}, 900, 150, "frechet_distance"),
    "mnist": (
        "mnist-dcgan",
        {"G.width": 16, "D.width": 16, "precision": "fp32"},
        1_500,
        250,
        "frechet_distance",
    ),
}


def recipe_of(name: str, seed: int, folder: Path) -> recipes.Recipe:
    preset, changes, length, every, _ = GAMES[name]
    if name == "photos":
        if not (pictures := folder / f"two-photos-{PHOTOS}").exists():
            gallery.two_photos(pictures, PHOTOS, 16)
        changes = {**changes, "data": {"name": "image_folder", "path": str(pictures), "size": 16}}
    if name == "table":
        if not (rows := folder / "tissue.csv").exists():
            gallery.tissue(rows)
        changes = {**changes, "data": recipes.data_component(str(rows))}
    clocks = {"checkpoint_every": every, "sample_every": 10**9, "steps": TIMES * length}
    return recipes.load(preset, {**changes, **clocks, "seed": seed, "threads": 1, "device": "cpu"})


def play(path: Path, recipe: recipes.Recipe, **options: Any) -> Run:
    """A run with all its checkpoints, played to its end or from where it was interrupted."""
    stop, at_most = options.pop("stop_when_done", False), options.pop("at_most", None)
    recipe = recipes.changed(recipe, {"keep": 10**6})
    with Run.start(path, recipe, at_most=at_most) as run:
        for _ in run.play(stop_when_done=stop):
            pass
    return run


def done_at(path: Path) -> int | None:
    """The step at which a run that is asked to stop when it is done would find that it is."""
    records = Log(path).records()
    steps = (r["step"] for r in records if READING in r)
    return next((s for s in steps if (b := best([r for r in records if r["step"] <= s])) and b.done), None)


def judged(name: str, path: Path, steps: list[int]) -> dict[int, float]:
    """The quality of checkpoints, by the metric of the game."""
    look = _of_mnist if name == "mnist" else _by(evaluation.judge_for(path, n=5000), GAMES[name][-1])
    return {step: round(look(path, step), 5) for step in steps}


def _of_mnist(path: Path, step: int) -> float:
    return quality(Generator.of(Run.open(path, step)).sample(N, 1))["frechet_distance"][0]


def _by(judge: Judge, metric: str) -> Callable[[Path, int], float]:
    asked = "prdc" if metric == "coverage" else metric

    def look(path: Path, step: int) -> float:
        [subject] = evaluation.subjects(path, judge.real, 5000, 1, step)
        rows = evaluation.evaluate(judge, subject.samples, [asked], subject.wanted)
        return next(row["value"] for row in rows if row["metric"] == metric)

    return look


def measured(name: str, seed: int, folder: Path) -> dict[str, Any]:
    recipe, long, short = (
        recipe_of(name, seed, folder),
        *(folder / f"{name}-{seed}{x}" for x in ("", "-stopped")),
    )
    whole = play(long, recipe)
    done = done_at(long)
    row: dict[str, Any] = {"game": name, "seed": seed, "steps": whole.game.step, "done": done}
    there = checkpoints.steps(long / "checkpoints")[1:]
    looks = sorted({*there[:: math.ceil(len(there) / LOOKS)], there[-1]})
    quality = judged(name, long, looks)
    if done is None:
        end, chosen, run = whole.game.step, whole.best.step if whole.best else 0, long
    else:
        if not short.exists():
            shutil.copytree(long, short)
        stopped = play(short, recipe, stop_when_done=True, at_most=done)
        end, chosen, run = stopped.game.step, stopped.best.step if stopped.best else 0, short
    value = judged(name, run, [chosen])[chosen]
    liked = max if GAMES[name][-1] == "coverage" else min
    top = liked(quality, key=lambda step: quality[step])
    needed = min(s for s, x in quality.items() if worse(name, x, quality[top]) <= TOLERANCE)
    return row | {
        "end": end,
        "best": chosen,
        "value": value,
        "long_best": [top, quality[top]],
        "needed": needed,
        "worse": round(worse(name, value, quality[top]), 4),
        "saved": round(1 - end / whole.game.step, 3),
        "looks": list(quality.items()),
    }


def worse(name: str, x: float, than: float) -> float:
    """By what share x is worse than the best."""
    return (than - x) / than if GAMES[name][-1] == "coverage" else x / than - 1


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    args.runs.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for name in args.only or GAMES:
            row = measured(name, seed, args.runs)
            print(row, flush=True)
            rows = [
                r for r in ledger.read(RESULT, {}).get("rows", []) if (r["game"], r["seed"]) != (name, seed)
            ]
            ledger.write(RESULT, {**ledger.origin(), "rows": [*rows, row]})


def stopping() -> str:
    names = {"coverage": "coverage"}
    head = (
        "game, seed",
        "long run",
        "its best",
        "done",
        "ends",
        "`best`",
        "worse than its best by",
        "turns saved",
    )
    lines = []
    for row in ledger.result("stopping")["rows"]:
        metric = names.get(GAMES[row["game"]][-1], "Frechet distance")
        step, value = row["long_best"]
        lines.append(
            (
                f"{row['game']}, {row['seed']}",
                f"{row['steps']:,}",
                f"{metric} {value:.3g} at {step:,}; within a tenth from {row['needed']:,} on",
                "never" if row["done"] is None else f"{row['done']:,}",
                f"{row['end']:,}",
                f"{row['value']:.3g} at {row['best']:,}",
                f"{row['worse']:+.0%}",
                f"{row['saved']:.0%}",
            )
        )
    return ledger.table(head, lines)


def options(parser: argparse.ArgumentParser) -> None:
    runs = os.environ.get("ZEROSUM_STOPPING", Path(gettempdir()) / "zerosum-stopping")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", default=[], choices=GAMES, help="games")
    parser.add_argument("--runs", type=Path, default=Path(runs), help="where the runs are kept")


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"stopping": stopping})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
