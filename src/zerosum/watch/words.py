"""Words for the numbers of a diagnosis: the eyes (terminal, page, `--json`) make their sentences here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zerosum.watch.finding import Evidence

__all__ = ["PHRASES", "sentence"]

PHRASES = {
    "non-finite": "{what} became nan or infinite at step {value:,.0f}",
    "unreached range": (
        "G's last activation gives {low:g} to {high:g}, the data lie in {data_low:.3g} to {data_high:.3g}: "
        "it cannot reach {value:.0%} of their range"
    ),
    "exceeded range": (
        "G's last activation gives {low:g} to {high:g}, the data lie in {data_low:.3g} to {data_high:.3g}: "
        "it reaches beyond them by {value:.0%} of their range"
    ),
    "batch statistics": (
        "{who} normalises by the statistics of {batch} examples, whose standard deviations are wrong by "
        "about {value:.0%} (at most {limit:.0%})"
    ),
    "move": (
        "{who} moves by {value:.1%} of the usual size of such weights in a turn (0.1 to 1 % is usual), and "
        "its weights are {weights:.1f} times that size"
    ),
    "update share": "{who} moves by {value:.1e} of its weights in a turn (1e-3 is usual)",
    "nothing moves": "the {kind} of {who} is {value:.1e} of its weights: it does not move",
    "overshoot": (
        "samples reach from {low:.3g} to {high:.3g}, the data from {data_low:.3g} to {data_high:.3g}: "
        "{value:.1f} ranges beyond (at most {limit:g})"
    ),
    "loss of D": "the loss of D is {loss:.3g}, at rest {rest:.3g}",
    "d_fake": "D(G(z)) is {value:.4f} on average, and the gradient of this L_G is proportional to it",
    "saturation": "the gradient of -log D(G(z)) would be {value:.3g} times as large",
    "overfit_ratio": "D puts held-out data {value:.0%} of the way from its training examples to the fakes",
    "accuracy lost": "it is right on {train:.0%} with its training data and on {held:.0%} with held-out data",
    "strength of D": "D wins {value:.0%} of what it could ({side} {limit:.0%})",
    "swing": (
        "{curve} swings with a period of about {period:,} turns (autocorrelation {low:.2f}, then {value:.2f})"
    ),
    "modes_covered": "{value:.0f} of {modes} modes have a sample",
    "high_quality": "{value:.0%} of the samples lie at a mode",
    "coverage": "samples lie near {value:.0%} of the data ({real:.0%} for real data)",
    "precision": "{value:.0%} of the samples lie near data",
    "spread": "they spread {value:.2f} times as far as the data",
    "duplicates": "{value:.0%} of the samples have a near twin",
    "distance": "their energy distance from the data is {value:.2g} ({best:.2g} at best, at step {at:,})",
    "sample_distance": (
        "the best checkpoint is that of step {step:,}, at an energy distance of {value:.2g} "
        "[{low:.2g}, {high:.2g}] from the data"
    ),
    "divergence_bound": "D proves a divergence of {value:.3g} on held-out data",
}
"""A sentence for each quantity, with its value, its limit and what else it needs."""


def sentence(evidence: Evidence) -> str:
    """The evidence in words; a quantity without a phrase of its own by its name."""
    phrase = PHRASES.get(evidence.quantity, f"{evidence.quantity} is {{value:.4g}}")
    limit = evidence.limit if evidence.limit is not None else float("nan")
    return phrase.format(value=evidence.value, limit=limit, **evidence.others)
