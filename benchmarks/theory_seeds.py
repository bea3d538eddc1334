"""`zerosum theory` on many seeds: how near measured comes to predicted, how far it stays from wrong answers.

    python benchmarks/theory_seeds.py            seeds 0 to 9; writes results/theory.json and docs/theory.md
    python benchmarks/theory_seeds.py --docs     only rewrites the table in docs/theory.md
    python benchmarks/theory_seeds.py --check    exit with 1 unless every row agrees on ten seeds, in under
                                                 60 s each, and the docs show it

Each seed is one process, one after another. In the table "gap" is the largest |measured - predicted| over the
seeds and "apart" the smallest distance to a wrong answer, or to the bound of an inequality, both in units of
what is allowed, three times the stated errors: a row agrees while gap <= 1 < apart.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ledger
from zerosum.claims import MULTIPLE

SEEDS = 10
RESULT = ledger.RESULTS / "theory.json"


def judge(seed: int, folder: Path) -> dict[str, Any]:
    """One run of the verb."""
    command = [sys.executable, "-m", "zerosum", "theory", "--seed", str(seed), "--out", str(folder)]
    begun = time.monotonic()
    done = subprocess.run([*command, "--quiet"], env={**os.environ, "OMP_NUM_THREADS": "2"})
    seconds = round(time.monotonic() - begun, 1)
    rows = json.loads((folder / "theory.json").read_text())["rows"]
    agree = sum(row["agrees"] for row in rows)
    print(f"seed {seed}: exit {done.returncode}, {agree} of {len(rows)} agree, {seconds} s", flush=True)
    return {"seed": seed, "exit": done.returncode, "seconds": seconds, "rows": rows}


def distance(row: dict[str, Any], value: float, error: float = 0.0) -> float:
    """From measured to a value, in units of what is allowed; counts allow nothing."""
    gap, allowed = abs(row["measured"]["value"] - value), MULTIPLE * (row["measured"]["error"] + error)
    return gap / allowed if allowed else float("inf") if gap else 0.0


def gap(row: dict[str, Any]) -> float:
    return distance(row, row["predicted"]["value"], row["predicted"]["error"])


def apart(row: dict[str, Any]) -> float:
    return min(distance(row, value) for value in row["wrong"].values())


def number(value: float, digits: int = 5) -> str:
    return f"{value:.{digits}g}" if abs(value) > 1e-6 else f"{value:.0g}"


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each row, over seeds: how many agree, the worst gap, the nearest wrong answer; and seed 0."""
    return [over_seeds(rows) for rows in zip(*(run["rows"] for run in runs), strict=True)]


def over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    equal = first["relation"] == "="
    return {
        "topic": first["topic"],
        "claim": first["claim"],
        "relation": first["relation"],
        "predicted": first["predicted"]["value"],
        "measured": first["measured"]["value"],
        "error": first["measured"]["error"],
        "agree": sum(row["agrees"] for row in rows),
        "gap": max(map(gap, rows)) if equal else None,
        "apart": min(map(apart if equal else gap, rows)),
        "wrong": list(first["wrong"]) if equal else ["the bound"],
    }


def markdown(result: dict[str, Any]) -> str:
    seeds = len(result["seeds"])
    lines = [
        f"| claim | predicted, seed 0 | measured, seed 0 | agree, of {seeds} | gap | apart, from |",
        "|---|---|---|---|---|---|",
        *(table_row(row) for row in result["rows"]),
    ]
    slowest = max(run["seconds"] for run in result["seeds"])
    machine = f"{result['machine']}, torch {result['torch']}; the slowest seed took {slowest:.0f} s."
    return "\n".join([*lines, "", machine])


def table_row(row: dict[str, Any]) -> str:
    relation = "" if row["relation"] == "=" else f"{row['relation']} "
    cells = [
        f"**{plain(row['topic'])}**: {plain(row['claim'])}",
        relation + number(row["predicted"]),
        number(row["measured"]) + (f" ± {row['error']:.0g}" if row["error"] else ""),
        str(row["agree"]),
        "–" if row["gap"] is None else number(row["gap"], 2),
        f"{number(row['apart'], 2)}, {plain('; '.join(row['wrong']))}",
    ]
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Text that Markdown does not read as its own signs."""
    return re.sub(r"([|*_<])", r"\\\1", text)


def rewritten(text: str, result: dict[str, Any]) -> str:
    """The docs with the table of this result between its markers."""
    before, rest = text.split("<!-- theory -->\n")
    after = rest.split("<!-- /theory -->")[1]
    return f"{before}<!-- theory -->\n{markdown(result)}\n<!-- /theory -->{after}"


def measure(_: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = [judge(seed, Path(folder) / str(seed)) for seed in range(SEEDS)]
    seeds = [{key: run[key] for key in ("seed", "exit", "seconds")} for run in runs]
    result = {"machine": ledger.machine(), "multiple": MULTIPLE, "seeds": seeds, "rows": summary(runs)}
    ledger.write(RESULT, result)


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    seeds = result["seeds"]
    agree = all(row["agree"] == len(seeds) for row in result["rows"])
    in_time = all(run["exit"] == 0 and run["seconds"] < 60 for run in seeds)
    passed = agree and in_time and len(seeds) >= SEEDS
    return [] if passed else ["every row must agree on ten seeds, in under 60 s each"]


BENCHMARK = ledger.Benchmark(
    __doc__, measure, parts={"theory": lambda: markdown(ledger.read(RESULT))}, lacks=lacks
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
