"""Laws that whole families of metrics obey: identity, order, closed forms, monotony, intervals that cover."""

import math
from functools import partial

import pytest
import torch

from zerosum import metrics
from zerosum.metrics.estimate import floor, jackknife, wilson
from zerosum.metrics.two_sample import _accuracy
from zerosum.randomness import stream

TWO_SAMPLE = {
    "frechet_distance": metrics.frechet_distance,
    "frechet_infinity": metrics.frechet_infinity,
    "kernel_distance": metrics.kernel_distance,
    "gaussian kernel_distance": partial(metrics.kernel_distance, kernel=metrics.gaussian(2.0)),
    "wasserstein-1": partial(metrics.wasserstein, p=1),
    "wasserstein-2": metrics.wasserstein,
    "sliced_wasserstein": metrics.sliced_wasserstein,
    "precision": lambda x, y, **k: metrics.prdc(x, y, **k).precision,
    "recall": lambda x, y, **k: metrics.prdc(x, y, **k).recall,
    "density": lambda x, y, **k: metrics.prdc(x, y, **k).density,
    "coverage": lambda x, y, **k: metrics.prdc(x, y, **k).coverage,
    "two_sample_test": metrics.two_sample_test,
    "referee": metrics.referee,
}
# What identical sets score exactly. Not listed: the unbiased metrics and those that split the sets.
AT_IDENTITY = {
    "frechet_distance": 0.0,
    "wasserstein-1": 0.0,
    "wasserstein-2": 0.0,
    "sliced_wasserstein": 0.0,
    "precision": 1.0,
    "recall": 1.0,
    "coverage": 1.0,
}
GOOD_IS_HIGH = {"precision", "recall", "density", "coverage"}
RANDOM_SPLIT = {"frechet_infinity", "two_sample_test", "referee"}
RING = torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in torch.arange(8) * math.pi / 4]).float()


def gauss(seed: int, n: int = 400, d: int = 3) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=stream(seed, "test_metrics"))


def ring(seed: int, n: int = 800, modes: int = 8, std: float = 0.05) -> torch.Tensor:
    draw = stream(seed, "ring")
    which = torch.randint(modes, (n,), generator=draw)
    return RING[which] + std * torch.randn(n, 2, generator=draw)


@pytest.mark.parametrize("name", TWO_SAMPLE)
def test_every_estimate_is_well_formed(name):
    e = TWO_SAMPLE[name](gauss(0), gauss(1), space="here")
    assert e.low <= e.value <= e.high
    assert (e.n, e.space) == (400, "here")
    assert float(e) == e.value
    assert "here" in str(e) and e.metric in str(e) and e.interval


@pytest.mark.parametrize(("name", "value"), AT_IDENTITY.items())
def test_identical_sets(name, value):
    x = gauss(0)
    assert TWO_SAMPLE[name](x, x).value == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", TWO_SAMPLE)
def test_same_result_again_and_no_trace_in_the_global_generator(name):
    before = torch.get_rng_state()
    first, again = (TWO_SAMPLE[name](gauss(0), gauss(1) + 0.3) for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(set(TWO_SAMPLE) - RANDOM_SPLIT))
def test_order_of_examples_does_not_matter(name):
    x, y = gauss(0), 1.2 * gauss(1) + 0.3
    order = torch.randperm(len(x), generator=stream(2))
    assert TWO_SAMPLE[name](x[order], y.flip(0)).value == pytest.approx(
        TWO_SAMPLE[name](x, y).value, rel=1e-9
    )


@pytest.mark.parametrize("name", sorted(RANDOM_SPLIT))
def test_order_of_examples_matters_no_more_than_chance(name):
    x, y = gauss(0, 1000), 1.2 * gauss(1, 1000) + 0.3
    one, other = TWO_SAMPLE[name](x, y), TWO_SAMPLE[name](x.flip(0), y.flip(0))
    assert one.low < other.high and other.low < one.high


# Recall asks only whether the fakes' balls reach the data, and noise makes the balls larger.
@pytest.mark.parametrize("name", sorted(set(TWO_SAMPLE) - {"recall"}))
def test_added_noise_makes_it_worse(name):
    real, good, noise = gauss(0), gauss(1), gauss(2)
    levels = [TWO_SAMPLE[name](real, good + s * noise).value for s in (0.0, 1.0, 4.0)]
    worse = [-v for v in levels] if name in GOOD_IS_HIGH else levels
    assert worse[2] > worse[1] > worse[0]


@pytest.mark.parametrize("name", sorted(set(TWO_SAMPLE) - {"precision", "density"}))
def test_lost_modes_make_it_worse(name):
    real = ring(0, 400)
    levels = [TWO_SAMPLE[name](real, ring(1, 400, modes=m)).value for m in (8, 5, 2)]
    worse = [-v for v in levels] if name in GOOD_IS_HIGH else levels
    assert worse[2] > worse[1] > worse[0]


def test_lost_modes_leave_precision_alone():
    e = metrics.prdc(ring(0), ring(1, modes=2)).precision
    assert e.value > 0.95


def test_frechet_of_gaussians_has_its_closed_form():
    x, y = gauss(0, 20_000), gauss(1, 20_000) * torch.tensor([2.0, 1.0, 0.5]) + torch.tensor([1.0, 0, 0])
    e = metrics.frechet_distance(x, y)
    assert e.low < 1 + (2 - 1) ** 2 + (1 - 0.5) ** 2 < e.high


def test_frechet_is_symmetric_and_invariant_under_rotation():
    x, y = gauss(0), 2 * gauss(1) + 1
    q = torch.linalg.qr(gauss(5, 3)).Q
    value = metrics.frechet_distance(x, y).value
    assert metrics.frechet_distance(y, x).value == pytest.approx(value, rel=1e-10)
    assert metrics.frechet_distance(x @ q, y @ q).value == pytest.approx(value, rel=1e-10)


def test_frechet_of_a_stream_or_of_merged_moments_is_that_of_the_whole():
    x, y = gauss(0), 2 * gauss(1) + 1
    parts = metrics.Moments().update(y[:100]).merge(metrics.Moments().update(y[100:]))
    whole = metrics.frechet_distance(x, y).value
    assert metrics.frechet_distance(iter(x.split(64)), parts).value == pytest.approx(whole, rel=1e-12)


def test_frechet_ignores_coordinates_that_never_move():
    x, y = gauss(0), 2 * gauss(1) + 1
    still = torch.full((len(x), 4), 0.5, dtype=x.dtype)
    padded = metrics.frechet_distance(torch.cat([x, still], 1), torch.cat([y, still], 1))
    assert padded.value == pytest.approx(metrics.frechet_distance(x, y).value, rel=1e-7)


def test_extrapolated_frechet_distance_is_unbiased():
    runs = [metrics.frechet_infinity(gauss(2 * t, 400, 8), gauss(2 * t + 1, 400, 8)) for t in range(30)]
    values = torch.tensor([e.value for e in runs])
    assert abs(values.mean()) < 3 * values.std() / len(runs) ** 0.5
    plain = metrics.frechet_distance(gauss(0, 400, 8), gauss(1, 400, 8)).value
    assert plain > 4 * abs(values.mean())


@pytest.mark.parametrize(
    ("metric", "truth"),
    [
        # Means of a Gaussian shifted by 1/2 in each of 3 dimensions, compared in the limit of many samples.
        (metrics.frechet_infinity, 3 * 0.25),
        # For k = exp(-|x - y|^2 / 8) and x - x' of variance 2, E k(x, x') = sqrt(4/6) per dimension.
        (TWO_SAMPLE["gaussian kernel_distance"], 2 * (4 / 6) ** 1.5 * (1 - math.exp(-3 * 0.25 / 12))),
    ],
)
def test_intervals_cover_the_truth(metric, truth):
    hits = 0
    for t in range(60):
        e = metric(gauss(2 * t), gauss(2 * t + 1) + 0.5)
        hits += e.low <= truth <= e.high
    assert hits >= 52  # P(Binomial(60, 0.95) < 52) is about 0.2 %


def test_gaussian_shift_moves_transport_by_its_length():
    x = gauss(0, 50)
    shift = torch.tensor([3.0, 4.0, 0.0], dtype=x.dtype)
    assert metrics.wasserstein(x, x + shift, p=1).value == pytest.approx(5)
    assert metrics.wasserstein(x, x + shift, p=2).value == pytest.approx(5)
    sliced = metrics.sliced_wasserstein(x, x + shift, projections=20_000).value
    assert sliced == pytest.approx(5 / math.sqrt(3), rel=0.02)  # E (u.s)^2 = |s|^2 / d


def test_sliced_wasserstein_of_repeated_points_is_unchanged():
    x, y = gauss(0, 60), gauss(1, 40)
    value = metrics.sliced_wasserstein(x, y).value
    assert metrics.sliced_wasserstein(x.repeat(2, 1), y.repeat(3, 1)).value == pytest.approx(value, rel=1e-12)


def test_mode_metrics_on_a_perfect_ring():
    x = ring(0, 20_000)
    assert metrics.mode_coverage(x, RING, 0.05).value == 8
    share = metrics.high_quality_share(x, RING, 0.05)
    assert share.floor == pytest.approx(1 - math.exp(-4.5))
    assert share.low < share.floor < share.high
    kl = metrics.reverse_kl(x, RING, 0.05)
    assert kl.value < 5 * kl.floor == pytest.approx(5 * 7 / (2 * 0.98889 * 20_000), rel=0.01)


@pytest.mark.parametrize("modes", [1, 3, 8])
def test_mode_metrics_count_lost_modes(modes):
    x = ring(0, 4_000, modes=modes)
    e = metrics.mode_coverage(x, RING, 0.05)
    assert (float(e), e.of, e.low, e.high) == (modes, 8, modes, modes)
    assert str(e).startswith(f"{modes} of 8 ")
    assert metrics.reverse_kl(x, RING, 0.05).value == pytest.approx(math.log(8 / modes), abs=0.01)


def test_a_sample_at_three_deviations_does_not_count():
    modes = torch.zeros(1, 2)
    at = torch.tensor([[3.0, 0.0], [0.0, 2.999], [5.0, 0.0]])
    assert metrics.high_quality_share(at, modes, 1.0).value == pytest.approx(1 / 3)
    assert (
        metrics.high_quality_share(at, modes, torch.tensor([2.0, 1.0])).value == 1.0
    )  # one std per dimension


def test_mean_reverse_kl_of_perfect_samples_is_its_floor():
    runs = [metrics.reverse_kl(ring(t, 500), RING, 0.05) for t in range(40)]
    values = torch.tensor([e.value for e in runs])
    assert abs(values.mean() - runs[0].floor) < 3 * values.std() / len(runs) ** 0.5


def test_stacked_classes_find_every_mode_and_the_sampling_floor():
    draw = stream(0)
    labels = torch.randint(1_000, (26_000,), generator=draw)
    kl = metrics.class_kl(labels, torch.ones(1_000))
    assert metrics.class_coverage(labels, 1_000).value == 1_000
    assert kl.floor == pytest.approx(999 / 52_000)
    assert kl.low < kl.floor < kl.high
    assert metrics.class_coverage(labels % 693, 1_000).value == 693


def test_class_metrics_at_their_extremes():
    certain = torch.eye(5).repeat(20, 1)
    assert metrics.classifier_score(certain).value == pytest.approx(5)
    assert metrics.classifier_score(certain[:1].repeat(10, 1)).value == pytest.approx(1)
    assert metrics.class_kl(torch.zeros(50, dtype=torch.long), torch.ones(10)).value == pytest.approx(
        math.log(10)
    )
    labels = torch.arange(10)
    assert metrics.agreement(labels, labels, classes=10).value == 1


def test_memorisation_is_found_at_five_per_cent_and_not_in_held_out_data():
    train, held, new = gauss(0, 2_000, 16), gauss(1, 1_000, 16), gauss(2, 1_000, 16)
    copied = torch.cat([train[:50], new[50:]])
    assert metrics.memorisation_test(held, copied, train).p_value < 0.01
    noisy = torch.cat([train[:50] + 0.05 * gauss(3, 50, 16), new[50:]])
    assert metrics.memorisation_test(held, noisy, train).p_value < 0.01
    clean = [
        metrics.memorisation_test(gauss(10 + t, 500, 16), gauss(50 + t, 500, 16), train) for t in range(40)
    ]
    assert sum(e.p_value < 0.05 for e in clean) <= 6  # P(Binomial(40, 0.05) > 6) is about 0.3 %
    # A smooth generator lies nearer to its training data than real data do, without copying any.
    assert metrics.memorisation_test(held, 0.5 * new, train).p_value > 0.01


def test_two_sample_test_is_calibrated():
    p = [metrics.two_sample_test(gauss(100 + t, 100), gauss(200 + t, 100)).p_value for t in range(12)]
    assert sum(x < 0.05 for x in p) <= 3  # P(Binomial(12, 0.05) > 3) is about 0.2 %


@pytest.mark.parametrize(("n", "m"), [(100, 100), (180, 2_500), (2_500, 180), (50, 10_000)])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.75, 0.75), (0.95, 0.95), (0.5, 0.98), (0.98, 0.5)])
def test_two_sample_accuracy_is_as_sure_as_the_smaller_class_allows(n, m, shares):
    draw, truth, ends = stream("accuracies", n, m), sum(shares) / 2, []
    for _ in range(1_000):
        right = (torch.rand(k, generator=draw) < share for k, share in zip((n, m), shares, strict=True))
        ends.append(_accuracy(*right)[1:])
    low, high = torch.tensor(ends).T
    assert ((low <= truth) & (truth <= high)).double().mean() > 0.925
    if shares[0] == shares[1]:  # no wider than it takes, either
        error = math.sqrt(truth * (1 - truth) * (1 / n + 1 / m)) / 2
        assert (high - low).mean() == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_diversity_falls_when_samples_repeat():
    draw = stream(0)
    images = torch.rand(100, 1, 16, 16, generator=draw) * 2 - 1
    free, few = metrics.ms_ssim_diversity(images), metrics.ms_ssim_diversity(images[:2].repeat(50, 1, 1, 1))
    assert free.high < few.low


def test_path_length_scales_with_the_square_of_the_map():
    z = gauss(0, 400)
    one = metrics.perceptual_path_length(lambda z: z, z, torch.tanh).value
    two = metrics.perceptual_path_length(lambda z: z, z, lambda x: 2 * torch.tanh(x)).value
    assert two == pytest.approx(4 * one, rel=1e-6)


def test_parzen_references_show_its_flaw():
    """k-means centres beat the data themselves: the reason why the score must not be read alone."""
    train, test, valid = (torch.cat([gauss(s + i, 300, 10) * 0.1 + i for i in range(3)]) for s in (0, 10, 20))
    rows = metrics.parzen_references(test, train, valid, samples=60)
    assert rows["k-means centres as samples"].low > rows["training data as samples"].high


def test_parzen_scores_images_in_unit_range():
    """The 2014 numbers are of pixels in [0, 1]; uint8, [-1, 1] and flat [0, 1] must give the same one."""
    x = torch.randint(256, (60, 4, 4), dtype=torch.uint8, generator=stream(0))
    flat, signed = x.flatten(1).double() / 255, x[:, None].double() / 127.5 - 1
    value = metrics.parzen_log_likelihood(flat, flat[:20], flat).value
    assert metrics.parzen_log_likelihood(signed, signed[:20], signed).value == pytest.approx(value, rel=1e-10)
    assert metrics.parzen_log_likelihood(x, x[:20], x).value == pytest.approx(value, rel=1e-5)


def test_floor_is_the_metric_between_halves_of_real_data():
    x = gauss(0)
    e = floor(metrics.wasserstein, x, p=1, space="points")
    assert (e.n, e.space) == (200, "points")
    assert 0 < e.value < 1
    assert floor(metrics.prdc, x).recall.value > 0.8


def test_jackknife_gives_the_standard_error_of_a_mean():
    x = gauss(0, 4_000, 1)
    assert jackknife(lambda z: float(z.mean()), x, blocks=100) == pytest.approx(1 / math.sqrt(4_000), rel=0.3)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_wilson_covers_a_share(share):
    hits = torch.rand(2_000, 100, generator=stream(0)).lt(share).sum(1).tolist()
    covered = sum(wilson(h, 100)[0] <= share <= wilson(h, 100)[1] for h in hits) / 2_000
    assert covered > 0.92


@pytest.mark.parametrize("table", [metrics.POINTS, metrics.IMAGES])
def test_default_tables_run_as_declared(table):
    modes = torch.zeros(2, 2)
    modes[1] += 1
    draw = stream(1)

    def images() -> torch.Tensor:
        return torch.rand(200, 1, 12, 12, generator=draw) * 2 - 1

    names = ("real", "fake", "train", "validation", "unseen")
    probabilities = torch.rand(200, 5, generator=draw).softmax(1)
    views = {
        "samples": {
            s: images() if table is metrics.IMAGES else torch.rand(200, 2, generator=draw) for s in names
        },
        "features": {s: torch.rand(200, 4, generator=draw) for s in names},
        "probabilities": dict.fromkeys(names, probabilities),
        "labels": dict.fromkeys((*names, "wanted"), probabilities.argmax(1)),
    }
    known = {"modes": modes, "std": 0.5, "weights": torch.ones(2), "classes": 5, "expected": torch.ones(5)}
    for name, metric in table.items():
        results = metric(views[metric.view], space="here", known=known)
        assert all(e.space == "here" and e.low <= e.value <= e.high for e in results.values()), name
        assert set(results) == ({"precision", "recall", "density", "coverage"} if name == "prdc" else {name})


def sparse(n, seed, width=40, p=0.05):
    return (torch.rand(n, width, generator=stream("sparse", seed)) < p).to(torch.uint8)


UNTRAINED = {
    "continuous": lambda n: torch.randn(n, 40, generator=stream("u")) * 0.3 + 0.5,
    "the mean": lambda n: torch.full((n, 40), 0.05) + 0.01 * torch.randn(n, 40, generator=stream("u")),
    "rounded": lambda n: (torch.randn(n, 40, generator=stream("u")) > 0).float(),
    "one point": lambda n: torch.full((n, 40), 0.3),
    "of the law": lambda n: sparse(n, "again").float(),
}


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("name", UNTRAINED)
def test_what_is_no_copy_is_not_called_one(name, p):
    train, real = sparse(1_000, "train", p=p), sparse(300, "real", p=p)
    fake = sparse(500, "again", p=p).float() if name == "of the law" else UNTRAINED[name](500)
    result = metrics.memorisation_test(real.float(), fake, train.float())
    assert result.p_value > 0.01 and result.low <= result.floor


def test_nothing_is_sure_of_fifteen_examples():
    x, y = (torch.randn(n, 4, generator=stream("few", n)) for n in (15, 5_000))
    for few, many in ((x, y), (y, x)):
        for share in metrics.prdc(few, many):
            assert share.high - share.low > 0.15, share


def test_a_floor_has_no_more_fakes_than_there_are():
    real = torch.randn(1_000, 2, generator=stream("floor"))
    assert metrics.floor(metrics.sliced_wasserstein, real, n=50).n == 50
    assert metrics.floor(metrics.sliced_wasserstein, real, n=5_000).n == 500
