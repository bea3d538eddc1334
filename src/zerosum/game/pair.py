"""Two players and how they are to play: what they make between turns, and how they are saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zerosum.game.draws import Draws, PartDraws
from zerosum.game.parallel import Ranks
from zerosum.game.player import Decay, Player, Precision
from zerosum.game.prior import Prior, normal, numbered_classes, numbered_noise
from zerosum.objectives import Objective
from zerosum.optimizers import Factory, adam
from zerosum.penalties import Penalty
from zerosum.text import facts_html

__all__ = ["Pair"]


class Pair:
    """Two players, an objective and the settings of a game; `Game` plays it."""

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
        class_shares: Sequence[float] | None = None,
        conditional: bool = False,
        precision: Precision = "fp32",
        compile: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """
        G: z ``[n, *latent]`` -> x ``[n, *shape]``. D: x -> logits ``[n]``. Any modules will do.
        penalties: each is added to the loss of the player that it is of. latent: the shape of one z. prior:
        `normal`, `uniform` or a function like them. lr: of G and of D, for the default optimizer (Adam);
        optimizers: a factory for G and one for D (see `zerosum.optimizers`), in place of lr. batch: examples
        per step. k: steps of D for each step of G. simultaneous: both players step from the same point,
        instead of D first. ema: decay of the averaged generator, which `sample` uses, or its schedule; None
        for none.

        conditional: the players are G(z, y) and D(x, y); y is what the data give with each example, a class
        ``[n]`` or any tensor, and G is asked for the y of a minibatch of the data. classes: how many there
        are, where y is a class, which makes the game conditional; class_shares: how often each occurs.
        precision: "fp32", or "bf16" for networks under bfloat16 autocast; weights, losses, what G makes and
        what optimizers keep are float32 in both.
        compile: gradients as machine code (`zerosum.game.compiled`): the same draws, and the same numbers up
        to rounding, after some seconds of compilation; with a warning as without, where a network or the
        machine will not have it. What networks and losses read beside weights and buffers has to stand in
        attributes of modules: a change there is seen, and one in a variable of a program is not.

        rank, world: this game plays the rank-th of `world` equal parts of each batch, of its examples and of
        its noise; all of them together play the batch. accumulate: parts into which that is split again, to
        save memory. The gradient is that of the whole, but for layers that compare the examples of a batch
        (batch norm) and for what draws at random. seed: where the random streams start.

        A layer of D with a method ``adapt(real_logits)`` is shown once a turn what D said of the real
        examples; their lead over the fakes, where only that has a meaning.

        Raises ValueError where the settings contradict each other.
        """
        if min(batch, k, accumulate, world) < 1 or not 0 <= rank < world or batch % (world * accumulate):
            raise ValueError(
                f"{batch=}, {k=}, {accumulate=} and {world=} must be >= 1, world * accumulate divide batch, "
                f"and {rank=} be in [0, world)"
            )
        if precision not in get_args(Precision) or classes < 0:
            raise ValueError(f"{precision=} must be fp32 or bf16, and {classes=} >= 0")
        if class_shares is not None and (len(class_shares) != classes or min(class_shares) < 0):
            raise ValueError(f"{class_shares=} must be {classes=} numbers >= 0")
        if not isinstance(objective, Objective):
            raise ValueError(f"the objective is {objective!r}: give one such as objectives.nonsaturating()")
        if G is D:
            raise ValueError("G and D are the same module: a game needs two players")
        if len({p.name for p in penalties}) < len(penalties):
            raise ValueError(f"two penalties share a name in {[p.name for p in penalties]}: rename one")
        self.latent = (latent,) if isinstance(latent, int) else tuple(latent)
        if min(self.latent, default=1) < 1 or (isinstance(ema, int | float) and not 0 <= ema < 1):
            raise ValueError(f"{latent=} must be positive and {ema=} in [0, 1), or None for no average")
        g_optimizer, d_optimizer = optimizers or (adam(lr[0]), adam(lr[1]))
        self.G = Player(G, g_optimizer, ema, precision)
        self.D = Player(D, d_optimizer, None, precision)
        self.device, self.dtype = self.G.device, self.G.dtype
        self.objective = objective
        self.penalties = [p.to(self.device) for p in penalties]
        self.prior = prior
        self.batch = batch
        self.k = k
        self.simultaneous = simultaneous
        self.accumulate = accumulate
        self.classes = classes
        self.class_shares = class_shares
        self.conditional = conditional or classes > 0
        self.compile = compile
        self.seed = seed
        self.rank = rank
        self.world = world
        self.step = 0
        self.fresh_real = (  # whether G's step takes a minibatch of data of its own
            objective.needs_real_logits or self.conditional or any(p.of == "G" for p in penalties)
        )
        self.mixes = any(getattr(m, "mixes_examples", isinstance(m, _BatchNorm)) for m in D.modules())
        self.adapting: list[Any] = [m for m in D.modules() if hasattr(m, "adapt")]
        self.members: int | None = None  # of an ensemble
        self.draws: Callable[[Any, Sequence[int]], Draws] = PartDraws
        self.ranks: Ranks | None = None  # with whom it is played
        modules = (self.G.network, self.D.network, *self.penalties)
        self.buffers = [b for m in modules for b in m.buffers() if b.is_floating_point()]
        moves_both = any(getattr(p.optimizer, "requires_simultaneous", False) for p in (self.G, self.D))
        if moves_both and not (simultaneous and k == 1):
            raise ValueError("extragradient moves both players from one point: set simultaneous=True, k=1")

    @property
    def precision(self) -> Precision:
        return self.G.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.G.precision = self.D.precision = precision

    @property
    def cycle(self) -> int:
        """After so many turns the same penalties are due again."""
        return math.lcm(*(p.every for p in self.penalties))

    def train(self) -> None:
        """Both networks in training mode."""
        for network in (self.G.network, self.D.network):
            if not network.training:
                network.train()

    @torch.no_grad()
    def generate(self, z: Tensor, live: bool = False, y: Tensor | None = None) -> Tensor:
        """G(z) in evaluation mode, of the average unless `live`: ``[n, *latent] -> [n, *shape]``.

        y: the conditions of a conditional game, n of them; those of `conditions` unless given.
        """
        network = self.G.network if live or self.G.average is None else self.G.average
        training = network.training
        network.eval()
        try:
            y = self.conditions(len(z)) if y is None else y
            return network(z) if y is None else network(z, y.to(self.device))
        finally:
            network.train(training)

    def noise(self, n: int, seed: int = 0, first: int = 0) -> Tensor:
        """The noise of the samples first, ..., first + n - 1 of this seed, ``[n, *latent]``.

        z of a sample depends on the seed and on its own number only, so that parts of any size join to the
        same whole.
        """
        return numbered_noise(self.prior, self.latent, n, seed, first, self.device, self.dtype)

    def conditions(self, n: int, seed: int = 0, first: int = 0) -> Tensor | None:
        """The conditions of the samples first, ..., first + n - 1 of this seed: None, or class numbers
        ``[n]``, each class as often as the data have it; like `noise` they depend on seed and number only.

        Raises ValueError where conditions are no classes: they have to be given.
        """
        if not self.conditional:
            return None
        if not self.classes:
            raise ValueError("the conditions of this game are no classes: give y, such as some of its data's")
        shares = self.class_shares or [1.0] * self.classes
        return numbered_classes(shares, n, seed, first).to(self.device)

    def labels(self, n: int, first: int = 0) -> Tensor:
        """The numbers first, ..., first + n - 1 as classes, all in turn: to show each as often, ``[n]``."""
        return torch.arange(first, first + n, device=self.device) % self.classes

    def sample(
        self, n: int, seed: int = 0, live: bool = False, chunk: int = 1024, y: Tensor | None = None
    ) -> Tensor:
        """`n` samples of the averaged generator, ``[n, *shape]``; the same seed gives the same samples.

        y: as `generate` takes them. The parts of `chunk` change nothing but, through the order of additions
        in a network, the last bits.
        """
        y = self.conditions(n, seed) if y is None else y
        samples = (
            self.generate(
                self.noise(min(chunk, n - i), seed, i), live, None if y is None else y[i : i + chunk]
            )
            for i in range(0, n, chunk)
        )
        return torch.cat([*samples])

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

    def __repr__(self) -> str:
        terms = ", ".join([self.objective.name or "an objective", *(p.name for p in self.penalties)])
        how = [f"batch {self.batch}", f"latent {self.latent}", f"k {self.k}", self.precision]
        how += ["simultaneous"] * self.simultaneous + [f"{self.classes} classes"] * (self.classes > 0)
        head = f"{type(self).__name__} at step {self.step}: {terms}; {', '.join(how)}"
        return f"{head}\n  G: {self.G}\n  D: {self.D}"

    def _repr_html_(self) -> str:
        head, *_ = repr(self).split("\n")
        return facts_html(head, {"G": self.G, "D": self.D})
