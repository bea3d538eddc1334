"""Games of two numbers on the real engine: Dirac-GAN (Mescheder et al. 2018), the bilinear game (Gidel 2019).

    python benchmarks/reproduce/dirac.py             play, write results/reproduce_dirac.json and the picture
    python benchmarks/reproduce/dirac.py --docs      only judge and draw what was played

Dirac-GAN has data at 0, fakes at theta and the logit psi x; its equilibrium is the origin. The setting is
that of the authors' notebook: theta = psi = 1 at first, rate 0.2, 500 turns, with the game's two losses as
`zerosum.objectives` has them, its penalties and its optimizers. Beside each game stands its field of
`zerosum.theory`, which knows nothing of the engine: the distance after 500 turns and the factor by which the
distance to the equilibrium changes a turn are *predicted* there and *measured* here.

The bilinear game L = theta psi is the same two players under Wasserstein's objective, from (2, 0.5) at rate
0.1, 100 updates.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import Game, objectives, penalties, theory
from zerosum.claims import MULTIPLE
from zerosum.claims.estimates import ROUNDING
from zerosum.claims.experiments import Point, Slope
from zerosum.objectives import Objective
from zerosum.optimizers import Factory, clipped, extragradient, lookahead_minmax, optimistic, sgd
from zerosum.penalties import Penalty
from zerosum.randomness import stream
from zerosum.theory import Field, Play, Quantity

RESULT = ledger.RESULTS / "reproduce_dirac.json"
PICTURE = ledger.ROOT / "docs" / "images" / "reproduce" / "dirac.png"
RATE, START, TURNS = 0.2, (1.0, 1.0), 500
SEEDS, BATCH = 10, 1000  # where noise is drawn
NEAR, SLOPE_TURNS = (8e-7, 6e-7), 400  # so near to the equilibrium that the game is linear
ORIGIN = torch.zeros(2, dtype=torch.float64)
Orbit = Tensor
"""The points (theta, psi) of a game, [turns + 1, 2]."""


# Dirac-GAN --------------------------------------------------------------------------------------------------


class Spread(Point):
    """G(z) = theta + std z: instance noise on the fakes (a point at std = 0)."""

    def __init__(self, theta: float, std: float) -> None:
        super().__init__(theta)
        self.std = std

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + self.std * z


@dataclass(frozen=True)
class Blurred:
    """The data: a point at 0, and the same noise."""

    std: float = 0.0
    seed: int = 0
    shape: tuple[int, ...] = (1,)
    classes: int = 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        generator = stream(self.seed, step, "instance noise")
        return self.std * torch.randn(n, 1, generator=generator, dtype=torch.float64), None


@dataclass(frozen=True)
class Kind:
    """A game, as theory's field has it and as the engine plays it.

    consensus: the weight of |v|^2 / 2 in both losses (Mescheder, Nowozin and Geiger 2017).
    converges: what was published; linear: whether theory has a rate at the equilibrium that a path can show.
    """

    field: Field
    objective: Objective
    penalty: tuple[Penalty, ...] = ()
    d_optimizer: Callable[[Factory], Factory] = lambda base: base
    noise: float = 0.0
    consensus: float = 0.0
    converges: bool = False
    linear: bool = True

    def play(
        self, start: Sequence[float], turns: int, rate: float = RATE, seed: int = 0, **how: Any
    ) -> Orbit:
        """The points of the game on the engine; how: `simultaneous`, `k`."""
        G, D = Spread(start[0], self.noise), Slope(start[1])
        game = Game(
            G,
            D,
            drawn_together(self.objective, G, D, self.consensus) if self.consensus else self.objective,
            [*self.penalty, *([consensus(self.objective, G, D, self.consensus)] if self.consensus else [])],
            latent=1,
            batch=BATCH if self.noise else 1,
            ema=None,
            optimizers=(sgd(rate), self.d_optimizer(sgd(rate))),
            seed=seed,
            **how,
        )
        return walked(game, Blurred(self.noise, seed), turns)


def walked(game: Game, source: Any, turns: int) -> Orbit:
    """(theta, psi) at the start and after each turn."""

    def here() -> list[float]:
        return [float(player.parameters[0].detach()) for player in (game.G, game.D)]

    return torch.tensor([here(), *(here() for _ in game.play(source, turns))], dtype=torch.float64)


def half_squared_speed(objective: Objective, theta: Tensor, psi: Tensor) -> Tensor:
    """|v|^2 / 2, [1], of the two losses' gradients at (theta, psi); differentiable in both."""
    real, fake = torch.zeros(1, dtype=torch.float64) * psi, (-psi * theta)[None]
    (v_theta,) = torch.autograd.grad(objective.g(None, fake).sum(), theta, create_graph=True)
    (v_psi,) = torch.autograd.grad(objective.d(real, fake).sum(), psi, create_graph=True)
    return (v_theta.square() + v_psi.square())[None] / 2


def consensus(objective: Objective, G: Point, D: Slope, weight: float) -> Penalty:
    """weight |v|^2 / 2 as a penalty on D, for which theta stands still."""

    def speed(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        return half_squared_speed(objective, G.theta.detach().requires_grad_(), D.psi)

    return Penalty(speed, weight, name="consensus")


def drawn_together(objective: Objective, G: Point, D: Slope, weight: float) -> Objective:
    """The same objective with weight |v|^2 / 2 in G's loss, for which psi stands still."""

    def g(real: Tensor | None, fake: Tensor) -> Tensor:
        pull = half_squared_speed(objective, G.theta, D.psi.detach().requires_grad_())
        return objective.g(real, fake) + weight * pull

    return replace(objective, g=g)


def with_r1(kind: Kind, weight: float) -> Kind:
    field = theory.gradient_penalty(kind.field, weight)
    return replace(kind, field=field, penalty=(penalties.r1(weight),), converges=True)


GAN = Kind(theory.dirac_minimax, objectives.minimax())
NS_GAN = Kind(theory.dirac_nonsaturating, objectives.nonsaturating())
WGAN = Kind(theory.dirac_wasserstein, objectives.wasserstein(), linear=False)
KINDS: dict[str, Kind] = {
    "GAN (minimax)": GAN,
    "NS-GAN": NS_GAN,
    "WGAN, clip 1": replace(
        WGAN, field=theory.clipped(WGAN.field, 1.0), d_optimizer=lambda base: clipped(base, 1.0)
    ),
    # theory and the notebook have weight/2 (|psi| - 1)^2, the paper of WGAN-GP and ours weight (|psi| - 1)^2
    "WGAN-GP 0.7": replace(
        WGAN,
        field=theory.gradient_penalty(WGAN.field, 0.7, target=1.0),
        penalty=(penalties.wgan_gp(0.35),),
    ),
    "GAN + instance noise 0.7": replace(
        GAN, field=theory.dirac_instance_noise(0.7), noise=0.7, converges=True, linear=False
    ),
    "GAN + R1 0.3": with_r1(GAN, 0.3),
    "GAN + R1 1.0": with_r1(GAN, 1.0),
    "NS-GAN + R1 0.3": with_r1(NS_GAN, 0.3),
    "GAN + consensus 1": replace(
        GAN, field=theory.consensus(theory.dirac_minimax, 1.0), consensus=1.0, converges=True
    ),
}
PLAYS: dict[str, tuple[Play, dict[str, Any]]] = {
    "SimGD": (theory.simultaneous, {"simultaneous": True}),
    "AltGD 1": (theory.alternating(1), {"k": 1}),
    "AltGD 5": (theory.alternating(5), {"k": 5}),
}


def played(kind: Kind, name: str) -> dict[str, Any]:
    """A game by one way to play: how near it is in the end, and its rate, each predicted and measured."""
    play, how = PLAYS[name]
    start = torch.tensor(START, dtype=torch.float64)
    ideal = theory.trajectory(kind.field, start, RATE, TURNS, play)
    paths = [kind.play(START, TURNS, seed=seed, **how) for seed in range(SEEDS if kind.noise else 1)]
    ends = [float(path[-1].norm()) for path in paths]
    distance = paths[0].norm(dim=1)
    found = {
        "distance": sum(ends) / len(ends),
        "distances": ends,
        "halfway": float(distance[TURNS // 2]),
        "nearest_of_the_last_100": float(distance[-100:].min()),
        "farthest_of_the_last_100": float(distance[-100:].max()),
        "distance_in_theory": float(ideal[-1].norm()),
        "apart_from_theory": None if kind.noise else float((paths[0] - ideal).abs().max()),
    }
    if kind.linear:
        found["predicted_rate"] = theory.predicted_rate(kind.field, ORIGIN, RATE, play)
        found["measured_rate"] = pair(theory.measured_rate(kind.play(NEAR, SLOPE_TURNS, **how)))
    return found


def pair(quantity: Quantity) -> list[float]:
    return [quantity.value, quantity.error]


def critical() -> dict[str, list[float]]:
    """SimGD's rate about the critical weight of R1, 2 |f'(0)| = 1: by weight [predicted, measured]."""
    found = dict[str, list[float]]()
    for weight in (0.8, 1.0, 1.2):
        kind = with_r1(GAN, weight)
        predicted = theory.predicted_rate(kind.field, ORIGIN, RATE)
        path = kind.play(NEAR, SLOPE_TURNS, simultaneous=True)
        found[f"{weight:g}"] = [predicted, theory.measured_rate(path).value]
    return found


def _halved(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.sigmoid(-psi * theta)
    pull = -slope.square() * (1 - slope) * (theta.square() + psi.square()) / 2  # the half is theirs
    return (
        -psi * slope - theta * slope.square() - psi * pull,
        theta * slope - psi * slope.square() - theta * pull,
    )


NOTEBOOK_CONSENSUS = Field(_halved)
"""Consensus of weight 1 as `diracgan/gans.py` of the notebook has it. grad |v|^2 / 2 has the term f' f''
(theta^2 + psi^2) (psi, theta), of which it takes one half; so it is no gradient, but has the right Jacobian
at the equilibrium."""


def notebook_consensus() -> list[float]:
    """The distances that the notebook's field goes to, as its authors play: both at once, or G first."""
    start = torch.tensor(START, dtype=torch.float64)
    plays = (theory.simultaneous, *(theory.alternating(k, generator_first=True) for k in (1, 5)))
    paths = [theory.trajectory(NOTEBOOK_CONSENSUS, start, RATE, TURNS, play) for play in plays]
    return [float(path[-1].norm()) for path in paths]


# The bilinear game ------------------------------------------------------------------------------------------

BILINEAR_RATE, BILINEAR_START, UPDATES = 0.1, (2.0, 0.5), 100


@dataclass(frozen=True)
class Method:
    """A player of the bilinear game. turns: those of one update; predicted: its factor, at rate h."""

    optimizer: Callable[[Factory], Factory]
    predicted: Callable[[float], float]
    turns: int = 1
    simultaneous: bool = True
    converges: bool = True

    def path(self, start: Sequence[float], updates: int, rate: float = BILINEAR_RATE) -> Orbit:
        """The points after each update."""
        player = self.optimizer(sgd(rate))
        game = Game(
            Point(start[0]),
            Slope(start[1]),
            objectives.wasserstein(),
            latent=1,
            batch=1,
            ema=None,
            optimizers=(player, player),
            simultaneous=self.simultaneous,
        )
        return walked(game, Blurred(), updates * self.turns)[:: self.turns]


def by_theory(play: Play) -> Callable[[float], float]:
    """The spectral radius of one update of this play at the bilinear game's equilibrium."""
    field = theory.bilinear(torch.ones(1, 1, dtype=torch.float64))
    return lambda h: theory.predicted_rate(field, ORIGIN, h, play)


METHODS: dict[str, Method] = {
    "SimGD": Method(lambda base: base, lambda h: math.sqrt(1 + h**2), converges=False),
    "AltGD": Method(lambda base: base, lambda h: 1.0, simultaneous=False, converges=False),
    "extragradient": Method(extragradient, lambda h: math.sqrt((1 - h**2) ** 2 + h**2), turns=2),
    "optimistic": Method(optimistic, by_theory(theory.optimistic)),
    "lookahead 5, 0.5": Method(
        lambda base: lookahead_minmax(base, every=5, alpha=0.5), lambda h: abs(1 + (1 + 1j * h) ** 5) / 2, 5
    ),
}


def factor(method: Method) -> dict[str, Any]:
    """The factor of one update, predicted and measured."""
    path = method.path(BILINEAR_START, UPDATES)
    return {
        "turns_of_an_update": method.turns,
        "predicted_rate": method.predicted(BILINEAR_RATE),
        "measured_rate": pair(theory.measured_rate(path)),
        "distance": float(path[-1].norm()),
        "farthest": float(path.norm(dim=1).max()),
        "converges": method.converges,
    }


# What was published, and whether it held --------------------------------------------------------------------


def agrees(row: dict[str, Any]) -> bool:
    """Measured within three times its error of predicted, as `zerosum theory` demands."""
    value, error = row["measured_rate"]
    return abs(value - row["predicted_rate"]) <= MULTIPLE * (error + ROUNDING)


def shown(rate: Sequence[float]) -> str:
    """A measured rate with its error, if five digits show it."""
    value, error = rate
    return f"{value:.5f}" + (f" ± {error:.0g}" if error > 1e-6 else "")


def claims(result: dict[str, Any]) -> list[Any]:
    """[source, claim, held, what was found] for each published claim."""
    games, weights, bilinear = result["games"], result["critical"], result["bilinear"]
    start = math.hypot(*START)

    def ways(name: str) -> list[dict[str, Any]]:
        return list(games[name].values())

    def ends(name: str) -> str:
        return "distances after 500 turns " + ", ".join(f"{way['distance']:.2g}" for way in ways(name))

    def away(name: str) -> bool:
        return all(way["nearest_of_the_last_100"] > 0.1 for way in ways(name))

    def arrives(name: str) -> bool:
        return all(way["distance"] < 1e-3 * start and agrees(way) for way in ways(name))

    gan, noisy = games["GAN (minimax)"], ways("GAN + instance noise 0.7")
    ns, wgan, wgan_gp = "NS-GAN", "WGAN, clip 1", "WGAN-GP 0.7"
    slow = all(way["distance"] < way["halfway"] and way["distance"] > 0.05 for way in ways(ns))
    blurred = all(way["distance_in_theory"] < 1e-3 and way["distance"] < 0.1 for way in noisy)
    by = {weight: measured for weight, (_, measured) in weights.items()}
    rows: list[tuple[str, str, bool, str]] = [
        (
            "Mescheder 2018",
            "the unregularised GAN spirals outwards under simultaneous play",
            gan["SimGD"]["distance"] > start and agrees(gan["SimGD"]),
            f"distance {start:.2f} becomes {gan['SimGD']['distance']:.2f}",
        ),
        (
            "Mescheder 2018",
            "under alternating play it circles and never arrives",
            all(gan[play]["nearest_of_the_last_100"] > 0.1 for play in ("AltGD 1", "AltGD 5")),
            "distances in the last 100 turns at least "
            + " and ".join(f"{gan[play]['nearest_of_the_last_100']:.2f}" for play in ("AltGD 1", "AltGD 5")),
        ),
        (
            "Mescheder 2018",
            "the non-saturating GAN has no linear rate: it comes nearer, more and more slowly",
            slow and all(agrees(way) for way in ways(ns)),
            ends(ns),
        ),
        ("Mescheder 2018", "WGAN with clipping does not converge", away(wgan), ends(wgan)),
        ("Mescheder 2018", "nor does WGAN-GP", away(wgan_gp), ends(wgan_gp)),
        (
            "Mescheder 2018",
            "instance noise converges, in expectation",
            blurred,
            f"expected field {max(way['distance_in_theory'] for way in noisy):.1g} at most; noise drawn "
            f"({BATCH} a turn, {SEEDS} seeds) leaves {noisy[0]['distance']:.2g}",
        ),
        *(
            ("Mescheder 2018", f"{name} converges at its predicted rate", arrives(name), ends(name))
            for name, kind in KINDS.items()
            if kind.penalty and kind.converges
        ),
        (
            "Mescheder 2018",
            "the critical weight of R1, 2 |f'(0)| = 1, is the fastest",
            by["1"] < min(by["0.8"], by["1.2"]),
            ", ".join(f"weight {weight}: {rate:.3f} a turn" for weight, rate in by.items()),
        ),
        (
            "Mescheder 2017",
            "consensus converges locally, at its predicted rate",
            all(agrees(way) and way["measured_rate"][0] < 1 for way in ways("GAN + consensus 1")),
            ", ".join(f"{way['measured_rate'][0]:.3f} a turn" for way in ways("GAN + consensus 1")),
        ),
        (
            "Mescheder 2018, notebook",
            "consensus arrives from (1, 1), with five steps of D too",
            all(way["distance"] < 1e-3 * start for way in ways("GAN + consensus 1")),
            ends("GAN + consensus 1")
            + "; the notebook halves a term of grad |v|^2/2, and its field goes to "
            + ", ".join(f"{distance:.1g}" for distance in result["notebook_consensus"]),
        ),
    ]
    sources = {"lookahead 5, 0.5": "Chavdarova 2021", "optimistic": "Daskalakis 2018"}
    for name, row in bilinear.items():
        distance = row["distance"]
        held = agrees(row) and (distance < math.hypot(*BILINEAR_START)) == row["converges"]
        if name == "AltGD":
            held = agrees(row) and row["farthest"] < 2 * math.hypot(*BILINEAR_START)
        words = "stays bounded" if name == "AltGD" else "converges" if row["converges"] else "diverges"
        turns = row["turns_of_an_update"]
        span = "a turn" if turns == 1 else f"in {turns} turns"
        claim = f"bilinear game: {name} {words}, by a factor of {row['predicted_rate']:.5f} {span}"
        found = f"{shown(row['measured_rate'])}; distance {distance:.3g} after {UPDATES * turns} turns"
        rows.append((sources.get(name, "Gidel 2019"), claim, held, found))
    return [list(row) for row in rows]


# The picture ------------------------------------------------------------------------------------------------


def draw(path: Path) -> None:
    """Every game's way through the plane (theta, psi)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(12, 5.4), layout="constrained")
    colours = {"SimGD": "#d55e00", "AltGD 1": "#0072b2"}
    names = [name for name in KINDS if name != "NS-GAN + R1 0.3"]  # it looks as GAN + R1 0.3 does
    for axis, name in zip(axes.flat[:8], names, strict=True):
        for play, colour in colours.items():
            trace(axis, KINDS[name].play(START, TURNS, **PLAYS[play][1]), colour, play)
        axis.set_title(name, fontsize=10)
    pairs = (("SimGD", "AltGD"), ("extragradient", "optimistic", "lookahead 5, 0.5"))
    for axis, methods in zip(axes.flat[8:], pairs, strict=True):
        for name, colour in zip(methods, ("#d55e00", "#0072b2", "#009e73"), strict=False):
            updates = 2 * UPDATES // METHODS[name].turns
            trace(axis, METHODS[name].path(BILINEAR_START, updates), colour, name)
        axis.set_title("bilinear game", fontsize=10)
        axis.legend(fontsize=7, loc="lower left")
    axes[0, 0].legend(fontsize=7, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=88, pil_kwargs={"optimize": True})
    plt.close(figure)


def trace(axis: Any, path: Orbit, colour: str, label: str) -> None:
    axis.plot(*path.T, color=colour, linewidth=0.9, label=label)
    axis.plot(*path[0], "k.", markersize=5)
    axis.plot(*path[-1], "o", color=colour, markersize=4)
    axis.plot(0, 0, "k+", markersize=9)
    axis.set_aspect("equal", "datalim")
    axis.tick_params(labelsize=7)


def dirac() -> str:
    """Dirac-GAN and the bilinear game: distances, rates, and whether each published claim held."""
    result = ledger.result("reproduce_dirac")
    plays = ("SimGD", "AltGD 1", "AltGD 5")
    rows = [
        "| game | published | " + " | ".join(f"{p}, distance" for p in plays) + " | "
        "SimGD, rate predicted | measured | AltGD 1, predicted | measured |",
        "|---|" + "---|" * 8,
    ]
    for name, game in result["games"].items():
        rates = [
            f"{game[play]['predicted_rate']:.5f} | {rate(game[play]['measured_rate'])}"
            if "predicted_rate" in game[play]
            else " | "
            for play in plays[:2]
        ]
        published = "converges" if result["published_to_converge"][name] else "does not"
        distances = [f"{game[play]['distance']:.2g}" for play in plays]
        rows.append(f"| {' | '.join([name, published, *distances, *rates])} |")
    ways = [way for game in result["games"].values() for way in game.values()]
    apart = max(way["apart_from_theory"] for way in ways if way["apart_from_theory"] is not None)
    held = sum(claim[2] for claim in result["claims"])
    return "\n".join(
        [
            *rows,
            "",
            f"No path of the engine is farther than {apart:.0e} from its field's; where noise is drawn, "
            f"{result['setting']['noise']['batch']:,} a\nturn, the distance is the mean of "
            f"{result['setting']['noise']['seeds']} seeds. Of {len(result['claims'])} published claims "
            f"{held} held. {result['cpu_seconds']:.0f} CPU seconds on one\nthread.",
            "",
            "| published | claim | held | found |",
            "|---|---|---|---|",
            *(
                f"| {source} | {ledger.cell(claim)} | {'yes' if ok else '**no**'} | {ledger.cell(found)} |"
                for source, claim, ok, found in result["claims"]
            ),
        ]
    )


def rate(measured: list[float]) -> str:
    value, error = measured
    return f"{value:.5f}" + (f" ± {error:.0g}" if error > 1e-6 else "")


def measure(_: argparse.Namespace) -> None:
    begun = time.process_time()
    games = {
        name: {play: played(kind, play) for play in PLAYS} | {"converges": kind.converges}
        for name, kind in KINDS.items()
    }
    published = {name: game.pop("converges") for name, game in games.items()}
    noise = {"seeds": SEEDS, "batch": BATCH}
    result = {
        **ledger.origin(),
        "setting": {"rate": RATE, "start": START, "turns": TURNS, "noise": noise},
        "published_to_converge": published,
        "games": games,
        "critical": critical(),
        "notebook_consensus": notebook_consensus(),
        "bilinear": {name: factor(method) for name, method in METHODS.items()},
        "cpu_seconds": round(time.process_time() - begun, 1),
    }
    ledger.write(RESULT, result)


def finish() -> None:
    result = ledger.read(RESULT)
    ledger.write(RESULT, result | {"claims": claims(result)})
    draw(PICTURE)


BENCHMARK = ledger.Benchmark(__doc__, measure, parts={"dirac": dirac}, finish=finish)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
