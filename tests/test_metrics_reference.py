"""Every metric against an independent, well-kept implementation on the same features."""

import numpy as np
import pytest
import torch
from torch import nn

from zerosum import metrics
from zerosum.metrics.kernels import SIGMAS
from zerosum.metrics.neighbours import nearest
from zerosum.metrics.transport import directions
from zerosum.randomness import stream


def gauss(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=stream(seed, "reference"))


@pytest.fixture
def sets() -> tuple[torch.Tensor, torch.Tensor]:
    mix = gauss(9, 12, 12)
    return gauss(0, 500, 12) @ mix, gauss(1, 500, 12).exp() + 0.2


class Given(nn.Module):
    """An "extractor" for torchmetrics that returns its input."""

    num_features = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def torchmetrics_of(name: str, sets: tuple[torch.Tensor, torch.Tensor], **settings: object) -> object:
    from torchmetrics.image import fid, kid

    with torch.random.fork_rng():  # torchmetrics draws subsets from the global generator
        metric = {"fid": fid.FrechetInceptionDistance, "kid": kid.KernelInceptionDistance}[name](
            Given(), **settings
        ).set_dtype(torch.float64)
        metric.update(sets[0], real=True)
        metric.update(sets[1], real=False)
        return metric.compute()


def test_frechet_distance_agrees_with_torchmetrics(sets):
    expected = float(torchmetrics_of("fid", sets))
    assert metrics.frechet_distance(*sets).value == pytest.approx(expected, rel=1e-6)


# torchmetrics warns that KID keeps all features in memory: it does, and that is wanted here.
@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`:UserWarning")
def test_kernel_distance_agrees_with_torchmetrics(sets):
    expected, _ = torchmetrics_of("kid", sets, subsets=1, subset_size=500)
    assert metrics.kernel_distance(*sets).value == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_exact_transport_agrees_with_pot(sets, p):
    import ot

    x, y = (z.numpy() for z in sets)
    cost = ot.dist(x, y, metric="euclidean") ** p
    expected = ot.emd2(np.full(500, 1 / 500), np.full(500, 1 / 500), cost) ** (1 / p)
    assert metrics.wasserstein(*sets, p=p).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("fakes", [500, 333])
def test_sliced_transport_agrees_with_pot_along_the_same_directions(sets, p, fakes):
    import ot

    x, y = sets[0], sets[1][:fakes]
    u = directions(12, 100, seed=3)
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=u.numpy(), p=p)
    ours = metrics.sliced_wasserstein(x, y, p=p, projections=100, seed=3)
    assert ours.value == pytest.approx(float(expected), rel=1e-6)


def test_neighbours_agree_with_scikit_learn(sets, monkeypatch):
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr("zerosum.metrics.neighbours.CHUNK", 7 * 500)  # many chunks, the last one incomplete
    x, y = sets
    tree = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(x.numpy())
    np.testing.assert_allclose(nearest(y, x, 4).numpy(), tree.kneighbors(y.numpy())[0], rtol=1e-6)
    np.testing.assert_allclose(nearest(x, x, 4, itself=True).numpy(), tree.kneighbors()[0], rtol=1e-6)


def test_prdc_agrees_with_its_definition_in_scikit_learn(sets, monkeypatch):
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr("zerosum.metrics.neighbours.CHUNK", 7 * 500)
    x, y = sets[0].numpy(), sets[1].numpy()[:400]
    k = 3
    real_radius, fake_radius = (NearestNeighbors(n_neighbors=k).fit(z).kneighbors()[0][:, -1] for z in (x, y))
    d = pairwise_distances(x, y)
    in_real, in_fake = d <= real_radius[:, None], d <= fake_radius[None]
    got = metrics.prdc(x, y, k=k)
    expected = (
        in_real.any(0).mean(),
        in_fake.any(1).mean(),
        in_real.sum(0).mean() / k,
        in_real.any(1).mean(),
    )
    assert [float(e) for e in got] == pytest.approx(expected, rel=1e-6)
    assert 0 < got.precision.value < 1 and 0 < got.recall.value < 1  # else the test would show nothing


def bits(n: int, purpose: str, columns: int = 4) -> torch.Tensor:
    return (torch.rand(n, columns, generator=stream(purpose)) < 0.3).float()


def one_hots(n: int, purpose: str, values: int = 5) -> torch.Tensor:
    """Three categories, each in units of its own."""
    which = torch.randint(values, (n, 3), generator=stream(purpose))
    return (torch.eye(values)[which] * torch.tensor([[1.0], [2.0], [3.7]])).flatten(1)


def repeated(n: int, purpose: str) -> torch.Tensor:
    """Forty rows of any numbers, repeated, and some that are themselves."""
    few = torch.randn(40, 6, generator=stream("repeated"))
    rows = few[torch.randint(40, (n,), generator=stream(purpose))]
    return torch.where(torch.rand(n, 1, generator=stream(purpose, "own")) < 0.2, rows + 1, rows)


def far_apart(n: int, purpose: str) -> torch.Tensor:
    """Whole numbers near 0, and others so far away that a product of floats cannot tell them apart."""
    x = bits(n, purpose)
    return x + 3_000.0 * (torch.arange(n)[:, None] % 2)


@pytest.mark.parametrize("offset", [0.0, 1_000.0])
@pytest.mark.parametrize("draw", [bits, one_hots, repeated, far_apart])
def test_prdc_of_rows_that_repeat_is_as_defined(draw, offset):
    """Closed balls, by brute force in double precision: rows that repeat have balls of radius 0."""
    k, x, others = 5, draw(600, "real") + offset, draw(500, "fake") + offset
    some = others[others[:, 0] > others[:, 0].min()]
    for y in (x, others, some, some + 0.5):
        a, b = x.double(), y.double()
        reach = [(z[:, None] - z).square().sum(2).kthvalue(k + 1).values for z in (a, b)]
        squares = (a[:, None] - b).square().sum(2)
        in_real, in_fake = (squares <= r * (1 + 1e-6) for r in (reach[0][:, None], reach[1][None]))
        got = metrics.prdc(x, y, k=k)
        expected = [float(m.double().mean()) for m in (in_real.any(0), in_fake.any(1), in_real.any(1))]
        assert [got.precision.value, got.recall.value, got.coverage.value] == pytest.approx(expected)
        assert got.density.value == pytest.approx(float(in_real.sum()) / k / len(y))
    same = metrics.prdc(x, x, k=k)
    assert same.precision.value == same.recall.value == same.coverage.value == 1


def test_parzen_agrees_with_scikit_learn_and_chooses_the_best_sigma(sets):
    from sklearn.neighbors import KernelDensity

    test, samples, valid = gauss(0, 300, 5) * 0.3, gauss(1, 200, 5) * 0.3, gauss(2, 100, 5) * 0.3
    scores = {
        float(s): KernelDensity(bandwidth=float(s)).fit(samples.numpy()).score_samples(valid.numpy()).mean()
        for s in SIGMAS
    }
    best = max(scores, key=scores.__getitem__)
    density = KernelDensity(bandwidth=best).fit(samples.numpy()).score_samples(test.numpy())
    e = metrics.parzen_log_likelihood(test, samples, valid)
    assert e.value == pytest.approx(density.mean(), rel=1e-6)
    assert (e.high - e.low) / 2 / 1.959964 == pytest.approx(density.std() / 300**0.5, rel=1e-6)
    assert f"sigma {best:.3g}" in e.metric
    assert len(SIGMAS) == 10 and SIGMAS[0] == pytest.approx(0.1) and SIGMAS[-1] == pytest.approx(1)


def test_parzen_uses_the_first_thousand_and_ten_thousand():
    x = gauss(0, 1_500, 1)
    samples = torch.cat([x, x, x, x, x, x, x])[:10_050]
    reference = metrics.parzen_log_likelihood(x[:50], samples[:10_000], x[:1_000])
    assert metrics.parzen_log_likelihood(x[:50], samples, x).value == reference.value


@pytest.mark.parametrize(("size", "weights"), [(28, [0.0448, 0.2856]), (48, [0.0448, 0.2856, 0.3001])])
def test_ms_ssim_agrees_with_torchmetrics(size, weights):
    """torchmetrics averages over windows that hang over the edge too; its map without them is what we
    average."""
    from torch.nn.functional import avg_pool2d
    from torchmetrics.functional.image import structural_similarity_index_measure as peer

    draw = stream(0)
    x = torch.rand(4, 3, size, size, dtype=torch.float64, generator=draw) * 2 - 1
    y = (x + 0.5 * torch.randn(x.shape, dtype=x.dtype, generator=draw)).clamp(-1, 1)
    a, b, expected = (x + 1) / 2, (y + 1) / 2, torch.ones(4, dtype=torch.float64)
    for scale, weight in enumerate(weights):
        _, every = peer(a, b, data_range=1.0, reduction="none", return_full_image=True)
        _, structure = peer(a, b, data_range=1.0, reduction="none", return_contrast_sensitivity=True)
        last = scale == len(weights) - 1
        factor = every[..., 5:-5, 5:-5].mean((1, 2, 3)) if last else structure
        expected = expected * factor ** (weight / sum(weights))
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    assert metrics.ms_ssim(x, y).numpy() == pytest.approx(expected.numpy(), rel=1e-6)


# torchmetrics warns that it keeps all features in memory: it does, and that is wanted here.
@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`:UserWarning")
# It also takes the deviation over splits, of which there is one here.
@pytest.mark.filterwarnings(r"ignore:std\(\). degrees of freedom:UserWarning")
def test_classifier_score_agrees_with_torchmetrics():
    from torchmetrics.image.inception import InceptionScore

    logits = 3 * gauss(0, 300, 12).float()
    peer = InceptionScore(Given(), splits=1)
    with torch.random.fork_rng():
        peer.update(logits)
        expected, _ = peer.compute()
    assert metrics.classifier_score(logits.softmax(1)).value == pytest.approx(float(expected), rel=1e-5)


def test_class_kl_agrees_with_scipy():
    from scipy.stats import entropy

    labels = torch.randint(5, (300,), generator=stream(0)).clamp_max(3)
    expected = np.array([3.0, 1, 1, 2, 5])
    counts = np.bincount(labels.numpy(), minlength=5)
    assert metrics.class_kl(labels, torch.tensor(expected)).value == pytest.approx(
        entropy(counts, expected), rel=1e-9
    )


def test_memorisation_p_value_is_that_of_a_random_order():
    """The exact p-value against its own definition by simulation: labels dealt at random over one order."""
    from scipy.stats import hypergeom

    n, m, j, c = 30, 40, 4, 7
    rng = np.random.default_rng(0)
    held = np.sort(np.argsort(rng.random((40_000, n + m)), 1)[:, :m], 1)  # ranks of the held-out ones
    fakes_before = held[:, j - 1] - (j - 1)
    simulated = (fakes_before >= c).mean()
    exact = hypergeom.cdf(j - 1, n + m, m, c + j - 1)
    assert exact == pytest.approx(simulated, abs=4 * (simulated * (1 - simulated) / 40_000) ** 0.5)
