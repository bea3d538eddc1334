"""How long does a table of a million rows of 20 columns take to be read, to begin a game, and to be sampled?

    python benchmarks/tables_scale.py

A table is written to a temporary folder (seed 0): 8 columns of numbers, 4 whole, 5 of categories (up to 5,000
values), a date, a code that differs in every row, a column that follows from another; missing cells in two.
`zerosum train table` reads it and plays two turns, twice: the first start reads the text, the second what the
first has kept. Then `zerosum sample` writes rows of the run. Each is a process of its own, one thread. CPU
seconds stand beside the clock's, which other work on the machine makes longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

import ledger
from zerosum.data.sheet import Coded, Sheet
from zerosum.data.writers import write_sheets

RESULT = ledger.RESULTS / "tables_scale.json"


def table(rows: int) -> Sheet:
    draw = np.random.default_rng(0)
    x = draw.normal(size=rows)
    columns: dict[str, Any] = {}
    for i in range(8):
        columns[f"number{i}"] = np.round(x * 0.3 * i + draw.normal(size=rows) * 10**i, 3)
    columns["number7"][draw.random(rows) < 0.1] = np.nan
    for i in range(4):
        columns[f"whole{i}"] = draw.integers(0, 10 ** (i + 1), size=rows)
    columns["whole0"] = np.where(draw.random(rows) < 0.9, 0, columns["whole0"])
    for i, values in enumerate((2, 7, 50, 300, 5000)):
        codes = (draw.random(rows) ** 2 * values).astype(np.int32)
        columns[f"category{i}"] = Coded(codes, tuple(f"value {k}" for k in range(values)))
    missing = np.where(draw.random(rows) < 0.05, -1, columns["category1"].codes)
    columns["category1"] = columns["category1"]._replace(codes=missing)
    days = np.datetime64("2015-01-01") + draw.integers(0, 3000, size=rows)
    columns["day"] = Coded(*np.unique(days, return_inverse=True)[::-1])
    columns["day"] = Coded(columns["day"].codes.astype(np.int32), tuple(map(str, columns["day"].values)))
    columns["code"] = Coded(np.arange(rows, dtype=np.int32), tuple(f"C{k:08d}" for k in range(rows)))
    columns["follows"] = Coded(columns["category2"].codes // 10, tuple(f"group {k}" for k in range(5)))
    return Sheet(columns)


def timed(*command: str) -> dict[str, Any]:
    """Seconds, and the most memory that the process held, of a command."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    error = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(error)
    spent = {"seconds": time.monotonic() - begun, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    return {name: round(x, 1) for name, x in spent.items()} | {"peak_mib": usage.ru_maxrss // 1024}


def measure(args: Namespace) -> None:
    if args.write:
        with args.write.open("wb") as file:
            write_sheets([table(args.rows)], file, ".csv", args.rows)
        raise SystemExit(0)
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = Path(name)
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        path = folder / "table.csv"
        write = (
            "--write",
            str(path),
            "--rows",
            str(args.rows),
        )  # elsewhere, for its memory counts for what follows
        timed(__file__, *write)
        train = "-m", "zerosum", "train", "table", "--data", str(path), "--steps", "2", "--quiet"
        result: dict[str, Any] = {"rows": args.rows, "file_mib": path.stat().st_size >> 20}
        result["empty"] = timed("-c", "import zerosum.run.run, torch")
        result["first"] = timed(*train, "--out", str(folder / "first"))
        result["second"] = timed(*train, "--out", str(folder / "second"))
        made = "-m", "zerosum", "sample", str(folder / "first"), "--out", str(folder / "made.csv"), "--n"
        few, many = (timed(*made, str(n)) for n in (1000, args.sampled))
        spent = many["cpu_seconds"] - few["cpu_seconds"]
        result["sampled"] = {
            "rows": args.sampled,
            **many,
            "rows_a_second": round((args.sampled - 1000) / spent),
        }
    ledger.write(RESULT, result | ledger.origin())
    print(result)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sampled", type=int, default=300_000)
    parser.add_argument("--write", type=Path, help="write the table to this file, and nothing else")
    parser.add_argument("--dir", help="where the folder is made")


def shown() -> str:
    result = ledger.read(RESULT)
    names = {
        "empty": "nothing but the imports",
        "first": "first start: text is read, two turns, the run is written",
        "second": "second start, the same",
        "sampled": f"`sample --n {result['sampled']['rows']}` to CSV",
    }
    rows = [
        [text, *(f"{result[name][key]:,}" for key in ("cpu_seconds", "seconds", "peak_mib"))]
        for name, text in names.items()
    ]
    return ledger.table(
        [f"{result['rows']:,} rows, {result['file_mib']} MiB", "CPU s", "clock s", "peak MiB"], rows
    )


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"tables_scale": shown})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
