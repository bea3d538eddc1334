"""The faults by their names, causes before consequences, with every limit that decides.

A fault is a criterion, and the samples that suffer from it. A game that is still getting better is learning,
whatever its readings look like; samples that are good need no doctor. So what only shows how a game is played
(a D that wins, a loss that swings) is a note until the samples have stopped improving, or have got worse, and
what tells of the samples themselves is not said before. Only what cannot be right (a number that is none, an
output that cannot reach the data) is a fault at once.

Mode collapse is a lack of variety: samples on a small part of the data, which have stopped getting better.
Samples that are far from the data altogether say only that G is not there yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from zerosum.watch.advice import (
    ADAM,
    awake,
    balanced,
    calmer,
    is_wasserstein,
    lr,
    slower,
    spread_out,
    steadied,
    together,
    with_layers,
    with_rates,
)
from zerosum.watch.facts import Facts
from zerosum.watch.finding import Advice, Evidence, Finding, Level
from zerosum.watch.history import PATIENCE, READINGS, History, Streak, is_number
from zerosum.watch.shortfall import (
    COVERAGE,
    EQUAL,
    LIKE,
    gets_nearer,
    is_far,
    is_good,
    lack,
    lacks_variety,
    like_data,
    shortfall,
    suffering,
)

__all__ = ["FAULTS"]

FEWEST = 2  # readings, in place of READINGS, of what no healthy game shows even once
MANY = 12  # the same of a minibatch, in a game that stands still, whose units never end

SATURATED = 0.15  # mean D(G(z)), of 1/2 at rest, below which the minimax loss hardly moves G
STRONG = 0.75  # of what D could ever win at its loss, above which it leaves G nothing to live on
FOOLED = 0.1  # of what D could ever win, below which it cannot lead G anywhere
COLLAPSED = 0.25  # of the spread, of the modes or of the coverage of the data, below which G has collapsed
DROPPED = 0.5  # of the coverage of real data, below which a part of the data is missing
REPEATED = 0.2  # share of samples with a near twin (1 % of real data), above which G repeats itself
MEMORISED = 0.25  # r_v: how far held-out data have gone from where D puts its training data to its fakes
MORE_RIGHT = 0.04  # accuracy that D loses on held-out data
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


TERMS = ("d_loss", "g_loss", "d_gradient", "g_gradient", "d_update", "g_update", "output_low", "output_high")

Found = Finding | None


def _level(h: History, f: Facts) -> Level:
    return "fault" if suffering(h, f) else "note"


def _seen(
    name: str,
    level: Level,
    streak: Streak,
    confidence: float,
    evidence: tuple[Evidence, ...],
    advice: tuple[Advice, ...],
) -> Finding:
    return Finding(name, level, streak.since, confidence, evidence, advice if level == "fault" else ())


def _sure(x: float, limit: float, certain: float) -> float:
    """Confidence: 1/2 at the limit, rising to 1 where x is as far as `certain`."""
    share = (x - limit) / (certain - limit)
    return round(0.5 + 0.5 * min(max(share, 0.0), 1.0), 3)


# What cannot be right ---------------------------------------------------------------------------------------


def _non_finite(h: History, f: Facts) -> Found:
    event = next((r for r in h.records if r.get("event") == "fault" and r.get("name") == "non-finite"), None)
    names = (*TERMS, *(p["name"] for p in f.penalties))
    broken = {name: row for name in names if (row := h.held([name], _is_broken, 0.0, 1))}
    if not broken and event is None:
        return None
    what = [*broken, *([str(event.get("term", "a loss"))] if event else [])]
    since = min([row.since for row in broken.values()] + ([event["step"]] if event else []))
    evidence = Evidence("non-finite", since, None, tuple(broken), {"what": ", ".join(what)})
    advice = (calmer(f, "dg", 10), steadied(f))
    return Finding("non-finite values", "fault", since, 1.0, (evidence,), advice)


def _is_broken(x: Any) -> bool:
    return isinstance(x, float) and not math.isfinite(x)


def _range_mismatch(h: History, f: Facts) -> Found:
    if f.output is None or not h.records:
        return None
    (low, high), size = f.output, max(f.high - f.low, 1e-12)
    missed = max(low - f.low, f.high - high, 0.0) / size
    beyond = max(f.low - low, high - f.high, 0.0) / size if math.isfinite(low - high) else 0.0
    worst = max(missed, beyond)
    if worst < OUTSIDE:
        return None
    ends = {"low": low, "high": high, "data_low": f.low, "data_high": f.high}
    which = "unreached range" if missed >= beyond else "exceeded range"
    evidence = Evidence(which, worst, OUTSIDE, ("output_low", "output_high"), ends)
    why = "the range of the data and of G's last activation should be the same"
    fitting = {(-1.0, 1.0): "Tanh", (0.0, 1.0): "Sigmoid"}.get((round(f.low, 1), round(f.high, 1)))
    advice = (Advice(f"{f.places['G']}.output", fitting if fitting and f.image else "Identity", why),)
    if f.image and math.isfinite(low - high):
        advice += (Advice("data.low", low, why), Advice("data.high", high, why))
    since = h.records[-1]["step"]
    return Finding("range mismatch", "fault", since, _sure(worst, OUTSIDE, 0.5), (evidence,), advice)


def _batch_too_small(h: History, f: Facts) -> Found:
    noise = 1 / math.sqrt(2 * max(f.batch - 1, 0.5))
    if not f.batch_norm or noise < NOISY or not h.records:
        return None
    others = {"who": " and ".join(f.batch_norm), "batch": f.batch}
    evidence = Evidence("batch statistics", noise, NOISY, (), others)
    advice = (
        Advice("batch", 64, "the error falls with the root of the batch"),
        *(Advice(f"{f.places[w]}.norm", None, "a network that small does without") for w in f.batch_norm),
    )
    since, sure = h.records[-1]["step"], _sure(noise, NOISY, 0.5)
    return Finding("batch too small for batch norm", "fault", since, sure, (evidence,), advice)


# How the players move ---------------------------------------------------------------------------------------


def _too_fast(h: History, f: Facts) -> Found:
    ran_away = _beyond(f, h.latest("output_low"), h.latest("output_high")) - _at_first(h, f) > EXPLODED
    dead = _dead(h, f) is not None  # a jump may end where nothing moves: what was before is the cause

    def most(step: float) -> float:  # what lies far away needs large weights
        return math.inf if ran_away else max(GROWN, TOO_FAST * math.sqrt(step))

    for who in "dg":
        size, move, weights = f.size.get(who, math.inf), f"{who}_update", f"{who}_weights"
        names = ("step", move, weights)

        def shown(step: float, u: float, w: float, size: float = size) -> bool:
            return u > TOO_FAST * size or w > most(step) * size

        if streak := h.ever(names, shown, FEWEST) if dead else h.held(names, shown, 0.0, FEWEST):
            u, grown, top = streak.mean(move) / size, streak.mean(weights) / size, most(streak.since)
            others = {"who": who.upper(), "weights": grown}
            sure = max(_sure(u, TOO_FAST, 0.5), _sure(grown, top, 10 * GROWN) if top < 10 * GROWN else 0.5)
            fast = [w for w in "dg" if w == who or lr(f, w) > TOO_FAST * ADAM / USUAL]
            advice = (calmer(f, fast, max(u / USUAL, 10)),)
            evidence = (Evidence("move", u, TOO_FAST, (move, weights), others),)
            level: Level = "fault" if dead else _level(h, f)
            return _seen("learning rate too high", level, streak, sure, evidence, advice)
    return None


def _dead(h: History, f: Facts) -> Found:
    for who in "dg":
        for kind in ("gradient", "update"):
            name, limit = f"{who}_{kind}_share", DEAD if kind == "gradient" else 0.0
            streak = h.held([name], lambda x, limit=limit: x <= limit, 0.0, FEWEST)
            if not streak or _is_beaten(h, f) or h.recent("coverage") > EQUAL * COVERAGE:
                continue
            others = {"kind": kind, "who": who.upper()}
            evidence = (Evidence("nothing moves", streak.mean(name), limit, (name,), others),)
            return _seen("dead player", "fault", streak, 1.0, evidence, awake(f, who))
    return None


def _too_slow(h: History, f: Facts) -> Found:
    for who in "gd":
        name, felt = f"{who}_update_share", f"{who}_gradient_share"
        streak = h.held([name], lambda u: 0 < u < TOO_SLOW, 0.0, FEWEST)
        if streak and not h.latest(felt) < DEAD and not _is_beaten(h, f):
            u = streak.mean(name)
            evidence = (Evidence("update share", u, TOO_SLOW, (name,), {"who": who.upper()}),)
            sure = _sure(-math.log(u), -math.log(TOO_SLOW), -math.log(TOO_SLOW / 10))
            why = "moves of 1e-3 to 1e-2 of the weights a turn are usual"
            rates = {w: _livelier(h, f, w) for w in "gd" if h.recent(f"{w}_update_share", 1) < TOO_SLOW}
            advice = (with_rates(f, {who: _livelier(h, f, who)} | rates, why),)
            return _seen("learning rate too low", _level(h, f), streak, sure, evidence, advice)
    return None


def _livelier(h: History, f: Facts, who: str) -> float:
    """The rate that makes moves of a usual size."""
    return lr(f, who) * max(USUAL / max(h.recent(f"{who}_update_share", 1), 1e-12), 10.0)


def _diverging(h: History, f: Facts) -> Found:
    rest = max(abs(f.equilibrium), 1.0)
    most = EXPLODED + _at_first(h, f)
    if streak := h.held(["output_low", "output_high"], lambda a, b: _beyond(f, a, b) > most, 0.0, FEWEST):
        low, high = streak.rows[0]["output_low"], streak.rows[0]["output_high"]
        x = _beyond(f, low, high)
        ends = {"low": low, "high": high, "data_low": f.low, "data_high": f.high}
        evidence = Evidence("overshoot", x, most, ("output_low", "output_high"), ends)
        level, limit = "fault", most
    elif streak := h.held(["d_loss"], lambda loss: abs(loss) > EXPLODED * rest * (5 if loss < 0 else 1)):
        x, level, limit = abs(streak.mean("d_loss")) / rest, _level(h, f), EXPLODED
        others = {"loss": streak.mean("d_loss"), "rest": f.equilibrium}
        evidence = Evidence("loss of D", x, EXPLODED, ("d_loss",), others)
    else:
        return None
    advice = (*with_layers(f), steadied(f), *slower(f, "d", 10), *slower(f, "g", 10))
    return _seen("divergence", level, streak, _sure(x, limit, 4 * limit), (evidence,), advice)


def _beyond(f: Facts, low: float, high: float) -> float:
    """How far samples go beyond the data, in ranges of the data."""
    return max(f.low - low, high - f.high) / max(f.high - f.low, 1e-12)


def _at_first(h: History, f: Facts) -> float:
    """How far they did before G had moved: data may lie anywhere."""
    names = ("output_low", "output_high")
    ends = next(([r[name] for name in names] for r in h.all if all(is_number(r.get(x)) for x in names)), None)
    return max(_beyond(f, *ends), 0.0) if ends else 0.0


# How the game stands between the two ------------------------------------------------------------------------


def _saturated(h: History, f: Facts) -> Found:
    if not f.saturates or f.critic:
        return None
    streak = h.held(
        ["d_fake"], lambda d: d < SATURATED, 0.0, MANY
    )  # players hardly move: no unit to wait for
    if not streak or is_good(h, f):
        return None
    d, times = streak.mean("d_fake"), h.latest("saturation")
    evidence = (Evidence("d_fake", d, SATURATED, ("d_fake",)),)
    if times == times:
        evidence += (Evidence("saturation", times, None, ("saturation",)),)
    why = "its gradient is the minimax one times (1 - D)/D, strong where D rejects the fakes"
    advice = (together({"objective": "nonsaturating", **balanced(f)}, why),)
    sure = _sure(SATURATED - d, 0, SATURATED)
    return _seen("minimax saturation", _level(h, f), streak, sure, evidence, advice)


def _overfitting(h: History, f: Facts) -> Found:
    if math.isinf(f.examples):
        return None
    streak = h.held(
        ["overfit_ratio", "accuracy_train", "accuracy_held"],
        lambda r, a, b: r > MEMORISED and a - b > MORE_RIGHT,
    )
    if not streak:
        return None
    r, train, held = (streak.mean(name) for name in ("overfit_ratio", "accuracy_train", "accuracy_held"))
    evidence = (
        Evidence("overfit_ratio", r, MEMORISED, ("overfit_ratio",)),
        Evidence(
            "accuracy lost",
            train - held,
            MORE_RIGHT,
            ("accuracy_train", "accuracy_held"),
            {"train": train, "held": held},
        ),
    )
    course, level = h.course, _level(h, f)
    if level == "note" and course is not None and course.worse:
        level: Level = "warning"  # good samples, which were better before
    advice = (
        steadied(f, 10.0),
        Advice(f"{f.places['D']}.dropout", 0.3, "a D that forgets cannot learn by heart"),
        Advice(f"{f.places['D']}.width", 32, "fewer weights remember less"),
    )
    return _seen("discriminator overfitting", level, streak, _sure(r, MEMORISED, 1.0), evidence, advice)


def strength_of_D(f: Facts) -> tuple[tuple[str, ...], Callable[..., float]]:
    """What D wins of all that it could: readings, and the function of them, 0 at rest and 1 for a perfect D.

    1 - L_D/equilibrium where there is one, for 2014's game the share of log 2 that D proves of the JSD; or
    else E[D(x)] - E[D(G(z))]; for a critic whose loss has no scale, 2 accuracy - 1.
    """
    if f.equilibrium > 0:
        return ("d_loss",), lambda loss: 1 - loss / f.equilibrium
    if not f.critic:
        return ("d_real", "d_fake"), lambda real, fake: real - fake
    return ("accuracy",), lambda accuracy: 2 * accuracy - 1


def _is_beaten(h: History, f: Facts) -> bool:
    """Whether D wins nearly all: whatever else stands still then, its confidence is the cause."""
    names, strength = strength_of_D(f)
    return strength(*(h.latest(name) for name in names)) > STRONG


def _d_too_strong(h: History, f: Facts) -> Found:
    if is_wasserstein(f):
        return None  # the gradient of a Wasserstein critic does not vanish as it becomes perfect
    names, strength = strength_of_D(f)
    streak = h.held(names, lambda *x: strength(*x) > STRONG)
    if not streak or is_good(h, f):
        return None
    s = fmean(strength(*(r[name] for name in names)) for r in streak.rows)
    evidence = (Evidence("strength of D", s, STRONG, names, {"side": "at most"}), *shortfall(h, f))
    advice: tuple[Advice, ...] = (steadied(f),)
    if equal := balanced(f):
        advice = (together(equal, "both as fast, at a rate that is usual"), *advice)
    if f.k > 1:
        advice = (*advice, Advice("k", 1, "fewer steps of D for each of G"))
    return _seen("discriminator too strong", _level(h, f), streak, _sure(s, STRONG, 1.0), evidence, advice)


def _oscillating(h: History, f: Facts) -> Found:
    for name in ("g_loss", "d_loss"):
        curve = h.series(name, 60)
        if len(curve) < 30 or h.early:
            continue
        down, up, lag = _swing(curve)
        loud = min(np.std(curve), np.std(curve[-len(curve) // 3 :])) > LOUD * max(abs(f.equilibrium), 0.5)
        if min(-down, up) < SWING or not loud or is_good(h, f):
            continue
        rows = [r for r in h.records if name in r][: len(curve)]
        turns = round(lag * (rows[0]["step"] - rows[-1]["step"]) / (len(rows) - 1))
        others = {"curve": name, "period": turns, "low": down}
        evidence = (Evidence("swing", up, SWING, (name,), others),)
        advice = (*with_layers(f), steadied(f), *slower(f, "d", 4), *slower(f, "g", 4))
        sure, level = _sure(min(-down, up), SWING, 0.8), _level(h, f)
        if not gets_nearer(h):  # what swings touches a new best now and then
            level = "fault"
        return _seen("oscillation", level, Streak(rows), sure, evidence, advice)
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


def _g_too_strong(h: History, f: Facts) -> Found:
    names, strength = strength_of_D(f)
    streak = h.held(names, lambda *x: strength(*x) < FOOLED, patience=2 * PATIENCE)
    if not streak or not suffering(h, f) or not like_data(h) < LIKE or not is_far(h):
        return None
    s = fmean(strength(*(r[name] for name in names)) for r in streak.rows)
    evidence = (
        Evidence("strength of D", max(s, 0.0), FOOLED, names, {"side": "at least"}),
        *shortfall(h, f),
    )
    advice: tuple[Advice, ...] = (calmer(f, "g", 5),)
    if 0 < lr(f, "d") < lr(f, "g"):
        equal = with_rates(f, {"d": lr(f, "g")}, "as fast as G")
        advice = (*advice, equal) if lr(f, "g") > 10 * ADAM else (equal, *advice)
    advice += (Advice("k", 5, "more steps of D for each of G"),)
    sure = _sure(FOOLED - s, 0, FOOLED)
    return _seen("generator too strong", "fault", streak, sure, evidence, advice)


# What the samples lack --------------------------------------------------------------------------------------


def _collapsed(h: History, f: Facts) -> Found:
    far = is_far(h)  # clean samples of noisy data are twins that cover little

    def shown(spread: float, coverage: float, duplicates: float) -> bool:
        return spread < COLLAPSED or (far and coverage < COLLAPSED * COVERAGE and duplicates > REPEATED)

    streak = h.held(["spread", "coverage", "duplicates"], shown, patience=3 * PATIENCE)
    if streak is None and f.modes >= 4 and lacks_variety(h, f):
        streak = h.held(["modes_covered"], lambda m: m <= COLLAPSED * f.modes, patience=3 * PATIENCE)
    if streak is None or not suffering(h, f):
        return None
    advice = (*spread_out(f), *slower(f, "g", 4))
    sure = _sure(lack(h, f), 1 - COLLAPSED, 1.0)
    return _seen("mode collapse", "fault", streak, sure, shortfall(h, f), advice)


def _dropping(h: History, f: Facts) -> Found:
    name, limit = ("modes_covered", f.modes) if f.modes >= 2 else ("coverage", DROPPED * COVERAGE)
    streak = h.held([name], lambda x: x < limit, patience=6 * PATIENCE, readings=2 * READINGS)
    if f.modes < 2 and not is_far(h):  # as in `_collapsed`
        return None
    if not streak or not h.recent(name) < limit or not lacks_variety(h, f) or not suffering(h, f):
        return None
    sure = _sure(lack(h, f), 0.05, 0.5)
    return _seen("partial mode dropping", "fault", streak, sure, shortfall(h, f), spread_out(f))


FAULTS: Mapping[str, Callable[[History, Facts], Found]] = {
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
