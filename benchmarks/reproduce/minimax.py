"""Why G is not trained on the minimax loss: its gradient, early in training (Goodfellow et al. 2014, 3).

    python benchmarks/reproduce/minimax.py             play; writes results/reproduce_minimax.json
    python benchmarks/reproduce/minimax.py --docs      only summarise and draw what was played

"Early in learning, when G is poor, D can reject samples with high confidence ... In this case, log(1 -
D(G(z))) saturates." The gradient of log(1 - D(G(z))) in the logit is -D(G(z)), that of -log D(G(z)) is
-(1 - D(G(z))). So where D says the same of all fakes, the second is (1 - D)/D times the first, in every
weight of G. Here both are measured on the same players and the same fakes (the instrument `saturation`),
while G trains on the one or on the other: plain networks on MNIST, the presets `vanilla-minimax` and
`vanilla-nonsaturating` of the same weights and noise, and ten seeds of each.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ledger
from zerosum import Game
from zerosum import recipe as recipes
from zerosum.watch import instruments

RESULT = ledger.RESULTS / "reproduce_minimax.json"
PICTURE = ledger.ROOT / "docs" / "images" / "reproduce" / "minimax.png"
LOSSES = ("minimax", "nonsaturating")
SEEDS, TURNS, EVERY, FAKES = 10, 400, 10, 128
SHOWN = (0, 50, 100, 200, 300, 400)
SMALL = {
    "data": "mnist",
    "latent": 64,
    "G.width": 256,
    "G.output": "Tanh",
    "D.width": 256,
    "D.gain": 1.0,  # the presets look at a ring, whose modes are small
    "batch": 128,
    "g_optimizer.lr": 2e-4,
    "d_optimizer.lr": 2e-4,
}
Curve = dict[str, list[float]]


def played(loss: str, seed: int) -> Curve:
    """One game with G on this loss: the readings at each moment."""
    recipe = recipes.load(f"vanilla-{loss}", {**SMALL, "seed": seed})
    source = recipes.build_source(recipe)
    return readings(recipes.build_game(recipe, source.shape), source, TURNS, EVERY)


def readings(game: Game, source: Any, turns: int, every: int) -> Curve:
    """The norms of both losses' gradients in G's weights, mean D(G(z)), and what it predicts of their ratio.

    predicted: mean (1 - D) over mean D, which the ratio equals where the logits of all fakes are equal.
    """
    look = instruments.saturation(game, source, FAKES, every)
    curve: Curve = {name: [] for name in ("turn", "d_fake", *LOSSES, "ratio", "predicted")}
    for turn in game.play(source, turns + 1):
        if turn.step % every:
            continue
        seen = {reading.name: reading.value for reading in look(game, turn)}
        slopes = seen["g_slope_minimax"], seen["g_slope_nonsaturating"]
        row = {
            "turn": turn.step,
            "d_fake": slopes[0],
            "minimax": seen["g_gradient_minimax"],
            "nonsaturating": seen["g_gradient_nonsaturating"],
            "ratio": seen["saturation"],
            "predicted": slopes[1] / slopes[0],
        }
        for name, value in row.items():
            curve[name].append(float(f"{value:.5g}"))
    return curve


# Over seeds -------------------------------------------------------------------------------------------------


def stacked(curves: Sequence[Curve], name: str) -> np.ndarray:
    """One reading of all games, [games, moments]."""
    return np.array([curve[name] for curve in curves])


def spread(values: np.ndarray) -> list[float]:
    """[median, least, most] over games."""
    return [float(f"{f(values):.4g}") for f in (np.median, np.min, np.max)]


def summary(games: dict[str, list[Curve]]) -> dict[str, Any]:
    """For each loss that G trains on, at some turns, [median, least, most] over seeds; and the claims."""
    tables = {
        loss: [
            {"turn": turn} | {n: spread(stacked(curves, n)[:, at]) for n in ("d_fake", *LOSSES, "ratio")}
            for turn in SHOWN
            for at in [curves[0]["turn"].index(turn)]
        ]
        for loss, curves in games.items()
    }
    return {"tables": tables, "claims": claims(games)}


def claims(games: dict[str, list[Curve]]) -> list[list[Any]]:
    """[claim, on how many seeds it held, of how many, what was found]."""
    every = [curve for curves in games.values() for curve in curves]
    ratio, predicted = stacked(every, "ratio"), stacked(every, "predicted")
    error = np.abs(ratio / predicted - 1)
    rejected = stacked(every, "d_fake") < 0.5
    larger = (ratio > 1) | ~rejected
    own = {loss: stacked(games[loss], loss) for loss in LOSSES}
    fallen = {loss: own[loss].max(axis=1) / own[loss][:, -1] for loss in LOSSES}
    d_fake = {loss: stacked(games[loss], "d_fake") for loss in LOSSES}

    def end(loss: str) -> str:
        norm, most = spread(own[loss][:, -1])[0], spread(own[loss].max(axis=1))[0]
        return f"norm at turn {TURNS} {norm:.2g}, its most {most:.2g}, medians over seeds"

    def row(claim: str, held: Any, found: str) -> list[Any]:
        return [claim, int(held.sum()), len(held), found]

    return [
        row(
            "D soon rejects what G makes: D(G(z)) falls below 0.15",
            np.array([curve.min() < 0.15 for curve in np.concatenate([*d_fake.values()])]),
            f"least mean D(G(z)), median over games {np.median(stacked(every, 'd_fake').min(axis=1)):.2g}",
        ),
        row(
            "the non-saturating gradient is the larger wherever mean D(G(z)) < 0.5",
            larger.all(axis=1),
            f"{(larger & rejected).sum()} of {rejected.sum()} such readings; ratio up to {ratio.max():,.0f}",
        ),
        row(
            "their ratio is (1 - D)/D of the mean D, within 5 %",
            (error < 0.05).all(axis=1),
            f"largest deviation {error.max():.1%}",
        ),
        row(
            "G on the minimax loss loses its gradient: its norm falls a hundredfold",
            fallen["minimax"] > 100,
            end("minimax"),
        ),
        row(
            "G on the non-saturating loss keeps it: its norm does not fall tenfold",
            fallen["nonsaturating"] < 10,
            end("nonsaturating"),
        ),
        *(
            row(
                f"at turn {TURNS} of the {loss} game G is rejected outright: D(G(z)) < 0.01",
                d_fake[loss][:, -1] < 0.01,
                f"mean D(G(z)) {spread(d_fake[loss][:, -1])[0]:.2g}, median over seeds",
            )
            for loss in LOSSES
        ),
    ]


def draw(games: dict[str, list[Curve]], path: Path) -> None:
    """A column for each loss that G trains on: both gradients' norms, and their ratio beside (1 - D)/D."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained", sharex=True, sharey="row")
    for (norms, ratios), loss in zip(axes.T, LOSSES, strict=True):
        curves = games[loss]
        band(norms, curves, "minimax", "#d55e00", "of log(1 - D(G(z))), saturating")
        band(norms, curves, "nonsaturating", "#0072b2", "of -log D(G(z)), non-saturating")
        band(ratios, curves, "ratio", "#009e73", "measured: non-saturating over minimax")
        predicted = np.median(stacked(curves, "predicted"), axis=0)
        ratios.plot(curves[0]["turn"], predicted, "k:", label="predicted: (1 - D)/D at the mean D")
        norms.set(title=f"G trains on the {loss} loss", yscale="log")
        ratios.set(xlabel="turn", yscale="log")
        ratios.axhline(1, color="grey", linewidth=0.6)
    axes[0, 0].set_ylabel("gradient norm in G's weights")
    axes[1, 0].set_ylabel("ratio of the norms")
    for axis in axes[:, 0]:
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def band(axis: Any, curves: Sequence[Curve], name: str, colour: str, label: str) -> None:
    """The median over seeds, and all of them as a band."""
    values, turns = stacked(curves, name), curves[0]["turn"]
    axis.plot(turns, np.median(values, axis=0), color=colour, label=label)
    axis.fill_between(turns, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)


def minimax() -> str:
    """Both losses' gradients in G on the same fakes, while G trains on one of them."""
    result = ledger.result("reproduce_minimax")
    rows = [
        "| G trains on | turn | D(G(z)) | gradient of minimax | of non-saturating | ratio |",
        "|---|" + "---|" * 5,
    ]
    for loss, table in result["summary"]["tables"].items():
        for row in table:
            cells = [span(row[name]) for name in ("d_fake", "minimax", "nonsaturating", "ratio")]
            rows.append(f"| {loss} | {row['turn']} | {' | '.join(cells)} |")
    setting = result["setting"]
    return "\n".join(
        [
            *rows,
            "",
            f"Medians over {setting['seeds']} seeds, with the least and the most; all took "
            f"{result['cpu_seconds']} CPU seconds on one thread.",
            "",
            *(
                f"- {claim}: **{held} of {seeds}** ({found})."
                for claim, held, seeds, found in result["summary"]["claims"]
            ),
        ]
    )


def span(three: list[float]) -> str:
    middle, least, most = (f"{x:.2g}" if x < 100 else f"{x:,.0f}" for x in three)
    return f"{middle} [{least}, {most}]"


def measure(_: argparse.Namespace) -> None:
    begun = time.process_time()
    games = {loss: [played(loss, seed) for seed in range(SEEDS)] for loss in LOSSES}
    setting = {**SMALL, "turns": TURNS, "seeds": SEEDS, "fakes": FAKES}
    seconds = round(time.process_time() - begun)
    result = {**ledger.origin(), "setting": setting, "games": games, "cpu_seconds": seconds}
    ledger.write(RESULT, result, indent=None)


def finish() -> None:
    result = ledger.read(RESULT)
    ledger.write(RESULT, result | {"summary": summary(result["games"])}, indent=None)
    draw(result["games"], PICTURE)


BENCHMARK = ledger.Benchmark(__doc__, measure, parts={"minimax": minimax}, finish=finish)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
