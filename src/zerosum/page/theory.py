"""The rows as one HTML page that needs nothing else: figures, then every claim predicted beside measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from zerosum import objectives, theory
from zerosum.claims.experiments import (
    MOMENTS,
    STEPS,
    WIDTHS,
    dirac_path,
    fixed_match,
    rejected_fakes,
    training,
)
from zerosum.claims.losses import logit_gradient
from zerosum.claims.row import MULTIPLE, Row, written
from zerosum.page.document import render
from zerosum.page.figure import Curve, Figure, Level
from zerosum.page.formats import formula

__all__ = ["page"]


def page(rows: Sequence[Row], seed: int = 0) -> str:
    """The demonstration of this seed as HTML; its figures come from the games that the rows came from."""
    return render(
        "theory.html",
        seed=seed,
        rows=rows,
        refused=sum(not row.agrees for row in rows),
        topics=[(topic, list(group)) for topic, group in groupby(rows, lambda row: row.topic)],
        multiple={3: "three"}.get(MULTIPLE, MULTIPLE),
        written=written,
        figures=_figures(seed),
    )


def _curve(name: str, x: Iterable[float], y: Iterable[float], colour: int, **style: Any) -> Curve:
    return Curve(formula(name), list(zip(x, y, strict=True)), colour, **style)


def _figures(seed: int) -> list[Figure]:
    return [
        _optimal(seed),
        _approach(seed),
        _lack(seed),
        _densities(seed),
        _value(seed),
        _gradients(seed),
        _orbits(),
        _distances(),
    ]


def _optimal(seed: int) -> Figure:
    match = fixed_match(seed)
    x = match.x[::5]
    grid, best = x[:, 0].tolist(), theory.optimal_discriminator(match.p, match.q)(x)
    with torch.no_grad():
        trained = {width: torch.sigmoid(match.D[width, STEPS[-1]](x)) for width in WIDTHS}
    return Figure(
        formula("$D$ and $D^*$ over $x$"),
        [
            _curve("$D^*$", grid, best.tolist(), 0),
            *(_curve(f"$D$, width {w}", grid, y.tolist(), i) for i, (w, y) in enumerate(trained.items(), 1)),
        ],
        formula("$x$"),
        formula("$D(x)$"),
        caption=formula(
            f"Discriminators of three widths after {STEPS[-1]:,} steps against one fixed generator, and "
            "the optimum. Width 1 can only rise or fall, width 2 misses the middle bump."
        ),
        alt="The widest discriminator lies on the optimal one; the narrower ones miss its turns.",
        logs="",
        time=False,
    )


def _approach(seed: int) -> Figure:
    match = fixed_match(seed)
    return _against_steps(
        formula("How far $D$ is from $D^*$"),
        {w: [match.sup_error(w, s).value for s in STEPS] for w in WIDTHS},
        formula(r"$\sup |D - D^*|$"),
        r"The largest $|D - D^*|$ on the support falls as steps and capacity grow, up to a limit.",
        "Error against steps for three widths: only that of the widest goes on falling.",
    )


def _lack(seed: int) -> Figure:
    match = fixed_match(seed)
    best = float(theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q))
    gaps = {w: [best - float(theory.value(match.D[w, s], match.p, match.q)) for s in STEPS] for w in WIDTHS}
    return _against_steps(
        formula("What $D$ lacks in value"),
        gaps,
        formula("$V(D^*) - V(D)$, nats"),
        "The same discriminators: none has more value than $D^*$.",
        "The gap in value against steps for three widths: only that of the widest goes on falling.",
    )


def _against_steps(title: str, gaps: dict[int, list[float]], y_label: str, caption: str, alt: str) -> Figure:
    curves = [_curve(f"width {w}", STEPS, y, i, dots=True) for i, (w, y) in enumerate(gaps.items(), 1)]
    return Figure(
        title, curves, "steps of D", y_label, caption=formula(caption), alt=alt, logs="xy", time=False
    )


def _densities(seed: int) -> Figure:
    t = training(seed)
    x = torch.linspace(-4, 4, 321, dtype=torch.float64)[:, None]
    grid, shown = x[:, 0].tolist(), (MOMENTS[0], MOMENTS[3], MOMENTS[-1])
    p_g = {step: t.densities[step].log_prob(x).exp().tolist() for step in shown}
    return Figure(
        formula(r"$p_g$ against $p_\text{data}$"),
        [
            _curve(r"$p_\text{data}$", grid, t.p.log_prob(x).exp().tolist(), 0),
            *(_curve(f"$p_g$, turn {step:,}", grid, y, i) for i, (step, y) in enumerate(p_g.items(), 1)),
        ],
        formula("$x$"),
        "density",
        caption=formula(
            "Both players trained; $p_g$ by change of variables of the generator as it stood after so many "
            "turns."
        ),
        alt="The generator's density starts as one broad mode and ends on the two modes of the data.",
        logs="",
        time=False,
    )


def _value(seed: int) -> Figure:
    t = training(seed)
    means = [fmean(t.values[i : i + 5]) for i in range(0, len(t.values), 5)]
    steps = MOMENTS[1:]
    best = [-math.log(4) + 2 * t.jsd[step].value for step in steps]
    return Figure(
        formula(r"$V$ against $-\log 4$"),
        [
            _curve("$V(D, G)$, mean of 5 turns", range(3, 3 + 5 * len(means), 5), means, 1, faint=True),
            _curve("$V(D^*, G)$, computed", steps, best, 2, dots=True),
        ],
        "turn",
        formula("$V$, nats"),
        [Level(formula(r"$-\log 4$"), -math.log(4))],
        caption=formula(
            r"The same training. The greatest $V$ of any $D$ falls to $-\log 4$ as $p_g$ comes to "
            r"$p_\text{data}$. The $D$ that plays has less, and at times less than $-\log 4$."
        ),
        alt="V of the playing discriminator and of the optimal one over turns: both come to -log 4.",
        logs="x",
        time=False,
    )


def _gradients(seed: int) -> Figure:
    a = rejected_fakes(seed).history.sort().values
    a = a[:: len(a) // 60]
    curve = torch.linspace(float(a.min()), float(a.max()), 100, dtype=torch.float64)
    dots, grid = a.sigmoid().tolist(), curve.sigmoid().tolist()

    def measured(objective: objectives.Objective) -> list[float]:
        return logit_gradient(objective, a).abs().tolist()

    def dotted(name: str, objective: objectives.Objective, colour: int) -> Curve:
        return _curve(name, dots, measured(objective), colour, line=False, dots=True)

    return Figure(
        formula("Gradient against $D(G(z))$"),
        [
            _curve("minimax: $D$", grid, grid, 1),
            dotted("minimax, by autograd", objectives.minimax(), 1),
            _curve("non-saturating: $1 - D$", grid, (-curve).sigmoid().tolist(), 2),
            dotted("non-saturating, by autograd", objectives.nonsaturating(), 2),
        ],
        formula("$D(G(z))$"),
        "|gradient in the logit|",
        caption=formula(
            "Fakes of the first turns of a real game on the digits, in which $D$ learns to reject them. "
            "As $D(G(z))$ falls, the minimax gradient vanishes."
        ),
        alt="At small D(G(z)) the minimax gradient is as small, and the non-saturating gradient is near one.",
        logs="xy",
        time=False,
    )


_DIRAC = [
    ("no penalty, both at once", 0.0, True),
    ("no penalty, D then G", 0.0, False),
    ("R1 of weight 0.3, D then G", 0.3, False),
]


def _orbits() -> Figure:
    paths = [(name, dirac_path((1.0, 1.0), 150, weight, at_once)) for name, weight, at_once in _DIRAC]
    return Figure(
        "Dirac-GAN: where the players go",
        [
            _curve(name, path[:, 0].tolist(), path[:, 1].tolist(), i)
            for i, (name, path) in enumerate(paths, 1)
        ],
        formula(r"$\theta$ ($G$)"),
        formula(r"$\psi$ ($D$)"),
        caption=formula(
            "150 turns of the game from (1, 1). Without a penalty they circle the origin, the equilibrium."
        ),
        alt="Three orbits: one spirals outwards, one is a closed ring, one spirals into the origin.",
        logs="",
        time=False,
        square=True,
    )


def _distances() -> Figure:
    runs = [*_DIRAC, ("R1 of weight 1, both at once", 1.0, True)]

    def distances(weight: float, at_once: bool) -> Tensor:
        return dirac_path((1.0, 1.0), 300, weight, at_once).norm(dim=1)[::3]

    return Figure(
        "Dirac-GAN: distance to the equilibrium",
        [
            _curve(name, range(0, 301, 3), distances(weight, at_once).tolist(), i)
            for i, (name, weight, at_once) in enumerate(runs, 1)
        ],
        "turn",
        formula(r"$|(\theta, \psi)|$"),
        caption=formula(
            "The slopes are the rates of the table: 1.005 and 1 a turn without a penalty, below 1 with R1."
        ),
        alt="Distance over turns: rising, level, and for the two runs with R1 falling by orders of "
        "magnitude.",
        logs="y",
    )
