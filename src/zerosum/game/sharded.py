"""Sharded players, for networks that do not fit: each rank keeps its part of the weights, the gradients, what
the optimizer remembers and the average; the weights are whole while a player is used.

By torch's `fully_shard` (FSDP2) round each network. Two things are ours, since penalties differentiate twice:
weights stay whole after the first of two backward passes, between which torch would free them by itself, and
are cut again before a step moves them, without which later passes would see the old ones.

Rank 0 looks at the game by itself (instruments, pictures, checkpoints), which a sharded network does not
allow: each pass needs all ranks. It looks at a `Whole` game, which fetches the players when they are looked
at.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from zerosum.game.inputs import Inputs
from zerosum.game.parallel import RankLost, Ranks, talking
from zerosum.game.play import Game
from zerosum.game.player import Player
from zerosum.game.turn import Turn

__all__ = ["ShardedPlayer", "Whole", "gathered", "shard"]

State = dict[str, Any]


class Whole(Game):
    """A game whose players may be those of a sharded game: fetched when somebody looks at them."""

    _fetch: Callable[[], State] | None = None

    def follow(self, step: int, fetch: Callable[[], State]) -> None:
        """The sharded game has come to this step; `fetch` gives its state, and needs all ranks."""
        self.step = step
        self._fetch = fetch

    def advance(self, inputs: Inputs) -> Turn:
        with _passing():
            return super().advance(inputs)

    @property
    def G(self) -> Player:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._looked_at("G")

    @G.setter
    def G(self, player: Player) -> None:
        self.__dict__["_G"] = player

    @property
    def D(self) -> Player:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._looked_at("D")

    @D.setter
    def D(self, player: Player) -> None:
        self.__dict__["_D"] = player

    def _looked_at(self, name: str) -> Player:
        if self._fetch is not None:
            fetch, self._fetch = self._fetch, None
            self.load_state_dict(fetch())
        return self.__dict__[f"_{name}"]


class ShardedPlayer(Player):
    """A player in parts over the ranks of a mesh, made of a whole one, whose network it takes over."""

    def __init__(self, whole: Player, mesh: DeviceMesh) -> None:
        self.__dict__.update(whole.__dict__)
        remembered = whole.optimizer.state_dict()
        for network in filter(None, (self.network, self.average)):
            fully_shard(network, mesh=mesh).set_reshard_after_backward(False)
        both = (self.average, self.network) if self.average is not None else ()
        self._followed = [[*one.parameters()] for one in both]
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = self.factory(self.parameters)
        self.optimizer.load_state_dict(_cut(remembered, self.parameters))
        for group in self.optimizer.param_groups:
            if "momentum" in group:  # torch has no fused SGD of sharded parameters
                group["fused"] = False
        self.device = torch.device(mesh.device_type)

    @property
    def leaves(self) -> Sequence[Tensor]:
        """The weights as they stand in the network: whole, once it has been passed."""
        return [p for p in self.network.parameters() if p.requires_grad]

    def step(self, rates: Mapping[str, float]) -> None:
        self._reshard()
        super().step(rates)

    def end_turn(self, decay: float | None = None) -> None:
        self._reshard()
        super().end_turn(decay)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Gradients are computed for `leaves` that are named, and for no others: nothing is to be done."""
        yield

    def state_dict(self) -> State:
        self._reshard()
        return super().state_dict()

    def _reshard(self) -> None:
        network: Any = self.network
        network.reshard()


def shard(game: Game, ranks: Ranks) -> None:
    """From here on each rank keeps its part of both players. After `Ranks.share`, on all ranks.

    Raises ValueError for what cannot be sharded: a compiled game, weights that are single numbers.
    """
    if game.compile:
        raise ValueError("shard and compile do not go together: leave one out")
    # a network whose last layer gives a view is told of; nothing is done to it in place
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (ranks.world,))
    game.G, game.D = ShardedPlayer(game.G, mesh), ShardedPlayer(game.D, mesh)
    game.G.gather = game.D.gather = None  # gradients are averaged as they are cut
    game.device = game.G.device
    for p in game.penalties:
        p.to(game.device)


@contextmanager
def _passing() -> Iterator[None]:
    """Within, sharded networks are passed: what fails as another rank does not answer is a RankLost."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RankLost) or not re.search("gloo|nccl", str(error), re.IGNORECASE):
            raise
        with talking():
            raise


@torch.no_grad()
def gathered(game: Game) -> State:
    """The whole state of a sharded game; all ranks take part, and all get it."""

    def whole(tree: Any) -> Any:
        if isinstance(tree, DTensor):
            return tree.full_tensor().cpu()
        if isinstance(tree, Mapping):
            return {name: whole(child) for name, child in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)([whole(child) for child in tree])
        return tree

    with _passing():
        return whole(game.state_dict())


def _cut(tree: Any, parameters: Sequence[Tensor]) -> Any:
    """What an optimizer of whole parameters remembers, as one of cut parameters does: tensors that belong to
    a parameter, by their place and their shape, are cut like it."""

    def like(x: Any, i: int) -> Any:
        p = parameters[i]
        if isinstance(x, Mapping):
            return {name: like(child, i) for name, child in x.items()}
        if not isinstance(x, Tensor) or not isinstance(p, DTensor) or x.shape != p.shape:
            return x
        return distribute_tensor(x.to(p.device), p.device_mesh, [Shard(0)], src_data_rank=None)

    if isinstance(tree, Mapping):
        if tree and all(type(name) is int for name in tree):
            return {i: like(child, i) for i, child in tree.items()}
        return {name: _cut(child, parameters) for name, child in tree.items()}
    if isinstance(tree, list | tuple) and len(tree) == len(parameters):
        return [like(child, i) for i, child in enumerate(tree)]
    return tree
