"""Feature spaces: trained by fixed recipes, repeatable, useful, without a trace in the global generator."""

import sys

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from refusals import refused
from zerosum import metrics
from zerosum.metrics.features import fresh


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    return torch.as_tensor(data.images / 8 - 1).float()[:, None], torch.as_tensor(data.target)


@pytest.fixture(scope="module")
def classifier(digits) -> metrics.Classifier:
    return metrics.train_classifier(digits[0][:1200], digits[1][:1200], classes=10, steps=150)


@pytest.fixture(scope="module")
def encoder(digits) -> metrics.FeatureSpace:
    return metrics.train_encoder(digits[0][:1200], steps=100)


def test_the_classifier_learns_and_names_its_space(digits, classifier):
    guessed = classifier.labels(digits[0][1200:])
    right = metrics.agreement(digits[1][1200:], guessed, classes=10, space=classifier.space.name)
    assert right.low > 0.85
    assert right.space == "classifier"
    assert torch.allclose(classifier.probabilities(digits[0]).sum(1), torch.ones(len(digits[0])))


def test_the_encoder_beats_untrained_features_without_labels(digits, encoder):
    images, labels = digits

    def probe(features: torch.Tensor) -> float:
        model = LogisticRegression(max_iter=2_000).fit(features[:1200], labels[:1200])
        return model.score(features[1200:], labels[1200:])

    spread = encoder(images).std(0)
    assert (spread > 1e-3).all()  # the space has not collapsed
    assert probe(encoder(images)) > 0.85


@pytest.mark.parametrize("train", ["classifier", "encoder"])
def test_the_recipe_repeats_itself_and_leaves_no_trace(digits, train):
    def space(seed: int) -> metrics.FeatureSpace:
        if train == "encoder":
            return metrics.train_encoder(digits[0][:300], steps=3, seed=seed)
        return metrics.train_classifier(
            digits[0][:300], digits[1][:300], classes=10, steps=3, seed=seed
        ).space

    before = torch.get_rng_state()
    one, again, other = (space(s)(digits[0][:5]) for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (5, 128) and not one.requires_grad


@pytest.mark.parametrize("name", ["pixels", "classifier", "encoder"])
def test_lost_classes_are_seen_in_every_space(digits, classifier, encoder, name):
    images, labels = digits
    space = {"pixels": metrics.pixels, "classifier": classifier.space, "encoder": encoder}[name]
    real, fake = space(images[:890]), space(images[890:])
    whole = metrics.kernel_distance(real, fake, space=space.name)
    lost = metrics.kernel_distance(real, fake[labels[890:] > 4], space=space.name)
    assert lost.low > whole.high
    assert lost.space == space.name


def test_a_feature_space_takes_images_in_any_form(classifier):
    raw = torch.randint(256, (7, 8, 8), dtype=torch.uint8)
    signed = raw[:, None].double() / 127.5 - 1
    assert torch.allclose(classifier.space(raw), classifier.space(signed.float()), atol=1e-5)


def test_efficientnet_features():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra zerosum[features]")
    space = metrics.efficientnet()
    draw = torch.Generator().manual_seed(0)
    grey = torch.rand(2, 1, 28, 28, generator=draw) * 2 - 1
    features = space(grey)
    assert features.shape == (2, 1280) and space.name == "EfficientNet-Lite0"
    assert torch.allclose(features, space(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert not torch.allclose(features[0], features[1], atol=1e-2)


@pytest.mark.parametrize(
    ("load", "package", "extra"),
    [
        (metrics.inception, "torch_fidelity.feature_extractor_inceptionv3", "vision"),
        (metrics.efficientnet, "efficientnet_lite_pytorch", "features"),
    ],
)
def test_a_missing_extra_says_how_to_install_it(monkeypatch, load, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'zerosum\[{extra}\]'"):
        load()


def test_inception_is_given_bytes_in_three_channels(monkeypatch):
    """The real loading code against a stand-in for torch-fidelity's class, which no test can download."""
    import types

    class Extractor:
        def __init__(self, name, features_list, feature_extractor_weights_path=None):
            assert features_list == ["2048"] and feature_extractor_weights_path == "weights.pth"

        def __call__(self, x):
            assert x.dtype == torch.uint8 and x.shape[1] == 3
            return (x.float().mean((2, 3)),)

    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    raw = torch.full((2, 5, 5), 200, dtype=torch.uint8)
    assert metrics.inception("weights.pth")(raw).tolist() == [[200.0] * 3] * 2


def test_fresh_weights_come_from_the_generator_alone():
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GroupNorm(2, 4))

    one, again = (fresh(build, torch.Generator().manual_seed(0)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert one[1].weight.eq(1).all() and one[0].bias.eq(0).all()


def test_labels_must_fit_the_images(digits):
    with refused("1", "797", "5"):
        metrics.train_classifier(digits[0], digits[1][:5], classes=10)
