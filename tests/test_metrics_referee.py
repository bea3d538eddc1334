"""The referee: a lower bound that holds, that is near the truth on known mixtures, and leaves no trace."""

import math

import pytest
import torch

from zerosum import data, theory
from zerosum.metrics import referee
from zerosum.randomness import stream

PAIRS = {
    "same": (data.ring(std=0.05), data.ring(std=0.05)),
    "one mode lost": (data.ring(std=0.05), data.mixture(data.ring().modes[:7], 0.05)),
    "modes too wide": (data.ring(std=0.01), data.ring(std=0.03)),
    "shifted": (data.gaussian(2), data.mixture([[1.0, 0.0]], 1.0)),
    "apart": (data.gaussian(2), data.mixture([[5.0, 0.0]], 1.0)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_low_end_is_a_lower_confidence_bound(name):
    """A short form of benchmarks/metrics_referee.py, which makes 200 trials."""
    p, q = PAIRS[name]
    truth, trials = float(theory.jsd(p, q)), 6
    held = 0
    for t in range(trials):
        e = referee(p.sample(200, stream(t, "p")), q.sample(200, stream(t, "q")), seed=t)
        held += e.low <= truth + 1e-4  # the quadrature's error
    assert held >= trials - 1  # P(Binomial(6, 0.975) < 5) is 1 %


@pytest.mark.parametrize(
    ("name", "share"), [("one mode lost", 0.6), ("modes too wide", 0.8), ("shifted", 0.6), ("apart", 0.9)]
)
def test_the_bound_is_near_the_truth(name, share):
    p, q = PAIRS[name]
    e = referee(p.sample(2_000, stream("p")), q.sample(2_000, stream("q")))
    assert e.low < float(theory.jsd(p, q))
    assert e.value > share * float(theory.jsd(p, q))


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
    p, q = data.gaussian(2), data.gaussian(2, mean=100.0)
    e = referee(p.sample(300, stream(0)), q.sample(300, stream(1)))
    assert 0.6 < e.low < e.high < math.log(2)
