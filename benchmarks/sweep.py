"""Does a sweep find settings at least as good as the preset's, end ill trials early, and survive a kill?

    python benchmarks/sweep.py              24 trials of ring at 800 turns, two workers, one of them killed

Two workers of one thread search the rates, the penalties and the widths of `ring` by the sliced Wasserstein
distance, on seeds 0 and 1. When four trials have ended, one worker is killed and started again. Then
the winner and the preset are played at the same length on seeds that the sweep never saw, and compared in
pairs; and each trial that was ended as ill is played again to its end, with nothing that stops it. What is
counted is the processor's time of the workers, so that other programs on the machine matter little.
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
TRIALS, SEEDS, STEPS, BATCH = 24, 2, 800, 64
UNSEEN, MANY = 100, 6
SIZE = [f"--steps={STEPS}", f"--batch={BATCH}", "--threads=1"]


def zerosum(*words: object, **settings: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "zerosum", *map(str, words)], **settings)


def search(out: Path) -> dict[str, Any]:
    """The sweep, by two workers of which one is killed and started again."""
    words = ["sweep", "ring", *SIZE, "--out", out, "--trials", TRIALS, "--seeds", SEEDS, "--quiet"]
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


def train(recipe: object, out: Path, first: int, count: int) -> None:
    words = ["train", recipe, *SIZE, "--seed", first, "--seeds", count, "--out", out, "--quiet"]
    assert zerosum(*words).wait() in (0, 1)  # 1: a seed came to a number that is not finite


def unseen(out: Path, folder: Path) -> dict[str, Any]:
    """The winner against the preset on seeds that the sweep never saw, paired."""
    rows: dict[str, list[Any]] = {}
    players = {"preset": "ring", "winner": out / "best.yaml"}
    with ThreadPoolExecutor(2) as both:
        [*both.map(lambda name: train(players[name], folder / name, UNSEEN, MANY), players)]
    for name in players:
        judge = evaluation.judge_for(folder / name)
        rows[name] = [
            row
            for subject in evaluation.subjects(folder / name, judge.real, 5000)
            for row in evaluation.evaluate(
                judge, subject.samples, ["sliced_wasserstein", "mode_coverage", "high_quality_share"],
                **subject.about,
            )
        ]  # fmt: skip
    return {
        "seeds": [UNSEEN, UNSEEN + MANY - 1],
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
    train(file, out, 0, SEEDS)
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
        folder = Path(place)
        out = folder / "sweep"
        how = search(out)
        print(how, flush=True)
        sweep = sweep_at(out)
        trials = [
            {"trial": o.number, "state": o.state, "value": o.value, "reason": o.reason, **o.drawn}
            for o in sweep.outcomes()
        ]
        comparison = unseen(out, folder)
        print(comparison, flush=True)
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
            "unseen": comparison,
            "ill": ill,
        }
        ledger.write(RESULT, {**ledger.origin(), "load": args.load, **result})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--load", default="", help="what the machine was doing besides, for the record")


def lacks() -> list[str]:
    if not RESULT.exists():  # not measured yet, and no page says that it was
        return []
    result = ledger.read(RESULT)
    (row,) = (r for r in result["unseen"]["winner minus preset"] if r["metric"] == "sliced_wasserstein")
    return [] if row["low"] <= 0 else [f"the winner is worse than the preset: {row}"]


def text() -> str:
    result = ledger.read(RESULT)
    how, trials, each = result["search"], result["trials"], result["unseen"]["each"]
    states = [trial["state"] for trial in trials]
    (row,) = (r for r in result["unseen"]["winner minus preset"] if r["metric"] == "sliced_wasserstein")
    well = median(trial["value"] for trial in trials if trial["value"] is not None)
    how_run = result["command"].split(" --load")[0]
    winner, preset = (each[name]["sliced_wasserstein"] for name in ("winner", "preset"))
    stopped = any(how["exit codes"]) and " (they were stopped then, by SIGTERM: the machine was too busy)"
    said = (
        f"Measured (`{how_run}`): `ring` at {result['steps']:,} turns, batches "
        f"of {result['batch']}, {SEEDS} seeds a trial, two workers of one thread, of which one was killed "
        f"and started again. {len(trials) - states.count('playing')} of {TRIALS} trials ended in "
        f"{how['processor minutes']} minutes of processor time, {how['minutes']} by the clock"
        f"{result['load'] and ', ' + result['load']}{stopped or ''}: {states.count('complete')} came to "
        f"their end, {states.count('ill')} were ill, {states.count('failed')} failed. On {MANY} seeds that "
        f"the sweep had not seen the winner's sliced Wasserstein distance is {winner}, the preset's {preset} "
        f"(difference {row['difference']:+.4f}, 95 % interval over paired seeds {row['low']:+.4f} to "
        f"{row['high']:+.4f})."
    )
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
    more = "Were the ill trials ill to the end? Each was played again with nothing that ends it; the median "
    return f"{said}\n\n{more}of the well ones is {well:.3g}.\n\n{ledger.table(head, rows)}"


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"sweep": text}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
