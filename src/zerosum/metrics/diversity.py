"""How a generator's samples vary: among each other (MS-SSIM) and along a path in its latent space (perceptual
path length)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from zerosum.metrics.estimate import Estimate, normal
from zerosum.metrics.inputs import as_images, matched
from zerosum.randomness import stream

__all__ = ["ms_ssim", "ms_ssim_diversity", "perceptual_path_length"]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
WINDOW, SIGMA = 11, 1.5


def ms_ssim(x: Any, y: Any) -> Tensor:
    """Multi-scale structural similarity of image pairs, `[N, C, H, W]` in [-1, 1] -> `[N]` (Wang, Simoncelli
    & Bovik 2003, Eq. 7).

    Product over scales of contrast-structure^w, times luminance at the coarsest. An image has as many of the
    five scales as leave its shorter side at least the window's 11 pixels (28 pixels: two); the weights of
    those are made to sum to 1. Negative structure counts as 0.

    >>> x = torch.rand(2, 1, 28, 28, dtype=torch.float64) * 2 - 1
    >>> torch.allclose(ms_ssim(x, x), torch.ones(2, dtype=torch.float64))
    True
    """
    x, y = (
        (as_images(z, name) + 1) / 2 for z, name in ((x, "x"), (y, "y"))
    )  # luminance is measured from black
    if x.shape != y.shape or min(x.shape[2:]) < WINDOW:
        sizes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"MS-SSIM needs pairs of one size of at least {WINDOW} pixels, not {sizes}")
    scales = [s for s in range(len(WEIGHTS)) if min(x.shape[2:]) // 2**s >= WINDOW]
    weights = torch.tensor(WEIGHTS[: len(scales)], dtype=x.dtype)
    weights = (weights / weights.sum()).tolist()
    product = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for s in scales:
        similarity, structure = _ssim(x, y)
        product = product * (similarity if s == scales[-1] else structure).clamp_min(0) ** weights[s]
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return product


def ms_ssim_diversity(fake: Any, *, seed: int = 0, space: str = "pixels") -> Estimate:
    """Mean MS-SSIM over N / 2 disjoint random pairs of samples (Odena, Olah & Shlens 2017). Lower is more
    diverse.

    Neither direction is better in itself: compare with the same number of real images. A value above it is a
    sign of collapse. Pairs are independent, so the interval is ± 1.96 standard errors over pairs.

    >>> float(ms_ssim_diversity(torch.zeros(10, 1, 16, 16)))
    1.0
    """
    images = as_images(fake, "fake")
    matched(fake=fake, least=4)
    order = torch.randperm(len(images), generator=stream(seed, "ms_ssim"))
    half = len(images) // 2
    pairs = zip(images[order[:half]].split(256), images[order[half : 2 * half]].split(256), strict=True)
    similarity = torch.cat([ms_ssim(a, b) for a, b in pairs]).double()
    mean, error = float(similarity.mean()), float(similarity.std()) / half**0.5
    return Estimate(
        mean, *normal(mean, error), len(images), space, "MS-SSIM between samples", "standard error over pairs"
    )


@torch.no_grad()
def perceptual_path_length(
    generate: Callable[[Tensor], Tensor],
    latents: Tensor,
    features: Callable[[Tensor], Tensor],
    *,
    epsilon: float = 1e-4,
    seed: int = 0,
    space: str = "features",
) -> Estimate:
    """E |f(G(z_t)) - f(G(z_{t + epsilon}))|^2 / epsilon^2 along the lines between pairs of `latents` `[2 N,
    k]`. Lower is smoother.

    (Karras et al. 2019, section 4.1, with any feature map f in place of LPIPS, and straight lines, t uniform
    in [0, 1].) The lowest and highest 1 % of the N lengths are left out, as there. The interval is ± 1.96
    standard errors over those kept. For a linear G and f the length is |f(G(z_1)) - f(G(z_0))|^2 exactly.

    >>> z = torch.cat([torch.zeros(200, 2), torch.ones(200, 2)]).double()
    >>> round(float(perceptual_path_length(lambda z: z, z, lambda x: x)), 4)
    2.0
    """
    (z,) = matched(latents=latents, least=8)
    start, end = z[: len(z) // 2], z[len(z) // 2 : len(z) // 2 * 2]
    t = torch.rand(len(start), 1, dtype=z.dtype, generator=stream(seed, "path")).to(z.device)
    lengths = []
    for a, b, at in zip(start.split(256), end.split(256), t.split(256), strict=True):
        here, there = (features(generate(torch.lerp(a, b, s))).flatten(1) for s in (at, at + epsilon))
        lengths.append((here.double() - there.double()).square().sum(1) / epsilon**2)
    kept = torch.cat(lengths).sort().values
    cut = len(kept) // 100
    kept = kept[cut : len(kept) - cut]
    mean, error = float(kept.mean()), float(kept.std()) / len(kept) ** 0.5
    return Estimate(
        mean, *normal(mean, error), len(start), space, "perceptual path length", "standard error over paths"
    )


def _ssim(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of luminance * structure, and of structure alone, over all windows that fit, for x and y in
    [0, 1]: `[N]` each."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.softmax(-at.square() / (2 * SIGMA**2), 0)
    window = torch.outer(line, line).expand(x.shape[1], 1, WINDOW, WINDOW)

    def blur(z: Tensor) -> Tensor:
        return conv2d(z, window, groups=z.shape[1])

    c1, c2 = 0.01**2, 0.03**2
    mx, my = blur(x), blur(y)
    vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    structure = (2 * vxy + c2) / (vx + vy + c2)
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))
