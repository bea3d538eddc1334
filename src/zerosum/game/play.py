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

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from zerosum.data.adapters import source as as_source
from zerosum.game.compiled import CompiledPart
from zerosum.game.draws import Draws
from zerosum.game.inputs import Inputs, Part, Step, draw
from zerosum.game.pair import Pair
from zerosum.game.player import Critic, judge
from zerosum.game.rehearsal import Batch, rehearse
from zerosum.game.turn import LogitCheck, Turn
from zerosum.penalties import Penalty

__all__ = ["Game"]


class Game(Pair):
    """Two players and an objective, made as `Pair` says, that play Algorithm 1."""

    def play(self, source: Any, steps: int) -> Iterator[Turn]:
        """Algorithm 1, minibatch stochastic gradient training: `steps` iterations from where we are.

        source: whatever `zerosum.data.source` takes.
        """
        source = self._sources(source)
        check_logits = LogitCheck(self.objective, self.D.network)
        for _ in range(steps):
            turn = self.advance(self.inputs(source))
            check_logits(turn)
            yield turn

    def inputs(self, source: Any) -> Inputs:
        """All that the next turn takes from outside: examples, conditions, noise, rates, strengths, seeds."""
        return draw(self, source)

    def advance(self, inputs: Inputs) -> Turn:
        """One iteration of Algorithm 1: a function of the players, which it moves, and of the inputs."""
        self.train()
        with self.draws(self, inputs.seeds) as draws:
            said: list[Any] = []
            for i, step in enumerate(inputs.d):  # "for k steps do": ascend V in theta_d
                said.append(self._d_gradient(step, draws))
                if not self.simultaneous or i + 1 < self.k:
                    self.D.step(step.rates)
            g_loss, g_terms = self._g_gradient(inputs.g, draws)  # then descend L_G in theta_g
            if self.simultaneous:
                self.D.step(inputs.d[-1].rates)
            self.G.step(inputs.g.rates)
        self.D.end_turn()
        self.G.end_turn(inputs.decay)
        self.step = inputs.step + 1
        d_loss, real_logits, fake_logits, _ = said[-1]
        d_terms = {name: term for *_, terms in said for name, term in terms.items()}  # each when last due
        turn = Turn(inputs.step, d_loss, g_loss, real_logits, fake_logits, d_terms | g_terms)
        turn = turn if self.ranks is None else self.ranks.joined(turn)
        self._adapt(turn)
        return turn

    def _d_gradient(self, step: Step, draws: Draws) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Add the gradient of mean L_D + penalties to D."""
        due, strengths = self._due(step)
        batches = rehearse(self, step.parts, draws, due, self._d_logits)
        each = zip(draws.each(step.parts), batches, strict=True)
        seen = [self._parts[0](part, batch, due, strengths) for part, batch in each]
        if len(seen) == 1:
            return seen[0]
        losses, real_logits, fake_logits, terms = zip(*seen, strict=True)
        return torch.stack(losses).mean(0), torch.cat(real_logits), torch.cat(fake_logits), _means(terms)

    def _d_part(
        self, part: Part, batch: Batch | None, due: list[Penalty], strengths: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        assert part.real is not None  # D always sees some
        real, fake, real_logits, fake_logits = self._d_logits(part.real, part.y, part.z, due)
        loss = self._loss(self.objective.d, real_logits, fake_logits, batch)
        critic = Critic(self.D, part.y, {real: real_logits, fake: fake_logits})
        terms = {
            p.name: s * self._mean(p(critic, real, fake, **_statistics(p, batch)))
            for p, s in zip(due, strengths, strict=True)
        }
        (sum(terms.values(), loss) / self.accumulate).sum().backward(inputs=self.D.leaves)
        detached = {name: term.detach() for name, term in terms.items()}
        return loss.detach(), real_logits.detach(), fake_logits.detach(), detached

    def _d_logits(
        self, real: Tensor, y: Tensor | None, z: Tensor, due: Sequence[Penalty]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch.no_grad():  # G makes the fakes without a graph
            fake = self.G(z, y)
        if due:
            real, fake = real.detach().requires_grad_(), fake.requires_grad_()
        apart = self.mixes or bool(due)  # a penalty takes up the pass of its side
        return real, fake, *judge(self.D, real, fake, y, apart, self.members)

    def _g_gradient(self, step: Step, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the gradient of mean L_G + penalties to G, through a D whose weights are spared theirs."""
        due, strengths = self._due(step)
        with self.D.frozen():
            batches = rehearse(self, step.parts, draws, due, self._g_logits)
            each = zip(draws.each(step.parts), batches, strict=True)
            seen = [self._parts[1](part, batch, due, strengths) for part, batch in each]
        if len(seen) == 1:
            return seen[0]
        losses, terms = zip(*seen, strict=True)
        return torch.stack(losses).mean(0), _means(terms)

    def _g_part(
        self, part: Part, batch: Batch | None, due: list[Penalty], strengths: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        real, y, z = part
        real, fake, real_logits, fake_logits = self._g_logits(real, y, z)
        loss = self._loss(self.objective.g, real_logits, fake_logits, batch)
        critic = Critic(self.D, y, {fake: fake_logits})
        terms = {
            p.name: s * self._mean(p(critic, real, fake, G=self.G, z=z, y=y, **_statistics(p, batch)))
            for p, s in zip(due, strengths, strict=True)
        }
        (sum(terms.values(), loss) / self.accumulate).sum().backward(inputs=self.G.leaves)
        return loss.detach(), {name: term.detach() for name, term in terms.items()}

    def _g_logits(
        self, real: Tensor | None, y: Tensor | None, z: Tensor, due: Sequence[Penalty] = ()
    ) -> tuple[Tensor | None, Tensor, Tensor | None, Tensor]:
        real_logits = None
        if real is not None and self.objective.needs_real_logits:
            with torch.no_grad():
                real_logits = self.D(real, y)
        fake = self.G(z, y)
        return real, fake, real_logits, self.D(fake, y)

    def _sources(self, source: Any) -> Any:
        """What `inputs` draws from."""
        return as_source(source)

    # how parts are played and joined ------------------------------------------------------------------------

    @cached_property
    def _parts(self) -> list[Callable[..., Any]]:
        """What is played for a part of a batch, by D and by G."""
        if not self.compile:
            return [self._d_part, self._g_part]
        return [CompiledPart(self._d_part, self.D, self), CompiledPart(self._g_part, self.G, self)]

    def _due(self, step: Step) -> tuple[list[Penalty], list[Tensor]]:
        """The penalties that this step takes, with their strengths."""
        due = [p for p in self.penalties if p.name in step.strengths]
        return due, [
            torch.as_tensor(step.strengths[p.name], dtype=self.dtype, device=self.device) for p in due
        ]

    def _loss(
        self, f: Callable[..., Tensor], real: Tensor | None, fake: Tensor, batch: Batch | None
    ) -> Tensor:
        """The mean loss of these logits; of the whole batch where the objective compares its examples."""
        if batch is None or not self.objective.mixes_examples:
            return self._mean(f(real, fake))
        return batch.mean(f, real, fake)

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over the examples of a batch; in an ensemble over those of each member."""
        return values.mean() if self.members is None else values.reshape(self.members, -1).mean(1)

    def _adapt(self, turn: Turn) -> None:
        """Layers of D that adapt are shown what it said of real examples."""
        lead = turn.fake_logits if self.objective.needs_real_logits else 0
        for layer in self.adapting:
            layer.adapt(turn.real_logits - lead)


def _statistics(penalty: Penalty, batch: Batch | None) -> dict[str, Tensor]:
    """What a penalty asked for of the whole batch, where that is played in parts."""
    return (
        {} if batch is None or penalty.statistics is None else {"statistics": batch.statistics[penalty.name]}
    )


def _means(terms: tuple[dict[str, Tensor], ...]) -> dict[str, Tensor]:
    """Of each term, its mean over the parts."""
    return {name: torch.stack([part[name] for part in terms]).mean(0) for name in terms[0]}
