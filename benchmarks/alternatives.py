"""Where is a GAN the right choice? Flow matching and a small diffusion model beside it, at equal CPU time.

    python benchmarks/alternatives.py --only mnist
    python benchmarks/alternatives.py --only adult --folder TABLES     (of `benchmarks/tables.py`)

The GAN is what ships: the presets `mnist-dcgan` and `table`, with no option but their turns, and with their
watch. The two others are written here. Flow matching (Lipman et al. 2023, straight lines) is sampled by
Heun's method; diffusion (Ho et al. 2020, the cosine schedule of Nichol and Dhariwal 2021) predicts the noise
and is sampled by DDIM (Song et al. 2021). Each has one network: on MNIST a U-Net that, like G and D, computes
nothing at the full size, of nearly twice their weights; on a table, of as many, a residual MLP of the GAN's
width, twice as deep, with one-hot categories as numbers. They have Adam, a rate that falls by a
cosine over their time, batches of 64, an average of the weights (decay 0.999), and on MNIST bf16, which the
preset has too. Of a table's numbers the margins are brought to those of the data, which `table` does too.

What was chosen for whom: for the GAN nothing here, but its presets were tuned before, on MNIST and on tables
such as this one. For the others rate and batch, on seed 9 of MNIST at 60 CPU seconds, from 1e-3 and 3e-3 by
32, 64 and 128 in part; nothing on the table.

All train for so many CPU seconds on one thread: the GAN for as many turns as its speed allows, because its
rates fall with its turns, the others until the time is over. All are judged by the same judges: samples of
MNIST by `mnist_quality.py`, rows of the table by `tables.py`. Each method, budget and seed is played once; a
command that is given again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import ledger
import tables
from mnist_quality import quality
from zerosum import data, pictures
from zerosum import recipe as recipes
from zerosum.data import order
from zerosum.data.kinds import fit
from zerosum.data.tables import frame, read_sheet
from zerosum.game.prior import normal
from zerosum.networks.mlp import residual_mlp
from zerosum.randomness import stream
from zerosum.run.run import Run
from zerosum.sampling import Generator

RESULT = ledger.RESULTS / "alternatives.json"
PICTURES = ledger.ROOT / "docs" / "images" / "alternatives"
BUDGETS = {"mnist": (60, 300, 600), "adult": (60, 144)}  # CPU seconds
SHOWN = "mnist", 300, 0  # of whose samples there is a picture
JUDGED = 2_500  # images: Frechet distances of other numbers of them are not to be compared
DRAWN = 10_000  # samples whose time is told
PROBE = 200  # turns of the GAN by which its speed is measured, the first half apart
STEPS = (10, 30)  # evaluations of the network in a sample
BATCH, RATE, WARM_UP, DECAY = 64, 3e-3, 100, 0.999

Field = Callable[[Tensor, Tensor], Tensor]  # (x ``[N, ...]``, t ``[N]``) -> the like of x


# two ways from noise to data ----------------------------------------------------------------------------


class Way(NamedTuple):
    """x(t), from noise e at t = 0 to data x at t = 1.

    at: (x, e, t) -> x(t). target: (x, e) -> what the network is to say of x(t). sample: (network, e, its
    evaluations, the largest of |x|) -> x.
    """

    at: Callable[[Tensor, Tensor, Tensor], Tensor]
    target: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Field, Tensor, int, float], Tensor]


def heun(velocity: Field, e: Tensor, evaluations: int, limit: float) -> Tensor:
    """dx/dt = v(x, t) from 0 to 1, by Heun's method: half as many steps as evaluations."""
    x, step = e, 2 / evaluations
    for i in range(evaluations // 2):
        t = e.new_full((len(e),), i * step)
        v = velocity(x, t)
        x = x + step / 2 * (v + velocity(x + step * v, t + step))
    return x.clamp(-limit, limit)


def scales(t: Tensor) -> tuple[Tensor, Tensor]:
    """(signal, noise) at t: sin and cos of about pi t / 2, never quite without either."""
    angle = (0.01 + 0.985 * t) * math.pi / 2
    return angle.sin(), angle.cos()


def diffused(x: Tensor, e: Tensor, t: Tensor) -> Tensor:
    signal, noise = scales(t)
    return signal * x + noise * e


def ddim(noise_in: Field, e: Tensor, evaluations: int, limit: float) -> Tensor:
    """The data that the predicted noise leaves, with as much of that noise as there is at the next t."""
    x = said = e
    for i in range(evaluations):
        t = e.new_full((len(e),), i / evaluations)
        signal, noise = scales(t[0])
        said = ((x - noise * noise_in(x, t)) / signal).clamp(-limit, limit)
        x = diffused(said, (x - signal * said) / noise, t[0] + 1 / evaluations)
    return said


FLOW = Way(lambda x, e, t: t * x + (1 - t) * e, lambda x, e: x - e, heun)
DIFFUSION = Way(diffused, lambda x, e: e, ddim)
WAYS = {"flow matching": FLOW, "diffusion": DIFFUSION}
METHODS = ("GAN", *WAYS)


# networks -----------------------------------------------------------------------------------------------


def of_time(t: Tensor, width: int = 64) -> Tensor:
    """t ``[N]`` in [0, 1] -> sines and cosines ``[N, width]``"""
    angles = t[:, None] * torch.logspace(0, 3, width // 2).to(t)
    return torch.cat([angles.sin(), angles.cos()], 1)


class Block(nn.Module):
    """x + f(x, t): two convolutions after group norm, the second's scaled and shifted by the time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, 1, 1)
        )
        self.norm = nn.GroupNorm(8, channels)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(channels, channels, 3, 1, 1))
        self.time = nn.Linear(64, 2 * channels)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        scale, shift = self.time(t)[:, :, None, None].chunk(2, 1)
        return x + self.second(self.norm(self.first(x)) * (1 + scale) + shift)


class UNet(nn.Module):
    """(x ``[N, 1, 28, 28]``, t ``[N]``) -> the like of x, by convolutions at 14 x 14 and 7 x 7."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.entry = nn.Conv2d(1, width, 4, 2, 1)
        self.down = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, width, 3, 1, 1))
        self.join = nn.Conv2d(2 * width, width, 3, 1, 1)
        self.blocks = nn.ModuleList(Block(c) for c in (width, 2 * width, 2 * width, width))
        self.exit = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 4, 3, 1, 1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = of_time(t)
        before, *low, after = self.blocks
        beside = before(self.entry(x), t)
        x = self.down(beside)
        for block in low:
            x = block(x, t)
        x = after(self.join(torch.cat([beside, self.up(x)], 1)), t)
        return nn.functional.pixel_shuffle(self.exit(x), 2)


class Rows(nn.Module):
    """(x ``[N, d]``, t ``[N]``) -> the like of x"""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.body = residual_mlp((d + 64,), (d,), width=256, blocks=4)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.body(torch.cat([x, of_time(t)], 1))


# training -----------------------------------------------------------------------------------------------


class Trained:
    """A network that learns a way to the data x; samples are drawn of its average."""

    def __init__(self, network: nn.Module, way: Way, x: Tensor, seed: int, bf16: bool = False) -> None:
        self.network, self.way, self.x, self.seed, self.bf16 = network, way, x, seed, bf16
        self.average = deepcopy(network)
        self.optimizer = torch.optim.Adam(network.parameters(), RATE)
        self.chance, self.turns = stream(seed, "alternative"), 0

    def train(self, budget: float) -> float:
        """For so many CPU seconds; how many it took."""
        begun = time.process_time()
        while (spent := time.process_time() - begun) < budget:
            self.turn(spent / budget)
        return spent

    def turn(self, over: float) -> None:
        """over: which part of the time is over."""
        x = self.x[order(len(self.x), self.seed, self.turns * BATCH, BATCH)]
        e = normal(x.shape, self.chance)
        t = torch.sigmoid(normal((BATCH,), self.chance))  # the middle more often (Esser et al. 2024)
        said = self._asked(self.network, self.way.at(x, e, t.reshape(-1, *[1] * (x.ndim - 1))), t)
        self.optimizer.zero_grad()
        (said - self.way.target(x, e)).square().mean().backward()
        for group in self.optimizer.param_groups:
            fallen = 0.51 + 0.49 * math.cos(math.pi * over)
            group["lr"] = RATE * min(1.0, (self.turns + 1) / WARM_UP) * fallen
        self.optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, 1 - min(DECAY, (self.turns + 1) / (self.turns + 10)))
        self.turns += 1

    def _asked(self, network: nn.Module, x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return network(x, t).float()

    @torch.no_grad()
    def sample(self, n: int, evaluations: int) -> Tensor:
        e = normal((n, *self.x.shape[1:]), stream(self.seed, "alternative samples"))

        def field(x: Tensor, t: Tensor) -> Tensor:
            return self._asked(self.average, x, t)

        limit = float(self.x.abs().max())
        return torch.cat([self.way.sample(field, part, evaluations, limit) for part in e.split(500)])


# what is learnt -----------------------------------------------------------------------------------------

Draw = Callable[[int], Any]
Facts = dict[str, Any]


class Subject(NamedTuple):
    """x: the data as networks see them. network: that of the ways. gan: (CPU seconds, seed) -> facts, and
    what draws n samples. decode: what the ways make, as the GAN draws it. judge: what such samples are worth,
    of which it gets n. real: samples of the data, to be judged too; None where another benchmark does."""

    x: Tensor
    network: Callable[[], nn.Module]
    gan: Callable[[float, int], tuple[Facts, Draw]]
    decode: Callable[[Tensor], Any]
    judge: Callable[[Any], Facts]
    n: int
    real: Any = None


def facts_of(turns: int, spent: float, *networks: nn.Module) -> Facts:
    weights = sum(p.numel() for network in networks for p in network.parameters())
    return {"turns": turns, "cpu_seconds": round(spent, 1), "weights": weights}


def alternative(subject: Subject, way: Way, budget: float, seed: int) -> tuple[Facts, dict[int, Draw]]:
    torch.manual_seed(seed)
    trained = Trained(subject.network(), way, subject.x, seed, bf16=subject.x.ndim == 4)
    spent = trained.train(budget)

    def draws(evaluations: int) -> Draw:
        return lambda n: subject.decode(trained.sample(n, evaluations))

    return facts_of(trained.turns, spent, trained.network), {steps: draws(steps) for steps in STEPS}


def mnist(args: argparse.Namespace) -> Subject:
    source = data.mnist("train")

    def play(steps: int, seed: int, folder: Path) -> tuple[Run, list[float]]:
        """The run, and the CPU time at each of its records, which are a hundred turns apart."""
        changes = {"seed": seed, "threads": 1, "device": "cpu", "steps": steps}
        with Run.start(folder, recipes.load("mnist-dcgan", changes)) as run:
            return run, [time.process_time() for _ in run.play()]

    @cache
    def seconds_a_turn() -> float:
        with tempfile.TemporaryDirectory() as folder:
            _, (first, second, *_) = play(PROBE, 0, Path(folder, "run"))
        return (second - first) / 100

    def gan(budget: float, seed: int) -> tuple[Facts, Draw]:
        turns = int(budget / seconds_a_turn())
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            run, _ = play(turns, seed, Path(folder, "run"))
            spent = time.process_time() - begun
            G = Generator.of(Run.open(Path(folder, "run")))
        facts = facts_of(run.game.step, spent, run.game.G.network, run.game.D.network)
        return facts, lambda n: G.sample(n, 1)

    def judge(samples: Any) -> Facts:
        found = quality(samples)
        return {name: found[name] for name in ("frechet_distance", "class_kl", "confidence")}

    pixels = source.pixels[:]
    real = pixels[order(len(source), 0, 0, JUDGED), 0]
    return Subject(source.codec.encode(pixels), UNet, gan, source.codec.decode, judge, JUDGED, real)


def adult(args: argparse.Namespace) -> Subject:
    about = tables.TABLES["adult"]
    train, held_out = tables.divided(read_sheet(args.folder / about.file))
    codec, judges = frame(train.to_pandas(), "all", encoding="ranks").codec, fit(train, encoding="ranks")
    real, held = (tables.of_sheet(sheet, judges) for sheet in (train, held_out))
    numbers = [block.start for block in codec.blocks if block.is_number]

    def gan(budget: float, seed: int) -> tuple[Facts, Draw]:
        model, spent = tables.fitted(train, budget, seed)
        game, _ = model._fitted()
        facts = facts_of(game.step, spent, game.G.network, game.D.network)
        return facts, lambda n: model.sheet(n, seed=seed)

    def decode(x: Tensor) -> Any:
        place = x[:, numbers].argsort(0).argsort(0)
        x[:, numbers] = torch.special.ndtri((place + 0.5) / len(x)).to(x)
        return codec.decode(x)

    def judge(sheet: Any) -> Facts:
        made = tables.of_sheet(sheet, judges)
        found = tables.judged(made, made, real, held, judges, about.target)
        names = ("quality", "detection", "utility", "share_off", "values_lost", "nearness")
        return {name: found[name] for name in names}

    x = codec.encode(train)
    return Subject(x, lambda: Rows(x.shape[1]), gan, decode, judge, len(train))


SUBJECTS = {"mnist": mnist, "adult": adult}
PRESETS = {"mnist": "mnist-dcgan", "adult": "table"}


# measuring ----------------------------------------------------------------------------------------------


def digest(key: str) -> str:
    """Of all of this script that a run depends on, and of its preset if it is the GAN's."""
    subject, method, *_ = key.split(" | ")
    if method == "GAN":
        plays: tuple[object, ...] = PROBE, recipes.dump(recipes.load(PRESETS[subject]))
    else:
        plays = STEPS, BATCH, RATE, WARM_UP, DECAY, heun, scales, diffused, ddim, of_time
        plays += Block, UNet, Rows, Trained, alternative
    return ledger.digest(*plays, JUDGED, SUBJECTS[subject], drawn)


def drawn(subject: Subject, draw: Draw) -> tuple[Facts, Any]:
    """The CPU seconds of 10,000 samples with what the judge says of as many as it wants; these samples."""
    draw(500)  # what is made once is made
    begun = time.process_time()
    samples = draw(subject.n)
    seconds = (time.process_time() - begun) * DRAWN / subject.n
    return {"seconds": round(seconds, 2), **subject.judge(samples)}, samples


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=SUBJECTS, default="mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budgets", type=int, nargs="+", help="CPU seconds, in place of the subject's own")
    parser.add_argument("--folder", type=Path, default=Path("tables"), help="where the table is")


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    subject = SUBJECTS[args.only](args)
    result = ledger.read(RESULT, {"runs": {}})
    if subject.real is not None:
        result["real"] = result.get("real", {}) | {args.only: subject.judge(subject.real)}
    stand = ledger.standing(result["runs"], digest)
    for seed in args.seeds:
        for budget in args.budgets or BUDGETS[args.only]:
            for method in METHODS:
                key = f"{args.only} | {method} | {budget} | {seed}"
                if key in stand:
                    continue
                if method == "GAN":
                    row, draw = subject.gan(budget, seed)
                    draws = {1: draw}
                else:
                    row, draws = alternative(subject, WAYS[method], budget, seed)
                row["samples"] = {}
                for evaluations, draw in draws.items():
                    row["samples"][str(evaluations)], samples = drawn(subject, draw)
                    if (args.only, budget, seed) == SHOWN:
                        picture(method, samples)
                print(key, row, flush=True)
                result["runs"][key] = row | {"digest": digest(key)} | ledger.origin()
                ledger.write(RESULT, result)


def picture(method: str, samples: Any) -> None:
    """The first samples, as they come."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    image = pictures.tiles(samples[:64, None], 8, side=500)
    image.save(PICTURES / f"{method.lower().replace(' ', '-')}.png", optimize=True)


def lacks() -> list[str]:
    return ledger.lapsed(ledger.read(RESULT)["runs"], digest)


# docs ---------------------------------------------------------------------------------------------------


Figures = dict[str, tuple[str, int, int | None]]  # what a column is called -> the figure, digits, its place


def table(name: str, figures: Figures, real: Facts) -> str:
    """A row for each budget, method and number of evaluations: medians over seeds, with the least and the
    most. real: what the judge says of the data."""
    groups: dict[tuple[int, int, int], list[tuple[Facts, Facts]]] = {}
    for key, row in ledger.read(RESULT)["runs"].items():
        subject, method, budget, _ = key.split(" | ")
        for evaluations, found in row["samples"].items():
            if subject == name:
                group = int(budget), METHODS.index(method), int(evaluations)
                groups.setdefault(group, []).append((row, found))
    lines = [["", "real data", *[""] * 5, *worth([real], figures)]]
    for (budget, method, evaluations), some in sorted(groups.items()):
        turns, weights = (f"{median(row[of] for row, _ in some):,.0f}" for of in ("turns", "weights"))
        cells = [f"{budget}", METHODS[method], f"{len(some)}", turns, weights, f"{evaluations}"]
        cells.append(middle([found["seconds"] for _, found in some], 1))
        lines.append([*cells, *worth([found for _, found in some], figures)])
    head = ["CPU s", "method", "seeds", "turns", "weights", "evaluations a sample", "CPU s for 10,000"]
    return ledger.table([*head, *figures], lines)


def worth(some: list[Facts], figures: Figures) -> list[str]:
    """A cell for each figure: nothing where it was not judged."""
    cells: list[str] = []
    for figure, digits, at in figures.values():
        values = [found[figure] for found in some if found[figure] is not None]
        values = values if at is None else [value[at] for value in values]
        cells.append(middle(values, digits) if values else "")
    return cells


def middle(values: list[float], digits: int) -> str:
    spread = f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})" if len(values) > 1 else ""
    return f"{median(values):,.{digits}f}{spread}"


IMAGES: Figures = {
    "Frechet distance": ("frechet_distance", 2, 0),
    "class KL": ("class_kl", 4, None),
    "confidence": ("confidence", 3, None),
}
ROWS: Figures = {
    "quality": ("quality", 3, None),
    "told from real": ("detection", 3, 0),
    "utility": ("utility", 3, 2),
    "share off": ("share_off", 3, None),
    "nearness": ("nearness", 2, 0),
}
PARTS = {
    "alternatives_mnist": lambda: table("mnist", IMAGES, ledger.read(RESULT)["real"]["mnist"]),
    "alternatives_adult": lambda: table("adult", ROWS, ledger.result("tables")["adult real"]),
}
BENCHMARK = ledger.Benchmark(__doc__, measure, options, PARTS, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
