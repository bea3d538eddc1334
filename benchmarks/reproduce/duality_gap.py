"""Does the duality gap rank the checkpoints of a game as the truth does? (Grnarova et al. 2019)

    python benchmarks/reproduce/duality_gap.py                play and judge what is not judged yet
    python benchmarks/reproduce/duality_gap.py --only line    these; "mnist..." are runs/goodfellow2014/seed*
    python benchmarks/reproduce/duality_gap.py --docs         judge nothing: the correlations anew

Two truths. On the mixtures of `benchmarks/tracking.py`, which says how they are played, the exact
JSD(p_data, p_g) at 12 looks of each game. On MNIST the games of 2014 that `parzen.py` judges, at every tenth
of their first 70 epochs and at every fortieth from then on: the Frechet distance of 10,000 samples to the
10,000 test digits in the features of `benchmarks/classifier.py`; the readings see the training digits and the
10,000 validation digits, never the test digits or a label. Compared with them are `duality_gap`, its first
term `worst_case`, and the gap whose D' and G' descend from copies of the players, as in 2019. What counts is
Spearman's rank correlation within a game, with Student's 95 % interval over games.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
import tracking
from mnist_quality import N, quality
from zerosum import Turn, data
from zerosum import recipe as recipes
from zerosum.metrics.estimate import student
from zerosum.run import checkpoints, runtime
from zerosum.run.run import Run
from zerosum.watch import instruments

RESULT = ledger.RESULTS / "reproduce_duality_gap.json"
RUNS = Path("runs/goodfellow2014")
SEEDS = range(20, 24)
LOOKS = {"mnist": range(0, 40_000, 5_000), "mnist late": range(40_000, 180_001, 20_000)}
READINGS = ("duality_gap", "worst_case", "searched")
Look = dict[str, Any]


def mixture(problem: str) -> Iterator[list[Look]]:
    """The looks of each game: the exact JSD as `truth`, and the readings."""
    for seed in SEEDS:
        rows = tracking.track(problem, seed)
        yield [look(seed, row["step"], row["exact"][1], row, row["searched"]) for row in rows]


def mnist(looks: range) -> Iterator[list[Look]]:
    """The looks of each run: the Frechet distance of the playing G as `truth`, and the readings."""
    held = data.mnist("valid", low=0.0)
    for path in sorted(RUNS.glob("seed*")):
        steps = [step for step in checkpoints.steps(path / "checkpoints") if step in looks]
        yield [checkpoint(path, step, held.batch(0, len(held))[0]) for step in steps]


def checkpoint(path: Path, step: int, held: torch.Tensor) -> Look:
    run = Run.open(path, step)
    game, source = run.game, recipes.build_source(run.recipe)
    pixels = (game.sample(N, seed=1, live=True) * 255).round().to(torch.uint8)
    distance = quality(pixels.reshape(N, 28, 28).numpy())["frechet_distance"][0]
    nothing = torch.zeros(())
    turn = Turn(step, nothing, nothing, nothing, nothing)
    found = tracking.readings([instruments.duality_gap(game, source, held)], game, turn)
    return look(run.recipe.seed, step, distance, found, tracking.searched_gap(game, source, held, 0.0))


def look(seed: int, step: int, truth: float, readings: dict[str, Any], searched: float) -> Look:
    found = {name: tracking.value(readings[name]) for name in ("duality_gap", "worst_case", "best_response")}
    row = {"seed": seed, "step": step, "truth": truth, **found, "searched": searched}
    print(row, flush=True)
    return tracking.rounded(row)


def correlations(games: list[list[Look]]) -> dict[str, Any]:
    """Spearman's rank correlation of each reading with the truth in each game, its mean and its interval."""
    found = {}
    for name in READINGS:
        each = [
            tracking.spearman([row[name] for row in game], [row["truth"] for row in game]) for game in games
        ]
        low, high = student(fmean(each), stdev(each) / len(each) ** 0.5, len(each))
        values = {"mean": fmean(each), "low": max(low, -1.0), "high": min(high, 1.0)}
        found[name] = {k: round(v, 3) for k, v in values.items()} | {"games": [round(v, 3) for v in each]}
    return found


def gap() -> str:
    """Rank correlations with the truth, mean and interval over games."""
    result = ledger.result("reproduce_duality_gap")
    truths = dict.fromkeys(tracking.PROBLEMS, "exact JSD") | dict.fromkeys(LOOKS, "Frechet distance")
    readings = {
        "duality_gap": "`duality_gap`",
        "worst_case": "`worst_case`",
        "searched": "as in 2019, D' and G' descended",
    }
    rows = [
        f"| data | games x looks | truth, first to last look | {' | '.join(readings.values())} |",
        "|---|" + "---|" * (2 + len(readings)),
    ]
    for name, truth in truths.items():
        games, found = result[name]["games"], result[name]["correlations"]
        first, last = (sum(game[i]["truth"] for game in games) / len(games) for i in (0, -1))
        cells = [
            f"`{name}`",
            f"{len(games)} x {len(games[0])}",
            f"{truth}, {first:.3g} to {last:.2g}",
            *("{mean:+.2f} [{low:+.2f}, {high:+.2f}]".format(**found[reading]) for reading in readings),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


PARTS = [*tracking.PROBLEMS, *LOOKS]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)


def measure(args: argparse.Namespace) -> None:
    runtime.keep_memory()
    torch.set_num_threads(1)
    for name in args.only:
        if name not in ledger.standing(ledger.read(RESULT, {}), digest):
            begun = time.process_time()
            games = [*(mnist(LOOKS[name]) if name in LOOKS else mixture(name))]
            spent = round(time.process_time() - begun)
            write(name, {"cpu_seconds": spent, "digest": digest(name), "games": games})


def write(name: str, found: dict[str, Any]) -> None:
    """Into the file as it is now: another process may have written since."""
    ledger.write(RESULT, ledger.read(RESULT, {}) | {name: ledger.origin() | found})


def digest(name: str) -> str:
    """Of the games and of all that judges them."""
    judges = look, tracking.readings, tracking.searched_gap
    if name in LOOKS:
        played: tuple[object, ...] = (
            recipes.dump(recipes.load("goodfellow2014")),
            LOOKS[name],
            mnist,
            checkpoint,
        )
    else:
        played = SEEDS, tracking.LOOKS, tracking.PROBLEMS[name], mixture, tracking.track
    return ledger.digest(*played, *judges)


def finish() -> None:
    result = ledger.read(RESULT)
    each = {name: found | {"correlations": correlations(found["games"])} for name, found in result.items()}
    ledger.write(RESULT, each)


def lacks() -> list[str]:
    return ledger.lapsed(ledger.read(RESULT), digest)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"gap": gap}, finish)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
