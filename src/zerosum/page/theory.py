"""The rows as one HTML page that needs nothing else: figures, then every claim predicted beside measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from statistics import fmean

import torch
from torch import Tensor

from zerosum import objectives, theory
from zerosum.claims.claims import logit_gradient
from zerosum.claims.experiments import (
    MOMENTS,
    STEPS,
    WIDTHS,
    dirac_path,
    fixed_match,
    rejected_fakes,
    training,
)
from zerosum.claims.row import MULTIPLE, Row, written

__all__ = ["page"]


def page(rows: Sequence[Row], seed: int = 0) -> str:
    """The demonstration of this seed as HTML; its figures come from the games that the rows came from."""
    refused = sum(not row.agrees for row in rows)
    verdict = f"{refused} of {len(rows)} rows disagree" if refused else f"All {len(rows)} rows agree"
    groups = [(topic, list(group)) for topic, group in groupby(rows, lambda row: row.topic)]
    return _PAGE.format(
        style=_STYLE,
        seed=seed,
        verdict=verdict,
        mood="bad" if refused else "good",
        multiple={3: "three"}.get(MULTIPLE, MULTIPLE),
        figures="".join(figure.drawn() for figure in _figures(seed)),
        tables="".join(_table(topic, group) for topic, group in groups),
    )


# Tables ---------------------------------------------------------------------------------------------------


_HEAD = """<colgroup><col class="claim"><col class="number"><col class="number"><col class="mark"><col>
</colgroup><thead><tr><th scope="col">claim</th><th scope="col" class="n">predicted</th>
<th scope="col" class="n">measured</th><th scope="col">agrees</th><th scope="col">told apart from</th></tr>
</thead>"""

_ROW = """<tr><th scope="row">{claim}<small>{how}</small></th><td class="n">{predicted}</td>
<td class="n">{measured}</td><td>{mark}</td><td class="wrong">{wrong}</td></tr>"""


def _table(topic: str, rows: Iterable[Row]) -> str:
    body = "".join(_table_row(row) for row in rows)
    table = f"<table>{_HEAD}<tbody>{body}</tbody></table>"
    return f'<section><h2>{escape(topic)}</h2><div class="scroll">{table}</div></section>'


def _table_row(row: Row) -> str:
    relation = "" if row.relation == "=" else f"{row.relation} "
    return _ROW.format(
        claim=escape(row.claim),
        how=escape(f"{row.how}; {row.measured.method}"),
        predicted=escape(relation + written(row.predicted)),
        measured=escape(written(row.measured)),
        mark=_mark(row.agrees),
        wrong="<br>".join(f"{escape(name)}: {value:.4g}" for name, value in row.wrong.items()),
    )


def _mark(agrees: bool) -> str:
    return "<span class='good'>✓ yes</span>" if agrees else "<span class='bad'>✗ no</span>"


# Figures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A curve by name; `kind` chooses its colour and its dashes, "dots" its points in place of a line."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: int
    dots: bool = False
    faint: bool = False

    @property
    def style(self) -> str:
        """Its classes in the style sheet."""
        return f"{'dots' if self.dots else 'line'} c{self.kind}{' faint' if self.faint else ''}"


# The frame of every plot, in units of its view box
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 52, 440, 10, 260


@dataclass(frozen=True)
class _Figure:
    """A plot with a title, a caption, and a text that stands for it where it cannot be seen."""

    title: str
    caption: str
    alt: str
    lines: Sequence[_Line]
    x_label: str
    y_label: str
    logs: str = ""
    levels: Sequence[tuple[str, float]] = ()

    def drawn(self) -> str:
        key = "".join(_key(line) for line in self.lines)
        return (
            f"<figure><h3>{escape(self.title)}</h3>{self._svg()}<div class='key'>{key}</div>"
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )

    def _svg(self) -> str:
        x_axis = _Axis.over([v for line in self.lines for v in line.x], "x" in self.logs, LEFT, RIGHT)
        heights = [v for line in self.lines for v in line.y] + [y for _, y in self.levels]
        y_axis = _Axis.over(heights, "y" in self.logs, BOTTOM, TOP)
        parts = [
            *(_tick_x(x_axis.at(v), text) for v, text in x_axis.ticks()),
            *(_tick_y(y_axis.at(v), text) for v, text in y_axis.ticks()),
            *(_curve(line, x_axis, y_axis) for line in self.lines),
            *(_level(name, y_axis.at(y)) for name, y in self.levels),
            f"<text class='label' x='{(LEFT + RIGHT) / 2}' y='{HEIGHT - 4}'>{escape(self.x_label)}</text>",
            f"<text class='label' transform='translate(12 {(TOP + BOTTOM) / 2}) rotate(-90)'>",
            f"{escape(self.y_label)}</text>",
        ]
        name = escape(self.alt, quote=True)
        return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{name}'>{''.join(parts)}</svg>"


def _tick_x(x: float, text: str) -> str:
    return (
        f"<path class='grid' d='M{x:.1f} {TOP}V{BOTTOM}'/>"
        f"<text class='tick' x='{x:.1f}' y='{BOTTOM + 16}' text-anchor='middle'>{text}</text>"
    )


def _tick_y(y: float, text: str) -> str:
    return (
        f"<path class='grid' d='M{LEFT} {y:.1f}H{RIGHT}'/>"
        f"<text class='tick' x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{text}</text>"
    )


def _level(name: str, y: float) -> str:
    return (
        f"<path class='level' d='M{LEFT} {y:.1f}H{RIGHT}'/>"
        f"<text class='strong' x='{LEFT + 6}' y='{y - 5:.1f}'>{escape(name)}</text>"
    )


def _curve(line: _Line, x_axis: _Axis, y_axis: _Axis) -> str:
    points = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(line.x, line.y, strict=True)]
    if line.dots:
        dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.6'/>" for x, y in points)
        return f"<g class='{line.style}'>{dots}</g>"
    return f"<path class='{line.style}' d='M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)}'/>"


def _key(line: _Line) -> str:
    sign = "<circle cx='13' cy='6' r='3'/>" if line.dots else "<path d='M1 6H25'/>"
    sample = f"<svg width='26' height='12' aria-hidden='true'><g class='{line.style}'>{sign}</g></svg>"
    return f"<span>{sample}{escape(line.name)}</span>"


@dataclass(frozen=True)
class _Axis:
    """Values from low to high as positions from start to end, evenly or by their logarithms."""

    low: float
    high: float
    log: bool
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], log: bool, start: float, end: float) -> _Axis:
        low, high = min(values), max(values)
        room = 0.0 if log else 0.04 * (high - low)
        return cls(low - room, high + room, log, start, end)

    def at(self, value: float) -> float:
        low, here, high = (math.log(v) if self.log else v for v in (self.low, value, self.high))
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values, some three to seven, with their texts."""
        values = self._powers() if self.log else self._multiples()
        return [(v, f"{v:.0e}".replace("e-0", "e-") if 0 < v < 1e-3 else f"{v:.6g}") for v in values]

    def _powers(self) -> list[float]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        within = (1, 2, 5) if high - low <= 3 else (1,)
        every = range(low, high + 1, math.ceil((high - low) / 7))
        powers = [m * 10.0**e for e in every for m in within]
        return [v for v in powers if self.low * 0.999 <= v <= self.high * 1.001]

    def _multiples(self) -> list[float]:
        rough = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _figures(seed: int) -> list[_Figure]:
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


def _optimal(seed: int) -> _Figure:
    match = fixed_match(seed)
    x = match.x[::5]
    grid, best = _list(x[:, 0]), theory.optimal_discriminator(match.p, match.q)(x)
    with torch.no_grad():
        trained = {width: torch.sigmoid(match.D[width, STEPS[-1]](x)) for width in WIDTHS}
    return _Figure(
        "D and D* over x",
        f"Discriminators of three widths after {STEPS[-1]:,} steps against one fixed generator, and the "
        "optimum p_data/(p_data + p_g). Width 1 can only rise or fall, width 2 misses the middle bump.",
        "The widest discriminator lies on the optimal one; the narrower ones miss its turns.",
        [
            _Line("D*", grid, _list(best), 0),
            *(_Line(f"D, width {w}", grid, _list(y), i) for i, (w, y) in enumerate(trained.items(), 1)),
        ],
        "x",
        "D(x)",
    )


def _approach(seed: int) -> _Figure:
    match = fixed_match(seed)
    return _Figure(
        "How far D is from D*",
        "The largest |D - D*| on the support falls as steps and capacity grow, until capacity is used up.",
        "Error against steps for three widths: only that of the widest goes on falling.",
        [
            _Line(f"width {width}", STEPS, [match.sup_error(width, s).value for s in STEPS], i)
            for i, width in enumerate(WIDTHS, 1)
        ],
        "steps of D",
        "sup |D - D*|",
        logs="xy",
    )


def _lack(seed: int) -> _Figure:
    match = fixed_match(seed)
    best = float(theory.value(theory.optimal_logit(match.p, match.q), match.p, match.q))
    return _Figure(
        "What D lacks in value",
        "V(D*) - V(D) of the same discriminators: no D has more than V(D*) = -log 4 + 2 JSD(p_data, p_g).",
        "The gap in value against steps for three widths: only that of the widest goes on falling.",
        [
            _Line(
                f"width {w}",
                STEPS,
                [best - float(theory.value(match.D[w, s], match.p, match.q)) for s in STEPS],
                i,
            )
            for i, w in enumerate(WIDTHS, 1)
        ],
        "steps of D",
        "V(D*) - V(D) (nats)",
        logs="xy",
    )


def _densities(seed: int) -> _Figure:
    t = training(seed)
    x = torch.linspace(-4, 4, 321, dtype=torch.float64)[:, None]
    grid, shown = _list(x[:, 0]), (MOMENTS[0], MOMENTS[3], MOMENTS[-1])
    p_g = {step: _list(t.densities[step].log_prob(x).exp()) for step in shown}
    return _Figure(
        "p_g against p_data",
        "Both players trained; p_g by change of variables of the generator as it stood after so many turns.",
        "The generator's density starts as one broad mode and ends on the two modes of the data.",
        [
            _Line("p_data", grid, _list(t.p.log_prob(x).exp()), 0),
            *(_Line(f"p_g, turn {step:,}", grid, y, i) for i, (step, y) in enumerate(p_g.items(), 1)),
        ],
        "x",
        "density",
    )


def _value(seed: int) -> _Figure:
    t = training(seed)
    means = [fmean(t.values[i : i + 5]) for i in range(0, len(t.values), 5)]
    steps = MOMENTS[1:]
    best = [-math.log(4) + 2 * t.jsd[step].value for step in steps]
    return _Figure(
        "V against -log 4",
        "The same training. The greatest V of any D is -log 4 + 2 JSD(p_data, p_g), which falls to -log 4 as "
        "p_g comes to p_data. The D that plays has less, and at times less than -log 4.",
        "V of the playing discriminator and of the optimal one over turns: both come to -log 4.",
        [
            _Line("V(D, G), mean of 5 turns", range(3, 3 + 5 * len(means), 5), means, 1, faint=True),
            _Line("V(D*, G)", steps, best, 2),
            _Line("computed", steps, best, 2, dots=True),
        ],
        "turn",
        "V (nats)",
        logs="x",
        levels=[("-log 4", -math.log(4))],
    )


def _gradients(seed: int) -> _Figure:
    a = rejected_fakes(seed).history.sort().values
    a = a[:: len(a) // 60]
    curve = torch.linspace(float(a.min()), float(a.max()), 100, dtype=torch.float64)

    def measured(objective: objectives.Objective) -> list[float]:
        return _list(logit_gradient(objective, a).abs())

    return _Figure(
        "Gradient against D(G(z))",
        "Fakes of the first turns of a real game on the digits, in which D learns to reject them; dots are "
        "measured by autograd, curves are D and 1 - D. As D(G(z)) falls, the minimax gradient vanishes.",
        "At small D(G(z)) the minimax gradient is as small, and the non-saturating gradient is near one.",
        [
            _Line("minimax: D", _list(curve.sigmoid()), _list(curve.sigmoid()), 1),
            _Line("measured", _list(a.sigmoid()), measured(objectives.minimax()), 1, dots=True),
            _Line("non-saturating: 1 - D", _list(curve.sigmoid()), _list((-curve).sigmoid()), 2),
            _Line("measured", _list(a.sigmoid()), measured(objectives.nonsaturating()), 2, dots=True),
        ],
        "D(G(z))",
        "|gradient in the logit|",
        logs="xy",
    )


_DIRAC = [
    ("no penalty, both at once", 0.0, True),
    ("no penalty, D then G", 0.0, False),
    ("R1 of weight 0.3, D then G", 0.3, False),
]


def _orbits() -> _Figure:
    paths = [(name, dirac_path((1.0, 1.0), 150, weight, at_once)) for name, weight, at_once in _DIRAC]
    return _Figure(
        "Dirac-GAN: where the players go",
        "150 turns of the game from (1, 1). Without a penalty they circle the origin, the equilibrium.",
        "Three orbits: one spirals outwards, one is a closed ring, one spirals into the origin.",
        [_Line(name, _list(path[:, 0]), _list(path[:, 1]), i) for i, (name, path) in enumerate(paths, 1)],
        "theta (G)",
        "psi (D)",
    )


def _distances() -> _Figure:
    runs = [*_DIRAC, ("R1 of weight 1, both at once", 1.0, True)]
    turns = list(range(0, 301, 3))
    return _Figure(
        "Dirac-GAN: distance to the equilibrium",
        "The slopes are the rates of the table: 1.005 and 1 a turn without a penalty, below 1 with R1.",
        "Distance over turns: rising, level, and for the two runs with R1 falling by orders of magnitude.",
        [
            _Line(name, turns, _list(dirac_path((1.0, 1.0), 300, weight, at_once).norm(dim=1)[::3]), i)
            for i, (name, weight, at_once) in enumerate(runs, 1)
        ],
        "turn",
        "|(theta, psi)|",
        logs="y",
    )


def _list(values: Tensor) -> list[float]:
    return values.tolist()


_STYLE = """
:root { color-scheme: light dark; --bg: #fbfbf9; --card: #fff; --ink: #1d2127; --soft: #5b6470;
  --rule: #dfe2e6; --good: #00694d; --bad: #b3261e;
  --c0: #1d2127; --c1: #0072b2; --c2: #c24e00; --c3: #00795a; --c4: #9b3f80; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --card: #1c2026; --ink: #e8eaed; --soft: #a3acb8;
  --rule: #343a43; --good: #4bd3a7; --bad: #ff8a80;
  --c0: #f1f3f5; --c1: #62b6ee; --c2: #f0a04b; --c3: #35c79b; --c4: #e093c6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 32px 20px 64px; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 1.2rem; margin: 40px 0 10px; } h2::first-letter { text-transform: uppercase; }
h3 { font-size: 1rem; margin: 0 0 6px; } p { max-width: 74ch; }
.eyebrow, figcaption, small, .wrong { color: var(--soft); font-size: .84rem; } .eyebrow { margin: 0; }
.verdict { border: 1px solid currentColor; border-radius: 999px; padding: 3px 14px; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; }
.figures { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); }
figure, .scroll { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
figure { padding: 16px; } figure > svg { width: 100%; height: auto; display: block; }
figcaption { margin-top: 8px; }
.key { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .84rem; }
.key span { display: inline-flex; align-items: center; gap: 6px; }
.grid { stroke: var(--rule); fill: none; } .level { stroke: var(--ink); stroke-dasharray: 2 3; fill: none; }
text { font: 11.5px system-ui, sans-serif; fill: var(--soft); }
.label { text-anchor: middle; fill: var(--ink); } .strong { fill: var(--ink); font-weight: 600; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .faint { opacity: .6; stroke-width: 1.4; }
.line.c0 { stroke: var(--c0); stroke-width: 3.2; opacity: .45; }
.line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); stroke-dasharray: 8 3; }
.line.c3 { stroke: var(--c3); stroke-dasharray: 3 2.5; }
.line.c4 { stroke: var(--c4); stroke-dasharray: 10 3 2 3; }
.dots.c1 { fill: var(--c1); } .dots.c2 { fill: var(--c2); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 900px; table-layout: fixed; font-size: .9rem; }
.claim { width: 40%; } .number { width: 17.5%; } .mark { width: 8%; }
th, td { padding: 8px 12px; text-align: left; vertical-align: top; font-weight: 400;
  border-top: 1px solid var(--rule); }
thead th { border-top: 0; color: var(--soft); font-size: .8rem; } small { display: block; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>The theory of the game, seed {seed}</title><style>{style}</style></head><body>
<header><p class="eyebrow">zerosum theory --seed {seed}</p>
<h1>The theory of the game, on the engine that plays it</h1>
<p><span class="verdict {mood}">{verdict}</span></p>
<p>What is predicted comes from a closed form or from exact densities; what is measured comes from games that
the engine played. They agree if they differ by at most {multiple} times their stated errors, an error being
half of a 95&nbsp;% interval or that of the numerical method. The last column names wrong answers, the slips
that circulate among them, from which the measurement must tell the right one apart.</p></header>
<main><section><h2>Figures</h2><div class="figures">{figures}</div></section>{tables}</main></body></html>
"""
