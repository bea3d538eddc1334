"""Diagnosis: readings become faults that have a name, evidence, a confidence and advice.

`diagnose` is a pure function of the records of a run (as in its metrics.jsonl) and of a few `Facts` of its
game. It gives the faults that stand at the last record, causes before their consequences; where there is
none, a verdict: `converging`, `stalled` or `at equilibrium`.

>>> from torch import nn
>>> from zerosum import Game, data, objectives
>>> D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
>>> game, ring = Game(nn.Linear(4, 2), D, objectives.minimax(), latent=4, batch=8), data.ring()
>>> records = [
...     {"step": s, "d_fake": 0.01, "accuracy": 0.99, "g_update_share": 0.01} for s in range(0, 1300, 100)
... ]
>>> [finding.name for finding in diagnose(records, facts(game, ring))]
['minimax saturation']
>>> print(diagnose(records, facts(game, ring))[0].advice[0])
objective = nonsaturating: its gradient is the minimax one times (1 - D)/D, strong where D rejects the fakes

Time is counted by how far the players move. A player that moves by the share u of its weights in a turn is a
new player after 1/u turns: that is one unit. A fault must hold for several readings in a row and for some
units, and the first units do not count, so that one table of limits serves slow and fast games.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from zerosum.data import GaussianMixture, Source
from zerosum.game import Game, Player
from zerosum.networks.augmentation import Augmented
from zerosum.networks.packing import Packed

__all__ = ["FAULTS", "VERDICTS", "Advice", "Facts", "Finding", "diagnose", "facts"]

Record = Mapping[str, Any]

# The limits -------------------------------------------------------------------------------------------------

WARM_UP = 1.5  # units of time that do not count at the start
PATIENCE = 0.5  # units of time for which a fault holds before it is raised
READINGS = 3  # readings for which a fault holds before it is raised
FEWEST = 2  # the same for what no healthy game does even once
MANY = 12  # the same for a minibatch of a game that stands still, whose units never end
MOST = 0.75  # of the readings in that time show it
PACE = (1e-3, 2e-2)  # update shares beyond these are taken as these where time is counted
DEPTH = 400  # records looked back at

SATURATED = 0.15  # mean D(G(z)), of 1/2 at rest, below which the minimax loss hardly moves G
STRONG = 0.75  # of what D could ever win at its loss, above which it leaves G nothing to live on
FOOLED = 0.1  # of what D could ever win, below which it cannot lead G anywhere
LOST = 0.15  # of what real data score in coverage, below which a D that sees nothing wrong is blind
GOOD = 0.6  # of what real data score in coverage, above which the samples show no fault of the game
COLLAPSED = 0.25  # of the spread, of the modes or of the coverage of the data, below which G has collapsed
DROPPED = 0.5  # of the coverage of real data, below which a part of the data is missing
REPEATED = 0.2  # share of samples with a near twin (1 % of real data), above which G repeats itself
MEMORISED = 0.25  # r_v: how far held-out data have gone from where D puts its training data to its fakes
KNOWN = 0.08  # accuracy that D loses on held-out data
DEAD = 1e-7  # gradient over weights below which nothing moves
TOO_FAST = 0.1  # update over the usual size of the weights, above which steps jump (1e-3 to 1e-2 is usual)
GROWN = 2.0  # weights over their usual size; and more than random steps of TOO_FAST would have made them
USUAL = 5e-3  # update over weights to aim at
TOO_SLOW = 3e-5  # update over weights below which a run would take hundreds of thousands of turns
EXPLODED = 4.0  # samples beyond the data by so many ranges; L_D above so many times its equilibrium
SWING = 0.6  # autocorrelation, down to - and up again to + this, of a curve that swings
LOUD = 0.1  # standard deviation of that curve, and of its newest third, over the size of the loss at rest
NOISY = 0.2  # relative error 1/sqrt(2(n - 1)) of a standard deviation over a batch, for batch norm
OUTSIDE = 0.1  # share of the data's range that G's last activation cannot reach, or reaches beyond


# What comes out ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """A field of the recipe, the value to try, and why."""

    field: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.why}"


@dataclass(frozen=True)
class Finding:
    """A fault that stands, or a verdict.

    since: the first step of the last row of readings that show it. confidence: 1/2 at the limit, up to 1.
    evidence: sentences with numbers that name the curves which show it. advice: the best first.
    """

    name: str
    fault: bool
    since: int
    confidence: float
    evidence: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()

    def __str__(self) -> str:
        head = f"{self.name} since step {self.since:,} (confidence {self.confidence:.2f})"
        text = "; ".join(self.evidence)
        tries = "".join(f"\n  try {advice}" for advice in self.advice)
        return f"{head}: {text}.{tries}" if text else head + tries


# Facts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What of a game the judgement needs besides its readings.

    critic: logits are no probability. saturates: the gradient of L_G vanishes where D rejects the fakes.
    relativistic: L_G sees real logits. equilibrium: L_D there. optimizers: "d" and "g", each as the part of a
    recipe, at its present learning rate; plain: those whose rate is the field `lr` of their part. batch:
    examples in one pass. penalties: as parts, at their present weight. examples: in the source; inf for a
    density. modes: of a known mixture; 0 otherwise. low, high: the range of real data; image: whether it can
    be chosen (data.low, data.high). output, d_output: the range of the last activation of G and of D, None
    where it has no bound. batch_norm: the players that have it. size: the norm that each player's weights
    have if every matrix keeps the scale of what passes through it, the root of the number of their rows.
    places: where a recipe has the options of "D" and of "G": in D.network if that is one within another.
    """

    critic: bool = False
    saturates: bool = False
    equilibrium: float = math.log(4)
    optimizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plain: tuple[str, ...] = ("d", "g")
    batch: int = 128
    k: int = 1
    simultaneous: bool = False
    examples: float = math.inf
    modes: int = 0
    low: float = -1.0
    high: float = 1.0
    image: bool = False
    output: tuple[float, float] | None = None
    d_output: tuple[float, float] | None = None
    relativistic: bool = False
    batch_norm: tuple[str, ...] = ()
    penalties: tuple[Mapping[str, Any], ...] = ()
    size: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=lambda: {"D": "D", "G": "G"})


def facts(game: Game, source: Source, n: int = 1024) -> Facts:
    """The facts of this game as it stands, with the range of n examples of the source."""
    real = source.batch(0, min(n, len(source)) if hasattr(source, "__len__") else n)[0]  # type: ignore[arg-type]
    players = {"d": game.D, "g": game.G}
    places, inner = {}, {}
    for who, player in players.items():
        places[who.upper()], inner[who] = _within(who.upper(), player.network)
    return Facts(
        critic=game.objective.probability is None,
        saturates=game.objective.saturates,
        equilibrium=game.objective.equilibrium,
        optimizers={who: _part(player) for who, player in players.items()},
        plain=tuple(w for w, p in players.items() if isinstance(p.optimizer, torch.optim.Optimizer)),
        batch=game.batch // game.accumulate,
        k=game.k,
        simultaneous=game.simultaneous,
        examples=len(source) if hasattr(source, "__len__") else math.inf,  # type: ignore[arg-type]
        modes=len(source.modes) if isinstance(source, GaussianMixture) else 0,
        low=float(getattr(source, "low", real.min())),
        high=float(getattr(source, "high", real.max())),
        image=hasattr(source, "low"),
        output=_bound(inner["g"]),
        d_output=_bound(inner["d"]),
        relativistic=game.objective.needs_real_logits,
        batch_norm=tuple(w.upper() for w, p in players.items() if _has_batch_norm(p.network)),
        penalties=tuple(
            {"name": p.name, "weight": _now(p.weight, game.step * game.k), "every": p.every}
            for p in game.penalties
        ),
        size={who: _usual_norm(player) for who, player in players.items()},
        places=places,
    )


def _within(place: str, network: torch.nn.Module) -> tuple[str, torch.nn.Module]:
    """The network that does the work, and where a recipe has it: within `augmented` and `packed`."""
    while isinstance(network, Augmented | Packed):
        place, network = f"{place}.network", network.network
    return place, network


def _now(weight: float | Callable[[int], float | torch.Tensor], step: int) -> float:
    return float(weight(step)) if callable(weight) else float(weight)


def _part(player: Player) -> dict[str, Any]:
    """The optimizer as a part of a recipe: what it is at heart, without schedules and wrappers."""
    group = player.optimizer.param_groups[0]
    if "betas" in group:
        return {"name": "adam", "lr": float(group["lr"]), "betas": [float(b) for b in group["betas"]]}
    return {"name": "sgd", "lr": float(group["lr"]), "momentum": float(group.get("momentum", 0.0))}


def _usual_norm(player: Player) -> float:
    return math.sqrt(sum(p.shape[0] for p in player.parameters if p.ndim > 1)) or 1.0


def _bound(network: torch.nn.Module) -> tuple[float, float] | None:
    """The range of a network's last activation, found by what it makes of very small and large numbers."""
    *_, last = network.modules()
    if type(last).__module__ != "torch.nn.modules.activation":
        return None
    with torch.no_grad():
        ends = last(torch.tensor([-1e6, 1e6], dtype=torch.float64)).tolist()
    low, high = (end if abs(end) < 1e4 else math.copysign(math.inf, end) for end in ends)
    return None if math.isinf(low) and math.isinf(high) else (low, high)


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(m, _BatchNorm) for m in network.modules())


# The history ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Streak:
    """Records in a row, the newest first, which show something."""

    rows: list[Record]

    @property
    def since(self) -> int:
        return self.rows[-1]["step"]

    def mean(self, name: str) -> float:
        return fmean(row[name] for row in self.rows)


class _History:
    """Records, looked at from the newest back."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [r for r in islice(reversed(records), DEPTH) if "step" in r]
        self.step = self.records[0]["step"] if self.records else 0

    def latest(self, name: str) -> float:
        """The newest value of a reading; nan where there is none but of the first units of time."""
        first = WARM_UP * self.unit
        known = (r[name] for r in self.records if r["step"] >= first and _is_number(r.get(name)))
        return next(known, math.nan)

    def series(self, name: str, n: int) -> list[float]:
        """The newest n values of a reading, in the order of time."""
        found = (x for r in self.records if (x := r.get(name)) is not None and math.isfinite(x))
        return list(islice(found, n))[::-1]

    @cached_property
    def unit(self) -> float:
        """Turns in which a player moves by as much as its weights, when it is quickest."""
        shares = [r[name] for r in self.records for name in MOVES if _is_number(r.get(name))]
        return 1 / min(max([*shares, PACE[0]]), PACE[1]) if shares else 500.0

    def held(
        self,
        names: Sequence[str],
        shown: Callable[..., bool],
        patience: float = PATIENCE,
        readings: int = READINGS,
    ) -> _Streak | None:
        """The newest records with these readings, if most of them show something for long enough.

        They go back for `patience` units of time and for so many readings at least; then for as long as every
        one shows it.
        """
        if patience and self.step < (WARM_UP + patience) * self.unit:
            return None
        first = self.step - patience * self.unit
        rows: list[Record] = []
        looked = shows = 0
        for r in self.records:
            values = [r.get(name) for name in names]
            if None in values:
                continue
            good = shown(*values)
            if looked < readings or r["step"] >= first:
                looked, shows = looked + 1, shows + good
            elif not good:
                break
            rows.append(r)
        enough = looked >= readings and rows[-1]["step"] <= first and shows >= MOST * looked
        return _Streak(rows) if enough else None


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and x == x


def _sure(x: float, limit: float, certain: float) -> float:
    """Confidence: 1/2 at the limit, rising to 1 where x is as far as `certain`."""
    share = (x - limit) / (certain - limit)
    return round(0.5 + 0.5 * min(max(share, 0.0), 1.0), 3)


# The faults, causes before consequences ---------------------------------------------------------------------

TERMS = ("d_loss", "g_loss", "d_gradient", "g_gradient", "d_update", "g_update", "output_low", "output_high")
MOVES = ("d_update_share", "g_update_share")
COVERAGE = 1 - 2**-5  # what real data score in `coverage` (Naeem et al. 2020)


def _non_finite(h: _History, f: Facts) -> Finding | None:
    event = next((r for r in h.records if r.get("event") == "fault" and r.get("name") == "non-finite"), None)
    names = (*TERMS, *(p["name"] for p in f.penalties))
    broken = {name: seen for name in names if (seen := h.held([name], _is_broken, 0.0, 1))}
    if not broken and event is None:
        return None
    wrong = [*broken, *([str(event.get("term", "a loss"))] if event else [])]
    since = min([seen.since for seen in broken.values()] + ([event["step"]] if event else []))
    evidence = f"{', '.join(wrong)} became nan or infinite at step {since:,}"
    advice = (*_slower(f, "d", 10), *_slower(f, "g", 10), *_with_r1(f))
    return Finding("non-finite values", True, since, 1.0, (evidence,), advice)


def _is_broken(x: Any) -> bool:
    return isinstance(x, float) and not math.isfinite(x)


def _range_mismatch(h: _History, f: Facts) -> Finding | None:
    if f.output is None or not h.records:
        return None
    (low, high), size = f.output, max(f.high - f.low, 1e-12)
    missed = max(low - f.low, f.high - high, 0.0) / size
    beyond = max(f.low - low, high - f.high, 0.0) / size if math.isfinite(low - high) else 0.0
    worst = max(missed, beyond)
    if worst < OUTSIDE:
        return None
    verb = "cannot reach" if missed >= beyond else "reaches beyond"
    evidence = (
        f"G's last activation gives {low:g} to {high:g}, the data lie in {f.low:.3g} to {f.high:.3g}: it "
        f"{verb} {worst:.0%} of their range",
    )
    outside = h.latest("output_outside")
    if outside > 0:
        evidence += (f"{outside:.0%} of the numbers in samples lie outside the data (output_outside)",)
    why = "the range of the data and of G's last activation should be the same"
    fitting = {(-1.0, 1.0): "Tanh", (0.0, 1.0): "Sigmoid"}.get((round(f.low, 1), round(f.high, 1)))
    advice = (Advice(f"{f.places['G']}.output", fitting if fitting and f.image else "Identity", why),)
    if f.image and math.isfinite(low - high):
        advice += (Advice("data.low", low, why), Advice("data.high", high, why))
    return Finding(
        "range mismatch", True, h.records[-1]["step"], _sure(worst, OUTSIDE, 0.5), evidence, advice
    )


def _batch_too_small(h: _History, f: Facts) -> Finding | None:
    noise = 1 / math.sqrt(2 * max(f.batch - 1, 0.5))
    if not f.batch_norm or noise < NOISY or not h.records:
        return None
    who = " and ".join(f.batch_norm)
    evidence = (
        f"{who} normalise{'s' * (len(f.batch_norm) == 1)} by the statistics of {f.batch} examples, whose "
        f"standard deviations are wrong by about {noise:.0%}",
    )
    advice = (
        Advice("batch", 64, "the error falls with the root of the batch"),
        *(Advice(f"{f.places[w]}.norm", None, "a network that small does without") for w in f.batch_norm),
    )
    since = h.records[-1]["step"]
    return Finding("batch too small for batch norm", True, since, _sure(noise, NOISY, 0.5), evidence, advice)


def _too_fast(h: _History, f: Facts) -> Finding | None:
    ran_away = _overshoot(h, f) > EXPLODED  # which lets weights grow at any rate
    most = math.inf if ran_away else max(GROWN, TOO_FAST * math.sqrt(h.step))
    for who in "dg":
        size, move, share = f.size.get(who, math.inf), f"{who}_update", f"{who}_update_share"

        def shown(u: float, s: float, size: float = size) -> bool:
            return u > TOO_FAST * size or u > most * size * s > 0

        if seen := h.held([move, share], shown, 0.0, FEWEST):
            u, weights = (
                seen.mean(move) / size,
                fmean(r[move] / r[share] for r in seen.rows if r[share]) / size,
            )
            evidence = (
                f"{who.upper()} moves by {u:.1%} of the usual size of such weights in a turn ({move}; 0.1 to "
                f"1 % is usual), and its weights are {weights:.1f} times that ({move} over {share})",
            )
            sure = max(
                _sure(u, TOO_FAST, 0.5), _sure(weights, most, 10 * GROWN) if most < 10 * GROWN else 0.5
            )
            advice = _slower(f, who, max(u / USUAL, 10))
            return _finding("learning rate too high", seen, sure, evidence, advice)
    return None


def _dead(h: _History, f: Facts) -> Finding | None:
    for who in "dg":
        for kind in ("gradient", "update"):
            name, limit = f"{who}_{kind}_share", DEAD if kind == "gradient" else 0.0
            seen = h.held([name], lambda x, limit=limit: x <= limit, 0.0, FEWEST)
            if not seen or _is_beaten(h, f):
                continue
            x = seen.mean(name)
            evidence = (f"the {kind} of {who.upper()} is {x:.1e} of its weights ({name}): it does not move",)
            return _finding("dead player", seen, 1.0, evidence, _awake(f, who))
    return None


def _awake(f: Facts, who: str) -> tuple[Advice, ...]:
    """What moves a player again: a rate, an output that passes a gradient, units that do."""
    other = f.optimizers.get("dg"[who == "d"], {"name": "adam"})
    advice: tuple[Advice, ...] = ()
    for network, bound in (("D", f.d_output), ("G", f.output)):
        if bound is not None and (network == "D" or who == "g") and not (network == "G" and f.image):
            why = "an output at the end of its range passes no gradient"
            advice += (Advice(f"{f.places[network]}.output", "Identity", why),)
    if f.optimizers.get(who, {}).get("lr", 1.0) == 0 or who not in f.plain:
        advice = (
            Advice(f"{who}_optimizer", dict(other), "its rate is or becomes 0: take the other's"),
            *advice,
        )
    leaky = {"name": "LeakyReLU", "negative_slope": 0.2}
    place = f.places[who.upper()]
    return (*advice, Advice(f"{place}.activation", leaky, "units that are off still pass a gradient"))


def _too_slow(h: _History, f: Facts) -> Finding | None:
    for who in "gd":
        name, felt = f"{who}_update_share", f"{who}_gradient_share"
        seen = h.held([name], lambda u: 0 < u < TOO_SLOW, 0.0, FEWEST)
        if seen and not h.latest(felt) < DEAD and not _is_good(h, f) and not _is_beaten(h, f):
            u = seen.mean(name)
            evidence = (f"{who.upper()} moves by {u:.1e} of its weights in a turn ({name}; 1e-3 is usual)",)
            factor = max(USUAL / u, 10.0)
            return _finding(
                "learning rate too low",
                seen,
                _sure(-math.log(u), -math.log(TOO_SLOW), -math.log(TOO_SLOW / 10)),
                evidence,
                (_rate(f, who, factor, "moves of 1e-3 to 1e-2 of the weights a turn are usual"),),
            )
    return None


def _diverging(h: _History, f: Facts) -> Finding | None:
    size, rest = max(f.high - f.low, 1e-12), max(abs(f.equilibrium), 1.0)
    if seen := h.held(["output_low", "output_high"], lambda a, b: _beyond(f, a, b) > EXPLODED, 0.0, FEWEST):
        low, high = seen.rows[0]["output_low"], seen.rows[0]["output_high"]
        x = max(f.low - low, high - f.high) / size
        evidence = (
            f"samples reach from {low:.3g} to {high:.3g}, the data from {f.low:.3g} to {f.high:.3g} "
            "(output_low, output_high)",
        )
    elif seen := h.held(["d_loss"], lambda loss: abs(loss) > EXPLODED * rest * (5 if loss < 0 else 1)):
        x = abs(seen.mean("d_loss")) / rest
        evidence = (f"the loss of D is {seen.mean('d_loss'):.3g}, at rest {f.equilibrium:.3g} (d_loss)",)
    else:
        return None
    advice = (*_with_r1(f), *_slower(f, "d", 10), *_slower(f, "g", 10))
    return _finding("divergence", seen, _sure(x, EXPLODED, 4 * EXPLODED), evidence, advice)


def _beyond(f: Facts, low: float, high: float) -> float:
    """How far samples go beyond the data, in ranges of the data."""
    return max(f.low - low, high - f.high) / max(f.high - f.low, 1e-12)


def _overshoot(h: _History, f: Facts) -> float:
    return _beyond(f, h.latest("output_low"), h.latest("output_high"))


def _saturated(h: _History, f: Facts) -> Finding | None:
    if not f.saturates or f.critic:
        return None
    seen = h.held(["d_fake"], lambda d: d < SATURATED, 0.0, MANY)  # the players hardly move: no unit to wait
    if not seen or _is_good(h, f):
        return None
    d, times = seen.mean("d_fake"), h.latest("saturation")
    evidence = (
        f"D(G(z)) is {d:.4f} on average (d_fake), and the gradient of this L_G is proportional to it",
    )
    if times == times:
        evidence += (f"the gradient of -log D(G(z)) would be {times:.3g} times as large (saturation)",)
    why = "its gradient is the minimax one times (1 - D)/D, strong where D rejects the fakes"
    return _finding(
        "minimax saturation",
        seen,
        _sure(SATURATED - d, 0, SATURATED),
        evidence,
        (Advice("objective", "nonsaturating", why),),
    )


def _overfitting(h: _History, f: Facts) -> Finding | None:
    if math.isinf(f.examples):
        return None
    seen = h.held(
        ["overfit_ratio", "accuracy_train", "accuracy_held"], lambda r, a, b: r > MEMORISED and a - b > KNOWN
    )
    if not seen:
        return None
    r = seen.mean("overfit_ratio")
    evidence = (
        f"D puts held-out data {r:.0%} of the way from its {f.examples:,.0f} training examples to the fakes "
        "(overfit_ratio)",
        f"it is right on {seen.mean('accuracy_train'):.0%} with training data and on "
        f"{seen.mean('accuracy_held'):.0%} with held-out data (accuracy_train, accuracy_held)",
    )
    advice = (
        *_with_r1(f, 10.0),
        Advice(f"{f.places['D']}.dropout", 0.3, "a D that forgets cannot learn by heart"),
        Advice(f"{f.places['D']}.width", 32, "fewer weights remember less"),
    )
    return _finding("discriminator overfitting", seen, _sure(r, MEMORISED, 1.0), evidence, advice)


def _g_too_strong(h: _History, f: Facts) -> Finding | None:
    names, strength = _strength(f)
    seen = h.held(names, lambda *x: strength(*x) < FOOLED, patience=2 * PATIENCE)
    lost = h.held(["coverage"], lambda c: c < LOST * COVERAGE, 0.0, FEWEST)
    if not seen or not lost:
        return None
    s = fmean(strength(*(r[name] for name in names)) for r in seen.rows)
    evidence = (
        f"D wins {max(s, 0):.0%} of what it could ({', '.join(names)}): it cannot tell the samples from data",
        *_shortfall_words(h, f),
    )
    d, g = (f.optimizers.get(w, {}).get("lr", 0.0) for w in "dg")
    advice = (_rate(f, "g", 1 / 5, "D must see what G does before it has moved on"),)
    if 0 < d < g:
        advice = (_rate(f, "d", g / d, "as fast as G"), *advice)
    advice += (Advice("k", 5, "more steps of D for each of G"),)
    return _finding("generator too strong", seen, _sure(FOOLED - s, 0, FOOLED), evidence, advice)


def _d_too_strong(h: _History, f: Facts) -> Finding | None:
    if f.critic and f.equilibrium <= 0:
        return None  # the gradient of a Wasserstein critic does not vanish as it becomes perfect
    names, strength = _strength(f)
    seen = h.held(names, lambda *x: strength(*x) > STRONG)
    if not seen or _is_good(h, f):
        return None
    s = fmean(strength(*(r[name] for name in names)) for r in seen.rows)
    evidence = (
        f"D wins {s:.0%} of what it could ({', '.join(names)}): it tells G that all is wrong, and not what "
        "would be better",
        *_shortfall_words(h, f),
    )
    advice = _with_r1(f)
    d, g = (f.optimizers.get(w, {}).get("lr", 0.0) for w in "dg")
    if f.k > 1:
        advice = (*advice, Advice("k", 1, "fewer steps of D for each of G"))
    if d > g > 0:
        advice = (*advice, _rate(f, "g", d / g, "as fast as D"))
    return _finding("discriminator too strong", seen, _sure(s, STRONG, 1.0), evidence, advice)


def _oscillating(h: _History, f: Facts) -> Finding | None:
    for name in ("g_loss", "d_loss"):
        curve = h.series(name, 60)
        if len(curve) < 30 or h.step < WARM_UP * h.unit:
            continue
        down, up, lag = _swing(curve)
        loud = min(np.std(curve), np.std(curve[-len(curve) // 3 :])) > LOUD * max(abs(f.equilibrium), 0.5)
        if min(-down, up) < SWING or not loud:
            continue
        since = h.records[0]["step"]
        evidence = (
            f"{name} swings with a period of about {lag} readings (autocorrelation {down:.2f}, then "
            f"{up:.2f})",
        )
        advice = (*_with_r1(f), *_slower(f, "d", 4), *_slower(f, "g", 4))
        return Finding("oscillation", True, since, _sure(min(-down, up), SWING, 0.8), evidence, advice)
    return None


def _swing(curve: Sequence[float]) -> tuple[float, float, int]:
    """The least autocorrelation of a curve without its straight trend, the greatest after it, and the lag of
    that: a curve that swings goes down to -1 and up to 1 again, its lag being the period."""
    n = len(curve)
    x, t = np.array(curve), np.arange(n) - (n - 1) / 2
    x = x - x.mean() - t * (t @ x) / (t @ t)
    if not (power := float(x @ x) / n) > 0:
        return 0.0, 0.0, 0
    lags = np.arange(1, n // 2)  # two periods at least
    acf = np.correlate(x, x, "full")[n:][: len(lags)] / (n - lags) / power
    low = int(acf.argmin())
    high = low + int(acf[low:].argmax())
    return float(acf[low]), float(acf[high]), high + 1


def _collapsed(h: _History, f: Facts) -> Finding | None:
    def shown(spread: float, coverage: float, duplicates: float) -> bool:
        return spread < COLLAPSED or (coverage < COLLAPSED * COVERAGE and duplicates > REPEATED)

    seen = h.held(["spread", "coverage", "duplicates"], shown, patience=3 * PATIENCE)
    modes = (
        h.held(["modes_covered"], lambda m: m <= COLLAPSED * f.modes, patience=3 * PATIENCE)
        if f.modes >= 4
        else None
    )
    if not (seen := seen or modes):
        return None
    evidence = _shortfall_words(h, f)
    advice = (*_spread_out(f), *_slower(f, "g", 4))
    return _finding("mode collapse", seen, _sure(_shortfall(h, f), 1 - COLLAPSED, 1.0), evidence, advice)


def _dropping(h: _History, f: Facts) -> Finding | None:
    name, limit = ("modes_covered", f.modes) if f.modes >= 2 else ("coverage", DROPPED * COVERAGE)
    seen = h.held([name], lambda x: x < limit, patience=6 * PATIENCE, readings=2 * READINGS)
    if not seen or not h.latest(name) < limit or _is_rising([row[name] for row in seen.rows[: 2 * READINGS]]):
        return None
    sure = _sure(_shortfall(h, f), 0.05, 0.5)
    return _finding("partial mode dropping", seen, sure, _shortfall_words(h, f), _spread_out(f))


FAULTS: Mapping[str, Callable[[_History, Facts], Finding | None]] = {
    "non-finite values": _non_finite,
    "range mismatch": _range_mismatch,
    "batch too small for batch norm": _batch_too_small,
    "learning rate too high": _too_fast,
    "dead player": _dead,
    "learning rate too low": _too_slow,
    "divergence": _diverging,
    "minimax saturation": _saturated,
    "discriminator overfitting": _overfitting,
    "discriminator too strong": _d_too_strong,
    "oscillation": _oscillating,
    "generator too strong": _g_too_strong,
    "mode collapse": _collapsed,
    "partial mode dropping": _dropping,
}
"""Every fault by its name, causes before consequences."""

VERDICTS = ("at equilibrium", "converging", "stalled")


# What the samples lack --------------------------------------------------------------------------------------


def _shortfall(h: _History, f: Facts) -> float:
    """What the samples lack of the data, 0 to 1: the share of modes, or of the data, that is not covered; nan
    where nobody looked."""
    modes, coverage = h.latest("modes_covered"), h.latest("coverage")
    return (
        1 - modes / f.modes
        if f.modes > 1 and modes == modes
        else max(1 - coverage / COVERAGE, 0.0)
        if coverage == coverage
        else math.nan
    )


def _strength(f: Facts) -> tuple[tuple[str, ...], Callable[..., float]]:
    """What D wins of all that it could: readings, and the function of them, 0 at rest and 1 for a perfect D.

    1 - L_D/equilibrium where there is one, for 2014's game the share of log 2 that D proves of the JSD; or
    else E[D(x)] - E[D(G(z))]; for a critic whose loss has no scale, 2 accuracy - 1.
    """
    if f.equilibrium > 0:
        return ("d_loss",), lambda loss: 1 - loss / f.equilibrium
    if not f.critic:
        return ("d_real", "d_fake"), lambda real, fake: real - fake
    return ("accuracy",), lambda accuracy: 2 * accuracy - 1


def _is_beaten(h: _History, f: Facts) -> bool:
    """Whether D wins nearly all: whatever else stands still then, its confidence is the cause."""
    names, strength = _strength(f)
    return strength(*(h.latest(name) for name in names)) > STRONG


def _is_good(h: _History, f: Facts) -> bool:
    return h.latest("coverage") > GOOD * COVERAGE


def _shortfall_words(h: _History, f: Facts) -> tuple[str, ...]:
    words: tuple[str, ...] = ()
    if f.modes > 1 and (m := h.latest("modes_covered")) == m:
        words += (f"{m:.0f} of {f.modes} modes have a sample (modes_covered)",)
    if (c := h.latest("coverage")) == c:
        words += (f"samples lie near {c:.0%} of the data (coverage; {COVERAGE:.0%} for real data)",)
    if (s := h.latest("spread")) == s:
        words += (f"they spread {s:.2f} times as far as the data (spread)",)
    return words


def _is_rising(values: Sequence[float]) -> bool:
    """Whether the newer half of readings, the newest first, is above the older by more than a tenth."""
    half = len(values) // 2
    return fmean(values[:half]) > 1.1 * fmean(values[half:])


# Advice -----------------------------------------------------------------------------------------------------


def _finding(
    name: str, seen: _Streak, confidence: float, evidence: tuple[str, ...], advice: tuple[Advice, ...]
) -> Finding:
    return Finding(name, True, seen.since, confidence, evidence, advice)


def _with_rate(f: Facts, who: str, lr: float, why: str) -> Advice:
    """The learning rate of a player: where it is scheduled, its whole optimizer at a constant rate."""
    lr = float(f"{lr:.2g}")
    if who in f.plain:
        return Advice(f"{who}_optimizer.lr", lr, why)
    return Advice(f"{who}_optimizer", {**f.optimizers.get(who, {"name": "adam"}), "lr": lr}, why)


def _rate(f: Facts, who: str, factor: float, why: str) -> Advice:
    return _with_rate(f, who, f.optimizers.get(who, {}).get("lr", 2e-4) * factor, why)


def _slower(f: Facts, who: str, times: float) -> tuple[Advice, ...]:
    return (
        _rate(f, who, 1 / times, "smaller steps follow the gradient; larger ones jump over what they seek"),
    )


def _with_r1(f: Facts, weight: float = 1.0) -> tuple[Advice, ...]:
    """R1 beside the penalties there are, or ten times as strong where it is one of them."""
    others = [dict(p) for p in f.penalties if p["name"] != "r1"]
    have = sum(p["weight"] for p in f.penalties if p["name"] == "r1")
    r1 = {"name": "r1", "weight": 10 * have if have else weight}
    return (
        Advice(
            "penalties", [*others, r1], "a flat D at the data lets the game contract (Mescheder et al. 2018)"
        ),
    )


def _spread_out(f: Facts) -> tuple[Advice, ...]:
    """Against lost modes: a penalty first, then an objective that compares each fake with a real example."""
    pairing = Advice(
        "objective", "relativistic_pairing", "each fake against a real example: none is left out"
    )
    if f.relativistic:
        return _with_r1(f)
    return (pairing, *_with_r1(f)) if f.penalties else (*_with_r1(f), pairing)


# The judgement ----------------------------------------------------------------------------------------------


def diagnose(records: Sequence[Record], facts: Facts) -> list[Finding]:
    """The faults that stand at the last record, causes first; or else one verdict, or nothing if it is early.

    records: in the order of time, ``{"step": s, name of a reading: value, ...}``; a reading is missing where
    its instrument did not look, and what is not known is ignored. Only the newest 400 (`DEPTH`) are
    looked at.
    """
    history = _History(records)
    found = [finding for fault in FAULTS.values() if (finding := fault(history, facts)) is not None]
    return found or _verdict(history, facts)


def _verdict(h: _History, f: Facts) -> list[Finding]:
    rows = [r for r in h.records if _is_number(r.get("coverage"))]
    if len(rows) < 2 * READINGS or h.step < WARM_UP * h.unit:
        return []
    values = [r["coverage"] / COVERAGE for r in rows][: 4 * READINGS]
    half = len(values) // 2
    new, old = fmean(values[:half]), fmean(values[half:])
    since = rows[len(values) - 1]["step"]
    words = _shortfall_words(h, f)
    bound, spread = h.latest("divergence_bound"), h.latest("spread")
    if new > 0.9 and not bound > 0.05 and not abs(spread - 1) > 0.1:
        return [Finding("at equilibrium", False, since, _sure(new, 0.9, 1.0), words)]
    if new > old * 1.02:
        return [Finding("converging", False, since, _sure(new - old, 0, 0.2), words)]
    return [Finding("stalled", False, since, 0.5, words)]
