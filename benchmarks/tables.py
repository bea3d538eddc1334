"""How good are made tables, and how good are CTGAN's after the same CPU time?

    python benchmarks/tables.py --data adult.csv --target income --cpu 72
    python benchmarks/tables.py --data adult.csv --target income --cpu 72 --ctgan OTHER_ENV/bin/python

A fifth of the rows (numpy's RandomState(0)) is held out. The preset `table`, as it is, plays for so many CPU
seconds on one thread: its steps follow from the speed of the first. As many rows as there are training rows
are judged by `zerosum.metrics.tables`. In the row of `real`, held-out rows are judged against training rows.
CTGAN is not needed by zerosum and is not in its environment: --ctgan names the Python of one that has it.

Results are kept by table, software, CPU seconds and seed, so that a later command adds to them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ledger
from zerosum.data.kinds import fit
from zerosum.data.sheet import Sheet
from zerosum.data.tables import read_sheet
from zerosum.data.writers import write_sheets
from zerosum.metrics import tables
from zerosum.tables import TableGAN

RESULT = ledger.RESULTS / "tables.json"
PROBE = 60  # turns by which the speed is measured

CTGAN = """
import sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd, torch
from ctgan import CTGAN
source, out, budget, seed = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1); torch.manual_seed(seed)
import numpy; numpy.random.seed(seed)
rows = pd.read_csv(source, keep_default_na=False)
discrete = [c for c in rows if rows[c].dtype.kind not in "if"]
begun = time.process_time()
probe = CTGAN(epochs=1, enable_gpu=False); probe.fit(rows, discrete)
one = time.process_time() - begun
begun = time.process_time()
epochs = max(1, int(budget / one))
model = CTGAN(epochs=epochs, enable_gpu=False); model.fit(rows, discrete)
spent = time.process_time() - begun
model.sample(len(rows)).to_csv(out, index=False)
print("{\\"epochs\\": %d, \\"cpu_seconds\\": %.1f}" % (epochs, spent))
"""


def divided(rows: Sheet) -> tuple[Sheet, Sheet]:
    """Four fifths to train on and one to judge by."""
    order = np.random.RandomState(0).permutation(len(rows))
    held = len(rows) // 5
    return rows.take(order[held:]), rows.take(order[:held])


def judged(made: Sheet, train: Sheet, held_out: Sheet, target: str) -> dict[str, Any]:
    codec = fit(train, encoding="ranks")
    fake, real, held = (codec.arrays(sheet) for sheet in (made, train, held_out))
    scores = tables.quality(real, fake)
    is_real = made is held_out  # then training rows stand in for what is told and learnt from
    told = tables.detection(held, real if is_real else fake)
    worth = tables.utility(real, real if is_real else fake, held, target)
    near = None if is_real else tables.nearness_to_training(real, held, fake)
    known = set(train.rows())
    return {
        "quality": scores.score,
        "shapes": scores.shapes,
        "pairs": scores.pairs,
        "detection": [told.value, told.low, told.high],
        "utility": [worth.kind, worth.real, worth.fake],
        "outside": tables.outside(real, fake),
        "values_lost": sum(map(len, tables.unmet_values(real, fake).values())),
        "nearness": None if near is None else [near.value, near.low, near.high],
        "copies": float(np.mean([row in known for row in made.rows()])),
    }


def made_by_zerosum(train: Sheet, budget: float, seed: int) -> tuple[Sheet, dict[str, Any]]:
    frame = train.to_pandas()
    probe = TableGAN(steps=PROBE, seed=seed)
    begun = time.process_time()
    probe.fit(frame, steps=PROBE // 3, progress=False)
    ready = time.process_time()
    probe.fit(frame, steps=PROBE, progress=False)
    turn = (time.process_time() - ready) / (PROBE - PROBE // 3)
    steps = int(budget / turn)
    model = TableGAN(steps=steps, seed=seed)
    begun = time.process_time()
    model.fit(frame, progress=False)
    spent = time.process_time() - begun
    begun = time.process_time()
    made = model.sheet(len(train), seed=seed)
    speed = len(train) / (time.process_time() - begun)
    return made, {"steps": steps, "cpu_seconds": round(spent, 1), "rows_a_second": round(speed)}


def made_by_ctgan(train: Sheet, budget: float, seed: int, python: str) -> tuple[Sheet, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "train.csv"), Path(folder, "made.csv")
        with source.open("wb") as file:
            write_sheets([train], file, ".csv", len(train))
        command = [python, "-c", CTGAN, str(source), str(out), str(budget), str(seed)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return read_sheet(out), json.loads(told.strip().splitlines()[-1])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="the table: .csv, .csv.gz, .parquet")
    parser.add_argument("--target", help="the column that utility is measured by")
    parser.add_argument("--name", help="of the table in the result; the file's unless given")
    parser.add_argument("--cpu", type=float, default=72.0, help="CPU seconds of one fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ctgan", metavar="PYTHON", help="play CTGAN, with this Python, in zerosum's place")


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    sheet = read_sheet(args.data)
    train, held_out = divided(sheet)
    name = args.name or args.data.name.split(".")[0]
    software = "ctgan" if args.ctgan else "zerosum"
    runs = {f"{name} real": lambda seed: (held_out, {})}
    for seed in args.seeds:
        runs[f"{name} {software} {args.cpu:g} {seed}"] = lambda seed: (
            made_by_ctgan(train, args.cpu, seed, args.ctgan)
            if args.ctgan
            else made_by_zerosum(train, args.cpu, seed)
        )
    for key, make in runs.items():
        result = ledger.read(RESULT, {})
        if key in result:
            continue
        made, about = make(int(key.split()[-1]) if key.split()[-1].isdecimal() else 0)
        row = {"rows": len(train), "columns": len(list(train)), **about}
        row |= judged(made, train, held_out, args.target) | ledger.origin()
        print(key, {k: v for k, v in row.items() if k != "machine"}, flush=True)
        ledger.write(RESULT, ledger.read(RESULT, {}) | {key: row})


def shown() -> str:
    head = ["table", "made by", "CPU s", "quality (shapes, pairs)", "told from real", "utility", "outside"]
    rows: list[list[str]] = []
    for key, row in ledger.read(RESULT, {}).items():
        table, software, *rest = key.split()
        kind, _, worth = row["utility"]
        rows.append(
            [
                table,
                software + (f", seed {rest[1]}" if rest else ""),
                f"{row.get('cpu_seconds', 0):.0f}",
                f"{row['quality']:.3f} ({row['shapes']:.3f}, {row['pairs']:.3f})",
                f"{row['detection'][0]:.2f}",
                f"{kind} {worth:.3f}",
                f"{row['outside']:.1%}",
                str(row["values_lost"]),
                f"{row['nearness'][0]:.2f}" if row["nearness"] else "",
                f"{row['copies']:.2%}",
            ]
        )
    return ledger.table([*head, "values lost", "nearness", "copies"], rows)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"tables": shown})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
