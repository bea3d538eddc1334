"""The record on MNIST: seconds on two cores, from the command, until samples have a Frechet distance.

    python benchmarks/record/mnist.py --seeds 5                  who holds the records, again
    python benchmarks/record/mnist.py ENTRY [ENTRY ...]          these; * and ? may stand in a name
    python benchmarks/record/mnist.py 'mine*' --try 1            one seed of each candidate, and no entry made

Two targets, 2.0 and 0.5, between 10,000 samples and the 10,000 test images, in the 128 features of the judge
of `benchmarks/classifier.py`. The clock runs from the start of the process, so that importing, reading MNIST,
compiling and training all count. While samples are drawn and judged it stands still. A try that was finished
is not played again: its log lies in runs/record, a file for each entry and seed. docs/record.md says how to
enter.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # entries that are modules; the other benchmarks
import play  # noqa: E402

import ledger  # noqa: E402

RESULT = ledger.RESULTS / "record.json"
RUNS = Path("runs/record")
TARGETS = (2.0, 0.5)
CORES = 2


def distance(samples: Any) -> float:
    """Of samples to the test images, as the judge sees them."""
    from mnist_quality import quality

    return quality(samples)["frechet_distance"][0]


# a try ----------------------------------------------------------------------------------------------------


def write_log(path: Path, name: str, seed: int, target: float, looks: Sequence[Sequence[float]]) -> None:
    """A try as it stands: [turn, seconds, distance] of each look, and what it was played by."""
    about = {"entry": name, "seed": seed, "target": target, "date": f"{datetime.date.today()}"}
    ledger.write(
        path, {**about, "commit": ledger.commit(), "machine": ledger.machine(), "looks": [*looks]}, None
    )


def reached(log: dict[str, Any]) -> float | None:
    """The seconds after which the target was reached; None if it was not."""
    return next((seconds for _, seconds, value in log["looks"] if value <= log["target"]), None)


def tried(name: str, seed: int) -> dict[str, Any]:
    """The log of an entry's try with this seed, which is played unless it was."""
    done, log = RUNS / f"{name}-{seed}.json", RUNS / f"{name}-{seed}.unfinished.json"
    if not done.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(min(CORES, cores()))}
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        begun = time.monotonic()
        words = [name, str(seed), str(begun), str(log)]
        subprocess.run([sys.executable, str(HERE / "play.py"), *words], check=True, env=environment)
        log.rename(done)
    return json.loads(done.read_text())


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# all of them ----------------------------------------------------------------------------------------------


def names() -> list[str]:
    modules = {p.stem for p in HERE.glob("*.py")} - {"mnist", "play"}
    return [*play.entries(), *sorted(modules)]


def holders(result: dict[str, Any]) -> list[str]:
    """Of each target the entry whose median is least; before there is one, the preset's."""
    held = []
    for target in TARGETS:
        entered = [e for e in result["entries"] if e["target"] == target and e["median"] is not None]
        held += [min(entered, key=lambda e: e["median"])["entry"] if entered else f"today-{target}"]
    return held


def entered(name: str, seeds: int) -> dict[str, Any]:
    """An entry with all its tries; the median counts a try that did not arrive as later than all that did."""
    logs = [tried(name, seed) for seed in range(seeds)]
    middle = median([float("inf") if (s := reached(log)) is None else s for log in logs])
    same = {key: logs[-1][key] for key in ("entry", "target", "date", "commit", "machine")}
    of_each = [{"seed": log["seed"], "seconds": reached(log), "looks": log["looks"]} for log in logs]
    return {**same, "median": middle if middle < float("inf") else None, "seeds": of_each}


def measure(args: Namespace) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    result = ledger.read(RESULT, {"entries": []})
    wanted = [n for n in names() if any(fnmatch(n, w) for w in args.entries)] or holders(result)
    for name in wanted:
        found = entered(name, args.trial or args.seeds)
        seconds = [s["seconds"] for s in found["seeds"]]
        print(f"{name}: {found['target']} after {found['median']} s {seconds}", flush=True)
        if not args.trial:
            others = [e for e in result["entries"] if (e["entry"], e["date"]) != (name, found["date"])]
            result = {"entries": [*others, found]}
            ledger.write(RESULT, result)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("entries", nargs="*", metavar="ENTRY")
    parser.add_argument("--seeds", type=int, default=5, help="0, 1, ... (default: 5, as an entry needs)")
    parser.add_argument("--try", dest="trial", type=int, metavar="N", help="N seeds, and no entry made")


def table() -> str:
    result = ledger.read(RESULT, {"entries": []})
    held, rows = holders(result), []
    for e in sorted(result["entries"], key=lambda e: (-e["target"], e["date"], -(e["median"] or 1e9))):
        seconds = [s["seconds"] for s in e["seeds"]]
        there = sorted(s for s in seconds if s is not None)
        spread = f" [{there[0]:.1f}, {there[-1]:.1f}]" if there else ""
        middle = "not reached" if e["median"] is None else f"{e['median']:.1f}{spread}"
        name = f"**{e['entry']}**" if e["entry"] in held else e["entry"]
        arrived = f"{len(there)} of {len(seconds)}"
        machine = f"{e['machine']['processor']}, torch {e['machine']['torch']}"
        rows.append([e["target"], e["date"], name, middle, arrived, f"`{e['commit']}`", machine])
    if not rows:
        return "No entry yet."
    head = [
        "Frechet distance",
        "date",
        "entry",
        "seconds, median [least, most]",
        "arrived",
        "commit",
        "machine",
    ]
    return ledger.table(head, rows)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"record": table})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
