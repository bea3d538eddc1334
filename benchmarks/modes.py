"""Modes found on the ring and the grid, by PacGAN's evaluation (Lin et al. 2018).

    python benchmarks/modes.py ring grid --seeds 10 --first 10 --at-once 1

2,500 samples of the averaged generator at the last step; high quality is within 3 standard deviations of the
nearest mode, of which a perfect generator has 0.989. Each seed is one run of `zerosum train RECIPE --seed S`
in a process of its own. `--check` reads the committed result and exits with 1 unless every seed of the ring
finds 8 modes with a share of at least 0.90, and every seed of the grid 25 with at least 0.80.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from zerosum import data, metrics
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "modes.json"
ASKED = {"ring": (8, 0.90), "grid": (25, 0.80)}


def judge(recipe: str, seed: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "zerosum", "train", recipe, "--seed", str(seed), "--quiet"]
    out = folder / f"{recipe}-{seed}"
    begun = time.monotonic()
    subprocess.run([*command, "--out", str(out)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - begun
    run = Run.open(out)
    density = {"ring": data.ring, "grid": data.grid}[recipe]()
    x = run.game.sample(2500, seed=1)
    row = {
        "recipe": recipe,
        "seed": seed,
        "steps": run.game.step,
        "modes": int(metrics.mode_coverage(x, density.modes, density.std).value),
        "high_quality": float(metrics.high_quality_share(x, density.modes, density.std)),
        "reverse_kl": round(float(metrics.reverse_kl(x, density.modes, density.std)), 5),
        "seconds": round(seconds, 1),
    }
    print(row, flush=True)
    return row


def summary(rows: list[dict[str, Any]], recipe: str) -> dict[str, Any]:
    """Mean and standard error over seeds."""
    mine = [row for row in rows if row["recipe"] == recipe]
    means = {}
    for name in ("modes", "high_quality", "reverse_kl", "seconds"):
        values = np.array([row[name] for row in mine], dtype=float)
        error = values.std(ddof=1) / len(values) ** 0.5
        means[name] = [round(float(values.mean()), 5), round(float(error), 5)]
    modes, share = ASKED[recipe]
    return {
        "recipe": recipe,
        "seeds": len(mine),
        "mean_and_standard_error": means,
        "worst_high_quality": min(row["high_quality"] for row in mine),
        "worst_modes": min(row["modes"] for row in mine),
        "passed": all(row["modes"] == modes and row["high_quality"] >= share for row in mine),
    }


def modes() -> str:
    """Ring and grid: mean and standard error over seeds."""
    result = ledger.result("modes")
    rows = [
        "| recipe | seeds | updates | modes | high quality | worst seed | reverse KL | seconds a seed |",
        "|---|" + "---|" * 7,
    ]
    for summary in result["summary"]:
        mean = summary["mean_and_standard_error"]
        steps = next(row["steps"] for row in result["rows"] if row["recipe"] == summary["recipe"])
        full = {"ring": 8, "grid": 25}[summary["recipe"]]
        cells = [
            f"`{summary['recipe']}`",
            str(summary["seeds"]),
            f"{steps:,}",
            f"{mean['modes'][0]:.1f} of {full}",
            ledger.plus_minus(mean["high_quality"]),
            f"{summary['worst_high_quality']:.3f}",
            ledger.plus_minus(mean["reverse_kl"]),
            f"{mean['seconds'][0]:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", nargs="*", default=list(ASKED), help="ring, grid or both")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-once", type=int, default=2)


def measure(args: argparse.Namespace) -> None:
    seeds = range(args.first, args.first + args.seeds)
    jobs = [(recipe, seed) for recipe in args.recipes for seed in seeds]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.at_once) as pool:
        rows = list(pool.map(lambda job: judge(job[0], job[1], Path(folder)), jobs))
    summaries = [summary(rows, recipe) for recipe in args.recipes]
    ledger.write(RESULT, {**ledger.origin(), "at_once": args.at_once, "summary": summaries, "rows": rows})


def lacks() -> list[str]:
    rows = ledger.read(RESULT)["summary"]
    return [f"{row['recipe']}: not all that is asked" for row in rows if not row["passed"]]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"modes": modes}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
