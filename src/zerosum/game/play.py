"""The game: two players, an objective, and Algorithm 1 of Goodfellow et al. (2014).

A generator G maps noise z ~ p_z to examples; a discriminator D gives each example a logit. `Game.play` is a
generator of `Turn`s: the loop, and what is done between turns, belong to the caller.

>>> from torch import nn
>>> from zerosum import data, objectives
>>> D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
>>> game = Game(nn.Linear(4, 2), D, objectives.nonsaturating(), latent=4, batch=8)
>>> [turn.step for turn in game.play(data.ring(), steps=3)]
[0, 1, 2]

Nothing here reads a clock, a file or an option string. Every random number follows from (seed, step,
purpose), so that a game restored by `load_state_dict` goes on as if it had never stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zerosum.data.source import part
from zerosum.objectives import Objective
from zerosum.optimizers import Factory, adam, end_turn
from zerosum.penalties import Penalty
from zerosum.randomness import key, stream

if TYPE_CHECKING:
    from zerosum.data import Examples as Source

__all__ = ["Game", "Player", "Turn", "normal", "uniform"]

Prior = Callable[[Sequence[int], torch.Generator, torch.dtype], Tensor]
Decay = float | Callable[[int], float]
"""A number in [0, 1), or a schedule: a function of how many turns were played."""
Precision = Literal["fp32", "bf16"]
Real = tuple[Tensor, Tensor | None]
"""A minibatch of real examples, and their labels in a conditional game."""


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ N(0, 1), independent."""
    return torch.randn(*shape, generator=generator, dtype=dtype, device=generator.device)


def uniform(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """z ~ U[-sqrt 3, sqrt 3], independent, of unit variance: the prior of Goodfellow et al. (2014)."""
    return (2 * torch.rand(*shape, generator=generator, dtype=dtype, device=generator.device) - 1) * 3**0.5


@dataclass(frozen=True)
class Turn:
    """What one iteration did: detached tensors, so that nothing waits for the device until somebody looks.

    d_loss, g_loss: scalars, the means of the objective's two losses, without penalties.
    real_logits, fake_logits: ``[batch]``, as D gave them in its last step, before it moved.
    penalties: what each penalty that was due added to the loss of D in that step, by name.
    """

    step: int
    d_loss: Tensor
    g_loss: Tensor
    real_logits: Tensor = field(repr=False)
    fake_logits: Tensor = field(repr=False)
    penalties: dict[str, Tensor] = field(default_factory=dict)


class Player:
    """A network, the optimizer that moves it, and the running average of its weights.

    average: a copy of the network whose weights and buffers follow after each turn t = 0, 1, ... by
    avg <- avg + (1 - d) (theta - avg), with d = min(decay, (1 + t) / (10 + t)), so that the first steps are
    soon forgotten (integer buffers are copied); None without. decay: a number or a schedule.
    """

    def __init__(self, network: nn.Module, optimizer: Factory, decay: Decay | None = None) -> None:
        self.network = network
        self.factory = optimizer
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"{type(network).__name__} cannot play: no parameter of it requires a gradient")
        self.optimizer = optimizer(self.parameters)
        self.decay = decay
        self.average = deepcopy(network).requires_grad_(False) if decay is not None else None
        both = (self.average, network) if self.average is not None else ()
        self._followed: list[list[Tensor]] = [[*one.parameters()] for one in both]

    def step(self) -> None:
        """Move by the gradients gathered so far, and forget them."""
        self.optimizer.step()
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def end_turn(self, step: int) -> None:
        """What is due when both have moved: look back (lookahead-minmax), then let the average follow."""
        end_turn(self.optimizer)
        if self.average is None or self.decay is None:
            return
        decay = self.decay(step) if callable(self.decay) else self.decay
        decay = min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._followed[0], self._followed[1], 1 - decay)
        for average, mine in zip(self.average.buffers(), self.network.buffers(), strict=True):
            average.lerp_(mine, 1 - decay) if mine.is_floating_point() else average.copy_(mine)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, gradients pass through the network but none is computed for its weights."""
        for p in self.parameters:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in self.parameters:
                p.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # optimizers keep what they are given
        if self.average is not None:
            self.average.load_state_dict(state["average"])


class Game:
    """Two players and an objective.

    G: z ``[n, *latent]`` -> x ``[n, *shape]``. D: x -> logits ``[n]``. Any modules will do.
    classes: 0, or the number of classes of a conditional game, whose players are G(z, y) and D(x, y) with
    labels y ``[n]``; G is asked for the labels of a minibatch of the data.
    penalties: added to the loss of D. latent: the shape of one z. prior: `normal`, `uniform` or a function
    like them. lr: of G and of D, for the default optimizer (Adam); optimizers: a factory for G and one for D
    (see `zerosum.optimizers`), in place of lr. batch: examples per step. k: steps of D for each step of G.
    precision: "fp32", or "bf16" for networks under bfloat16 autocast; weights, losses, what G makes and what
    optimizers keep are float32 in both.
    compile: gradients by `torch.compile`: the same draws, and the same numbers up to rounding, after half a
    minute of compilation; with a warning as without, where a network or the machine will not have it.
    simultaneous: both players step from the same point, instead of D first. ema: decay of the averaged
    generator, which `sample` uses, or its schedule; None for none. accumulate: parts into which a batch is
    split to save memory; the gradient is that of the whole, but for what compares the examples of a batch
    (batch norm, `relativistic_average`) or draws at random. seed: where the random streams start.
    rank, world: this game plays the rank-th of `world` equal parts of each batch, of its examples and of its
    noise; all of them together play the batch.

    A layer of D with a method ``adapt(real_logits)`` is shown once a turn what D said of the real examples;
    their lead over the fakes, where only that has a meaning.

    Raises ValueError where the settings contradict each other.
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        objective: Objective,
        penalties: Sequence[Penalty] = (),
        *,
        latent: int | tuple[int, ...],
        prior: Prior = normal,
        lr: tuple[float, float] = (2e-4, 2e-4),
        optimizers: tuple[Factory, Factory] | None = None,
        batch: int = 256,
        k: int = 1,
        simultaneous: bool = False,
        ema: Decay | None = 0.999,
        accumulate: int = 1,
        classes: int = 0,
        precision: Precision = "fp32",
        compile: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if min(batch, k, accumulate) < 1 or batch % accumulate:
            raise ValueError(f"{batch=}, {k=} and {accumulate=} must be >= 1, and accumulate divide batch")
        if not 0 <= rank < world or batch % (world * accumulate):
            raise ValueError(f"{rank=} must be in [0, {world=}), and world * accumulate divide {batch=}")
        if precision not in get_args(Precision) or classes < 0:
            raise ValueError(f"{precision=} must be fp32 or bf16, and {classes=} >= 0")
        if not isinstance(objective, Objective):
            raise ValueError(f"the objective is {objective!r}: give one such as objectives.nonsaturating()")
        if G is D:
            raise ValueError("G and D are the same module: a game needs two players")
        if len({p.name for p in penalties}) < len(penalties):
            raise ValueError(f"two penalties share a name in {[p.name for p in penalties]}: rename one")
        g_optimizer, d_optimizer = optimizers or (adam(lr[0]), adam(lr[1]))
        self.G = Player(G, g_optimizer, decay=ema)
        self.D = Player(D, d_optimizer)
        self.objective = objective
        self.latent = (latent,) if isinstance(latent, int) else tuple(latent)
        if min(self.latent, default=1) < 1 or (isinstance(ema, int | float) and not 0 <= ema < 1):
            raise ValueError(f"{latent=} must be positive and {ema=} in [0, 1), or None for no average")
        self.prior = prior
        self.batch = batch
        self.k = k
        self.simultaneous = simultaneous
        self.accumulate = accumulate
        self.classes = classes
        self.precision: Precision = precision
        self.seed = seed
        self.rank = rank
        self.world = world
        self.step = 0
        first = self.G.parameters[0]
        self.device, self.dtype = first.device, first.dtype
        self.penalties = [p.to(self.device) for p in penalties]
        self.mixes = any(getattr(m, "mixes_examples", isinstance(m, _BatchNorm)) for m in D.modules())
        self.adapting: list[Any] = [m for m in D.modules() if hasattr(m, "adapt")]
        self.compile = compile
        if compile:
            self._d_part, self._g_part = (MethodType(f, self) for f in _compiled(Game._d_part, Game._g_part))
        together = any(getattr(p.optimizer, "together", False) for p in (self.G, self.D))
        if together and not (simultaneous and k == 1):
            raise ValueError("extragradient moves both players from one point: set simultaneous=True, k=1")

    # Algorithm 1 --------------------------------------------------------------------------------------------

    def play(self, source: Source, steps: int) -> Iterator[Turn]:
        """Algorithm 1, minibatch stochastic gradient training: `steps` iterations from where we are."""
        for _ in range(steps):
            for network in (self.G.network, self.D.network):
                if not network.training:
                    network.train()
            with self._layers_seeded():
                turn = self._turn(source)
            self.step += 1
            yield turn

    def _turn(self, source: Source) -> Turn:
        seen = []
        for i in range(self.k):  # "for k steps do": ascend V in theta_d, on fresh data and fresh noise
            seen.append(self._d_gradient(source, i))
            if not self.simultaneous or i + 1 < self.k:
                self.D.step()
        g_loss = self._g_gradient(source)  # then descend L_G in theta_g, on another minibatch of noise
        if self.simultaneous:
            self.D.step()
        self.G.step()
        for player in (self.D, self.G):
            player.end_turn(self.step)
        d_loss, real_logits, fake_logits, penalties = seen[-1]
        said = real_logits - fake_logits if self.objective.needs_real_logits else real_logits
        for layer in self.adapting:
            layer.adapt(said)
        return Turn(self.step, d_loss, g_loss, real_logits, fake_logits, penalties)

    def _d_gradient(self, source: Source, i: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Add the gradient of mean L_D + penalties to D: G makes the fakes without a graph."""
        d_step = self.step * self.k + i
        due = [p for p in self.penalties if p.due(d_step)]
        strengths = [torch.as_tensor(p.strength(d_step), dtype=self.dtype, device=self.device) for p in due]
        batches = zip(self._real(source, i), self._noise("d_noise", i), strict=True)
        parts = [self._d_part(real, y, z, due, strengths) for (real, y), z in batches]
        losses, real_logits, fake_logits, terms = zip(*parts, strict=True)
        penalties = {p.name: torch.stack([part[p.name] for part in terms]).mean(0) for p in due}
        return torch.stack(losses).mean(0), torch.cat(real_logits), torch.cat(fake_logits), penalties

    def _d_part(
        self, real: Tensor, y: Tensor | None, z: Tensor, due: list[Penalty], strengths: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            fake = self._ask(self.G, z, y)
        if due:
            real, fake = real.detach().requires_grad_(), fake.requires_grad_()
        real_logits, fake_logits = self._judge(real, fake, y, apart=self.mixes or bool(due))
        loss = self._mean(self.objective.d(real_logits, fake_logits))
        critic = _Critic(partial(self._ask, self.D, y=y), {real: real_logits, fake: fake_logits})
        terms = {p.name: s * self._mean(p(critic, real, fake)) for p, s in zip(due, strengths, strict=True)}
        (sum(terms.values(), loss) / self.accumulate).sum().backward(inputs=self.D.parameters)
        penalties = {name: term.detach() for name, term in terms.items()}
        return loss.detach(), real_logits.detach(), fake_logits.detach(), penalties

    def _g_gradient(self, source: Source) -> Tensor:
        """Add the gradient of mean L_G to G, through a D whose weights are spared theirs."""
        reals = self._real(source, self.k) if self.fresh_real else [(None, None)] * self.accumulate
        batches = zip(reals, self._noise("g_noise", 0), strict=True)
        with self.D.frozen():
            return torch.stack([self._g_part(real, y, z) for (real, y), z in batches]).mean(0)

    def _g_part(self, real: Tensor | None, y: Tensor | None, z: Tensor) -> Tensor:
        with torch.no_grad():
            shown = real if self.objective.needs_real_logits else None
            real_logits = None if shown is None else self._ask(self.D, shown, y)
        loss = self._mean(self.objective.g(real_logits, self._ask(self.D, self._ask(self.G, z, y), y)))
        (loss / self.accumulate).sum().backward(inputs=self.G.parameters)
        return loss.detach()

    # what a turn asks and draws -----------------------------------------------------------------------------

    def _ask(self, player: Player, x: Tensor, y: Tensor | None = None) -> Tensor:
        """G(z), D(x), or G(z, y), D(x, y), at the game's precision."""
        with self._autocast():
            answer = player.network(x) if y is None else player.network(x, y)
        return answer.to(self.dtype)

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over the examples of a batch."""
        return values.mean()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _judge(self, real: Tensor, fake: Tensor, y: Tensor | None, apart: bool) -> tuple[Tensor, Tensor]:
        """D's logits of both: in one pass, unless a layer of D mixes the examples of a batch, or a penalty is
        due, which takes up the pass of its side.
        """
        if apart:
            return _each(self._ask(self.D, real, y), real), _each(self._ask(self.D, fake, y), fake)
        both = torch.cat([real, fake])
        logits = _each(self._ask(self.D, both, None if y is None else torch.cat([y, y])), both)
        return logits[: len(real)], logits[len(real) :]

    @property
    def fresh_real(self) -> bool:
        """Whether G's step takes a minibatch of data of its own: for its loss, or for its labels."""
        return self.objective.needs_real_logits or self.classes > 0

    def _real(self, source: Source, i: int) -> list[Real]:
        """The i-th minibatch of real examples of this turn, in parts: no batch serves twice."""
        x, y = part(source, self.step * (self.k + self.fresh_real) + i, self.batch, self.rank, self.world)
        parts = x.to(self.device, self.dtype).chunk(self.accumulate)
        if not self.classes:
            return [(part, None) for part in parts]
        if y is None:
            raise ValueError("a conditional game needs data with labels: this source has none")
        return list(zip(parts, y.to(self.device).chunk(self.accumulate), strict=True))

    def _noise(self, purpose: str, i: int) -> tuple[Tensor, ...]:
        """A minibatch of noise for this purpose only, in parts: that of all ranks is drawn, and cut."""
        generator = stream(self.seed, 0, self.step, purpose, i, device=self.device)
        z = self.prior((self.batch, *self.latent), generator, self.dtype)
        return z.chunk(self.world)[self.rank].chunk(self.accumulate)

    @contextmanager
    def _layers_seeded(self) -> Iterator[None]:
        """Torch's generator is seeded from the step, for layers and penalties, then put back as it was."""
        generator = torch.default_generator if self.device.type == "cpu" else _device_generator(self.device)
        state = generator.get_state()
        generator.manual_seed(key(self.seed, self.rank, self.step, "layers"))
        try:
            yield
        finally:
            generator.set_state(state)

    # what comes out -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(self, z: Tensor, live: bool = False, y: Tensor | None = None) -> Tensor:
        """G(z) in evaluation mode, of the average unless `live`: ``[n, *latent] -> [n, *shape]``.

        y: the labels of a conditional game, ``[n]``; all classes in turn unless given.
        """
        network = self.G.network if live or self.G.average is None else self.G.average
        training = network.training
        network.eval()
        try:
            if not self.classes:
                return network(z)
            return network(z, self.labels(len(z)) if y is None else y.to(self.device))
        finally:
            network.train(training)

    def noise(self, n: int, seed: int = 0, first: int = 0) -> Tensor:
        """The noise of the samples first, ..., first + n - 1 of this seed, ``[n, *latent]``.

        z of a sample depends on the seed and on its own number only, so that parts of any size join to the
        same whole; it is drawn in blocks of a fixed size.
        """
        numbers = range(first // 256, (first + n) // 256 + 1)
        streams = [stream(seed, i, "sample", device=self.device) for i in numbers]
        blocks = [self.prior((256, *self.latent), generator, self.dtype) for generator in streams]
        return torch.cat(blocks)[first % 256 :][:n]

    def labels(self, n: int, first: int = 0) -> Tensor:
        """The labels of the samples first, ..., first + n - 1 of a conditional game: all classes in turn."""
        return torch.arange(first, first + n, device=self.device) % self.classes

    def sample(
        self, n: int, seed: int = 0, live: bool = False, chunk: int = 1024, y: Tensor | None = None
    ) -> Tensor:
        """`n` samples of the averaged generator, ``[n, *shape]``; the same seed gives the same samples.

        y: as `generate` takes them. The parts of `chunk` change nothing but, through the order of additions
        in a network, the last bits.
        """
        if y is None and self.classes:
            y = self.labels(n)
        made = (
            self.generate(
                self.noise(min(chunk, n - i), seed, i), live, None if y is None else y[i : i + chunk]
            )
            for i in range(0, n, chunk)
        )
        return torch.cat([*made])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next turn depends on, by name; `load_state_dict` of it resumes exactly."""
        return {
            "step": self.step,
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "penalties": {p.name: p.state_dict() for p in self.penalties},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self.G.load_state_dict(state["G"])
        self.D.load_state_dict(state["D"])
        for p in self.penalties:
            p.load_state_dict(state["penalties"][p.name])


def _each(logits: Tensor, examples: Tensor) -> Tensor:
    """The logits, of which there must be one for each example."""
    if logits.shape != (len(examples),):
        raise ValueError(f"D gives {list(logits.shape)} for {len(examples)} examples: one logit each")
    return logits


class _Critic:
    """D for a penalty: a function of x that answers from memory where it was asked before."""

    def __init__(self, ask: Callable[[Tensor], Tensor], said: Mapping[Tensor, Tensor]) -> None:
        self.ask = ask
        self.said = said  # tensors are told apart by identity

    def __call__(self, x: Tensor) -> Tensor:
        return self.said[x] if x in self.said else self.ask(x)


def _compiled(*parts: FunctionType) -> list[Callable[..., Any]]:
    """Parts of a turn as machine code, penalties' second derivatives included; as they are if one fails."""
    works = True

    def compiled(part: FunctionType) -> Callable[..., Any]:
        code: Callable[..., Any] | None = None
        # the compiler counts recompilations by code object: each game has its own
        own = FunctionType(part.__code__.replace(), part.__globals__, part.__name__, part.__defaults__)

        def play(*args: Any) -> Any:
            nonlocal works, code
            if works:
                try:
                    code = code or torch.compile(own, fullgraph=True, options={"fallback_random": True})
                    with torch._dynamo.config.patch(trace_autograd_ops=True):
                        return code(*args)
                except Exception as error:  # whatever the compiler does not know
                    works = False
                    line = " ".join(str(error).split())[:150]
                    warnings.warn(f"the game goes on uncompiled: {line}", stacklevel=2)
            return part(*args)

        return play

    return [compiled(part) for part in parts]


def _device_generator(device: torch.device) -> torch.Generator:
    """The generator that layers on an accelerator draw from."""
    module = torch.get_device_module(device)
    module.init()
    return module.default_generators[device.index or 0]
