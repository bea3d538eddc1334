"""The number of 2014: the log-likelihood of MNIST's test digits under a Parzen window (Table 1 of the paper).

    zerosum train goodfellow2014 --seed 0 --ema 0.9995 --precision bf16 --watch none --threads 1 \\
        --checkpoint_every 5000 --keep 30 --out runs/goodfellow2014/seed0        (also seeds 1 and 2)
    python benchmarks/reproduce/parzen.py                     judge what is new in runs/goodfellow2014/seed*
    python benchmarks/reproduce/parzen.py RUN ...             the same of any runs on MNIST
    python benchmarks/reproduce/parzen.py --stride 10000      checkpoints at these turns, and the last
    python benchmarks/reproduce/parzen.py --docs              only summarise and draw what was judged

The protocol of their `parzen_ll.py`: a window on 10,000 samples, pixels in [0, 1]; sigma of logspace(-1, 0,
10), the best in the mean of the first 1,000 validation digits (`MNIST` 50,000 to 59,999); then the mean of
the 10,000 test digits, ± its standard error over them. A checkpoint is judged once, and twice where the game
keeps a running average of G: as it plays, which is what 2014 published, and averaged, which takes no part in
the game and leaves its weights the same bytes. The epoch that is reported is the one with the best
*validation* likelihood (early stopping; 2014 names no stopping rule), and the last one is given beside it.
Two other sets of 10,000 "samples" stand beside, without which the number misleads: training digits, and
k-means centres of them (Theis, van den Oord and Bethge 2016).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from functools import cache
from itertools import chain, cycle, groupby, pairwise
from pathlib import Path
from statistics import linear_regression
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import data, metrics
from zerosum import recipe as recipes
from zerosum.data.codec import Pixels
from zerosum.metrics.estimate import Estimate, Z, student
from zerosum.run import checkpoints
from zerosum.run.log import Log
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "reproduce_parzen.json"
PICTURE = ledger.ROOT / "docs" / "images" / "reproduce" / "parzen.png"
SAMPLES, HELD = 10_000, 1_000
AVERAGED = ", averaged"
PUBLISHED = {"goodfellow2014": [225.0, 2.0]}  # Table 1, "Adversarial nets"; the error is over test digits
COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"
Checkpoint = dict[str, Any]


# The score --------------------------------------------------------------------------------------------------


@cache
def flat(split: str) -> Tensor:
    """MNIST's digits of a split as real vectors, [n, 784] in [0, 1]."""
    return data.mnist(split, low=0.0).pixels[:].flatten(1).float() / 255


def scored(samples: Tensor, test: Tensor, valid: Tensor) -> Checkpoint:
    """`test` and `valid` log-likelihoods under the window, each [mean, standard error] in nats, and sigma."""
    begun = time.monotonic()
    held = metrics.parzen_log_likelihood(valid[:HELD], samples, valid)
    tested = metrics.parzen_log_likelihood(test, samples, valid)
    return {
        "test": mean_and_error(tested),
        "valid": mean_and_error(held),
        "sigma": chosen_sigma(tested),
        "judged_in": round(time.monotonic() - begun, 1),
    }


def mean_and_error(estimate: Estimate) -> list[float]:
    """An interval of ± Z standard errors, undone."""
    return [round(estimate.value, 3), round((estimate.high - estimate.low) / (2 * Z), 3)]


def references() -> dict[str, Checkpoint]:
    """What 10,000 training digits, and 10,000 k-means centres of them, score in a generator's place."""
    found = metrics.parzen_references(flat("test"), flat("fit"), flat("valid"))
    return {name: {"test": mean_and_error(e), "sigma": chosen_sigma(e)} for name, e in found.items()}


def chosen_sigma(estimate: Estimate) -> float:
    """The metric's name ends with it."""
    return float(estimate.metric.rsplit(" ", 1)[1])


# Runs -------------------------------------------------------------------------------------------------------


def judge(path: Path, known: Sequence[dict[str, Any]], stride: int) -> list[dict[str, Any]]:
    """A run's G and, if it has one, its average, each as a row with its checkpoints judged: the last, and
    those at multiples of `stride`; what `known` rows of that name and seed hold, by the bytes, stays.
    """
    run = Run.open(path)
    facts = {name: getattr(run.recipe, name) for name in ("name", "seed", "steps", "precision", "threads")}
    examples = len(recipes.build_source(run.recipe))
    every = checkpoints.steps(path / "checkpoints")
    steps = [step for step in every if step % stride == 0 or step == every[-1]]
    rows = []
    for name, file, live in (("", "G", True), (AVERAGED, "ema", False)):
        if not live and run.game.G.average is None:
            continue
        row: dict[str, Any] = facts | {"name": run.recipe.name + name, "checkpoints": []}
        same = [old["checkpoints"] for old in known if key_of(old) == key_of(row)]
        judged = {checkpoint["sha256"]: checkpoint for checkpoint in chain(*same)}
        for step in steps:
            manifest = json.loads((path / "checkpoints" / f"{step:06d}" / "manifest.json").read_text())
            sha = manifest["sha256"][f"{file}.safetensors"][:16]
            if sha not in judged:
                epoch = round(step * run.recipe.batch / examples, 2)
                about = {"step": step, "epoch": epoch, "sha256": sha, "trained_in": trained_in(path, step)}
                made = samples(Run.open(path, step), live)
                judged[sha] = about | scored(made, flat("test"), flat("valid"))
                print(f"{row['name']}, seed {row['seed']}: {judged[sha]}", flush=True)
            row["checkpoints"].append(judged[sha])
        rows.append(row)
    return rows


def key_of(run: dict[str, Any]) -> tuple[str, int, int]:
    """What makes two runs one: recipe, length and seed."""
    return run["name"], run["steps"], run["seed"]


def samples(run: Run, live: bool) -> Tensor:
    """10,000 of the generator, or of its average, as vectors in [0, 1], whatever its black and white are."""
    codec = run.data.codec
    low, high = (codec.low, codec.high) if isinstance(codec, Pixels) else (-1.0, 1.0)
    return ((run.game.sample(SAMPLES, seed=1, live=live).flatten(1) - low) / (high - low)).float()


def trained_in(path: Path, step: int) -> float:
    """Wall-clock seconds of training up to a step; the clock of a resumed run begins anew."""
    clock = [0.0, *(r["seconds"] for r in Log(path).records() if r["step"] <= step)]
    return round(sum(after - before if after >= before else after for before, after in pairwise(clock)), 3)


# Over seeds -------------------------------------------------------------------------------------------------


def chosen(run: dict[str, Any]) -> Checkpoint:
    """The checkpoint of the best validation likelihood: the test digits have no say."""
    return max(run["checkpoints"], key=lambda row: row["valid"][0])


def last(run: dict[str, Any]) -> Checkpoint:
    return run["checkpoints"][-1]


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe and length the mean over seeds, chosen by validation and last, with 95 % intervals."""
    rows = []
    for (name, steps), group in groupby(sorted(runs, key=key_of), lambda run: key_of(run)[:2]):
        mine = list(group)
        row: dict[str, Any] = {
            "recipe": name,
            "steps": steps,
            "published": PUBLISHED.get(name.removesuffix(AVERAGED)),
            "seeds": [run["seed"] for run in mine],
            "finished": all(last(run)["step"] >= steps for run in mine),
            "epochs": [last(run)["epoch"] for run in mine],
            "chosen_epochs": [chosen(run)["epoch"] for run in mine],
            "chosen": interval([chosen(run)["test"] for run in mine]),
            "last": interval([last(run)["test"] for run in mine]),
            "trained_in": [last(run)["trained_in"] for run in mine],
        }
        row["verdict"] = verdict(row)
        if row["verdict"].startswith("not"):
            row["trend"] = trend(mine, row["published"][0])
        rows.append(row)
    return rows


def interval(scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Mean and 95 % interval: Student's over seeds; of one seed, that over the test digits."""
    values = torch.tensor([value for value, _ in scores], dtype=torch.float64)
    mean, n = float(values.mean()), len(values)
    if n == 1:
        error = scores[0][1]
        low, high, over = mean - Z * error, mean + Z * error, "test digits"
    else:
        error = float(values.std()) / math.sqrt(n)
        (low, high), over = student(mean, error, n), "seeds"
    return {
        "mean": round(mean, 2),
        "error": round(error, 2),
        "low": round(low, 2),
        "high": round(high, 2),
        "over": over,
    }


def trend(runs: Sequence[dict[str, Any]], aim: float) -> dict[str, float] | None:
    """The nats that a doubling of the epochs brings, by least squares over the last two doublings, and the
    epoch at which that rate would arrive at `aim`: none from one checkpoint, or where nothing grows.
    """
    points = [
        (math.log2(row["epoch"]), row["test"][0])
        for run in runs
        for row in run["checkpoints"]
        if row["epoch"] > 0 and row["epoch"] >= last(run)["epoch"] / 4
    ]
    if len({x for x, _ in points}) < 2:
        return None
    slope, start = linear_regression(*zip(*points, strict=True))
    if slope <= 0:
        return None
    return {"nats_a_doubling": round(slope, 2), "arrives_at_epoch": round(2 ** ((aim - start) / slope))}


def verdict(row: dict[str, Any]) -> str:
    """Whether the published value is inside the interval, or below it."""
    if row["published"] is None:
        return ""
    reached = row["chosen"]["high"] >= row["published"][0]
    unfinished = "" if row["finished"] else ": the run has more turns to play"
    return "reached" if reached else f"not reached{unfinished}"


def draw(result: dict[str, Any], path: Path) -> None:
    """Test likelihood against epochs, a colour for each recipe and a line for each seed, between the
    references."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    colours = dict(zip(dict.fromkeys(run["name"] for run in result["runs"]), cycle(COLOURS), strict=False))
    for run in result["runs"]:
        rows = [row for row in run["checkpoints"] if row["step"]]
        first = run is next(one for one in result["runs"] if one["name"] == run["name"])
        line = {"color": colours[run["name"]], "label": run["name"] if first else None}
        axis.plot([row["epoch"] for row in rows], [row["test"][0] for row in rows], ".-", linewidth=1, **line)
        best = chosen(run)
        axis.plot(best["epoch"], best["test"][0], "o", color=line["color"], markersize=8, fillstyle="none")
    lines = {"published": 225.0} | {name: row["test"][0] for name, row in result["references"].items()}
    left = axis.get_yaxis_transform()
    for name, height in lines.items():
        axis.axhline(height, color="grey", linewidth=0.8, linestyle="--")
        axis.text(0.01, height, f"{name}: {height:.0f}", va="bottom", fontsize=7, transform=left)
    axis.set(xlabel="epochs", ylabel="log-likelihood, nats", ylim=(-100, 370))
    axis.set_title("10,000 test digits; a line for each seed, ring: chosen by validation", fontsize=9)
    axis.legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def parzen() -> str:
    """Table 1 of 2014 on MNIST: ours, and the two references without which the number misleads."""
    result = ledger.result("reproduce_parzen")
    rows = [
        "| 10,000 samples of | published | test log-likelihood, nats | sigma | at epoch | at the last epoch "
        "| minutes a seed |",
        "|---|" + "---|" * 6,
    ]
    theis = {"training data": "243 (Theis et al. 2016)", "k-means centres": "313 (Theis et al. 2016)"}
    for name, row in result["references"].items():
        published = next(text for key, text in theis.items() if name.startswith(key))
        cells = [
            f"*{name.removesuffix(' as samples')}*",
            published,
            ledger.plus_minus(row["test"], 1),
            f"{row['sigma']}",
        ]
        rows.append(f"| {' | '.join(cells)} | | | |")
    for row in result["summary"]:
        mine = [run for run in result["runs"] if key_of(run)[:2] == (row["recipe"], row["steps"])]
        best = [max(run["checkpoints"], key=lambda c: c["valid"][0]) for run in mine]
        published = f"{row['published'][0]:.0f} ± {row['published'][1]:.0f}" if row["published"] else ""
        minutes = sum(row["trained_in"]) / len(row["trained_in"]) / 60
        cells = [
            named(row),
            published,
            likelihood(row["chosen"]),
            ", ".join(sorted({str(c["sigma"]) for c in best})),
            ", ".join(f"{epoch:.0f}" for epoch in row["chosen_epochs"]),
            f"{likelihood(row['last'])} at {', '.join(f'{epoch:.0f}' for epoch in row['epochs'])}",
            f"{minutes:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    said = [
        f"{named(row)}, against the published number: **{row['verdict']}**." + growth(row.get("trend"))
        for row in result["summary"]
        if row["verdict"]
    ]
    return "\n".join([*rows, "", *said])


def named(row: dict[str, Any]) -> str:
    """A recipe, its length and its seeds."""
    return f"`{row['recipe']}` of {row['steps']:,} turns, {seeds(row)}"


def seeds(row: dict[str, Any]) -> str:
    return f"seed{'s' * (len(row['seeds']) > 1)} {', '.join(map(str, row['seeds']))}"


def growth(trend: dict[str, float] | None) -> str:
    """How fast a score grew last, and where that would lead."""
    if trend is None:
        return ""
    return (
        f" Over the last two doublings of the epochs it grew by {trend['nats_a_doubling']:.0f} nats each, at "
        f"which rate\nit would arrive near epoch {trend['arrives_at_epoch']:,}."
    )


def likelihood(score: dict[str, Any]) -> str:
    """Mean with its 95 % interval, and over what it is."""
    return f"{score['mean']:.1f} [{score['low']:.1f}, {score['high']:.1f}] over {score['over']}"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", type=Path, help="default: runs/goodfellow2014/seed*")
    parser.add_argument("--stride", type=int, default=1, help="turns between the checkpoints judged")


def measure(args: argparse.Namespace) -> None:
    result = ledger.read(RESULT, {"references": {}, "runs": []})
    paths = args.runs or sorted(Path("runs/goodfellow2014").glob("seed*"))
    if paths and not result["references"]:
        result["references"] = references()
    judged = {key_of(run): run for run in result["runs"]}
    for path in paths:
        judged |= {key_of(row): row for row in judge(path, result["runs"], args.stride)}
    runs = [judged[key] for key in sorted(judged)]
    ledger.write(RESULT, result | {**ledger.origin(), "runs": runs})


def finish() -> None:
    result = ledger.read(RESULT)
    result["summary"] = summary(result["runs"])
    ledger.write(RESULT, result)
    draw(result, PICTURE)


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"parzen": parzen}, finish)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
