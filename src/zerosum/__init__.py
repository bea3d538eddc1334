"""zerosum: generative adversarial networks as a measured two-player game.

The nouns: an `Objective` is a pair of losses, a `Penalty` regularises the critic, a `Player` is a network
with its optimizer and its average, a `Game` is two players and an objective, and a `Turn` is what one
iteration did. `load` gives the generator of a run, or of a folder that was exported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerosum import data, metrics, networks, objectives, optimizers, penalties, schedules, theory, watch
    from zerosum.export import load
    from zerosum.game import Game, Player, Turn
    from zerosum.objectives import Objective
    from zerosum.penalties import Penalty

__all__ = [
    "Game",
    "Objective",
    "Penalty",
    "Player",
    "Turn",
    "data",
    "load",
    "metrics",
    "networks",
    "objectives",
    "optimizers",
    "penalties",
    "schedules",
    "theory",
    "watch",
]

__version__ = "0.1.0"

_HOMES = {
    "Game": "game",
    "Objective": "objectives",
    "Penalty": "penalties",
    "Player": "game",
    "Turn": "game",
    "load": "export",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `zerosum --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'zerosum' has no attribute {name!r}")
    module = import_module(f"zerosum.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
