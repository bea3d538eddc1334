"""What to try against a fault: fields of the recipe with the values to give them, the best first."""

from __future__ import annotations

from zerosum.watch.facts import Facts
from zerosum.watch.finding import Advice

__all__ = [
    "ADAM",
    "awake",
    "rate",
    "slower",
    "spread_out",
    "usual_rate",
    "with_layers",
    "with_r1",
    "with_rate",
]

ADAM = 1e-3  # the rate that is usual


def with_rate(f: Facts, who: str, lr: float, why: str) -> Advice:
    """The learning rate of a player: where it is scheduled, its whole optimizer at a constant rate."""
    lr = float(f"{lr:.2g}")
    if who in f.plain:
        return Advice(f"{who}_optimizer.lr", lr, why)
    return Advice(f"{who}_optimizer", {**f.optimizers.get(who, {"name": "adam"}), "lr": lr}, why)


def rate(f: Facts, who: str, factor: float, why: str) -> Advice:
    """Another learning rate of a player."""
    return with_rate(f, who, f.optimizers.get(who, {}).get("lr", 2e-4) * factor, why)


def slower(f: Facts, who: str, times: float) -> tuple[Advice, ...]:
    """A smaller learning rate of a player."""
    return (
        rate(f, who, 1 / times, "smaller steps follow the gradient; larger ones jump over what they seek"),
    )


def usual_rate(f: Facts, who: str, times: float) -> tuple[Advice, ...]:
    """The rate that is usual with Adam, whose steps are as long as its rate; of others `times` less."""
    part = f.optimizers.get(who, {})
    if part.get("name") != "adam" or part["lr"] <= ADAM:
        return slower(f, who, times)
    return (with_rate(f, who, ADAM, "a step of Adam is as long as its rate, and this one is usual"),)


def with_r1(f: Facts, times: float = 1.0) -> tuple[Advice, ...]:
    """R1 beside the penalties there are, or ten times as strong where it is one of them.

    The slopes that D needs are the steeper the less the data extend: weight 1 for images, elsewhere 0.1 for
    data of range 2, and with the square of the range.
    """
    others = [dict(p) for p in f.penalties if p["name"] != "r1"]
    have = sum(p["weight"] for p in f.penalties if p["name"] == "r1")
    usual = 1.0 if f.image else 0.1 * ((f.high - f.low) / 2) ** 2 or 1.0
    r1 = {"name": "r1", "weight": 10 * have if have else float(f"{times * usual:.1g}")}
    return (
        Advice(
            "penalties", [*others, r1], "a flat D at the data lets the game contract (Mescheder et al. 2018)"
        ),
    )


def spread_out(f: Facts) -> tuple[Advice, ...]:
    """Against lost modes: a penalty first, then an objective that compares each fake with a real example."""
    pairing = Advice(
        "objective", "relativistic_pairing", "each fake against a real example: none is left out"
    )
    if f.relativistic:
        return with_r1(f)
    return (pairing, *with_r1(f)) if f.penalties else (*with_r1(f), pairing)


def with_layers(f: Facts) -> tuple[Advice, ...]:
    """Layers for a D that is linear."""
    why = "a linear D sees no more than where the means are"
    return (Advice(f"{f.places['D']}.depth", 2, why),) if f.linear else ()


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
