"""Batch norm over the parts of a batch, as ranks do, against batch norm over the whole: what is it worth?

    python benchmarks/batch_norm.py         digits with batch norm in G, a batch of 64 whole and in four parts

Four ranks play the game of one process with `accumulate` 4 (`tests/test_parallel.py`), so that one
process measures what they would come to. Each part draws noise of its own: beside it stands the same
game without batch norm, whose parts differ from the whole by nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ledger
from zerosum import evaluation

RESULT = ledger.RESULTS / "batch_norm.json"
BATCH, PARTS, STEPS, SEEDS = 64, 4, 1000, 4
GAMES = {"batch norm in G": ["--G.norm", "BatchNorm1d"], "no batch norm": []}
METRIC = "frechet_distance"


def train(out: Path, game: list[str], parts: int) -> None:
    words = ["train", "digits", *game, "--batch", BATCH, "--accumulate", parts, "--steps", STEPS]
    words += ["--seeds", SEEDS, "--threads", 1, "--watch", "none", "--out", out, "--quiet"]
    subprocess.run([sys.executable, "-m", "zerosum", *map(str, words)], check=True)


def measure(args: argparse.Namespace) -> None:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        outs = {(name, parts): Path(place) / f"{name}-{parts}" for name in GAMES for parts in (1, PARTS)}
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda key: train(outs[key], GAMES[key[0]], key[1]), outs))
        for name in GAMES:
            whole, cut = (ledger.judged(outs[name, parts], [METRIC]) for parts in (1, PARTS))
            (difference,) = evaluation.compare_seeds(whole, cut)
            values = [[row["value"] for row in side] for side in (whole, cut)]
            found[name] = {"whole": values[0], "parts": values[1], "parts minus whole": difference}
            print(name, found[name], flush=True)
    about = {"batch": BATCH, "parts": PARTS, "steps": STEPS, "games": found}
    ledger.write(RESULT, {**ledger.origin(), **about})


def text() -> str:
    result = ledger.read(RESULT)
    head = ["`digits`", "whole", f"{result['parts']} parts", "difference", "95 % interval over paired seeds"]
    table = [
        [
            name,
            *(f"{sum(one[side]) / len(one[side]):.3f}" for side in ("whole", "parts")),
            "{difference:+.3f}".format_map(one["parts minus whole"]),
            "{low:+.3f} to {high:+.3f}".format_map(one["parts minus whole"]),
        ]
        for name, one in result["games"].items()
    ]
    return (
        f"Measured (`{result['command']}`): the Frechet distance of digits after {result['steps']:,} turns "
        f"of {result['batch']} examples, over {SEEDS} seeds, batch norm over the whole batch and over each "
        f"of {result['parts']} parts, as {result['parts']} ranks have it:\n\n{ledger.table(head, table)}"
    )


BENCHMARK = ledger.Benchmark(__doc__, measure, parts={"batch_norm": text})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
