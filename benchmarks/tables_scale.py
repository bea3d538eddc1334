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


def timed(*command: str, first: Path | None = None) -> dict[str, Any]:
    """Seconds, and the most memory that the process held, of a command; and the seconds until it has made a
    file, if one is named.
    """
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    while first is not None and process.poll() is None and not first.exists():
        time.sleep(0.02)
    until = {"first_turn": round(time.monotonic() - begun, 1)} if first is not None else {}
    error = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(error)
    spent = {"seconds": time.monotonic() - begun, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    return {name: round(x, 1) for name, x in spent.items()} | {"peak_mib": usage.ru_maxrss // 1024} | until


PARTS = "empty", "first", "second", "sampled"


def measure(args: Namespace) -> None:
    if args.write:
        with args.write.open("wb") as file:
            write_sheets([table(args.rows)], file, ".csv", args.rows)
        raise SystemExit(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.dir or Path(temporary)
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        path = folder / "table.csv"
        if not path.exists():  # written by another process, for its memory counts for what follows
            timed(__file__, "--write", str(path), "--rows", str(args.rows))
        for part in args.only:
            spent = measure_part(part, folder, path, args.sampled) | ledger.origin()
            print(part, spent, flush=True)
            about = {"rows": args.rows, "file_mib": path.stat().st_size >> 20}
            ledger.write(RESULT, ledger.read(RESULT, {}) | about | {part: spent})


def measure_part(part: str, folder: Path, path: Path, sampled: int) -> dict[str, Any]:
    if part == "empty":
        return timed("-c", "import zerosum.run.run, torch")
    if part != "sampled":
        train = "-m", "zerosum", "train", "table", "--data", str(path), "--steps", "2", "--quiet"
        first = folder / part / "metrics.jsonl"  # is there when the first turn was played
        return timed(*train, "--log_every", "1", "--out", str(folder / part), first=first)
    made = "-m", "zerosum", "sample", str(folder / "first"), "--out", str(folder / "made.csv"), "--n"
    few, many = (timed(*made, str(n)) for n in (1000, sampled))
    speed = (sampled - 1000) / (many["cpu_seconds"] - few["cpu_seconds"])
    return {"rows": sampled, **many, "rows_a_second": round(speed)}


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sampled", type=int, default=300_000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="in this order")
    parser.add_argument("--dir", type=Path, help="keep the table, the cache and the runs here")
    parser.add_argument("--write", type=Path, help="write the table to this file, and nothing else")


def shown() -> str:
    result = ledger.read(RESULT)
    names = {
        "empty": "the imports alone",
        "first": "first start: the text is read, the run is written, two turns are played",
        "second": "second start, the same",
        "sampled": "`sample` to CSV",
    }
    rows: list[list[str]] = []
    for name, text in names.items():
        if part := result.get(name):
            size = f", {part['rows']:,} rows" if "rows" in part else ""
            size += f", the first after {part['first_turn']} s" if "first_turn" in part else ""
            size += f" ({part['rows_a_second']:,} for each CPU second)" if "rows_a_second" in part else ""
            figures = (f"{part[key]:,}" for key in ("cpu_seconds", "seconds", "peak_mib"))
            rows.append([text + size, *figures])
    head = [
        f"{result['rows']:,} rows of 20 columns, {result['file_mib']} MiB",
        "CPU s",
        "clock s",
        "peak MiB",
    ]
    return ledger.table(head, rows)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"tables_scale": shown})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
