"""What makes better pictures in the same time of a processor? One experiment changes one thing.

    python benchmarks/pictures.py                         all, on three folders, three seeds, ten minutes each
    python benchmarks/pictures.py --folders emoji --seeds 0 --only 'compact*'
    python benchmarks/pictures.py --minutes 60 --only baseline

The experiments stand in benchmarks/pictures.yaml, the folders in benchmarks/folders.py. A game has one thread
and as many turns as --minutes of processor time hold by a trial, so that what else the machine does counts
against nobody; judging is not counted. A minute of another machine is another time: --machine keeps apart
what was played on each. What was played is not played again: runs/pictures has the runs, which
go on where they were stopped, and a result for each. The first seed of all comes before the second of any.

The judge: as many samples as there are pictures, 1,000 at most, laid on white, beside the pictures. In the
features of EfficientNet-Lite0, which no game sees but `projected`, and in those of a small encoder that
learns the folder without labels (`metrics.train_encoder`) and that none sees: the kernel distance, whose
value is 0 for real pictures; in the first also coverage and precision. The floor is what two halves of the
pictures have.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

import ledger
from folders import folder
from pictures_parts import on_white
from zerosum import metrics
from zerosum import recipe as recipes
from zerosum.data import order
from zerosum.metrics import FeatureSpace
from zerosum.recipe import Recipe
from zerosum.run import autotune
from zerosum.run.log import Log
from zerosum.run.run import Run
from zerosum.sampling import Generator

HERE = Path(__file__).resolve().parent
RESULT = ledger.RESULTS / "pictures.json"
RUNS = Path("runs/pictures")
FOLDERS = ("flags", "emoji", "landscapes")
MOST = 1_000
DISTANCES = ("kernel_distance", "encoder_distance")
MEASURES = (*DISTANCES, "coverage", "precision")


@cache
def experiments() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((HERE / "pictures.yaml").read_text())


def recipe_of(name: str, place: str, seed: int, size: int, **fields: Any) -> Recipe:
    """What an experiment plays on a folder; one thread, nothing that looks on."""
    changed = experiments()["baseline"] | experiments()[name]
    base = changed.pop("recipe")
    data = {"name": "image_folder", "path": str(folder(place)), "size": size}
    own = {"data": data, "seed": seed, "threads": 1, "device": "cpu", "precision": "bf16", "watch": "none"}
    return recipes.load(base, {**own, "keep": 1, "checkpoint_every": 500, "steps": 1, **changed, **fields})


def turns_of(recipe: Recipe, seconds: float) -> int:
    """How many turns take so many seconds of a processor, by a trial."""
    with autotune.restored():
        torch.set_num_threads(1)
        game, source = recipes.build(recipe)
        turns = game.play(source, 2**31)
        for _ in range(2):
            next(turns)
        trial, begun = 4 * game.cycle, time.process_time()
        for _ in range(trial):
            next(turns)
        return max(1, int(seconds * trial / (time.process_time() - begun)))


def played(name: str, place: str, seed: int, args: Namespace) -> Run:
    """The run of an experiment, from where it is to its end."""
    path = RUNS / f"{args.size}px-{args.minutes:g}min" / place / f"{name}-{seed}"
    if (path / "recipe.yaml").exists():
        turns = Log(path).recipe().turns
    else:
        turns = turns_of(recipe_of(name, place, seed, args.size), 60 * args.minutes)
    with Run.start(path, recipe_of(name, place, seed, args.size, steps=turns)) as run:
        for _ in run.play():
            pass
    return run


# the judge ------------------------------------------------------------------------------------------------


def real_pictures(place: str, size: int) -> torch.Tensor:
    """At most so many of a folder's pictures, as a person sees them: [n, 3, size, size] in [-1, 1]."""
    source = pictures_of(place, size)
    chosen = order(len(source), 0, 0, min(MOST, len(source)))
    return on_white(source.codec.encode(source.pixels[chosen]))


@cache
def pictures_of(place: str, size: int) -> Any:
    component = {"name": "image_folder", "path": str(folder(place)), "size": size}
    return recipes.build_data(component).split("all")


@cache
def spaces(place: str, size: int) -> dict[str, FeatureSpace]:
    """The encoder is trained once for each folder, and kept."""
    file, real = RUNS / f"encoder-{place}-{size}.safetensors", real_pictures(place, size)
    encoder = metrics.train_encoder(real, steps=2 if file.exists() else 500)
    trunk = encoder.encode
    assert isinstance(trunk, nn.Module)
    if file.exists():
        trunk.load_state_dict(load_file(file))
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(trunk.state_dict(), file)
    return {"kernel_distance": metrics.efficientnet(), "encoder_distance": encoder}


@cache
def real_features(place: str, size: int) -> dict[str, torch.Tensor]:
    real = real_pictures(place, size)
    return {name: space(real) for name, space in spaces(place, size).items()}


def compared(real: Mapping[str, torch.Tensor], fake: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    """[value, low, high] of each measure."""
    found = {name: metrics.kernel_distance(real[name], fake[name]) for name in real}
    near = metrics.prdc(real["kernel_distance"], fake["kernel_distance"])
    found |= {"coverage": near.coverage, "precision": near.precision}
    return {name: [round(float(x), 5) for x in (e.value, e.low, e.high)] for name, e in found.items()}


def judged(run: Run, place: str, size: int) -> dict[str, list[float]]:
    real = real_features(place, size)
    samples = np.asarray(Generator.of(run).sample(len(real["kernel_distance"]), seed=1))
    fake = on_white(run.source.codec.encode(samples))
    return compared(real, {name: space(fake) for name, space in spaces(place, size).items()})


def floor(place: str, size: int) -> dict[str, list[float]]:
    halves = [{k: x[i::2] for k, x in real_features(place, size).items()} for i in (0, 1)]
    n = min(len(half["kernel_distance"]) for half in halves)
    return compared(*({k: x[:n] for k, x in half.items()} for half in halves))


# all of them ----------------------------------------------------------------------------------------------


def measured(name: str, place: str, seed: int, args: Namespace) -> dict[str, Any]:
    about = {"experiment": name, "folder": place, "seed": seed}
    about |= {"minutes": args.minutes, "machine": args.machine, "size": args.size}
    file = RUNS / "results" / f"{args.size}px-{args.minutes:g}min-{place}-{name}-{seed}.json"
    changes = experiments()[name]
    if file.exists() and (row := json.loads(file.read_text()))["changes"] == changes:
        return row | about
    run = played(name, place, seed, args)
    row = {**about, "changes": changes, "turns": run.game.step, **judged(run, place, args.size)}
    file.parent.mkdir(parents=True, exist_ok=True)
    ledger.write(file, row, None)
    print(f"{place} {name} {seed}: {row['turns']:,} turns, " + shown(row), flush=True)
    return row


def shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{m} {row[m][0]:.4f}" for m in MEASURES)


def measure(args: Namespace) -> None:
    torch.set_num_threads(1)
    wanted = [name for name in experiments() if any(fnmatch(name, only) for only in args.only)]
    if not wanted:
        raise SystemExit(f"no experiment is called so: there are {', '.join(experiments())}")
    for seed, place, name in product(args.seeds, args.folders, wanted):
        row = measured(name, place, seed, args)
        if not args.draft:
            result = ledger.read(RESULT, {"rows": [], "floor": {}})
            others = [r for r in result["rows"] if key_of(r) != key_of(row)]
            floors = {**result["floor"], f"{place}-{args.size}": floor(place, args.size)}
            ledger.write(RESULT, {**ledger.origin(), "floor": floors, "rows": [*others, row]})


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("folder", "size", "minutes", "machine", "experiment", "seed"))


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0, help="of a processor for a game (default: 10)")
    parser.add_argument("--folders", nargs="+", default=[*FOLDERS], metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="EXPERIMENT", help="* and ? may stand in it"
    )
    parser.add_argument("--size", type=int, default=64, help="side of the pictures (default: 64)")
    parser.add_argument("--machine", default="A", help="what this machine is called (default: A)")
    parser.add_argument("--draft", action="store_true", help="leave the committed result as it is")


def table() -> str:
    """A row for each experiment and folder, the best of a folder first; mean ± standard error over seeds."""
    result = ledger.read(RESULT, {"rows": [], "floor": {}})
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault(key_of(row)[:-1], []).append(row)
    if not groups:
        return "Not measured yet."
    rows: list[list[Any]] = []
    order_of = sorted(groups, key=lambda g: (*g[:4], fmean(r["kernel_distance"][0] for r in groups[g])))
    for place, size, minutes, machine, name in order_of:
        found = groups[place, size, minutes, machine, name]
        about = [f"{place}, {size}²", f"{minutes:g}, {machine}"]
        if not rows or rows[-1][:2] != about:
            real = [f"{result['floor'][f'{place}-{size}'][m][0]:.3f}" for m in MEASURES]
            rows.append([*about, "*real pictures*", "", "", *real])
        numbers = [ledger.plus_minus(mean_and_error([r[m][0] for r in found])) for m in MEASURES]
        turns = f"{fmean(r['turns'] for r in found):,.0f}"
        rows.append([*about, f"`{name}`", len(found), turns, *numbers])
    head = ["folder", "CPU minutes, machine", "experiment", "seeds", "turns"]
    return ledger.table([*head, *(m.replace("_", " ") for m in MEASURES)], rows)


def mean_and_error(values: list[float]) -> tuple[float, float | None]:
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"pictures": table})

if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    raise SystemExit(BENCHMARK.main())
