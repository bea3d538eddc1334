"""A turn: what one iteration of the game did."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from torch import Tensor, nn

from zerosum.objectives import Objective

__all__ = ["LogitCheck", "Turn"]


@dataclass(frozen=True)
class Turn:
    """What one iteration did: detached tensors, so that nothing waits for the device until somebody looks.

    d_loss, g_loss: scalars, the means of the objective's two losses, without penalties.
    real_logits, fake_logits: ``[batch]``, as D gave them in its last step, before it moved.
    penalties: what each penalty that was due added to the loss of its player in that step, by name.
    """

    step: int
    d_loss: Tensor
    g_loss: Tensor
    real_logits: Tensor = field(repr=False)
    fake_logits: Tensor = field(repr=False)
    penalties: dict[str, Tensor] = field(default_factory=dict)


class LogitCheck:
    """Warns once of a D whose logits never leave (0, 1], as those of a network with a sigmoid at its end.

    It looks at three turns only, since looking waits for the device.
    """

    turns = (0, 10, 100)

    def __init__(self, objective: Objective, D: nn.Module) -> None:
        self.count = 0
        *_, last = D.modules()
        # of a critic such logits prove nothing by themselves
        self.suspect = objective.probability is not None or isinstance(last, nn.Sigmoid)

    def __call__(self, turn: Turn) -> None:
        if self.suspect and self.count in self.turns:
            both = turn.real_logits, turn.fake_logits
            self.suspect = all(bool(((x > 0) & (x <= 1)).all()) for x in both)
            if self.suspect and self.count == self.turns[-1]:
                warnings.warn(
                    "the logits of D never leave [0, 1]: is there a sigmoid at its end? D gives raw logits, "
                    "and the objective does the rest: remove the sigmoid from the network",
                    stacklevel=3,
                )
        self.count += 1
