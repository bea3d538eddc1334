"""Ensembles: N games of one architecture played as one computation.

The weights of the N players are stacked along a leading axis, and each network is asked once for all of them
(`torch.func.vmap`). A batch is that of member 0, then that of member 1, ...: objectives, penalties and the
engine work on examples, and see N times as many. So there is no second engine: `Ensemble` is a `Game` that
stacks the inputs of N games, and whose means are taken member by member.

>>> from torch import nn
>>> from zerosum import Game, data, objectives
>>> def game(seed):
...     D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
...     return Game(nn.Linear(4, 2), D, objectives.nonsaturating(), latent=4, batch=8, seed=seed)
>>> games = [game(seed) for seed in range(3)]
>>> together = Ensemble(games)
>>> for turn in together.play([data.ring(seed=seed) for seed in range(3)], steps=5):
...     first, second, third = together.each(turn)
>>> first.real_logits.shape, games[2].step
(torch.Size([8]), 5)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zerosum.data.adapters import source as as_source
from zerosum.game.draws import DrawsOfMembers, NoDraws
from zerosum.game.inputs import Inputs, stack
from zerosum.game.play import Game
from zerosum.game.player import Player
from zerosum.game.turn import Turn
from zerosum.objectives import Objective
from zerosum.optimizers import Wrapper, end_turn, upcoming

if TYPE_CHECKING:
    pass

__all__ = ["Ensemble"]


class Ensemble(Game):
    """N games played as one. They may differ in their seeds, the settings of their optimizers and the weights
    of their penalties; everything else is the first one's, and must be the same in all.

    After each turn every game stands where it would have come alone, up to the rounding of other orders of
    addition: its weights, buffers and averages are views of the stacked ones, so that it can be sampled,
    examined and saved as a lone game. It is no longer to be played or loaded alone: load its `state_dict`
    before the ensemble is made.

    `play` takes one source for all, or one for each. Its turns have losses ``[N]`` and logits
    ``[N * batch]``; `each` takes a turn apart.

    Raises ValueError where games differ too much, and where they cannot be played so: layers that draw at
    random, adapt or replace a buffer; penalties that mix the examples of a batch, keep state, or draw
    otherwise than by `torch.rand`, `randn` and their `_like`; a split batch; weights without a dimension.
    Functions that the objective and the penalties are made of cannot be compared: give all the same.
    """

    def __init__(self, games: Sequence[Game]) -> None:
        first, n = games[0], len(games)
        _refuse(games)
        self.games = list(games)
        G, D = (
            StackedModule([p.network for p in side])
            for side in zip(*((g.G, g.D) for g in games), strict=True)
        )
        draws = _try(G, D, first, n)
        super().__init__(
            G,
            D,
            _vmapped(first.objective, n),
            first.penalties,
            latent=first.latent,
            prior=first.prior,
            optimizers=(_optimizer([g.G for g in games]), _optimizer([g.D for g in games])),
            batch=first.batch,
            k=first.k,
            simultaneous=first.simultaneous,
            ema=first.G.decay,
            classes=first.classes,
            class_shares=first.class_shares,
            precision=first.precision,
            compile=first.compile and not draws,  # what watches for draws keeps the compiler out
        )
        self.step = first.step
        self.mixes = first.mixes
        self.members = n
        self.draws = DrawsOfMembers if draws else NoDraws
        for mine, theirs in ((self.G, [g.G for g in games]), (self.D, [g.D for g in games])):
            _lend(mine, theirs)

    def inputs(self, source: Any) -> Inputs:
        """What all members take from outside: one source for all, or one for each."""
        sources = source if isinstance(source, list | tuple) else [source] * len(self.games)
        alone = [game.inputs(its) for game, its in zip(self.games, sources, strict=True)]
        stacked = stack(alone, self.G.parameters[0])
        d = (replace(step, rates=upcoming(self.D.optimizer, i)) for i, step in enumerate(stacked.d))
        return replace(stacked, d=tuple(d), g=replace(stacked.g, rates=upcoming(self.G.optimizer, 0)))

    def _sources(self, source: Any) -> Any:
        return list(map(as_source, source)) if isinstance(source, list | tuple) else as_source(source)

    def advance(self, inputs: Inputs) -> Turn:
        """A turn of every game: see `Game.advance`."""
        turn = super().advance(inputs)
        for game in self.games:
            game.step = self.step
        return turn

    def each(self, turn: Turn) -> list[Turn]:
        """A turn of the ensemble as the turns of its games."""
        return [
            Turn(
                turn.step,
                turn.d_loss[i],
                turn.g_loss[i],
                turn.real_logits[i * self.batch : (i + 1) * self.batch],
                turn.fake_logits[i * self.batch : (i + 1) * self.batch],
                {name: term[i] for name, term in turn.penalties.items()},
            )
            for i in range(len(self.games))
        ]


class StackedModule(nn.Module):
    """N networks of one architecture as one: ``[N * n, ...] -> [N * n, ...]``."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = len(networks)
        self.architecture = (deepcopy(networks[0]),)  # in a tuple, so that its weights are not ours
        self.names = [name for name, _ in _tensors(networks[0])]
        for i, rows in enumerate(zip(*(_tensors(n) for n in networks), strict=True)):
            stacked = torch.stack([row.detach() for _, row in rows])
            if isinstance(rows[0][1], nn.Parameter):
                stacked = nn.Parameter(stacked, requires_grad=rows[0][1].requires_grad)
                self.register_parameter(f"t{i}", stacked)
            else:
                self.register_buffer(f"t{i}", stacked)

    @property
    def stacked(self) -> dict[str, Tensor]:
        """The weights and buffers of all members, ``[N, ...]``, by their names in the architecture."""
        return {name: getattr(self, f"t{i}") for i, name in enumerate(self.names)}

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = [_rows(x, self.members) for x in inputs]
        return torch.vmap(partial(functional_call, self.architecture[0]))(self.stacked, tuple(parts)).flatten(
            0, 1
        )

    def train(self, mode: bool = True) -> StackedModule:
        self.architecture[0].train(mode)
        return super().train(mode)

    def lend(self, i: int, network: nn.Module) -> None:
        """Make the tensors of a network views of row i."""
        for (_, tensor), stacked in zip(_tensors(network), self.stacked.values(), strict=True):
            tensor.data = stacked.data[i]


def _rows(x: Tensor, members: int) -> Tensor:
    """The batch of all members as a row for each, ``[N, n, ...]``."""
    return x.reshape(members, -1, *x.shape[1:])


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def _lend(player: Player, lone: Sequence[Player]) -> None:
    """Make players parts of a stacked one, which takes over what their optimizers and averages remember."""
    if not isinstance(player.optimizer, _Rows):
        player.optimizer.load_state_dict(_stacked([one.optimizer.state_dict() for one in lone]))
        for i, one in enumerate(lone):
            one.optimizer = _Row(player.optimizer, i)
    for i, one in enumerate(lone):
        player.network.lend(i, one.network)  # pyright: ignore[reportCallIssue]
    if player.average is not None:
        averages = StackedModule([one.average for one in lone if one.average is not None])
        player.average.load_state_dict(averages.state_dict())
        for i, one in enumerate(lone):
            if one.average is not None:
                player.average.lend(i, one.average)  # pyright: ignore[reportCallIssue]


_SHARED = (
    *("step", "latent", "prior", "batch", "k", "simultaneous", "classes", "precision", "compile", "device"),
    *("dtype", "G.decay", "objective.needs_real_logits", "objective.equilibrium"),
)


def _refuse(games: Sequence[Game]) -> None:
    """Raise ValueError unless these games can be played as one."""
    first = games[0]
    for game in games:
        for name in _SHARED:
            mine, theirs = (_told(attrgetter(name)(one)) for one in (game, first))
            if mine != theirs:
                raise ValueError(f"games played together must have the same {name}: {mine}, {theirs}")
        if [(p.name, p.every, p.of) for p in game.penalties] != [
            (p.name, p.every, p.of) for p in first.penalties
        ]:
            raise ValueError("games played together must have the same penalties, but for their weights")
        for mine, theirs in ((game.G.network, first.G.network), (game.D.network, first.D.network)):
            if repr(mine) != repr(theirs) or _shapes(mine) != _shapes(theirs):
                raise ValueError("games played together must have players of the same architecture")
        if game.accumulate * game.world > 1 or game.adapting:
            raise ValueError(
                "games with accumulate or world > 1, or with layers that adapt, cannot be played together"
            )
        if game.conditional and not game.classes:
            raise ValueError("games whose conditions are no classes cannot be played together")
    for p in first.penalties:
        if p.mixes_examples or any(True for _ in p.buffers()):
            raise ValueError(
                f"the penalty {p.name} mixes the examples of a batch, or keeps state: play alone"
            )
    if any(p.ndim == 0 for player in (first.G, first.D) for p in player.parameters):
        raise ValueError("a weight without a dimension: such games cannot be played together")


def _told(value: Any) -> Any:
    """What compares as equal where a prior was given the same arguments."""
    return (value.func, value.args, value.keywords) if isinstance(value, partial) else value


def _shapes(network: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, tensor.shape) for name, tensor in _tensors(network)]


def _try(G: StackedModule, D: StackedModule, first: Game, members: int) -> bool:
    """Ask copies of the players, alone and together, and the penalties: whether one of these draws at random.

    Raises ValueError for what cannot be mapped over its weights, and for what would be lost on the way.
    """
    lone = [deepcopy(player.network).train() for player in (first.G, first.D)]
    both = [deepcopy(network).train() for network in (G, D)]
    z = first.prior((first.batch, *first.latent), torch.Generator(first.device), first.dtype)
    y = [torch.zeros(len(z), dtype=torch.long, device=first.device)] if first.classes else []

    def through(G: nn.Module, D: nn.Module, times: int) -> None:
        labels = [one.repeat(times) for one in y]
        noise = z.repeat(times, *[1] * (z.ndim - 1))
        x = G(noise, *labels)
        D(x.detach(), *labels)
        for penalty in first.penalties if times > 1 else ():
            of_g = {"G": G, "z": noise, "y": labels[0] if labels else None} if penalty.of == "G" else {}
            penalty(lambda x: D(x, *labels), x.detach(), x if of_g else x.detach(), **of_g)

    with first.draws(first, (0,)):
        buffers = [[*network.buffers()] for network in lone]
        through(*lone, times=1)
        now = [[*network.buffers()] for network in lone]
        if any(a is not b for pair in zip(buffers, now, strict=True) for a, b in zip(*pair, strict=True)):
            raise ValueError("a layer replaces its buffer instead of changing it: play such games alone")
        try:
            before = torch.get_rng_state()
            through(*both, times=members)
            draws = first.device.type != "cpu" or not torch.equal(before, torch.get_rng_state())
            with DrawsOfMembers(first, range(members)):
                before = torch.get_rng_state()
                through(*both, times=members)
        except Exception as error:  # whatever vmap does not know
            line = " ".join(str(error).split())[:150]
            raise ValueError(f"these games cannot be played together: {line}") from error
        if not torch.equal(before, torch.get_rng_state()):
            raise ValueError("a penalty draws otherwise than by torch.rand or randn: play such games alone")
        return draws


# losses -----------------------------------------------------------------------------------------------------


def _vmapped(objective: Objective, members: int) -> Objective:
    """The objective member by member, since it may compare the examples of a batch."""

    def rows(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def of_all(real: Tensor | None, fake: Tensor) -> Tensor:
            sides = [None if x is None else _rows(x, members) for x in (real, fake)]
            return torch.vmap(f, in_dims=tuple(None if x is None else 0 for x in sides))(*sides).flatten()

        return of_all

    return replace(objective, d=rows(objective.d), g=rows(objective.g))


# optimizers -------------------------------------------------------------------------------------------------


def _optimizer(players: Sequence[Player]) -> Callable[..., Any]:
    """The factory of one optimizer for all: elementwise, or row by row where their settings differ."""
    settings = [_settings(player.optimizer) for player in players]
    if all(some == settings[0] for some in settings):
        return players[0].factory
    return lambda stacked: _Rows([*stacked], players)


def _settings(optimizer: Any) -> Any:
    """All that makes an optimizer's rule, as far as it can be compared."""
    if isinstance(optimizer, Wrapper):
        own = {name: value for name, value in vars(optimizer).items() if name not in ("base", "memory")}
        return type(optimizer), own, _settings(optimizer.base)
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    return type(optimizer), groups


class _Rows(Wrapper):
    """An optimizer for each member, which moves its row."""

    def __init__(self, stacked: Sequence[nn.Parameter], players: Sequence[Player]) -> None:
        super().__init__(None)
        self.stacked = stacked
        self.players = players
        self.optimizers = [player.optimizer for player in players]

    @property
    def requires_simultaneous(self) -> bool:
        return any(getattr(optimizer, "requires_simultaneous", False) for optimizer in self.optimizers)

    def step(self) -> None:
        for i, (player, optimizer) in enumerate(zip(self.players, self.optimizers, strict=True)):
            for row, p in zip(player.parameters, self.stacked, strict=True):
                row.grad = None if p.grad is None else p.grad[i]
            optimizer.step()

    def end_turn(self) -> None:
        for optimizer in self.optimizers:
            end_turn(optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for optimizer, row in zip(self.optimizers, state["rows"], strict=True):
            optimizer.load_state_dict(row)


class _Row:
    """One member's part of a common optimizer, to be saved."""

    def __init__(self, optimizer: Any, i: int) -> None:
        self.optimizer = optimizer
        self.i = i

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def state_dict(self) -> dict[str, Any]:
        return _mapped(lambda x: x[self.i].clone() if x.ndim else x, [self.optimizer.state_dict()])


def _stacked(states: Sequence[Any]) -> Any:
    """The states of N lone optimizers as one's: tensors are stacked, but for numbers, which all share."""
    return _mapped(lambda *rows: torch.stack(rows) if rows[0].ndim else rows[0].clone(), states)


def _mapped(f: Callable[..., Tensor], trees: Sequence[Any]) -> Any:
    """f of the tensors at the same place in all trees; everything else as the first has it."""
    first = trees[0]
    if isinstance(first, Tensor):
        return f(*trees)
    if isinstance(first, dict):
        return {name: _mapped(f, [tree[name] for tree in trees]) for name in first}
    if isinstance(first, list | tuple):
        return type(first)(_mapped(f, [*items]) for items in zip(*trees, strict=True))
    return first
