"""Ranks: one game on several processes, started by torchrun, each of which plays its share of every batch.

The number of processes does not change the game. A batch is one for all: noise and data are those of one
process, cut (`zerosum.game.inputs`); gradients are averaged in one place, before a player moves; nothing is
wrapped round the networks, so that penalties and frozen players need no special case. So w ranks of a parts
play the same game, up to the order of additions, for equal w a. Losses and penalties that compare the
examples of a batch compare all of them (`zerosum.game.rehearsal`), layers that do (batch norm) those of one
part.

    ranks = parallel.join()             # in each process; None where there is only one
    game = Game(..., rank=ranks.rank, world=ranks.world)
    ranks.share(game)                   # the state of rank 0 is that of all
    for turn in game.play(source, steps): ...       # the turn of the whole batch, on every rank

Rank 0 may also lead: it says by `order` what comes next, and the others `obey` (see `zerosum.run.ranks`).
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from zerosum.game.turn import Turn

if TYPE_CHECKING:
    from zerosum.game.play import Game

__all__ = ["RankLost", "Ranks", "current", "join", "leave", "talking"]


class RankLost(RuntimeError):
    """Another rank does not answer any more."""


@contextmanager
def talking() -> Iterator[None]:
    """Within, what fails is that another rank does not answer."""
    global _lost
    try:
        yield
    except RuntimeError as error:
        _lost = True
        line = " ".join(str(error).split())[:150]
        raise RankLost(f"another process of this game is gone, or does not answer: {line}") from error


class Ranks:
    """This process among those that play one game. rank: its number; world: how many there are."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.stop = False
        """Set by any rank, it is set on all of them after the turn that is being played."""

    def share(self, game: Game) -> None:
        """From here on the ranks play this game together, from the state that it has on rank 0."""
        if (game.rank, game.world) != (self.rank, self.world):
            place = f"rank {game.rank} of {game.world}"
            raise ValueError(f"the game is that of {place}, this process is rank {self.rank} of {self.world}")
        game.load_state_dict(self.from_first(game.state_dict()))
        game.D.gather = game.G.gather = self.average_gradients
        game.ranks = self

    def from_first(self, value: Any) -> Any:
        """The value that rank 0 has, on every rank."""
        values = [value]
        with talking():
            dist.broadcast_object_list(values)
        return values[0]

    def order(self, number: int) -> None:
        """Of rank 0: what all are to do next."""
        with talking():
            dist.broadcast(torch.tensor(number), 0)

    def obey(self) -> int:
        """Of any other rank: wait for what rank 0 orders."""
        number = torch.tensor(0)
        with talking():
            dist.broadcast(number, 0)
        return int(number)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        self.average_([p.grad for p in parameters if p.grad is not None])

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its mean over the ranks, in one message."""
        if not tensors:
            return
        flat = torch.cat([x.detach().flatten() for x in tensors])
        with talking():
            dist.all_reduce(flat)
        flat /= self.world
        for x, mean in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
            x.detach().copy_(mean.view_as(x))

    def gathered(self, own: Tensor) -> Tensor:
        """What each rank has, ``[...]`` -> ``[world, ...]``, on all of them."""
        everyone = [torch.empty_like(own) for _ in range(self.world)]
        with talking():
            dist.all_gather(everyone, own)
        return torch.stack(everyone)

    def joined(self, turn: Turn) -> Turn:
        """The turn of the whole batch: means of losses and terms, the logits of all parts in their order."""
        names = sorted(turn.penalties)
        numbers = [turn.d_loss, turn.g_loss, *(turn.penalties[name] for name in names)]
        stop = turn.d_loss.new_tensor(float(self.stop))
        own = torch.cat([torch.stack([stop, *numbers]), turn.real_logits, turn.fake_logits])
        rows = self.gathered(own)
        heads, logits = rows[:, : 1 + len(numbers)], rows[:, 1 + len(numbers) :]
        self.stop = bool(heads[:, 0].any())
        _, d_loss, g_loss, *terms = heads.mean(0).unbind()
        real, fake = (side.flatten() for side in logits.chunk(2, 1))
        return replace(
            turn,
            d_loss=d_loss,
            g_loss=g_loss,
            real_logits=real,
            fake_logits=fake,
            penalties=dict(zip(names, terms, strict=True)),
        )


_joined: list[Ranks] = []
_lost = False
"""A rank was: the threads of such a group may abort the process that takes it down."""


def current() -> Ranks | None:
    """This process's place among those that it has joined; None where it plays alone."""
    return _joined[0] if _joined else None


def join(timeout: timedelta = timedelta(minutes=30)) -> Ranks | None:
    """Meet the other processes that torchrun started; None where this is the only one.

    Messages go by nccl where each rank has a cuda device, by gloo otherwise. timeout: how long a rank waits
    for one that does not answer but is not gone either.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if not _joined:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if not dist.is_initialized():
            store, rank, world = next(dist.rendezvous("env://", timeout=timeout))
            # torchrun may restart the processes with the store of those that died: their addresses are in it
            attempt = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
            dist.init_process_group(backend, timeout=timeout, store=attempt, rank=rank, world_size=world)
        _joined.append(Ranks())
        atexit.register(leave)  # or the group's threads may abort a process that ends in an error
    return _joined[0]


def leave(failed: bool = False) -> None:
    """Part from the others.

    failed: the process ends in an error. A group that has lost a rank is then left as it is, and the process
    ends with code 1 before anything is taken down.
    """
    if _joined:
        _joined.clear()
        if failed and _lost:
            atexit.register(_end_at_once)
        else:
            dist.destroy_process_group()


def _end_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
