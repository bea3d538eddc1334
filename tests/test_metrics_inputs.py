"""Bad input gives a clear error or a stated correction, never a silent number; all metrics share one gate."""

import numpy as np
import pytest
import torch

from zerosum import metrics
from zerosum.randomness import stream

POINTS = torch.rand(200, 3, generator=stream(0))
IMAGES = torch.rand(200, 1, 12, 12, generator=stream(1)) * 2 - 1
RING = torch.zeros(1, 3)
PAIRED = {
    "frechet_distance": metrics.frechet_distance,
    "frechet_infinity": metrics.frechet_infinity,
    "kernel_distance": metrics.kernel_distance,
    "wasserstein": metrics.wasserstein,
    "sliced_wasserstein": metrics.sliced_wasserstein,
    "prdc": metrics.prdc,
    "two_sample_test": metrics.two_sample_test,
    "referee": metrics.referee,
    "memorisation_test": lambda real, fake: metrics.memorisation_test(real, fake, real),
    "parzen_log_likelihood": lambda real, fake: metrics.parzen_log_likelihood(real, fake, real),
}
SINGLE = {
    "mode_coverage": lambda fake: metrics.mode_coverage(fake, RING, 1.0),
    "high_quality_share": lambda fake: metrics.high_quality_share(fake, RING, 1.0),
    "reverse_kl": lambda fake: metrics.reverse_kl(fake, RING, 1.0),
    "classifier_score": metrics.classifier_score,
    "kmeans_centres": lambda x: metrics.kmeans_centres(x, 3),
    "perceptual_path_length": lambda z: metrics.perceptual_path_length(lambda z: z, z, lambda x: x),
    "Moments": lambda x: metrics.Moments().update(x),
}


def spoilt(x: torch.Tensor, value: float) -> torch.Tensor:
    x = x.clone()
    x[3, 1] = value
    return x


BAD = {
    "NaN": spoilt(POINTS, float("nan")),
    "infinity": spoilt(POINTS, float("inf")),
    "no axis of examples": POINTS[:, 0],
    "nothing": POINTS[:0],
    "mixed sizes": [np.zeros((4, 4)), np.zeros((5, 5))],
    "text": "samples.npy",
    "whole numbers": (POINTS * 255).long(),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", PAIRED)
def test_every_two_sample_metric_refuses(name, what):
    bad = BAD[what]
    with pytest.raises(ValueError):
        PAIRED[name](POINTS, bad)


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", SINGLE)
def test_every_one_sample_metric_refuses(name, what):
    bad = BAD[what]
    with pytest.raises(ValueError):
        SINGLE[name](bad)


@pytest.mark.parametrize("name", PAIRED)
def test_dimensions_must_match(name):
    with pytest.raises(ValueError):
        PAIRED[name](POINTS, torch.rand(200, 4))


@pytest.mark.parametrize("name", PAIRED)
def test_image_sizes_must_match(name):
    with pytest.raises(ValueError):
        PAIRED[name](IMAGES, IMAGES[..., :11])


@pytest.mark.parametrize("name", PAIRED)
def test_floats_beside_bytes_of_images_in_0_255_or_0_1_are_refused(name):
    raw = ((IMAGES[:, 0] + 1) * 127.5).to(torch.uint8)
    for floats in ((IMAGES + 1) * 127.5, (IMAGES + 1) / 2, POINTS):
        with pytest.raises(ValueError):
            PAIRED[name](raw, floats)


@pytest.mark.parametrize("name", PAIRED)
def test_bytes_of_rows_are_numbers_and_signals_are_not_clamped(name):
    bits = (POINTS > 0.5).to(torch.uint8)
    assert PAIRED[name](bits, POINTS.round()) == PAIRED[name](bits.float(), POINTS.round())
    signals = torch.randn(200, 2, 6, generator=stream(5)) * 1.9
    other = signals * 1.1  # the same once clamped to [-1, 1], as images would be, in most places
    assert PAIRED[name](signals, other) == PAIRED[name](signals.flatten(1), other.flatten(1))


@pytest.mark.parametrize("name", PAIRED)
def test_one_or_two_examples_are_too_few(name):
    with pytest.raises(ValueError):
        PAIRED[name](POINTS, POINTS[:1])


@pytest.mark.parametrize("metric", [metrics.frechet_distance, metrics.frechet_infinity])
def test_a_covariance_needs_more_examples_than_dimensions(metric):
    with pytest.raises(ValueError):
        metric(IMAGES[:144], IMAGES[:144])


def test_uint8_and_float_images_are_the_same_images():
    raw = torch.randint(256, (200, 4, 4, 3), dtype=torch.uint8, generator=stream(2))
    floats = raw.movedim(-1, 1).float() / 127.5 - 1
    assert metrics.sliced_wasserstein(raw, floats).value == 0
    assert metrics.sliced_wasserstein(raw.numpy(), floats.double().numpy()).value == pytest.approx(
        0, abs=1e-6
    )
    assert metrics.sliced_wasserstein(raw[..., 0], floats[:, :1]).value == 0


def test_a_small_overshoot_is_clamped_as_in_a_file():
    raw, over = ((IMAGES[:, 0] + 1) * 127.5).to(torch.uint8), IMAGES * 1.5
    assert metrics.sliced_wasserstein(raw, over) == metrics.sliced_wasserstein(raw, over.clamp(-1, 1))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_images_have_any_number_of_channels(channels):
    raw = torch.randint(256, (3, 12, 9, channels), dtype=torch.uint8, generator=stream(6))
    images = metrics.as_images(raw)
    assert images.shape == (3, channels, 12, 9) and torch.equal(metrics.as_images(images), images)
    assert torch.equal(metrics.as_images(raw.movedim(-1, 1)), images)
    assert metrics.pixels(images).shape == (3, 108 * channels)


def test_numpy_and_torch_and_half_precision_are_taken_alike():
    x, y = POINTS, POINTS.flip(0) ** 2
    e = metrics.prdc(x, y)
    assert metrics.prdc(x.numpy(), y.numpy()) == e
    half = metrics.frechet_distance(x.bfloat16(), y.bfloat16()).value
    assert half == pytest.approx(metrics.frechet_distance(x.bfloat16().float(), y.bfloat16().float()).value)


def test_single_arguments_are_checked():
    with pytest.raises(ValueError):
        metrics.mode_coverage(POINTS, RING, 0.0)
    with pytest.raises(ValueError):
        metrics.reverse_kl(POINTS + 100, RING, 1.0)
    with pytest.raises(ValueError):
        metrics.prdc(POINTS[:5], POINTS[:5])
    with pytest.raises(ValueError):
        metrics.wasserstein(POINTS, POINTS[:100])
    with pytest.raises(ValueError):
        metrics.classifier_score(POINTS)
    with pytest.raises(ValueError):
        metrics.class_coverage(torch.tensor([0, 5]), classes=5)
    with pytest.raises(ValueError):
        metrics.class_kl(POINTS, torch.ones(3))
    with pytest.raises(ValueError):
        metrics.class_kl(torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError):
        metrics.agreement(torch.zeros(200).long(), torch.zeros(100).long(), classes=2)
    with pytest.raises(ValueError):
        metrics.ms_ssim(IMAGES[..., :8], IMAGES[..., :8])
    with pytest.raises(ValueError):
        metrics.stacked_labels(lambda x: x, IMAGES)
    with pytest.raises(ValueError):
        metrics.Moments().update(POINTS).merge(metrics.Moments().update(POINTS[:, :2]))
    with pytest.raises(ValueError):
        metrics.frechet_distance(metrics.Moments().update(POINTS), metrics.Moments().update(POINTS[:, :2]))
    with pytest.raises(ValueError):
        metrics.kernel_distance(torch.rand(20, 2), torch.rand(20_000, 2))
