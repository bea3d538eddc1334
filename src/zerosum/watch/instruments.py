r"""Instruments: how the game stands while it is played, read without touching it.

An `Instrument` is a function of a game and of its last turn, with a clock, and with what it declares of its
readings: unit, value at the equilibrium where there is one, source. A watch is a list of instruments, and the
loop stays the caller's:

>>> from torch import nn
>>> from zerosum import Game, data, objectives
>>> D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
>>> game, ring = Game(nn.Linear(4, 2), D, objectives.nonsaturating(), latent=4, batch=8), data.ring()
>>> watch = [losses(game, every=2), accuracy(game, every=2)]
>>> [(r.step, r.name) for turn in game.play(ring, steps=2) for r in read(watch, game, turn)]
[(0, 'd_loss'), (0, 'g_loss'), (0, 'accuracy'), (0, 'accuracy_real'), (0, 'accuracy_fake')]

Nothing is changed by looking. What needs more than the turn's own logits works on copies of the two networks,
with random streams of its own; torch's generator is put back as it was. The generator is the one that plays,
not its average. Copies are in evaluation mode, so that D is a function of one x: with batch norm in training
mode it sees a whole batch of one kind, and what it says bounds no divergence of p_data and p_g. Only
`saturation` and `gradients` ask what training feels, in training mode.

Values are in the units that `Instrument.gives` declares, divergences in nats; an interval is one of 95 %. A
game that has lost its numbers is no error: its readings are nan. A constructor given a game for which its
readings have no meaning raises ValueError.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from zerosum import metrics
from zerosum.data import Density, GaussianMixture, Source
from zerosum.game import Game, Player, Turn
from zerosum.metrics.estimate import normal, wilson
from zerosum.objectives import Objective, softplus
from zerosum.randomness import key, stream

__all__ = [
    "Instrument",
    "Reading",
    "Scale",
    "accuracy",
    "cost",
    "divergence_bound",
    "diversity",
    "duality_gap",
    "eigenvalues",
    "gradients",
    "losses",
    "modes",
    "motion",
    "output_range",
    "overfitting",
    "read",
    "referee",
    "saturation",
    "scores",
    "standard",
    "thorough",
    "value",
]

Value = float | tuple[float, float, float]
"""A number, or a number with its interval: (value, low, high)."""


@dataclass(frozen=True)
class Reading:
    """One number that an instrument read after turn `step`, with its 95 % interval where it has one."""

    name: str
    step: int
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    reference: float | None = None


@dataclass(frozen=True)
class Scale:
    """What is declared of a reading: its unit, and its value when p_g = p_data and D is the best there is."""

    unit: str
    equilibrium: float | None = None


@dataclass(frozen=True)
class Instrument:
    """A function ``(game, turn) -> {name: value}``, any one of yours too, with a clock.

    every: it reads at the steps that `every` divides. gives: the readings it may return. source: where the
    formula is from. turns: how many turns in a row one reading takes; it is shown those before it too.
    """

    name: str
    function: Callable[[Game, Turn], Mapping[str, Value]]
    every: int
    gives: Mapping[str, Scale]
    source: str
    turns: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or self.turns < 1:
            raise ValueError(f"{self.name}: every = {self.every} and turns = {self.turns} must be >= 1")

    def due(self, step: int) -> bool:
        """Whether it looks at this turn."""
        return -step % self.every < self.turns

    def __call__(self, game: Game, turn: Turn) -> list[Reading]:
        """Look, whatever the clock says."""
        with _aside(game, self.name, turn.step), torch.enable_grad():
            found = self.function(game, turn)
        return [self._reading(name, turn.step, value) for name, value in found.items()]

    def _reading(self, name: str, step: int, value: Value) -> Reading:
        scale = self.gives[name]
        v, low, high = value if isinstance(value, tuple) else (value, None, None)
        return Reading(name, step, v, low, high, scale.unit, scale.equilibrium)


def read(watch: Iterable[Instrument], game: Game, turn: Turn) -> list[Reading]:
    """The readings that are due at this turn. Call it at every turn: some instruments compare turns."""
    seen = [(instrument, instrument(game, turn)) for instrument in watch if instrument.due(turn.step)]
    return [reading for i, readings in seen if turn.step % i.every == 0 for reading in readings]


# Sets -------------------------------------------------------------------------------------------------------


def standard(game: Game, source: Source, held: Tensor | None = None) -> list[Instrument]:
    """The instruments that suit this game and cost little, with clocks that keep them below 5 % of training.

    held: real examples that D never sees, ``[n, *shape]``. A density draws its own; a finite source without
    them goes without `divergence_bound` and `overfitting`, and so does a conditional game, since they have no
    labels.
    """
    objective = game.objective
    real, held = _examples(game, source, held)
    watch = [losses(game), scores(game), accuracy(game), gradients(source), motion(game)]
    if _is_logistic(objective):
        watch += [value(game), saturation(game, source)]
    if held is not None and not game.classes:
        watch.append(overfitting(game, source, held))
        watch += [divergence_bound(game, held)] if objective.divergence is not None else []
    if isinstance(source, GaussianMixture):
        watch.append(modes(source))
    return [*watch, diversity(real), output_range(real)]


def thorough(game: Game, source: Source, held: Tensor | None = None) -> list[Instrument]:
    """What `standard` leaves out for its cost, seconds a reading: `referee`, `duality_gap`, `eigenvalues`."""
    real, held = _examples(game, source, held)
    watch = [eigenvalues(game, real)] if _size(game) <= LARGEST // 4 else []
    if held is not None:
        watch += [referee(held)] if len(held) >= 100 else []
        played = game.objective.divergence is not None and not game.classes
        watch += [duality_gap(game, source, held)] if played else []
    return watch


def cost(watch: Sequence[Instrument], game: Game, source: Source, rounds: int = 21) -> dict[str, float]:
    """The share of training time that each instrument takes at its clock: seconds per turn of looking, over
    seconds per turn of playing.

    A copy of the game plays; each of the `rounds` times one turn and then one look of each instrument, so
    that whatever else the machine does falls on both. Medians, without the first round.
    """
    game, spent = deepcopy(game), {"": list[float]()} | {i.name: list[float]() for i in watch}
    play = game.play(source, rounds)
    for _ in range(rounds):
        start = time.perf_counter()
        turn = next(play)
        spent[""].append(time.perf_counter() - start)
        for i in watch:
            start = time.perf_counter()
            i(game, turn)
            spent[i.name].append(time.perf_counter() - start)
    typical = {name: median(seconds[1:]) for name, seconds in spent.items()}
    return {i.name: typical[i.name] * min(i.turns, i.every) / i.every / typical[""] for i in watch}


# What D says, from the turn alone ---------------------------------------------------------------------------


def losses(game: Game, every: int = 25) -> Instrument:
    """`d_loss`, `g_loss`: the means of the objective's two losses over the turn's minibatch; no penalties.

    At the equilibrium L_D is the objective's declared value (log 4 in the game of 2014), L_G its value where
    D is undecided (log 2, non-saturating).
    """

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return {"d_loss": float(turn.d_loss), "g_loss": float(turn.g_loss)}

    objective, rest = game.objective, _undecided(game.objective)
    at = None if rest is None else torch.tensor([rest], dtype=torch.float64)
    resting = None if at is None else float(objective.g(at, at).mean())
    gives = {
        "d_loss": Scale("loss of D", objective.equilibrium),
        "g_loss": Scale("loss of G", resting),
    }
    return Instrument("losses", function, every, gives, "Goodfellow et al. 2014, algorithm 1")


def scores(game: Game, every: int = 25) -> Instrument:
    """`d_real`, `d_fake`: the means of D(x) and D(G(z)) over the turn's minibatch; `_q05`, `_q50`, `_q95`.

    At the equilibrium all are 1/2, or what the objective's labels make of it. Of a critic, which gives no
    probability, `real_logit` and `fake_logit` are read in their place; their equilibrium is not known.
    """
    critic = game.objective.probability is None
    sides = ("real_logit", "fake_logit") if critic else ("d_real", "d_fake")
    probability = game.objective.probability or (lambda logits: logits)
    quantiles = {"_q05": 0.05, "_q50": 0.5, "_q95": 0.95}

    def side(name: str, logits: Tensor) -> dict[str, Value]:
        d = probability(logits.double())
        q = torch.quantile(d, d.new_tensor([*quantiles.values()])).tolist()
        return {name: _mean(d)} | {name + end: x for end, x in zip(quantiles, q, strict=True)}

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return side(sides[0], turn.real_logits) | side(sides[1], turn.fake_logits)

    scale = Scale("logit") if critic else Scale("probability", _resting(game.objective))
    gives = {name + end: scale for name in sides for end in ("", *quantiles)}
    return Instrument("scores", function, every, gives, "Goodfellow et al. 2014, proposition 1")


def value(game: Game, every: int = 25) -> Instrument:
    """`value`: V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))] over the turn's minibatch; `value_distance`: V
    + log 4.

    For objectives whose D is the sigmoid of its logit. V = -log 4 at the equilibrium, and V <= -log 4 + 2 JSD
    for every D, on data that it was not fitted to.
    """
    if not _is_logistic(game.objective):
        raise ValueError("V(D, G) needs D(x) = sigmoid(logit): this objective has no such D, read its losses")

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        v, low, high = _mean(logsigmoid(turn.real_logits.double()) + logsigmoid(-turn.fake_logits.double()))
        return {
            "value": (v, low, high),
            "value_distance": (v + math.log(4), low + math.log(4), high + math.log(4)),
        }

    d = _resting(game.objective)  # 1/2, and V = -log 4, but for smoothed labels
    resting = math.log(d) + math.log(1 - d)
    gives = {"value": Scale("nats", resting), "value_distance": Scale("nats", resting + math.log(4))}
    return Instrument("value", function, every, gives, "Goodfellow et al. 2014, equation 1 and theorem 1")


def accuracy(game: Game, every: int = 25) -> Instrument:
    """`accuracy`: (P(D says real | x) + P(D says fake | G(z))) / 2 over the turn's minibatch; its two halves.

    D says real above the logit at which it rests when p_g = p_data (D(x) = 1/2, but for smoothed labels); for
    a critic, above the middle of its two means. A logit just there counts one half. The minibatch is new to
    D only if the source draws afresh: `overfitting` has the accuracy on held-out data.
    """
    boundary = _boundary(game.objective)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        return _accuracies("accuracy", boundary, turn.real_logits, turn.fake_logits)

    half = Scale("share")  # of a D that says nothing, any half; the two make one
    gives = {"accuracy": Scale("share", 0.5), "accuracy_real": half, "accuracy_fake": half}
    return Instrument("accuracy", function, every, gives, "Goodfellow et al. 2014, section 4.1")


# What D says of data it has not seen ------------------------------------------------------------------------


def divergence_bound(game: Game, held: Tensor, n: int = 1024, every: int = 200) -> Instrument:
    """`divergence_bound`: what the playing D proves of the distance between p_data and p_g, on held-out data.

        divergence(L_D),  for the game of 2014  (log 4 - L_D)/2 <= JSD(p_data, p_g)

    The objective declares the divergence; any D gives a bound, a bad one a low or negative one. The interval
    is normal, over n pairs of examples. At its low end one error as grave as the most confident answer is
    added, so that errors too rare to be seen are counted; its high end speaks of the bound only.
    """
    bound = _declared_divergence(game.objective)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = _players(game)
        with torch.no_grad():
            made = G(_noise(game, turn.step, "divergence_bound", count))
            real, fake = (D(x).double() for x in (_some(game, held, turn, count), made))
            each, most = game.objective.d(real, fake), torch.cat([real, fake]).abs().max()[None]
            worst = torch.cat([each, game.objective.d(-most, most)])
        return {
            "divergence_bound": (bound(float(each.mean())), bound(_mean(worst)[2]), bound(_mean(each)[1]))
        }

    count = min(n, len(held))
    gives = {"divergence_bound": Scale("divergence", 0.0)}
    source = "Goodfellow et al. 2014, theorem 1; Nowozin et al. 2016, equation 4"
    return Instrument("divergence_bound", function, every, gives, source)


def overfitting(game: Game, source: Source, held: Tensor, n: int = 512, every: int = 200) -> Instrument:
    """Whether D knows its training data by heart: logits on training data, on held-out data and on fakes.

        overfit_sign  = E[sign(a(x_train))]                                            (r_t; ADA: 0.6)
        overfit_ratio = (E[a(x_train)] - E[a(x_held)]) / (E[a(x_train)] - E[a(G(z))])  (r_v)

    r_v is 0 without overfitting and 1 when D takes held-out data for fakes; its interval is the delta
    method's, and a D that tells nothing apart has r_v = 0. Also `logit_train`, `logit_held`, `logit_fake`,
    and `accuracy_train`, `accuracy_held`: as `accuracy`, with these real examples.
    """
    boundary = _boundary(game.objective)
    count = min(n, len(held))

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = _players(game)
        known = source.batch(turn.step, count)[0].to(game.device, game.dtype)
        with torch.no_grad():
            made = G(_noise(game, turn.step, "overfitting", count))
            train, new, fake = (D(x).double() for x in (known, _some(game, held, turn, count), made))
        at = boundary(train, fake)
        return {
            "overfit_sign": _mean(_sign(train - at)),
            "overfit_ratio": _ratio_of_means(train, new, fake),
            "logit_train": _mean(train),
            "logit_held": _mean(new),
            "logit_fake": _mean(fake),
            "accuracy_train": _accuracies("accuracy", boundary, train, fake)["accuracy"],
            "accuracy_held": _accuracies("accuracy", lambda *_: at, new, fake)["accuracy"],
        }

    rest = _undecided(game.objective)
    gives = {"overfit_sign": Scale("share", 0.0), "overfit_ratio": Scale("ratio", 0.0)}
    gives |= {f"logit_{who}": Scale("logit", rest) for who in ("train", "held", "fake")}
    gives |= {f"accuracy_{who}": Scale("share", 0.5) for who in ("train", "held")}
    return Instrument("overfitting", function, every, gives, "Karras et al. 2020 (ADA), equation 1")


def referee(held: Tensor, n: int = 2048, every: int = 20_000) -> Instrument:
    """`referee`: the lower bound of the JSD that a fresh classifier proves, trained on half of n examples of
    `held` and of as many fakes, scored on the other half (`metrics.referee`). Takes seconds.
    """
    real = held[:n].flatten(1)
    if len(real) < 100:
        raise ValueError(
            f"the referee needs 100 held-out examples, not {len(real)}: hold out more, or leave it out"
        )

    def function(fake: Tensor) -> dict[str, Value]:
        found = metrics.referee(real, fake.flatten(1))
        return {"referee": (found.value, found.low, found.high)}

    gives = {"referee": Scale("nats", 0.0)}
    return _of_samples(
        "referee",
        function,
        len(real),
        every,
        gives,
        "Lopez-Paz and Oquab 2017; Goodfellow et al. 2014, theorem 1",
    )


# What the players feel --------------------------------------------------------------------------------------


def saturation(game: Game, source: Source, n: int = 256, every: int = 200) -> Instrument:
    """How much of its gradient G loses to D's confidence; for objectives with D = sigmoid(logit).

    `g_gradient_minimax`, `g_gradient_nonsaturating`: the norms, in G's weights, of the gradients of mean
    log(1 - D(G(z))) and of mean -log D(G(z)). `saturation`: the second over the first, which is (1 - D)/D
    where the logits of all fakes are equal. `g_slope_minimax`, `g_slope_nonsaturating`: mean |dL/da|, that is
    mean D and mean 1 - D; `g_slope`: the same of G's actual loss. `gradients` has that loss's norm.
    """

    if not _is_logistic(game.objective):
        raise ValueError(
            "saturation compares losses of D(x) = sigmoid(logit): read this game's gradients instead"
        )

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = _players(game, training=True)
        real, y = _labelled(game, source, turn.step, n)
        logits = _asked(D, _asked(G, _noise(game, turn.step, "saturation", n), y), y)
        real_logits = _asked(D, real, y) if game.objective.needs_real_logits else None
        mine = [p for p in G.parameters() if p.requires_grad]
        losses = {"": game.objective.g(real_logits, logits), "_minimax": -softplus(logits)}
        losses["_nonsaturating"] = softplus(-logits)
        slope = {name: _gradient(loss.mean(), [logits])[0] for name, loss in losses.items()}
        minimax, other = (
            _norm(_gradient(logits, mine, grad_outputs=slope[name]))
            for name in ("_minimax", "_nonsaturating")
        )
        found = {
            "g_gradient_minimax": minimax,
            "g_gradient_nonsaturating": other,
            "saturation": other / minimax,
        }
        found |= {f"g_slope{name}": s.abs().sum() for name, s in slope.items()}
        return {name: float(x) for name, x in found.items()}

    d = _resting(game.objective)
    gives = {
        "g_gradient_minimax": Scale("loss per weight", 0.0),
        "g_gradient_nonsaturating": Scale("loss per weight", 0.0),
        "saturation": Scale("ratio", (1 - d) / d),
        "g_slope": Scale("loss per logit"),
        "g_slope_minimax": Scale("loss per logit", d),
        "g_slope_nonsaturating": Scale("loss per logit", 1 - d),
    }
    return Instrument("saturation", function, every, gives, "Goodfellow et al. 2014, section 3")


def gradients(source: Source, n: int = 256, every: int = 200) -> Instrument:
    """`d_gradient`, `g_gradient`: the norms of the gradients, each in its player's weights, of mean L_D plus
    the penalties at their mean strength, and of mean L_G. `d_gradient_share`, `g_gradient_share`: the same
    over the norm of the weights.

    Both vanish at the equilibrium but for sampling noise, and also where a player is dead.
    """

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = _players(game, training=True)
        real, y = _labelled(game, source, turn.step, n)
        z = _noise(game, turn.step, "gradients", n)
        found = {}
        for name, network, loss in (("d", D, _d_loss), ("g", G, _g_loss)):
            own = [p for p in network.parameters() if p.requires_grad]
            norm = _norm(_gradient(loss(game, G, D, real, z, y), own))
            found |= {f"{name}_gradient": float(norm), f"{name}_gradient_share": float(norm / _norm(own))}
        return found

    gives = {f"{who}_gradient": Scale("loss per weight", 0.0) for who in "dg"}
    gives |= {f"{who}_gradient_share": Scale("loss per weight squared", 0.0) for who in "dg"}
    return Instrument("gradients", function, every, gives, "Goodfellow et al. 2014, algorithm 1")


def motion(game: Game, every: int = 200) -> Instrument:
    r"""How the players move, from their weights theta_t after three turns in a row.

        d_update, g_update              = |theta_t - theta_{t-1}|
        d_update_share, g_update_share  = |theta_t - theta_{t-1}| / |theta_t|     (about 1e-3 is usual)
        rotation                        = cos of the angle between the last two joint moves of both players

    A cosine near 1 is a straight way, near -1 a zigzag; independent noise gives about 0, a slow rotation by
    an angle w a turn cos w. Under extragradient a move takes two turns, and the points midway do not count.
    Needs to be read at every turn: it keeps the weights of the turns it was shown last.
    """
    period = 2 if getattr(game.G.optimizer, "together", False) else 1
    kept: deque[tuple[int, Tensor, Tensor]] = deque(maxlen=3)

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        if not getattr(game.G.optimizer, "at_extrapolation_point", False):
            kept.append((turn.step, _weights(game.D), _weights(game.G)))
        steps = [step for step, _, _ in kept]
        if len(steps) < 3 or steps[1] - steps[0] != period or steps[2] - steps[1] != period:
            return {}
        (_, *first), (_, *second), (_, *last) = kept
        before = [b - a for a, b in zip(first, second, strict=True)]
        now = [b - a for a, b in zip(second, last, strict=True)]
        found = {"rotation": torch.dot(torch.cat(before), torch.cat(now)) / (_norm(before) * _norm(now))}
        for name, move, weights in zip("dg", now, last, strict=True):
            found |= {f"{name}_update": move.norm(), f"{name}_update_share": move.norm() / weights.norm()}
        return {name: float(x) for name, x in found.items()}

    gives = {"rotation": Scale("cosine")}
    gives |= {f"{who}_update": Scale("weights") for who in "dg"}
    gives |= {f"{who}_update_share": Scale("ratio") for who in "dg"}
    return Instrument(
        "motion", function, every, gives, "Mescheder et al. 2017, section 3 (rotation)", turns=3 * period
    )


LARGEST = 2_000  # parameters of both players, for whose Jacobian there is time


def eigenvalues(game: Game, real: Tensor, n: int = 256, every: int = 5_000) -> Instrument:
    r"""The leading eigenvalue of the game's Jacobian: where a small deviation from here would go.

        v(theta_g, theta_d) = (-grad_{theta_g} L_G, -grad_{theta_d} (L_D + penalties)),    J = dv/dtheta

    `eigenvalue_real`, `eigenvalue_imaginary` (>= 0): the eigenvalue of J with the largest real part (of
    those, the largest imaginary part). Near an equilibrium the gradient flow contracts if the real part is
    negative, and turns fast if the imaginary part outweighs it. `eigenvalue_largest`: the largest modulus l;
    gradient steps above 2/l overshoot. The batch, n of `real` and as many z, is always the same. A penalty's
    points are taken as given, as in training: how they move with G is not part of J.

    For at most 2,000 parameters of both players together: J is dense.
    """
    if _size(game) > LARGEST:
        raise ValueError(
            f"eigenvalues: {_size(game)} parameters of both players, above {LARGEST}: leave them out"
        )

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        J = _jacobian(game, real[:n].to(game.device, game.dtype))
        if not J.isfinite().all():
            return dict.fromkeys(gives, math.nan)
        found = torch.linalg.eigvals(J.double())
        near = found.real > found.real.max() - 1e-6 * found.abs().max()
        return {
            "eigenvalue_real": float(found.real.max()),
            "eigenvalue_imaginary": float(found.imag[near].max()),
            "eigenvalue_largest": float(found.abs().max()),
        }

    scale = Scale("per unit of time")
    gives = {f"eigenvalue_{part}": scale for part in ("real", "imaginary", "largest")}
    return Instrument("eigenvalues", function, every, gives, "Mescheder et al. 2017, section 3")


FAR = 2**40  # where the batches begin that no game comes to


def duality_gap(
    game: Game,
    source: Source,
    held: Tensor,
    steps: int = 400,
    lr: float = 5e-3,
    n: int = 4096,
    every: int = 20_000,
) -> Instrument:
    r"""`duality_gap`: what either player could still gain against the other as it stands.

        M(G, D) = divergence(L_D),  for the game of 2014  E[log D(x)]/2 + E[log(1 - D(G(z)))]/2 + log 2
        DG      = max_{D'} M(G, D') - min_{G'} M(G', D)  >=  0

    `worst_case`: the first term, itself a lower bound of the divergence. `best_response`: the second; it is
    <= 0, as no D tells the data from themselves. So DG >= JSD(p_data, p_g) once D' is solved for, and DG = 0
    only at the equilibrium: it is large where G is bad, and also where G is good and D is sure of anything.

    D' is the best of D and of what `steps` steps of Adam (lr, falling to 0) make of a copy, in evaluation
    mode, on batches of the source. G' is the best of three answers: G itself, the data again, and the one
    example that D trusts most, again and again. No generator of such examples as the data have does better
    against a D that sees one at a time, and so nothing is searched for. (A G' that may leave the data goes
    where the logits grow without bound; a G' that descends from G finds nothing where D rejects all around.)

    Half of n examples of `held` choose D' and G', the other half gives the readings, and what is negative by
    chance is read as DG = 0. The intervals are normal and know nothing of how far the search went.
    """
    payoff, bound = game.objective.d, _declared_divergence(game.objective)
    unit = abs(bound(1.0) - bound(0.0))
    count = min(n, len(held)) // 2

    def function(game: Game, turn: Turn) -> dict[str, Value]:
        G, D = _players(game)
        real, z = _some(game, held, turn, 2 * count), _noise(game, turn.step, "gap", 2 * count)
        with torch.no_grad():
            made = G(z)
            trusted = real[D(real[:count]).argmax()]

        def loss(judge: nn.Module, half: slice, answer: int = 0) -> Tensor:
            with torch.no_grad():
                x = real[half]
                answers = made[half], x.roll(1, 0), trusted.expand_as(x)
                return payoff(judge(x).double(), judge(answers[answer]).double())

        first, second = slice(0, count), slice(count, 2 * count)
        better_D = search(game, turn, G, D, lambda judge: float(loss(judge, first).mean()))
        better_G = max(range(3), key=lambda answer: float(loss(D, first, answer).mean()))
        worst, best = loss(better_D, second), loss(D, second, better_G)
        lost, less, more = _mean(worst)
        gap, low, high = (max(unit * x, 0.0) for x in _mean(best - worst))  # nan stays nan
        return {
            "duality_gap": (gap, low, high),
            "worst_case": (bound(lost), bound(more), bound(less)),
            "best_response": bound(float(best.mean())),
        }

    def search(
        game: Game, turn: Turn, G: nn.Module, D: nn.Module, loss: Callable[[nn.Module], float]
    ) -> nn.Module:
        rival, best, kept = deepcopy(D), loss(D), D
        adam = torch.optim.Adam([p for p in rival.parameters() if p.requires_grad], lr, (0.5, 0.999))
        for i in range(steps):
            adam.param_groups[0]["lr"] = lr * (1 - i / steps)
            step = turn.step * steps + i
            real = source.batch(FAR + step, game.batch)[0].to(game.device, game.dtype)
            with torch.no_grad():
                fake = G(_noise(game, step, "search", game.batch))
            _descend(adam, payoff(rival(real), rival(fake)).mean())
            if (i + 1) % max(1, steps // 20) == 0 and (now := loss(rival)) < best:
                best, kept = now, deepcopy(rival)
        return kept

    gives = {name: Scale("divergence", 0.0) for name in ("duality_gap", "worst_case", "best_response")}
    return Instrument("duality_gap", function, every, gives, "Grnarova et al. 2019, section 3")


# What G makes -----------------------------------------------------------------------------------------------


def modes(density: GaussianMixture, n: int = 2048, every: int = 200) -> Instrument:
    """`modes_covered`, `high_quality` and `reverse_kl` of n samples against the modes of a known mixture.

    See `metrics.mode_coverage`, `metrics.high_quality_share` and `metrics.reverse_kl` (nan if fewer than 20
    samples lie at a mode at all). The references are what the density itself scores.
    """
    from scipy.special import chdtr

    K, d = density.modes.shape

    def function(fake: Tensor) -> dict[str, Value]:
        covered = metrics.mode_coverage(fake, density.modes, density.std)
        good = metrics.high_quality_share(fake, density.modes, density.std)
        found: dict[str, Value] = {
            "modes_covered": (covered.value, covered.low, covered.high),
            "high_quality": (good.value, good.low, good.high),
            "reverse_kl": math.nan,
        }
        if good.value * n >= 20:
            kl = metrics.reverse_kl(fake, density.modes, density.std, weights=density.weights)
            found["reverse_kl"] = (kl.value, kl.low, kl.high)
        return found

    gives = {
        "modes_covered": Scale(f"of {K} modes", float(K)),
        "high_quality": Scale("share", float(chdtr(d, 9))),
        "reverse_kl": Scale("nats", (K - 1) / (2 * n)),
    }
    return _of_samples("modes", function, n, every, gives, "Lin et al. 2018 (PacGAN), section 4.1")


def diversity(real: Tensor, n: int = 512, every: int = 200) -> Instrument:
    """How varied the samples are beside n of `real` (held-out where there are any), as flat vectors.

    `spread`: sqrt(tr Cov(G(z)) / tr Cov(x)), the ratio of the root mean square distances between two samples;
    0 for a single point. `coverage`: share of real examples with a sample within reach of their 5th neighbour
    (`metrics.prdc`). `duplicates`: share of samples that have another one nearer than all but 1 % of the real
    examples have (the birthday test: c such pairs among n samples suggest a support of about n^2 / 2c).
    """
    real = real[:n].flatten(1)
    closest = metrics.nearest(real, real, 5, itself=True)[
        :, 0
    ]  # and an early error for fewer than 6 examples
    near = torch.quantile(closest, 0.01)

    def function(fake: Tensor) -> dict[str, Value]:
        fake = fake.flatten(1)
        covered = metrics.prdc(real, fake).coverage
        pairs = int((metrics.nearest(fake, fake, 1, itself=True)[:, 0] <= near).sum())
        return {
            "spread": float((fake.var(0).sum() / real.var(0).sum()).sqrt()),
            "coverage": (covered.value, covered.low, covered.high),
            "duplicates": (pairs / len(fake), *wilson(pairs, len(fake))),
        }

    gives = {
        "spread": Scale("ratio", 1.0),
        "coverage": Scale("share", 1 - 2**-5),
        "duplicates": Scale("share", float((closest <= near).float().mean())),
    }
    source = "Naeem et al. 2020; Arora et al. 2018"
    return _of_samples("diversity", function, len(real), every, gives, source)


def output_range(real: Tensor, n: int = 256, every: int = 200) -> Instrument:
    """`output_low`, `output_high`: the 1 % and 99 % quantiles of all numbers in n samples. `output_outside`:
    the share of them beyond the least or the greatest number in `real` by more than 5 % of its range.
    """
    ends = torch.tensor([0.01, 0.99], dtype=torch.float64)
    first, last = float(real.min()), float(real.max())
    margin = 0.05 * (last - first)

    def quantiles(x: Tensor) -> tuple[float, float]:
        low, high = torch.quantile(x.flatten()[: 2**24].double(), ends).tolist()
        return low, high

    def function(fake: Tensor) -> dict[str, Value]:
        low, high = quantiles(fake)
        outside = (fake < first - margin) | (fake > last + margin)
        return {"output_low": low, "output_high": high, "output_outside": float(outside.double().mean())}

    low, high = quantiles(real)
    gives = {
        "output_low": Scale("data units", low),
        "output_high": Scale("data units", high),
        "output_outside": Scale("share", 0.0),
    }
    return _of_samples("output_range", function, n, every, gives, "counted")


# Looking without touching -----------------------------------------------------------------------------------


@contextmanager
def _aside(game: Game, name: str, step: int) -> Iterator[None]:
    """Torch's generators, which layers and penalties draw from, seeded for this reading, then put back."""
    seed, device = key(game.seed, game.rank, step, "instruments", name), game.device
    if device.type == "cpu":
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            yield
    else:
        with torch.random.fork_rng([device.index or 0], device_type=device.type):
            torch.get_device_module(device).manual_seed(seed)
            yield


def _players(game: Game, training: bool = False) -> tuple[nn.Module, nn.Module]:
    """Copies of the networks of G and D as they stand."""
    G, D = deepcopy((game.G.network, game.D.network))
    return G.train(training), D.train(training)


def _noise(game: Game, step: int, name: str, n: int) -> Tensor:
    generator = stream(game.seed, game.rank, step, "instruments", name, "noise", device=game.device)
    return game.prior((n, *game.latent), generator, game.dtype)


def _some(game: Game, held: Tensor, turn: Turn, n: int) -> Tensor:
    """n of the held-out examples, others at each turn."""
    rows = torch.randperm(len(held), generator=stream(game.seed, turn.step, "instruments", "held"))[:n]
    return held[rows].to(game.device, game.dtype)


def _examples(game: Game, source: Source, held: Tensor | None, n: int = 4096) -> tuple[Tensor, Tensor | None]:
    """Real examples to compare with, held-out if there are any; and the held-out ones."""
    if held is None and isinstance(source, Density):
        held = source.sample(n, stream(game.seed, "instruments", "held"))
    if held is not None:
        return held, held
    return source.batch(0, min(n, len(source)) if isinstance(source, Sized) else n)[0], None


def _of_samples(
    name: str,
    function: Callable[[Tensor], dict[str, Value]],
    n: int,
    every: int,
    gives: Mapping[str, Scale],
    source: str,
) -> Instrument:
    """An instrument that looks at n samples of G only, on the CPU."""

    def judged(game: Game, turn: Turn) -> Mapping[str, Value]:
        z = _noise(game, turn.step, name, n)
        fake = torch.cat([game.generate(part, live=True) for part in z.split(1024)]).float().cpu()
        return function(fake) if fake.isfinite().all() else dict.fromkeys(gives, math.nan)

    return Instrument(name, judged, every, gives, source)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """A step of a copy: no player is moved here."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# The objective ----------------------------------------------------------------------------------------------


def _is_logistic(objective: Objective) -> bool:
    return objective.probability is torch.sigmoid


def _declared_divergence(objective: Objective) -> Callable[[float], float]:
    if objective.divergence is None:
        raise ValueError(
            "this objective declares no divergence that its loss of D bounds: choose another one"
        )
    return objective.divergence


def _undecided(objective: Objective) -> float | None:
    """The logit a* where D rests at p_g = p_data, argmin_a d(a, a), by bisection; None for a critic."""
    if objective.probability is None:
        return None
    low, high = -40.0, 40.0
    for _ in range(100):
        a = torch.tensor([(low + high) / 2], dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            slope = float(_gradient(objective.d(a, a).sum(), [a])[0])
        if slope == 0:
            break
        low, high = (low, a.item()) if slope > 0 else (a.item(), high)
    return (low + high) / 2


def _resting(objective: Objective) -> float:
    """D(x) at p_g = p_data: 1/2, or (1 - s)/2 with labels smoothed by s; nan for a critic."""
    rest, probability = _undecided(objective), objective.probability
    if rest is None or probability is None:
        return math.nan
    return float(probability(torch.tensor(rest, dtype=torch.float64)))


Boundary = Callable[[Tensor, Tensor], float]


def _boundary(objective: Objective) -> Boundary:
    """(real_logits, fake_logits) -> the logit above which D says "real"."""
    at = _undecided(objective)
    if at is None:
        return lambda real, fake: float(real.mean() + fake.mean()) / 2
    return lambda real, fake: at


# The game ---------------------------------------------------------------------------------------------------


def _asked(network: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    return network(x) if y is None else network(x, y)


def _labelled(game: Game, source: Source, step: int, n: int) -> tuple[Tensor, Tensor | None]:
    """Real examples, with their labels in a conditional game."""
    x, y = source.batch(step, n)
    return x.to(game.device, game.dtype), y.to(game.device) if y is not None and game.classes else None


def _d_loss(
    game: Game, G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, y: Tensor | None = None
) -> Tensor:
    """Mean L_D plus the penalties at their mean strength, as a function of both players."""
    fake, critic = _asked(G, z, y), partial(_asked, D, y=y)
    loss = game.objective.d(critic(real), critic(fake)).mean()
    penalties = deepcopy(game.penalties)  # some keep state
    return sum((p.term(critic, real, fake, (game.step - 1) * game.k) / p.every for p in penalties), loss)


def _g_loss(
    game: Game, G: nn.Module, D: nn.Module, real: Tensor, z: Tensor, y: Tensor | None = None
) -> Tensor:
    real_logits = _asked(D, real, y) if game.objective.needs_real_logits else None
    return game.objective.g(real_logits, _asked(D, _asked(G, z, y), y)).mean()


def _size(game: Game) -> int:
    return sum(p.numel() for player in (game.G, game.D) for p in player.parameters)


def _jacobian(game: Game, real: Tensor) -> Tensor:
    """dv/dtheta of the joint field at the players' weights, G's before D's: [m + n, m + n]."""
    G, D = _players(game)
    z = _noise(game, 0, "eigenvalues", len(real))
    g, d = ([p for p in network.parameters() if p.requires_grad] for network in (G, D))
    g_part = _gradient(_g_loss(game, G, D, real, z), g, create_graph=True)
    d_part = _gradient(_d_loss(game, G, D, real, z), d, create_graph=True)
    v = -_flat([*g_part, *d_part])
    rows = torch.eye(len(v), dtype=v.dtype, device=v.device).split(64)
    parts = [_gradient(v, [*g, *d], grad_outputs=r, is_grads_batched=True, retain_graph=True) for r in rows]
    return torch.cat([torch.cat([x.flatten(1) for x in part], 1) for part in parts])


# Numbers ----------------------------------------------------------------------------------------------------

_gradient = partial(torch.autograd.grad, retain_graph=True, materialize_grads=True)
"""Gradients of a result that nothing is added to: [like each input]; zero for what it does not depend on."""


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return _flat(tensors).detach().norm()


def _weights(player: Player) -> Tensor:
    return _flat(player.parameters).detach()


def _mean(x: Tensor) -> tuple[float, float, float]:
    """The mean of independent values [n], with its normal interval."""
    mean = float(x.mean())
    return mean, *normal(mean, float(x.std()) / math.sqrt(len(x)))


def _sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; nan of nan, which torch calls 0."""
    return torch.where(x.isnan(), x, x.sign())


def _accuracies(name: str, boundary: Boundary, real: Tensor, fake: Tensor) -> dict[str, Value]:
    at = boundary(real, fake)
    right, wrong = (float((_sign(x - at).double().mean() + 1) / 2) for x in (real, fake))
    shares = {"": ((right + 1 - wrong) / 2, len(real) + len(fake))}
    shares |= {"_real": (right, len(real)), "_fake": (1 - wrong, len(fake))}
    return {name + end: _share(share, n) for end, (share, n) in shares.items()}


def _share(share: float, n: int) -> Value:
    """A share of n with Wilson's interval; nan as it is."""
    return (share, *wilson(round(share * n), n)) if math.isfinite(share) else share


def _ratio_of_means(train: Tensor, held: Tensor, fake: Tensor) -> Value:
    """(mean train - mean held) / (mean train - mean fake), with the delta method's interval."""
    spread = float(train.mean() - fake.mean())
    if spread == 0:
        return 0.0
    r = float(train.mean() - held.mean()) / spread
    parts = ((1 - r) ** 2 * train.var(), held.var(), r**2 * fake.var())
    return r, *normal(r, math.sqrt(sum(float(v) for v in parts) / len(train)) / abs(spread))
