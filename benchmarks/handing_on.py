"""How long a stranger waits for the first sample of a generator: loaded in torch, and by onnxruntime alone.

    python benchmarks/handing_on.py

Asked: from the end of `import torch` to the first sample of `zerosum.load`, under 1 s; 10,000 images of the
exported digits generator by its own `sample.py`, from the start of Python to the written file, under 2 s.
Each in a new process on one core, several times. On a machine that does other work too, the clock on the wall
says how busy it was: asked is the processor's time, and both are shown. Writes results/handing_on.json beside
this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import ledger
from zerosum import export
from zerosum import recipe as recipes
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "handing_on.json"
ASKED = {"load": 1.0, "onnx": 2.0}
WORDS = {
    "load": "`zerosum.load(RUN)` to its first sample, after `import torch`",
    "onnx": "10,000 images by `sample.py`, with the start of Python",
}
LOAD = """
import time, torch
torch.zeros(1)
wall, spent = time.perf_counter(), time.process_time()
import zerosum
assert zerosum.load("run").sample(1).shape == (1, 8, 8)
print(time.perf_counter() - wall, time.process_time() - spent)
"""


def one_core() -> None:
    """Only where the system can say so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def load(folder: Path) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    command = [sys.executable, "-c", LOAD]
    out = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, preexec_fn=one_core)
    wall, spent = map(float, out.stdout.split())
    return wall, spent


def onnx(folder: Path) -> tuple[float, float]:
    command = [sys.executable, "sample.py", "10000", "1"]
    begun, before = time.perf_counter(), os.times()
    subprocess.run(command, cwd=folder / "out", check=True, preexec_fn=one_core)
    after, wall = os.times(), time.perf_counter() - begun
    children = (t.children_user + t.children_system for t in (before, after))
    first, last = children
    return wall, last - first


def measure(args: Namespace) -> None:
    with TemporaryDirectory() as home:
        folder = Path(home)
        with Run.start(folder / "run", recipes.load("digits", {"steps": 100, "watch": "none"})) as run:
            for _ in run.play():
                pass
        export.save(export.load(folder / "run"), folder / "out", onnx=True)
        rows = {}
        for name, one in {"load": load, "onnx": onnx}.items():
            wall, spent = zip(*(one(folder) for _ in range(args.times)), strict=True)
            rows[name] = {"wall": [round(x, 3) for x in wall], "processor": [round(x, 3) for x in spent]}
            print(name, rows[name], flush=True)
    origin = ledger.origin() | {"load_average": [round(x, 1) for x in os.getloadavg()]}
    ledger.write(RESULT, {"rows": rows, **origin})


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table() -> str:
    result = ledger.read(RESULT)
    head = ["", "seconds of one core", "by the clock", "asked"]
    rows = [
        [WORDS[name], spread(row["processor"]), spread(row["wall"]), f"under {ASKED[name]:.0f} s"]
        for name, row in result["rows"].items()
    ]
    times = len(result["rows"]["load"]["wall"])
    load = result["load_average"][0]
    return (
        f"{ledger.table(head, rows)}\n\nMedian of {times} new processes, and their range, while the machine "
        f"({result['machine']['cores']} cores) had {load:.0f} processes that wanted to run."
    )


def lacks() -> list[str]:
    rows = ledger.read(RESULT)["rows"]
    slow = {name: median(rows[name]["processor"]) for name in ASKED}
    return [f"{name}: {slow[name]:.2f} s" for name, limit in ASKED.items() if slow[name] >= limit]


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=9)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"waiting": table}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
