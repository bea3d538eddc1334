"""What to try against a fault: fields of the recipe with the values to give them, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zerosum.watch.facts import Facts
from zerosum.watch.finding import Advice

__all__ = [
    "ADAM",
    "awake",
    "balanced",
    "calmer",
    "is_wasserstein",
    "lr",
    "slower",
    "spread_out",
    "steadied",
    "together",
    "with_layers",
    "with_rates",
]

ADAM = 1e-3  # the rate that is usual
SMALLER = "smaller steps follow the gradient; larger ones jump over what they seek"
UNEQUAL = 3.0  # times the other's rate, above which the rates are the first thing to look at


def lr(f: Facts, who: str) -> float:
    return f.optimizers.get(who, {}).get("lr", 2e-4)


def with_rates(f: Facts, rates: Mapping[str, float], why: str) -> Advice:
    """Learning rates of players, changed together; one that is scheduled as a whole optimizer at a constant
    rate."""
    fields: dict[str, Any] = {}
    for who, rate in rates.items():
        rate = float(f"{rate:.2g}")
        if who in f.plain:
            fields[f"{who}_optimizer.lr"] = rate
        else:
            fields[f"{who}_optimizer"] = {**f.optimizers.get(who, {"name": "adam"}), "lr": rate}
    return together(fields, why)


def together(fields: Mapping[str, Any], why: str) -> Advice:
    """Fields that are to be changed at once."""
    (name, value), *others = fields.items()
    return Advice(name, value, why, dict(others))


def slower(f: Facts, who: str, times: float) -> tuple[Advice, ...]:
    """A smaller learning rate of a player."""
    return (with_rates(f, {who: lr(f, who) / times}, SMALLER),)


def calmer(f: Facts, who: Iterable[str], times: float) -> Advice:
    """Rates that are usual with Adam, whose steps are as long as its rate; of others `times` less."""
    beyond = {w: _is_adam(f, w) and lr(f, w) > ADAM for w in who}
    rates = {w: ADAM if far else lr(f, w) / times for w, far in beyond.items()}
    usual = "a step of Adam is as long as its rate, and this one is usual"
    return with_rates(f, rates, usual if all(beyond.values()) else SMALLER)


def balanced(f: Facts) -> dict[str, Any]:
    """Fields that let G keep up with a D whose rate is far above its own: both as fast, at a usual rate, and
    one step of D for each of G. Empty where the rates are not so far apart."""
    if not lr(f, "d") > UNEQUAL * lr(f, "g") > 0:
        return {}
    adam = _is_adam(f, "d") and _is_adam(f, "g")
    rate = min(lr(f, "d"), ADAM) if adam else lr(f, "d")
    return with_rates(f, {"g": rate, "d": rate}, "").fields | ({"k": 1} if f.k > 1 else {})


def _is_adam(f: Facts, who: str) -> bool:
    return f.optimizers.get(who, {}).get("name") == "adam"


def steadied(f: Facts, times: float = 1.0) -> Advice:
    """A penalty on the slopes of D beside those there are: of a critic without a scale (Wasserstein) that of
    WGAN-GP, of any other D R1, `times` its usual weight, or ten times as strong where it is one of them.

    The slopes that D needs are the steeper the less the data extend: R1's weight is 1 for images, elsewhere
    0.1 for data of range 2, and with the square of the range. That of WGAN-GP is 10 for images, elsewhere 1.
    """
    critic = is_wasserstein(f)
    name = "wgan_gp" if critic else "r1"
    others = [dict(p) for p in f.penalties if p["name"] != name]
    have = sum(p["weight"] for p in f.penalties if p["name"] == name)
    usual = 1.0 if critic or f.image else 0.1 * ((f.high - f.low) / 2) ** 2 or 1.0
    usual *= 10 if critic and f.image else 1
    weight = 10 * have if have else float(f"{times * usual:.1g}")
    why = "a flat D at the data lets the game contract (Mescheder et al. 2018)"
    if critic:
        why = "the loss of Wasserstein is a distance for a D of slope 1 alone (Gulrajani et al. 2017)"
    return Advice("penalties", [*others, {"name": name, "weight": weight}], why)


def spread_out(f: Facts) -> tuple[Advice, ...]:
    """Against lost modes: a penalty first, then an objective that compares each fake with a real example."""
    pairing = Advice(
        "objective", "relativistic_pairing", "each fake against a real example: none is left out"
    )
    if f.relativistic:
        return (steadied(f),)
    return (pairing, steadied(f)) if f.penalties else (steadied(f), pairing)


def with_layers(f: Facts) -> tuple[Advice, ...]:
    """Layers for a D that is linear; for a critic of Wasserstein also what its loss asks of it: slope 1, and
    to be near its best, by a rate like G's and five steps for each of G."""
    if not f.linear:
        return ()
    fields: dict[str, Any] = {f"{f.places['D']}.depth": 2}
    if is_wasserstein(f):
        fields |= steadied(f).fields | {"k": max(f.k, 5)}
        if lr(f, "d") < lr(f, "g"):
            fields |= with_rates(f, {"d": lr(f, "g")}, "").fields
    return (together(fields, "a linear D sees no more than where the means are"),)


def is_wasserstein(f: Facts) -> bool:
    """Whether D is a critic whose loss has no scale."""
    return f.critic and f.equilibrium <= 0


def awake(f: Facts, who: str) -> tuple[Advice, ...]:
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
