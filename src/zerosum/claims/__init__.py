r"""The theory of the game, shown on the engine that plays it: every claim predicted, measured and compared.

A `Row` is one claim. What is predicted comes from a closed form or from `zerosum.theory`; what is measured
comes from the games that `zerosum.game` plays, with the objectives of `zerosum.objectives`. The two agree if

.. math:: |measured - predicted| \le 3 (e_{measured} + e_{predicted}),

with e as a `theory.Quantity` states it: half of a 95 % interval, or the error of the numerical method. (At
once that error, one sound row in twenty would be refused; at three times, one in some hundred million.) And
since an error may be so large that everything agrees, a row also names answers that must *not* agree, the
slips that circulate above all: V = log 4, z drawn from the data, a generator that minimises log D(G(z)).

>>> from math import log
>>> from zerosum.claims.optimum import value_at_equilibrium
>>> row = value_at_equilibrium(seed=0)
>>> round(row.predicted.value, 5), row.agrees, row.fits(log(4))
(-1.38629, True, False)

Players that stand still (`Still`) make the turns of a game independent draws, so that their mean has an
honest interval. All games are played in float64, with Algorithm 1 as it stands in `zerosum.game`.
"""

from zerosum.claims.claims import ROWS, rows
from zerosum.claims.row import MULTIPLE, Row, written

__all__ = ["MULTIPLE", "ROWS", "Row", "rows", "written"]
