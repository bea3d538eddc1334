"""The game: two players, an objective and Algorithm 1; N such games as one.

>>> from zerosum.game import Ensemble, Game
"""

from zerosum.game.ensemble import Ensemble
from zerosum.game.inputs import Inputs
from zerosum.game.play import Game
from zerosum.game.player import Player, Precision
from zerosum.game.prior import Prior, mixture, normal, uniform
from zerosum.game.turn import Turn

__all__ = [
    "Ensemble",
    "Game",
    "Inputs",
    "Player",
    "Precision",
    "Prior",
    "Turn",
    "mixture",
    "normal",
    "uniform",
]
