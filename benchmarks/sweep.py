"""Does a sweep find settings at least as good as the preset's, end ill trials early, and survive a kill?

    python benchmarks/sweep.py                              24 trials of ring at 2,400 turns, and what follows
    python benchmarks/sweep.py --folder FOLDER --search     the trials alone; without it, what follows

Two workers of one thread search the rates, the penalties and the widths of `ring` by the sliced Wasserstein
distance, on seeds 0 and 1. When four trials have ended, one worker is killed and started again. Then the
winner and the preset are played on seeds that the sweep never saw, as long as in the sweep (with --long as
long as the preset too), and compared in pairs; and each trial that was ended as ill is played again to its
end, with nothing that stops it.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, median
from typing import Any

import ledger
from zerosum import evaluation
from zerosum import recipe as recipes
from zerosum.run import seeds
from zerosum.run.examined import examine
from zerosum.run.log import Log
from zerosum.sweep import Goal, Sweep, divided

RESULT = ledger.RESULTS / "sweep.json"
RANGES = {
    "g_optimizer.lr.start,d_optimizer.lr.start": "1e-4:1e-1:log",
    "penalties.0.weight.start,penalties.1.weight.start": "1e-4:10:log",
    "G.width,D.width": "32,64,128",
}
TRIALS, SEEDS, STEPS, BATCH = 24, 2, 2400, 64
UNSEEN, MANY = 100, 6
PRESET: Any = recipes.load("ring")
LENGTHS = {"of the sweep": (STEPS, BATCH), "of the preset": (PRESET.steps, PRESET.batch)}
METRICS = ["sliced_wasserstein", "mode_coverage", "high_quality_share"]


def size(steps: int = STEPS, batch: int = BATCH) -> list[str]:
    return [f"--steps={steps}", f"--batch={batch}", "--threads=1"]


def zerosum(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "zerosum", *map(str, words)])


def search(out: Path) -> dict[str, Any]:
    """The sweep, by two workers of which one is killed and started again."""
    words = ["sweep", "ring", *size(), "--out", out, "--trials", TRIALS, "--seeds", SEEDS, "--quiet"]
    words += [word for name, text in RANGES.items() for word in (f"--{name}", text)]
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    first, second = zerosum(*words), zerosum(*words)
    while not (out / "sweep.journal").exists():
        time.sleep(1)
    while len(done(sweep_at(out))) < 4 or len(playing(sweep_at(out))) < 2:
        time.sleep(2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    left = [outcome.number for outcome in playing(sweep_at(out))]
    first = zerosum(*words)
    codes = [first.wait(), second.wait()]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "exit codes": codes,
        "under way at the kill": left,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "processor minutes": round(
            (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60, 1
        ),
    }


def sweep_at(out: Path) -> Sweep:
    recipe = recipes.load("ring", {"steps": STEPS, "batch": BATCH, "threads": 1})
    return Sweep.begin(out, recipe, divided(RANGES)[0], Goal.of(recipes.build_source(recipe)), SEEDS)


def done(sweep: Sweep) -> list[Any]:
    return [outcome for outcome in sweep.outcomes() if outcome.state != "playing"]


def playing(sweep: Sweep) -> list[Any]:
    return [outcome for outcome in sweep.outcomes() if outcome.state == "playing"]


def train(recipe: object, out: Path, first: int, count: int, length: list[str]) -> None:
    words = ["train", recipe, *length, "--seed", first, "--seeds", count, "--out", out, "--quiet"]
    zerosum(*words).wait()
    ends = [Log(run).events()[-1] for run in seeds.members(out)]  # a seed may come to numbers that are none
    if not all(end["event"] == "finished" or end.get("name") == "non-finite" for end in ends):
        raise SystemExit(f"{out} was not played to its end: {ends}")


def unseen(out: Path, folder: Path, steps: int, batch: int) -> dict[str, Any]:
    """The winner against the preset on seeds that the sweep never saw, paired."""
    players = {"preset": "ring", "winner": out / "best.yaml"}
    with ThreadPoolExecutor(2) as both:
        length = size(steps, batch)
        list(both.map(lambda name: train(players[name], folder / name, UNSEEN, MANY, length), players))
    rows = {name: ledger.judged(folder / name, METRICS) for name in players}
    return {
        "steps": steps,
        "batch": batch,
        "each": {name: means(found) for name, found in rows.items()},
        "winner minus preset": [*evaluation.compare_seeds(rows["preset"], rows["winner"])],
    }


def means(rows: list[Any]) -> dict[str, float]:
    names = dict.fromkeys(row["metric"] for row in rows)
    return {name: round(fmean(row["value"] for row in rows if row["metric"] == name), 4) for name in names}


def to_the_end(sweep: Sweep, outcome: Any, folder: Path) -> dict[str, Any]:
    """An ill trial played again with nothing that ends it: what stands at the end, and what it is worth."""
    out = folder / f"{outcome.number:04d}"
    recipe = recipes.changed(sweep.recipe, outcome.settings)
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / f"{outcome.number:04d}.yaml"
    file.write_text(recipes.dump(recipe))
    train(file, out, 0, SEEDS, size())
    runs = seeds.members(out)
    last = [seeds.last_values(Log(run).records()) for run in runs]
    faults = sorted({f.name for run in runs for f in examine(run).findings if f.fault})
    short = any(values.get("step", 0) < STEPS for values in last)
    return {
        "trial": outcome.number,
        "settings": outcome.settings,
        "ended by": outcome.reason,
        "faults at the end": faults or (["non-finite"] if short else []),
        "modes covered": [values.get("modes_covered") for values in last],
        "goal": None if short else round(fmean(sweep.goal.values(out, recipe).values()), 4),
    }


def measure(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(args.folder or place)
        out, searched = folder / "sweep", folder / "search.json"
        if not searched.exists():
            ledger.write(searched, {**search(out), "load": args.load, **ledger.origin()})
        how = ledger.read(searched)
        print(how, flush=True)
        if args.search:
            raise SystemExit(0)
        follow(how, sweep_at(out), folder, [*LENGTHS][: 1 + args.long])


def follow(how: dict[str, Any], sweep: Sweep, folder: Path, lengths: list[str]) -> None:
    """What the trials were worth, and the result."""
    trials = [
        {"trial": o.number, "state": o.state, "value": o.value, "reason": o.reason, **o.drawn}
        for o in sweep.outcomes()
    ]
    comparisons = {name: unseen(sweep.path, folder / name, *LENGTHS[name]) for name in lengths}
    with ThreadPoolExecutor(2) as both:
        ended = [o for o in sweep.outcomes() if o.state == "ill"]
        ill = [*both.map(lambda o: to_the_end(sweep, o, folder / "ill"), ended)]
    result = {
        "search": how,
        "steps": STEPS,
        "batch": BATCH,
        "trials": trials,
        "best": sweep.ranked()[0].drawn,
        "importance": sweep.importances(),
        "unseen": comparisons,
        "ill": ill,
    }
    ledger.write(RESULT, {**ledger.origin(), **result})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", help="keep all runs there, and go on from what is there")
    parser.add_argument("--search", action="store_true", help="the trials alone: they are what takes time")
    parser.add_argument("--long", action="store_true", help="compare at the preset's own length too")
    parser.add_argument("--load", default="", help="what the machine was doing besides, for the record")


def difference(comparison: dict[str, Any]) -> dict[str, Any]:
    (row,) = (r for r in comparison["winner minus preset"] if r["metric"] == METRICS[0])
    return row


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    rows = {name: difference(one) for name, one in result["unseen"].items()}
    worse = [
        f"worse than the preset at the length {name}: {row}" for name, row in rows.items() if row["low"] > 0
    ]
    minutes = result["search"]["minutes"]
    return worse + ([f"{minutes} minutes: 10 are asked"] if minutes > 10 else [])


def text() -> str:
    result = ledger.read(RESULT)
    how, trials = result["search"], result["trials"]
    states = [trial["state"] for trial in trials]
    well = median(trial["value"] for trial in trials if trial["value"] is not None)
    load = how["load"] and ", " + how["load"]
    said = (
        f"Measured (`python benchmarks/sweep.py`{load}): `ring` at {result['steps']:,} turns, "
        f"batches of {result['batch']}, {SEEDS} seeds a trial, two workers of one thread, of which one was "
        f"killed by SIGKILL and started again. {len(trials)} trials ended in {how['minutes']} minutes: "
        f"{states.count('complete')} came to their end, {states.count('ill')} were ill, "
        f"{states.count('failed')} failed. The winner against the preset on {MANY} seeds that the sweep had "
        f"not seen, by the sliced Wasserstein distance:"
    )
    head = ["both played at the length", "preset", "winner", "difference", "95 % interval over paired seeds"]
    rows = [
        [
            f"{name}, {one['steps']:,} turns of {one['batch']}",
            *(one["each"][who][METRICS[0]] for who in ("preset", "winner")),
            f"{difference(one)['difference']:+.4f}",
            "{low:+.4f} to {high:+.4f}".format_map(difference(one)),
        ]
        for name, one in result["unseen"].items()
    ]
    first, second = (next(iter(result["unseen"].values()))["each"][who] for who in ("preset", "winner"))
    beside = (
        f"What was not the goal, of preset and winner: {first['mode_coverage']:.1f} and "
        f"{second['mode_coverage']:.1f} modes of 8, a share of {first['high_quality_share']:.2f} and "
        f"{second['high_quality_share']:.2f} of high quality."
    )
    said = f"{said}\n\n{ledger.table(head, rows)}\n\n{beside}"
    if not result["ill"]:
        return said
    head = ["trial", "ended by", "faults at the end", "modes of 8", "sliced Wasserstein distance"]
    rows = [
        [
            one["trial"],
            one["ended by"],
            ", ".join(one["faults at the end"]) or "none",
            ", ".join("–" if m is None else f"{m:.0f}" for m in one["modes covered"]),
            "–" if one["goal"] is None else one["goal"],
        ]
        for one in result["ill"]
    ]
    sick = sum(bool(one["faults at the end"]) for one in result["ill"])
    worse = sum(one["goal"] is None or one["goal"] > well for one in result["ill"])
    more = (
        f"Were the ill trials ill to the end? Each was played again with nothing that ends it: {sick} of "
        f"{len(result['ill'])} had a fault then, and {worse} were worse than the median of the well ones, "
        f"{well:.3g}."
    )
    return f"{said}\n\n{more}\n\n{ledger.table(head, rows)}"


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"sweep": text}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
