r"""An instrument: how the game stands while it is played, read without touching it.

An `Instrument` is a function of a game and of its last turn, with a clock, and with what it declares of its
readings: unit, value at the equilibrium where there is one, source. A watch is a list of instruments, and the
loop stays the caller's:

>>> from torch import nn
>>> from zerosum import Game, data, objectives
>>> from zerosum.watch import instruments, read
>>> D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
>>> game, ring = Game(nn.Linear(4, 2), D, objectives.nonsaturating(), latent=4, batch=8), data.ring()
>>> watch = [instruments.losses(game, every=2), instruments.accuracy(game, every=2)]
>>> [(r.step, r.name) for turn in game.play(ring, steps=2) for r in read(watch, game, turn)][:3]
[(1, 'd_loss'), (1, 'g_loss'), (1, 'accuracy')]

A step counts the turns that were played, as in the records and the names of the files of a run: a reading of
step s is of the turn ``turn.step = s - 1`` and of the players as that turn left them.

Nothing is changed by looking. What needs more than the turn's own logits works on copies of the two networks,
with random streams of its own; torch's generator is put back as it was. The generator is the one that plays,
not its average. Copies are in evaluation mode, so that D is a function of one x: with batch norm in training
mode it sees a whole batch of one kind, and what it says bounds no divergence of p_data and p_g. Only
`saturation` and `gradients` ask what training feels, in training mode.

A reading takes no more memory than a turn of the game: networks are asked in parts of the game's batch, at
the game's precision, and sums of losses, gradients and penalties over the parts are those of the whole.

Values are in the units that `Instrument.gives` declares, divergences in nats; an interval is one of 95 %. A
game that has lost its numbers is no error: its readings are nan. A constructor given a game for which its
readings have no meaning raises ValueError.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from zerosum.data import Source
from zerosum.game import Game, Turn
from zerosum.metrics.estimate import normal, wilson
from zerosum.randomness import key, seeded, stream

__all__ = ["Examples", "Instrument", "Reading", "Scale", "cost", "read"]

Value = float | tuple[float, float, float]
"""A number, or a number with its interval: (value, low, high)."""


@dataclass(frozen=True)
class Reading:
    """One number that an instrument read when `step` turns were played, with its 95 % interval where it has
    one.
    """

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

    every: it reads at the steps that `every` divides; at_once: at the first too. gives: the readings it may
    return. source: where the formula is from. turns: how many turns in a row one reading takes; it is shown
    those before it too.
    """

    name: str
    function: Callable[[Game, Turn], Mapping[str, Value]]
    every: int
    gives: Mapping[str, Scale]
    source: str
    turns: int = 1
    at_once: bool = True

    def __post_init__(self) -> None:
        if self.every < 1 or self.turns < 1:
            raise ValueError(f"{self.name}: every = {self.every} and turns = {self.turns} must be >= 1")

    def looks(self, step: int) -> bool:
        """Whether it is shown this step."""
        return -step % self.every < self.turns or self.due(step)

    def due(self, step: int) -> bool:
        """Whether it reads at this step."""
        return step % self.every == 0 or (self.at_once and step == 1)

    def __call__(self, game: Game, turn: Turn) -> list[Reading]:
        """Look, whatever the clock says."""
        with _aside(game, self.name, turn.step), torch.enable_grad():
            values = self.function(game, turn)
        return [self._reading(name, turn.step + 1, value) for name, value in values.items()]

    def _reading(self, name: str, step: int, value: Value) -> Reading:
        scale = self.gives[name]
        v, low, high = value if isinstance(value, tuple) else (value, None, None)
        return Reading(name, step, v, low, high, scale.unit, scale.equilibrium)


def read(watch: Iterable[Instrument], game: Game, turn: Turn) -> list[Reading]:
    """The readings that are due at this turn. Call it at every turn: some instruments compare turns."""
    step = turn.step + 1
    looks = [(instrument, instrument(game, turn)) for instrument in watch if instrument.looks(step)]
    return [reading for i, readings in looks if i.due(step) for reading in readings]


def cost(
    watch: Sequence[Instrument],
    game: Game,
    source: Source,
    rounds: int = 21,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The share of a run's time that each instrument takes at its clock: its seconds per turn over those of
    playing and of all looking.

    A copy of the game plays; each of the `rounds` times a turn (where a penalty is lazy, as many as hold each
    once) and then one look of each instrument, so that whatever else the machine does falls on both. Medians,
    without the first round. clock: seconds; of a single thread `time.process_time` tells more, where others
    use the machine.
    """
    game, spent = deepcopy(game), {"": list[float]()} | {i.name: list[float]() for i in watch}
    cycle = game.cycle
    play = game.play(source, rounds * cycle)
    for _ in range(rounds):
        start = clock()
        turn = [next(play) for _ in range(cycle)][-1]
        spent[""].append((clock() - start) / cycle)
        for i in watch:
            start = clock()
            i(game, turn)
            spent[i.name].append(clock() - start)
    typical = {name: median(seconds[1:]) for name, seconds in spent.items()}
    looking = {i.name: typical[i.name] * min(i.turns, i.every) / i.every for i in watch}
    return {name: seconds / (typical[""] + sum(looking.values())) for name, seconds in looking.items()}


# Examples to look at ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Real examples ``x [n, *shape]``, and in a conditional game what belongs to each, ``y [n, ...]``."""

    x: Tensor
    y: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, x: Examples | Tensor) -> Examples:
        """Examples as they are, or of a tensor without labels."""
        return x if isinstance(x, Examples) else cls(x)

    def some(self, game: Game, step: int, n: int) -> Examples:
        """n of them, others at each step, where the game is played."""
        rows = torch.randperm(len(self), generator=stream(game.seed, step, "instruments", "held"))[:n]
        return on_device(game, self.x[rows], None if self.y is None else self.y[rows])

    def conditions(self, game: Game, step: int, name: str, n: int) -> Tensor | None:
        """What n samples are asked for: drawn from what belongs to these examples, so as often as there."""
        if not game.conditional:
            return None
        if self.y is None:
            raise ValueError("a conditional game is looked at with labelled examples: give Examples(x, y)")
        draw = stream(game.seed, step, "instruments", name, "conditions")
        rows = torch.randint(len(self), (n,), generator=draw)
        return on_device(game, self.x[:0], self.y[rows]).y


def on_device(game: Game, x: Tensor, y: Tensor | None) -> Examples:
    """Examples where the game is played, and what belongs to them if it asks for that."""
    return Examples(
        x.to(game.device, game.dtype), y.to(game.device) if y is not None and game.classes else None
    )


# Looking without touching -----------------------------------------------------------------------------------


@contextmanager
def _aside(game: Game, name: str, step: int) -> Iterator[None]:
    """Torch's generators, which layers and penalties draw from, seeded for this reading, then put back."""
    seed, device = key(game.seed, step, "instruments", name), game.device
    if device.type == "cpu":
        with seeded(seed):
            yield
    else:
        devices = [device.index or 0]
        with torch.random.fork_rng(devices, device_type=device.type), seeded(seed):
            torch.get_device_module(device).manual_seed(seed)
            yield


def copies(game: Game, training: bool = False) -> tuple[nn.Module, nn.Module]:
    """Copies of the networks of G and D as they stand."""
    G, D = deepcopy((game.G.network, game.D.network))
    return G.train(training), D.train(training)


def noise(game: Game, step: int, name: str, n: int) -> Tensor:
    generator = stream(game.seed, 0, step, "instruments", name, "noise", device=game.device)
    return game.prior((n, *game.latent), generator, game.dtype)


def asked(game: Game, network: nn.Module, x: Tensor, y: Tensor | None = None) -> Tensor:
    """network(x) or network(x, y), at the game's precision."""
    with torch.autocast(game.device.type, torch.bfloat16, enabled=game.precision == "bf16"):
        answer = network(x) if y is None else network(x, y)
    return answer.to(game.dtype)


def parts(game: Game, n: int) -> list[slice]:
    """n examples in parts as large as those that a turn of the game takes at once."""
    size = max(1, game.batch // game.accumulate)
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


@torch.no_grad()
def answers(game: Game, network: nn.Module, x: Tensor, y: Tensor | None = None) -> Tensor:
    """network(x[, y]) in parts, without gradients."""
    rows = parts(game, len(x))
    return torch.cat([asked(game, network, x[r], None if y is None else y[r]) for r in rows])


@torch.no_grad()
def fake_logits(game: Game, G: nn.Module, D: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
    """D(G(z[, y])) in parts: the fakes of one part at a time."""
    asks = [(z[r], None if y is None else y[r]) for r in parts(game, len(z))]
    return torch.cat([asked(game, D, asked(game, G, some, c), c) for some, c in asks]).double()


# Numbers ----------------------------------------------------------------------------------------------------

gradient = partial(torch.autograd.grad, retain_graph=True, materialize_grads=True)
"""Gradients of a result that nothing is added to: [like each input]; zero for what it does not depend on."""


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def norm(tensors: Sequence[Tensor]) -> Tensor:
    return flat(tensors).detach().norm()


def mean(x: Tensor) -> tuple[float, float, float]:
    """The mean of independent values [n], with its normal interval; of one value that is not known."""
    m = float(x.mean())
    return m, *normal(m, float(x.std()) / math.sqrt(len(x)) if len(x) > 1 else math.nan)


def share(x: float, n: int) -> Value:
    """A share of n with Wilson's interval; nan as it is."""
    return (x, *wilson(round(x * n), n)) if math.isfinite(x) else x
