"""What must be true of a game, known without playing it: exact answers that training is judged by.

Three chapters: two densities and how far apart they are (`densities`), the density that a generator induces
(`generators`), and games small enough to solve (`games`). Everything is float64 on the CPU, in nats, and a
number that had to be approximated is a `Quantity`: it carries its error and the method that gave it.
"""

from zerosum.theory import games
from zerosum.theory.densities import (
    Density,
    Quantity,
    jsd,
    kl,
    monte_carlo,
    optimal_discriminator,
    optimal_logit,
    quadrature,
    total_variation,
    value,
    wasserstein1,
)
from zerosum.theory.games import *  # noqa: F403
from zerosum.theory.generators import (
    KernelDensity,
    NormalPrior,
    Prior,
    UniformPrior,
    bandwidth,
    by_kernel_density,
    pushforward,
)

__all__ = [
    "Density",
    "KernelDensity",
    "NormalPrior",
    "Prior",
    "Quantity",
    "UniformPrior",
    "bandwidth",
    "by_kernel_density",
    "jsd",
    "kl",
    "monte_carlo",
    "optimal_discriminator",
    "optimal_logit",
    "pushforward",
    "quadrature",
    "total_variation",
    "value",
    "wasserstein1",
]
__all__ += games.__all__
