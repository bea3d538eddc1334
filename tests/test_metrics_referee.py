"""The referee: a lower bound that holds, that is near the truth on known mixtures, and leaves no trace."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import softplus

from zerosum.metrics import referee
from zerosum.randomness import stream


class Mixture:
    """Equal Gaussians of one width at given means, with its own generator."""

    def __init__(self, means: list[list[float]], std: float) -> None:
        self.means, self.std = torch.tensor(means), std
        parts = Independent(Normal(self.means, torch.full_like(self.means, std)), 1)
        self.density = MixtureSameFamily(Categorical(torch.ones(len(means))), parts)

    def sample(self, n: int, draw: torch.Generator) -> torch.Tensor:
        which = torch.randint(len(self.means), (n,), generator=draw)
        return self.means[which] + self.std * torch.randn(n, self.means.shape[1], generator=draw)


def exact_jsd(p: Mixture, q: Mixture, n: int = 100_000) -> float:
    """log 2 minus the loss of Bayes's classifier, which knows the densities; Monte Carlo error below
    0.002."""
    x, y = p.sample(n, stream("exact", 0)), q.sample(n, stream("exact", 1))
    a, b = (p.density.log_prob(z) - q.density.log_prob(z) for z in (x, y))
    return math.log(2) - float(softplus(-a).mean() + softplus(b).mean()) / 2


def ring(modes: int, std: float) -> Mixture:
    angles = [k * math.pi / 4 for k in range(modes)]
    return Mixture([[math.cos(a), math.sin(a)] for a in angles], std)


PAIRS = {
    "same": (ring(8, 0.05), ring(8, 0.05)),
    "one mode lost": (ring(8, 0.05), ring(7, 0.05)),
    "modes too wide": (ring(8, 0.01), ring(8, 0.03)),
    "shifted": (Mixture([[0.0, 0.0]], 1.0), Mixture([[1.0, 0.0]], 1.0)),
    "apart": (Mixture([[0.0, 0.0]], 1.0), Mixture([[5.0, 0.0]], 1.0)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_low_end_is_a_lower_confidence_bound(name):
    """A short form of benchmarks/metrics_referee.py, which makes 200 trials."""
    p, q = PAIRS[name]
    truth, trials = exact_jsd(p, q), 8
    held = 0
    for t in range(trials):
        e = referee(p.sample(200, stream(t, "p")), q.sample(200, stream(t, "q")), seed=t)
        held += e.low <= truth + 0.002
    assert held >= trials - 1  # P(Binomial(8, 0.975) < 7) is 2 %


@pytest.mark.parametrize(
    ("name", "share"), [("one mode lost", 0.6), ("modes too wide", 0.8), ("shifted", 0.6), ("apart", 0.9)]
)
def test_the_bound_is_near_the_truth(name, share):
    p, q = PAIRS[name]
    e = referee(p.sample(2_000, stream("p")), q.sample(2_000, stream("q")))
    assert e.low < exact_jsd(p, q) + 0.002
    assert e.value > share * exact_jsd(p, q)


def test_same_seed_same_verdict_and_another_seed_another_split():
    p, q = PAIRS["shifted"]
    x, y = p.sample(200, stream(0)), q.sample(200, stream(1))
    before = torch.get_rng_state()
    assert referee(x, y, seed=1) == referee(x, y, seed=1)
    assert referee(x, y, seed=1) != referee(x, y, seed=2)
    assert torch.equal(before, torch.get_rng_state())


def test_it_works_inside_no_grad_and_never_reaches_the_samples():
    p, q = PAIRS["shifted"]
    x, y = p.sample(200, stream(0)), q.sample(200, stream(1)).requires_grad_()
    with torch.no_grad():
        quiet = referee(x, y)
    assert quiet == referee(x, y)
    assert y.grad is None


def test_it_never_claims_more_than_log_2():
    p, q = Mixture([[0.0, 0.0]], 1.0), Mixture([[100.0, 0.0]], 1.0)
    e = referee(p.sample(300, stream(0)), q.sample(300, stream(1)))
    assert 0.6 < e.low < e.high < math.log(2)
