"""Facts of a game that the judgement needs besides its readings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from zerosum.data import GaussianMixture, Pixels, Source
from zerosum.game import Game, Player
from zerosum.networks.augmentation import Augmented
from zerosum.networks.mlp import Dense, OneHot
from zerosum.networks.packing import Packed

__all__ = ["Facts", "facts"]


@dataclass(frozen=True)
class Facts:
    """What of a game the judgement needs besides its readings.

    critic: logits are no probability. saturates: the gradient of L_G vanishes where D rejects the fakes.
    relativistic: L_G sees real logits. equilibrium: L_D there. optimizers: "d" and "g", each as the part of a
    recipe, at its present learning rate; plain: those whose rate is the field `lr` of their part. batch:
    examples in one pass. penalties: as parts, at their present weight. examples: in the source; inf for a
    density. modes: of a known mixture; 0 otherwise. low, high: the range of real data; image: whether it can
    be chosen (data.low, data.high). output, d_output: the range of the last activation of G and of D, None
    where it has no bound. batch_norm: the players that have it. size: the norm that each player's weights
    have if every matrix keeps the scale of what passes through it, the root of the number of their rows.
    linear: D is, and sees no more than means.
    turns: that are planned; 0 where nobody knows.
    places: where a recipe has the options of "D" and of "G": in D.network if that is one within another.
    """

    critic: bool = False
    saturates: bool = False
    equilibrium: float = math.log(4)
    optimizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plain: tuple[str, ...] = ("d", "g")
    batch: int = 128
    k: int = 1
    simultaneous: bool = False
    examples: float = math.inf
    modes: int = 0
    low: float = -1.0
    high: float = 1.0
    image: bool = False
    output: tuple[float, float] | None = None
    d_output: tuple[float, float] | None = None
    relativistic: bool = False
    batch_norm: tuple[str, ...] = ()
    penalties: tuple[Mapping[str, Any], ...] = ()
    size: Mapping[str, float] = field(default_factory=dict)
    linear: bool = False
    turns: int = 0
    places: Mapping[str, str] = field(default_factory=lambda: {"D": "D", "G": "G"})


def facts(game: Game, source: Source, n: int = 1024, turns: int = 0) -> Facts:
    """The facts of this game as it stands, with the range of n examples of the source. turns: of it that are
    planned."""
    real = source.batch(0, min(n, len(source)) if hasattr(source, "__len__") else n)[0]  # type: ignore[arg-type]
    codec = getattr(source, "codec", None)
    pixels = codec if isinstance(codec, Pixels) else None
    players = {"d": game.D, "g": game.G}
    places, inner = {}, {}
    for who, player in players.items():
        places[who.upper()], inner[who] = _within(who.upper(), player.network)
    return Facts(
        critic=game.objective.probability is None,
        saturates=game.objective.saturates,
        equilibrium=game.objective.equilibrium,
        optimizers={who: _part(player) for who, player in players.items()},
        plain=tuple(w for w, p in players.items() if isinstance(p.optimizer, torch.optim.Optimizer)),
        batch=game.batch // game.accumulate,
        k=game.k,
        simultaneous=game.simultaneous,
        examples=len(source) if hasattr(source, "__len__") else math.inf,  # type: ignore[arg-type]
        modes=len(source.modes) if isinstance(source, GaussianMixture) else 0,
        low=pixels.low if pixels else float(real.min()),
        high=pixels.high if pixels else float(real.max()),
        image=pixels is not None,
        output=_bound(inner["g"]),
        d_output=_bound(inner["d"]),
        relativistic=game.objective.needs_real_logits,
        batch_norm=tuple(w.upper() for w, p in players.items() if _has_batch_norm(p.network)),
        penalties=tuple(
            {"name": p.name, "weight": _now(p.weight, game.step * game.k), "every": p.every}
            for p in game.penalties
        ),
        size={who: _usual_norm(player) for who, player in players.items()},
        linear=_is_linear(inner["d"]),
        turns=turns,
        places=places,
    )


def _is_linear(network: torch.nn.Module) -> bool:
    """Whether it is an `mlp` of one layer, with nothing behind that bends."""
    straight = (torch.nn.Linear, torch.nn.Flatten, torch.nn.Identity, OneHot)
    leaves = (m for m in network.modules() if not any(True for _ in m.children()))
    return isinstance(network, Dense) and all(isinstance(m, straight) for m in leaves)


def _within(place: str, network: torch.nn.Module) -> tuple[str, torch.nn.Module]:
    """The network that does the work, and where a recipe has it: within `augmented` and `packed`."""
    while isinstance(network, Augmented | Packed):
        place, network = f"{place}.network", network.network
    return place, network


def _now(weight: float | Callable[[int], float | torch.Tensor], step: int) -> float:
    return float(weight(step)) if callable(weight) else float(weight)


def _part(player: Player) -> dict[str, Any]:
    """The optimizer as a part of a recipe: what it is at heart, without schedules and wrappers."""
    group = player.optimizer.param_groups[0]
    if "betas" in group:
        return {"name": "adam", "lr": float(group["lr"]), "betas": [float(b) for b in group["betas"]]}
    return {"name": "sgd", "lr": float(group["lr"]), "momentum": float(group.get("momentum", 0.0))}


def _usual_norm(player: Player) -> float:
    return math.sqrt(sum(p.shape[0] for p in player.parameters if p.ndim > 1)) or 1.0


def _bound(network: torch.nn.Module) -> tuple[float, float] | None:
    """The range of a network's last activation, found by what it makes of very small and large numbers."""
    *_, last = network.modules()
    if type(last).__module__ != "torch.nn.modules.activation":
        return None
    with torch.no_grad():
        ends = last(torch.tensor([-1e6, 1e6], dtype=torch.float64)).tolist()
    low, high = (end if abs(end) < 1e4 else math.copysign(math.inf, end) for end in ends)
    return None if math.isinf(low) and math.isinf(high) else (low, high)


def _has_batch_norm(network: torch.nn.Module) -> bool:
    return any(isinstance(m, _BatchNorm) for m in network.modules())
