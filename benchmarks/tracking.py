"""The divergence bound, the referee and the duality gap beside the exact JSD, while real games are played.

    python benchmarks/tracking.py --play tracking    play, write results/tracking.json (7 minutes of one core)
    python benchmarks/tracking.py --play regimes     play, write results/tracking_regimes.json (6 minutes)
    python benchmarks/tracking.py   --docs           write the tables and the picture of docs/tracking.md
    python benchmarks/tracking.py --check            judge the committed results and the docs, play nothing

Two parts. *Tracking*: games on a mixture on the line, the ring and the grid, looked at 12 times from the
start to a good fit. JSD(p_data, p_g) is exact there. On the line p_g follows by change of variables. On the
plane G is a network of two latents plus noise of half the data's width (`Blurred`), so that p_g is a smooth
density: the network's image of a fine lattice of latents, blurred by a known Gaussian (`Plane`).

*Regimes*: the protocol of the perturbed duality gap (github.com/perturbed-dg/Perturbed-Duality-Gap), a ring
of radius 2/1.414 played with d:g updates of 1:1, 15:1 and 1:15. Settings were chosen on seeds 0 and 1.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ledger
from zerosum import Game, data, metrics, networks, objectives, penalties, theory
from zerosum.data import GaussianMixture
from zerosum.optimizers import Factory, Wrapper, adam, scheduled
from zerosum.randomness import stream
from zerosum.schedules import ramp
from zerosum.watch import instruments

DOCS = ledger.ROOT / "docs" / "tracking.md"
PICTURE = ledger.ROOT / "docs" / "images" / "tracking.png"
LOOKS = 12

Exact = Callable[[Game], tuple[float, float]]
"""JSD(p_data, p_g) of the game's G, and its error."""


# Tracking: games whose JSD is known -------------------------------------------------------------------------


class Blurred(nn.Module):
    """G(z) = network(z_1, z_2) + noise (z_3, z_4)."""

    def __init__(self, network: nn.Module, noise: float) -> None:
        super().__init__()
        self.network, self.noise = network, noise

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z[:, :2]) + self.noise * z[:, 2:]


class Plane:
    """The JSD of a density and of a `Blurred` generator, both on a grid of cells of 2/3 of the noise.

    p_g = (image of p_z under the network) * N(0, noise^2 I). The image is that of four scrambled Sobol
    lattices of 2^15 latents, each point shared among the four cells round it, which alone blurs by
    cell^2 / 6 on each axis; the rest of the Gaussian is multiplied in Fourier space. The error is Student's
    interval over the four lattices, plus what pooling them changed (the bias of few points), plus the most
    that mass outside of the grid can count.
    """

    def __init__(self, density: GaussianMixture, noise: float, reach: float) -> None:
        self.density, self.noise, self.reach = density, noise, reach
        self.cell = noise * 2 / 3
        self.side = math.ceil(2 * reach / self.cell)

    @cached_property
    def p(self) -> Tensor:
        ticks = (torch.arange(self.side, dtype=torch.float64) + 0.5) * self.cell - self.reach
        points = torch.cartesian_prod(ticks, ticks)
        return self.density.log_prob(points).exp().view(self.side, self.side)

    @cached_property
    def filter(self) -> Tensor:
        k, half = (
            2 * math.pi * f(self.side, d=self.cell, dtype=torch.float64)
            for f in (torch.fft.fftfreq, torch.fft.rfftfreq)
        )
        rest = self.noise**2 - self.cell**2 / 6
        return torch.exp(-rest / 2 * (k[:, None] ** 2 + half**2))

    def __call__(self, game: Game) -> tuple[float, float]:
        generator = game.G.network
        assert isinstance(generator, Blurred)
        return self.jsd(generator.network)

    def jsd(self, network: nn.Module) -> tuple[float, float]:
        images = [self.image(network, seed) for seed in range(4)]
        pooled, lost = self.divergence(torch.stack(images).mean(0))
        each = [self.divergence(image)[0] for image in images]
        sampling = 3.182 * statistics.stdev(each) / 2
        return pooled, sampling + abs(statistics.mean(each) - pooled) + lost * math.log(2) / 2 + 1e-5

    @torch.no_grad()
    def image(self, network: nn.Module, seed: int) -> Tensor:
        u = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(2**15).double()
        z = torch.special.ndtri(u.clamp(1e-7, 1 - 1e-7)).float()
        x = (network(z).double() + self.reach) / self.cell - 0.5
        corner, image = x.floor(), torch.zeros(self.side**2, dtype=torch.float64)
        for step in torch.cartesian_prod(torch.arange(2), torch.arange(2)):
            at = corner + step
            weight = (1 - (x - at).abs()).prod(1) / len(x)
            inside = ((at >= 0) & (at < self.side)).all(1)
            image.index_add_(0, (at[:, 0] * self.side + at[:, 1]).long()[inside], weight[inside])
        return image.view(self.side, self.side)

    def divergence(self, image: Tensor) -> tuple[float, float]:
        """The JSD, and the mass that the grid has lost."""
        blurred = torch.fft.irfft2(torch.fft.rfft2(image) * self.filter, s=image.shape)
        p, q = self.p, blurred.clamp_min(0) / self.cell**2
        middle = ((p + q) / 2).clamp_min(1e-300)
        parts = (torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)).sum()
        return float(parts) * self.cell**2 / 2, max(0.0, 1 - float(image.sum()))


def on_the_line(density: GaussianMixture, game: Game) -> tuple[float, float]:
    """By change of variables and quadrature."""
    p_g = theory.pushforward(game.G.network, theory.NormalPrior(1))
    exact = theory.jsd(density, p_g, by=partial(theory.quadrature, tolerance=1e-3, budget=2**14))
    return exact.value, exact.error


def line(seed: int) -> tuple[Game, GaussianMixture, Exact, int]:
    """Three Gaussians on the line; k = 3, so that D keeps up."""
    density, steps = data.mixture([-2.0, 0.0, 1.0], std=0.3, weights=[1, 2, 1], seed=seed), 3_000
    G = networks.mlp((1,), (1,), width=64, depth=2, activation=nn.LeakyReLU)
    D = networks.mlp((1,), (), width=64, depth=2, activation=nn.SiLU)
    rates = cooled(3e-4, steps, (0.5, 0.999)), cooled(3e-3, steps, (0.5, 0.999))
    game = Game(
        G, D, objectives.nonsaturating(), latent=1, optimizers=rates, k=3, batch=256, ema=None, seed=seed
    )
    return game, density, partial(on_the_line, density), steps


def plane(
    make: Callable[..., GaussianMixture], gain: float, weights: tuple[float, float], reach: float, seed: int
) -> tuple[Game, GaussianMixture, Exact, int]:
    """The presets `ring` and `grid`, shorter, with the objective of 2014, whose D bounds the JSD."""
    density, steps = make(seed=seed), 3_000
    noise = density.std / 2
    fall = ramp(*weights, steps * 7 // 10, shape="geometric")
    D = networks.mlp((2,), (), width=128, depth=3, gain=gain)
    game = Game(
        Blurred(networks.mlp((2,), (2,), width=128, depth=3), noise),
        D,
        objectives.nonsaturating(),
        [penalties.r1(fall), penalties.r2(fall)],
        latent=4,
        optimizers=(cooled(1e-3, steps), cooled(1e-3, steps)),
        batch=128,
        ema=None,
        seed=seed,
    )
    return game, density, Plane(density, noise, reach), steps


def cooled(lr: float, steps: int, betas: tuple[float, float] = (0.0, 0.99)) -> Factory:
    return scheduled(adam(lr, betas), lr=ramp(lr, lr / 20, steps, shape="cosine"))


PROBLEMS: dict[str, Callable[[int], tuple[Game, GaussianMixture, Exact, int]]] = {
    "line": line,
    "ring": partial(plane, data.ring, 10.0, (0.1, 5e-5), 2.0),
    "grid": partial(plane, data.grid, 2.5, (5.0, 1e-3), 6.0),
}


def track(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """One game: the exact JSD and every reading, at each look."""
    torch.manual_seed(seed)
    game, density, exact, steps = PROBLEMS[name](seed)
    held = density.sample(8192, stream(seed, "tracking", "held"))
    watch = [
        instruments.divergence_bound(game, held, n=4096, every=1),
        instruments.referee(held, n=2048, every=1),
        instruments.duality_gap(game, density, held, every=1),
    ]
    looks = {round(i * (steps - 1) / (LOOKS - 1)) for i in range(LOOKS)}
    for turn in game.play(density, steps):
        if turn.step not in looks:
            continue
        value, error = exact(game)
        row = {
            "problem": name,
            "seed": seed,
            "step": turn.step,
            "exact": [value - error, value, value + error],
            "searched": searched_gap(game, density, held, noise=0.0),
        }
        yield row | readings(watch, game, turn)


def readings(watch: Sequence[instruments.Instrument], game: Game, turn: Any) -> dict[str, Any]:
    found = [r for instrument in watch for r in instrument(game, turn)]
    return {r.name: r.value if r.low is None else [r.low, r.value, r.high] for r in found}


def control() -> dict[str, float]:
    """`Plane` where p_g is a Gaussian, and quadrature knows the answer."""
    density, noise = data.ring(std=0.1), 0.05
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(0.5 * torch.eye(2))
        network.bias.zero_()
    value, error = Plane(density, noise, 4.0).jsd(network)
    known = theory.jsd(density, data.gaussian(2, std=math.hypot(0.5, noise)))
    return {"plane": value, "error": error, "quadrature": known.value, "its error": known.error}


# Regimes: the protocol of the perturbed duality gap ---------------------------------------------------------


class Seldom(Wrapper):
    """Moves at every `every`-th step only; the gradients between are dropped."""

    def __init__(self, base: Any, every: int) -> None:
        super().__init__(base)
        self.every, self.memory = every, {"steps": 0}

    def step(self) -> None:
        self.memory["steps"] += 1
        if self.memory["steps"] % self.every == 0:
            self.base.step()


REGIMES = {"convergence": (1, 1, 14_000), "mode collapse": (15, 1, 300), "divergence": (1, 15, 3_000)}
"""Steps of D a turn, turns for each step of D, turns: d:g is 1:1, 15:1, 1:15."""


NOISES = (0.0, 0.05)


def regime(name: str, seed: int) -> dict[str, Any]:
    """G, D of 2 x 128 ReLU, z of 100 numbers, Adam 5e-4 with beta_1 = 0.5; read after the last turn."""
    k, every, turns = REGIMES[name]
    torch.manual_seed(seed)
    ring = data.ring(radius=2 / 1.414, std=0.02 / 1.414, seed=seed)
    G, D = networks.mlp((100,), (2,), width=128, depth=2), networks.mlp((2,), (), width=128, depth=2)
    move = adam(5e-4)
    game = Game(
        G,
        D,
        objectives.nonsaturating(),
        latent=100,
        optimizers=(move, lambda parameters: Seldom(move(parameters), every)),
        k=k,
        batch=128,
        ema=None,
        seed=seed,
    )
    *_, turn = game.play(ring, turns)
    held = ring.sample(8192, stream(seed, "tracking", "held"))
    x = game.sample(2500, seed=1)
    watch = [instruments.referee(held, n=4096), instruments.duality_gap(game, ring, held)]
    row: dict[str, Any] = {
        "regime": name,
        "seed": seed,
        "modes": int(metrics.mode_coverage(x, ring.modes, ring.std).value),
        "high_quality": float(metrics.high_quality_share(x, ring.modes, ring.std)),
        "d_loss": float(turn.d_loss),
    }
    row |= readings(watch, game, turn)
    return row | {f"searched_{noise}": searched_gap(game, ring, held, noise) for noise in NOISES}


def searched_gap(game: Game, source: data.Source, held: Tensor, noise: float, steps: int = 200) -> float:
    """The protocol's own estimate: D' and G' are descended from copies whose weights got Gaussian noise.

    Both are copied in evaluation mode. Its payoff is E[log(D(x) + 1e-4)]/2 + E[log(1 - D(G(z)) + 1e-4)]/2,
    its search Adam at 5e-4, and what counts is the last iterate.
    """

    def payoff(real: Tensor, fake: Tensor) -> Tensor:
        return ((torch.sigmoid(real) + 1e-4).log().mean() + (torch.sigmoid(-fake) + 1e-4).log().mean()) / 2

    def after_search(who: str) -> float:
        G, D = (network.eval() for network in deepcopy((game.G.network, game.D.network)))
        rival, other, sign = (D, G, -1.0) if who == "D" else (G, D, 1.0)
        other.requires_grad_(False)
        draw = stream(game.seed, "tracking", who, "perturbation")
        with torch.no_grad():
            for p in rival.parameters():
                p.add_(noise * torch.randn(p.shape, generator=draw))
        optimizer = torch.optim.Adam(rival.parameters(), 5e-4, (0.5, 0.999), fused=True)
        for i in range(steps):
            z = game.prior((game.batch, *game.latent), stream(game.seed, "tracking", who, i), game.dtype)
            x = source.batch(2**41 + i, game.batch)[0]
            optimizer.zero_grad()
            (sign * payoff(D(x), D(G(z)))).backward()
            optimizer.step()
        with torch.no_grad():
            z = game.prior((len(held), *game.latent), stream(game.seed, "tracking", "judged"), game.dtype)
            return float(payoff(D(held), D(G(z))))

    return after_search("D") - after_search("G")


# Playing ----------------------------------------------------------------------------------------------------


def play_tracking(seeds: range) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        for name in PROBLEMS:
            yield from list(track(name, seed))  # whole games only


def play_regimes(seeds: range) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        for name in REGIMES:
            yield regime(name, seed)


PARTS: dict[str, tuple[str, Callable[[range], Iterator[dict[str, Any]]]]] = {
    "tracking": ("tracking", play_tracking),
    "regimes": ("tracking_regimes", play_regimes),
}


def play(part: str, seeds: range) -> None:
    """Play one part; the file is written as it grows, so that a part stopped early can be reported."""
    name, rows_of = PARTS[part]
    result: dict[str, Any] = {
        "command": "python " + " ".join(sys.argv),
        "machine": ledger.machine(),
    }
    if part == "tracking":
        result["control"] = rounded(control())
    result["rows"] = []
    begun = time.process_time()
    for row in rows_of(seeds):
        result["rows"].append(rounded(row))
        result["processor_seconds"] = round(time.process_time() - begun)
        write(ledger.RESULTS / f"{name}.json", result)
        print(result["processor_seconds"], result["rows"][-1], flush=True)


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(v) for v in value]
        return round(value, 6) if isinstance(value, float) else value

    return {name: short(value) for name, value in row.items()}


def write(path: Path, result: dict[str, Any]) -> None:
    """JSON with one row a line."""
    head = json.dumps({name: value for name, value in result.items() if name != "rows"}, indent=1)
    rows = ",\n".join("  " + json.dumps(row) for row in result["rows"])
    path.write_text(f'{head.removesuffix("}").rstrip()},\n "rows": [\n{rows}\n ]\n}}\n')


# Reporting --------------------------------------------------------------------------------------------------

BOUNDS = {
    "divergence_bound": "the playing D (`divergence_bound`)",
    "referee": "a fresh classifier (`referee`)",
    "worst_case": "the best D' (`worst_case`)",
}
NAMES = {"duality_gap": "`duality_gap`", "best_response": "`best_response`", **BOUNDS}
SEARCHED = {
    "searched_0.0": "G' descended from G, as in 2019",
    "searched_0.05": "D', G' descended from perturbed copies",
}


def read(part: str) -> dict[str, Any]:
    return ledger.read(ledger.RESULTS / f"{PARTS[part][0]}.json")


def value(reading: Any) -> float:
    return reading[1] if isinstance(reading, list) else reading


def holds(row: dict[str, Any], name: str) -> bool:
    """A bound is below the exact JSD, the gap above it, within the intervals of both."""
    low, _, high = row[name]
    least, _, most = row["exact"]
    return high >= least if name == "duality_gap" else low <= most


def games(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    seeds = sorted({row["seed"] for row in rows})
    return [[row for row in rows if row["seed"] == seed] for seed in seeds]


def rank_correlation(game: list[dict[str, Any]], name: str) -> float:
    return spearman([value(row[name]) for row in game], [row["exact"][1] for row in game])


def spearman(reading: list[float], truth: list[float]) -> float:
    """Pearson's correlation of the ranks; 0 of a reading that never moves."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(values)) for values in (reading, truth)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1]) if min(rank.std() for rank in ranks) > 0 else 0.0


def tracking_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| data | exact JSD, first to last look | reading | holds | reading / exact JSD | rank correlation |",
        "|---|---|---|---|---|---|",
    ]
    for problem in PROBLEMS:
        mine = [row for row in rows if row["problem"] == problem]
        played = games(mine)
        first, last = (statistics.mean(game[i]["exact"][1] for game in played) for i in (0, -1))
        for i, name in enumerate([*BOUNDS, "duality_gap"]):
            held = sum(holds(row, name) for row in mine)
            share = statistics.median(value(row[name]) / row["exact"][1] for row in mine)
            rank = statistics.mean(rank_correlation(game, name) for game in played)
            what = [f"`{problem}`, {len(played)} games", f"{first:.3f} to {last:.3f}"] if i == 0 else ["", ""]
            cells = [*what, NAMES[name], f"{held} of {len(mine)}", f"{share:.2f}", f"{rank:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def over_seeds(rows: list[dict[str, Any]], regime: str, name: str) -> list[float]:
    return [value(row[name]) for row in rows if row["regime"] == regime]


def interval(values: list[float]) -> tuple[float, float]:
    """The mean and half of its 95 % interval over seeds."""
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), reach


def below(less: list[float], more: list[float]) -> tuple[int, int]:
    """Of all pairs of seeds, those in which the first is less."""
    return sum(a < b for a in less for b in more), len(less) * len(more)


def apart(rows: list[dict[str, Any]], name: str) -> bool:
    """Whether the ranges of the three regimes over seeds do not meet."""
    ranges = sorted((min(v), max(v)) for v in (over_seeds(rows, regime, name) for regime in REGIMES))
    return all(high < low for (_, high), (low, _) in pairwise(ranges))


def regimes_table(rows: list[dict[str, Any]]) -> str:
    seeds = len(games(rows))
    lines = [
        f"| {seeds} seeds | convergence, 1:1 | mode collapse, 15:1 | divergence, 1:15 "
        "| convergence is below collapse, below divergence | three ranges apart |",
        "|---|---|---|---|---|---|",
    ]
    facts = {"modes": "modes found, of 8", "high_quality": "share of high quality"}
    readings = ["referee", "worst_case", "best_response", "duality_gap"]
    for name, title in {**facts, **{name: NAMES[name] for name in readings}, **SEARCHED}.items():
        of = {regime: over_seeds(rows, regime, name) for regime in REGIMES}
        cells = [title, *("{:.2f} ± {:.2f}".format(*interval(values)) for values in of.values())]
        if name not in (*facts, "best_response"):
            pairs = [below(of["convergence"], of[other]) for other in ("mode collapse", "divergence")]
            cells += [", ".join(f"{n} of {of_all}" for n, of_all in pairs)]
            cells += ["yes" if apart(rows, name) else "no"]
        lines.append(f"| {' | '.join([*cells, '', ''][:6])} |")
    return "\n".join(lines)


def control_line(result: dict[str, Any]) -> str:
    c = result["control"]
    return (
        f"Where p_g is a Gaussian that quadrature can judge too, the grid finds a JSD of {c['plane']:.5f} "
        f"± {c['error']:.5f},\nquadrature {c['quadrature']:.5f} ± {c['its error']:.5f}."
    )


def rewritten(text: str) -> str:
    blocks = {
        "tracking": tracking_table(read("tracking")["rows"]),
        "control": control_line(read("tracking")),
        "regimes": regimes_table(read("regimes")["rows"]),
    }
    for name, block in blocks.items():
        before, rest = text.split(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{block}\n<!-- /{name} -->{rest.split(f'<!-- /{name} -->')[1]}"
    return text


def draw(path: Path) -> None:
    """Above, one game of each kind; below, the readings of the three regimes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 6.6), layout="constrained")
    colours = {
        "divergence_bound": "#e69f00",
        "referee": "#009e73",
        "worst_case": "#0072b2",
        "duality_gap": "#cc79a7",
    }
    rows = read("tracking")["rows"]
    for axis, problem in zip(axes[0], PROBLEMS, strict=True):
        game = games([row for row in rows if row["problem"] == problem])[0]
        steps = [row["step"] for row in game]
        for name, colour in colours.items():
            low, middle, high = zip(*(row[name] for row in game), strict=True)
            axis.plot(steps, middle, color=colour, label=name)
            axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(steps, [row["exact"][1] for row in game], color="black", linewidth=2, label="exact JSD")
        axis.axhline(math.log(2), color="grey", linewidth=0.6, linestyle=":")
        axis.set(title=f"{problem}, seed {game[0]['seed']}", xlabel="turn", ylabel="nats", ylim=(-0.05, 1.0))
    axes[0, 0].legend(fontsize=8)
    rows = read("regimes")["rows"]
    panels = {"worst_case": "worst_case", "duality_gap": "duality_gap", "searched_0.05": "perturbed search"}
    for axis, (name, title) in zip(axes[1], panels.items(), strict=True):
        for i, regime in enumerate(REGIMES):
            values = over_seeds(rows, regime, name)
            axis.plot([i] * len(values), values, "o", color="#0072b2", alpha=0.6)
        axis.set(title=f"{title}, after the last turn", ylabel="nats", xlim=(-0.5, 2.5))
        axis.set_xticks(range(3), [f"{regime}\n{d}:{g}" for regime, (d, g, _) in REGIMES.items()])
        if name == "duality_gap":
            axis.set_yscale("log")
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def faults() -> list[str]:
    """What the committed results owe."""
    tracked, rows = read("tracking"), read("regimes")["rows"]
    found = []
    for problem in PROBLEMS:
        mine = [row for row in tracked["rows"] if row["problem"] == problem]
        if not mine or any(len(game) < LOOKS for game in games(mine)):
            found.append(f"{problem}: a game is missing looks")
        found += [
            f"{problem}, seed {row['seed']}, turn {row['step']}: {name} is on the wrong side of the exact JSD"
            for row in mine
            for name in BOUNDS
            if not holds(row, name)
        ]
    c = tracked["control"]
    if abs(c["plane"] - c["quadrature"]) > c["error"] + c["its error"]:
        found.append("the grid and quadrature disagree about the control")
    if not apart(rows, "duality_gap"):
        found.append("duality_gap: two regimes meet")
    for other in ("mode collapse", "divergence"):
        of = (over_seeds(rows, regime, "worst_case") for regime in ("convergence", other))
        less, pairs = below(*of)
        if less < pairs:
            found.append(f"worst_case: convergence is not always below {other}")
    return found


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--first", type=int, default=10, help="the first seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many")


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    for part in args.parts or PARTS:
        play(part, range(args.first, args.first + args.seeds))


BENCHMARK = ledger.Benchmark(
    __doc__,
    measure,
    options,
    {
        "tracking": lambda: tracking_table(read("tracking")["rows"]),
        "control": lambda: control_line(read("tracking")),
        "regimes": lambda: regimes_table(read("regimes")["rows"]),
    },
    finish=lambda: draw(PICTURE),
    lacks=faults,
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
