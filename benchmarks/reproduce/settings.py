"""What matters and what does not: one thing changed at a time, ten seeds each, played as ensembles.

    python benchmarks/reproduce/settings.py                    play what is not played yet
    python benchmarks/reproduce/settings.py --only "k = 2"     these
    python benchmarks/reproduce/settings.py --docs             play nothing: the differences anew

On `digits`, a third of the recipe's turns (its schedules a third as long): the Frechet distance of 2,000
samples to all 1,797 digits on their pixels, and what a logistic regression reads (see `digits_quality`). On
`grid`, 6,000 turns: modes and the share of high quality, as in `modes`. The settings were written down before
the first game was played, and no game was played on these seeds before. A difference is of means over seeds,
with Welch's 95 % interval; it is told as better or worse where that leaves 0 out.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import data, metrics
from zerosum import recipe as recipes
from zerosum.game import Ensemble, Game
from zerosum.run import runtime

RESULT = ledger.RESULTS / "reproduce_settings.json"
SEEDS = range(200, 210)
Row = dict[str, Any]
LAZY = {f"penalties.{i}.every": 8 for i in range(2)}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "digits, as it is": ("digits", {}),
    "bf16": ("digits", {"precision": "bf16"}),
    "compiled": ("digits", {"compile": True}),
    "label smoothing 0.1": ("digits", {"objective": {"name": "nonsaturating", "label_smoothing": 0.1}}),
    "label smoothing 0.25": ("digits", {"objective": {"name": "nonsaturating", "label_smoothing": 0.25}}),
    "k = 2": ("digits", {"k": 2}),
    "k = 5": ("digits", {"k": 5}),
    "uniform prior": ("digits", {"prior": "uniform"}),
    "grid, as it is": ("grid", {}),
    "lazy R1 and R2, every 8 steps": ("grid", LAZY),
}
TURNS = {"digits": 2_000, "grid": 6_000}
GOOD = {"frechet_distance": -1, "class_kl": -1, "confidence": 1, "modes": 1, "high_quality": 1}
"""What is measured, and whether more of it is better."""


def recipe(name: str, changes: dict[str, Any], seed: int) -> recipes.Recipe:
    turns = TURNS[name]
    shorter: dict[str, Any] = {f"{who}_optimizer.lr.steps": turns for who in "gd"}
    if name == "grid":
        shorter |= {f"penalties.{i}.weight.steps": turns * 7 // 10 for i in range(2)}
    return recipes.load(name, {"seed": seed, "steps": turns, **shorter, **changes})


def played(name: str, changes: dict[str, Any]) -> tuple[list[Game], float]:
    """The games of all seeds at their last turn, and the CPU seconds that they took."""
    made = [recipe(name, changes, seed) for seed in SEEDS]
    sources = [recipes.build_source(one) for one in made]
    games = [recipes.build(one, source)[0] for one, source in zip(made, sources, strict=True)]
    begun = time.process_time()
    for _ in Ensemble(games).play(sources, TURNS[name]):
        pass
    return games, time.process_time() - begun


@cache
def reader() -> Any:
    real = data.digits("train")
    return LogisticRegression(max_iter=5000).fit(real.pixels[:].flatten(1).numpy() * (16 / 255), real.labels)


def of_digits(game: Game) -> Row:
    real = data.digits("all")
    codec = real.codec
    pixels = codec.view(game.sample(2_000, seed=1))
    belief = reader().predict_proba(pixels.flatten(1).numpy() * (16 / 255))
    share = np.bincount(belief.argmax(1), minlength=10) / len(belief)
    found = metrics.frechet_distance(*(codec.encode(x).flatten(1) for x in (real.pixels[:], pixels)))
    return {
        "frechet_distance": round(float(found), 4),
        "class_kl": round(float(sum(p * np.log(p * 10) for p in share if p)), 5),
        "confidence": round(float(belief.max(1).mean()), 5),
    }


def of_points(game: Game) -> Row:
    grid = data.grid()
    x = game.sample(2_500, seed=1)
    return {
        "modes": int(metrics.mode_coverage(x, grid.modes, grid.std).value),
        "high_quality": round(float(metrics.high_quality_share(x, grid.modes, grid.std)), 5),
    }


JUDGES = {"digits": of_digits, "grid": of_points}


def difference(base: list[float], changed: list[float]) -> list[float]:
    """Welch's 95 % interval of mean(changed) - mean(base): value, low, high."""
    value = fmean(changed) - fmean(base)
    errors = [stdev(values) ** 2 / len(values) for values in (base, changed)]
    if sum(errors) == 0:
        return [value, value, value]
    freedom = sum(errors) ** 2 / sum(
        e**2 / (len(v) - 1) for e, v in zip(errors, (base, changed), strict=True)
    )
    reach = float(stdtrit(freedom, 0.975)) * sum(errors) ** 0.5
    return [round(x, 6) for x in (value, value - reach, value + reach)]


def differences(variants: dict[str, Any]) -> dict[str, Any]:
    """What each change did beside its recipe as it is."""
    found: dict[str, Any] = {}
    for name, (of, changes) in VARIANTS.items():
        base = variants.get(f"{of}, as it is")
        if not changes or name not in variants or base is None:
            continue
        rows = {}
        for measure in base["seeds"][0]:
            values = [[row[measure] for row in side["seeds"]] for side in (base, variants[name])]
            value, low, high = difference(*values)
            better = GOOD[measure] * value > 0
            matters = low > 0 or high < 0
            verdict = ("better" if better else "worse") if matters else "no difference seen"
            rows[measure] = {"change": [value, low, high], "verdict": verdict}
        found[name] = rows
    return found


def settings() -> str:
    """One thing changed at a time, ten seeds each: what it did to each measure."""
    result = ledger.result("reproduce_settings")
    rows = ["| changed | of | measure | as it is | changed to | difference | |", "|---|" + "---|" * 6]
    for name, found in result["differences"].items():
        of = result["variants"][name]["recipe"]
        base = result["variants"][f"{of}, as it is"]
        for measure, row in found.items():
            before, after = (
                sum(seed[measure] for seed in side["seeds"]) / len(side["seeds"])
                for side in (base, result["variants"][name])
            )
            value, low, high = row["change"]
            cells = [name, f"`{of}`", measure.replace("_", " "), f"{before:.4g}", f"{after:.4g}"]
            verdict = row["verdict"] if row["verdict"].startswith("no") else f"**{row['verdict']}**"
            rows.append(f"| {' | '.join(cells)} | {value:+.3g} [{low:+.3g}, {high:+.3g}] | {verdict} |")
    seconds = {name: variant["cpu_seconds"] for name, variant in result["variants"].items()}
    numbers = result["numbers"]
    return "\n".join(
        [
            *rows,
            "",
            f"Seeds {numbers[0]} to {numbers[-1]}. CPU seconds of all ten on one thread: "
            + ", ".join(f"{name} {spent}" for name, spent in seconds.items())
            + ".",
        ]
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")


def measure(args: argparse.Namespace) -> None:
    runtime.keep_memory()
    torch.set_num_threads(1)
    for name in args.only:
        result: dict[str, Any] = ledger.read(RESULT, {"variants": {}})
        if name not in ledger.standing(result["variants"], digest):
            print(name, flush=True)
            result["variants"][name] = ledger.origin() | variant(name)
            ledger.write(RESULT, result | {"numbers": [*SEEDS]})


def variant(name: str) -> dict[str, Any]:
    """What ten seeds of a recipe with changes came to."""
    of, changes = VARIANTS[name]
    games, seconds = played(of, changes)
    return {
        "recipe": of,
        "turns": TURNS[of],
        "cpu_seconds": round(seconds),
        "digest": digest(name),
        "seeds": [JUDGES[of](game) for game in games],
    }


def digest(name: str) -> str:
    """Of the recipe with its changes, and of all of this script that plays and judges it."""
    of, changes = VARIANTS[name]
    return ledger.digest(recipes.dump(recipe(of, changes, 0)), SEEDS, played, JUDGES[of])


def lacks() -> list[str]:
    return ledger.lapsed(ledger.read(RESULT)["variants"], digest)


def finish() -> None:
    result = ledger.read(RESULT)
    ledger.write(RESULT, result | {"differences": differences(result["variants"])})


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"settings": settings}, finish)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
