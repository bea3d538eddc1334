"""The game: two players, an objective and Algorithm 1; N such games as one.

>>> from zerosum.game import Ensemble, Game
"""

from zerosum.game.ensemble import Ensemble
from zerosum.game.play import Game, Player, Turn, normal, uniform

__all__ = ["Ensemble", "Game", "Player", "Turn", "normal", "uniform"]
