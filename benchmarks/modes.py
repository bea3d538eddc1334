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

from ledger import RESULTS, machine, read, write
from zerosum import data, metrics
from zerosum.run.run import Run

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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=list(ASKED), help="ring, grid or both")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "modes.json")
    parser.add_argument("--check", action="store_true", help="judge the committed result, train nothing")
    known = parser.parse_args()
    if known.check:
        result = read(known.out)
    else:
        seeds = range(known.first, known.first + known.seeds)
        jobs = [(recipe, seed) for recipe in known.recipes for seed in seeds]
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(known.at_once) as pool:
            rows = list(pool.map(lambda job: judge(*job, Path(folder)), jobs))
        result = {
            "command": "python " + " ".join(sys.argv),
            "machine": machine(),
            "at_once": known.at_once,
            "summary": [summary(rows, recipe) for recipe in known.recipes],
            "rows": rows,
        }
        write(known.out, result)
    for row in result["summary"]:
        print(row)
    return 0 if all(row["passed"] for row in result["summary"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
