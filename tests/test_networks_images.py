"""Networks for images: one set of laws over every network, size, number of channels and condition."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import interpolate

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum.networks import images

FACTORIES: dict[str, Any] = {
    "compact": networks.compact,
    "dcgan": networks.dcgan,
    "resnet": networks.resnet,
    "r3": networks.r3,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "compact": ("compact", {"width": 8}),
    "dcgan": ("dcgan", {"width": 8}),
    "dcgan without norm": ("dcgan", {"width": 8, "norm": None}),
    "resnet": ("resnet", {"width": 8}),
    "resnet, plain D": ("resnet", {"width": 8, "spectral": False}),
    "r3": ("r3", {"width": 8}),
    "r3 deep, in groups": ("r3", {"width": 12, "blocks": 2, "group": 5, "expansion": 1}),
    "r3 on pixels": ("r3", {"width": 4, "patch": 1}),
    "r3 on patches of 3": ("r3", {"width": 8, "patch": 3}),
}
IMAGES = [(1, 8, 8), (2, 16, 16), (3, 28, 28), (4, 32, 32), (1, 28, 20), (3, 9, 13), (1, 31, 8)]
LATENT = 12

kinds = pytest.mark.parametrize("kind", KINDS)
shapes = pytest.mark.parametrize("image", IMAGES, ids=lambda image: "x".join(map(str, image)))
conditions = pytest.mark.parametrize("classes", [0, 3])


def make(kind: str, image: tuple[int, ...], classes: int = 0, **options: Any) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    name, chosen = KINDS[kind]
    G = FACTORIES[name]((LATENT,), image, classes=classes, **chosen)
    return G, FACTORIES[name](image, (), classes=classes, **chosen, **options)


def pictures(n: int, image: tuple[int, ...]) -> Tensor:
    """Smooth, in [-1, 1], each with a brightness of its own: more like photos than white noise is."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(n, image[0], 4, 4, generator=generator)
    coarse += torch.randn(n, 1, 1, 1, generator=generator)
    return interpolate(coarse, image[1:], mode="bilinear").tanh()


def labels(n: int, classes: int) -> tuple[Tensor, ...]:
    """What follows z or x in a call: y, or nothing."""
    return (torch.arange(n) % classes,) if classes else ()


# laws over all networks, sizes and channels -----------------------------------------------------------------


@kinds
@shapes
@conditions
def test_shapes_and_life_at_the_start(kind: str, image: tuple[int, ...], classes: int) -> None:
    """G's pixels and D's logits have the right shapes, differ between inputs, and are not saturated."""
    G, D = make(kind, image, classes)
    x = G(torch.randn(16, LATENT), *labels(16, classes))
    assert x.shape == (16, *image)
    assert 0.02 < float(x.std(0).mean().detach()) < 0.9
    assert (x.std(0) > 1e-3).all()  # no pixel is dead
    assert float((x.detach().abs() > 0.99).float().mean()) < 0.2
    logits = D(pictures(16, image), *labels(16, classes))
    assert logits.shape == (16,)
    assert 1e-3 < float(logits.std().detach()) < 20


@kinds
@shapes
@conditions
def test_the_gradient_reaches_every_parameter(kind: str, image: tuple[int, ...], classes: int) -> None:
    """At the start, but for what lies behind the zeros of r3's blocks; there, after one step of them."""
    G, D = make(kind, image, classes)
    for network, x in ((G, torch.randn(16, LATENT)), (D, pictures(16, image))):
        y = labels(16, classes)
        still = without_gradient(network, x, y)
        behind = {name for name, _ in network.named_parameters() if ".expand." in name or ".grouped." in name}
        assert still == behind
        with torch.no_grad():
            for p in network.parameters():
                p -= 1e-3 * p.grad  # type: ignore
        assert without_gradient(network, x, y) == set()


def without_gradient(network: nn.Module, x: Tensor, y: tuple[Tensor, ...]) -> set[str]:
    network.zero_grad()
    out = network(x, *y)
    (out * torch.randn_like(out)).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    return {name for name, g in gradients.items() if g is not None and not g.any()}


@kinds
@shapes
@conditions
def test_r1_has_a_gradient_of_its_own(kind: str, image: tuple[int, ...], classes: int) -> None:
    """|grad_x D|^2 differentiates: every weight that D's slope in x depends on gets a finite gradient."""
    _, D = make(kind, image, classes)
    x = pictures(8, image).requires_grad_()
    (slope,) = torch.autograd.grad(D(x, *labels(8, classes)).sum(), x, create_graph=True)
    assert (slope.flatten(1).norm(dim=1) > 0).all()
    slope.square().sum().backward()
    gradients = {name: p.grad for name, p in D.named_parameters() if p.grad is not None}
    assert all(g.isfinite().all() for g in gradients.values())
    first = next(name for name in gradients if name.endswith(("weight", "original")))
    assert gradients[first].any()
    assert gradients[next(n for n in gradients if "head" in n and n.endswith(("weight", "original")))].any()


@kinds
@shapes
@pytest.mark.parametrize("minibatch_std", [False, True])
def test_in_evaluation_each_example_is_judged_alone(
    kind: str, image: tuple[int, ...], minibatch_std: bool
) -> None:
    G, D = make(kind, image, classes=3, minibatch_std=minibatch_std)
    for network, x in ((G, torch.randn(9, LATENT)), (D, pictures(9, image))):
        (y,) = labels(9, 3)
        network(x, y)  # running statistics that are not the first ones
        network.eval()
        together = network(x, y)
        alone = torch.cat([network(x[i : i + 1], y[i : i + 1]) for i in range(9)])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@kinds
@shapes
def test_the_class_changes_what_is_made_and_how_it_is_judged(kind: str, image: tuple[int, ...]) -> None:
    G, D = make(kind, image, classes=4)
    for network, x, apart in ((G, torch.randn(8, LATENT), 1e-2), (D, pictures(8, image), 1e-3)):
        outs = network(x.repeat(4, *[1] * (x.ndim - 1)), torch.arange(4).repeat_interleave(8))
        outs = outs.detach().unflatten(0, (4, 8))
        for a in range(4):
            for b in range(a):
                assert float((outs[a] - outs[b]).square().mean().sqrt()) > apart


@kinds
@conditions
def test_bf16_and_channels_last(kind: str, classes: int) -> None:
    """Under autocast the outputs are near those of float32, and all gradients, R1's too, are finite."""
    image = (3, 28, 20)
    networks_ = [deepcopy(n).to(memory_format=torch.channels_last) for n in make(kind, image, classes)]  # type: ignore
    for network, x in zip(networks_, (torch.randn(8, LATENT), pictures(8, image)), strict=True):
        y = labels(8, classes)
        x.requires_grad_()
        plain = deepcopy(network)(x, *y)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x, *y)
        scale = float(plain.detach().std())
        assert float((out.float() - plain).detach().square().mean().sqrt()) < 0.05 * scale
        (slope,) = torch.autograd.grad(out.float().sum(), x, create_graph=True)
        slope.square().sum().backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@kinds
def test_logits_keep_float32_under_autocast(kind: str) -> None:
    _, D = make(kind, (1, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        assert D(pictures(4, (1, 16, 16))).dtype == torch.float32


@kinds
@conditions
def test_weights_travel(kind: str, classes: int) -> None:
    """state_dict round trip, and functional_call with the parameters and buffers beside the module."""
    image = (2, 16, 16)
    pair, others = make(kind, image, classes), make(kind, image, classes)
    for network, other, x in zip(pair, others, (torch.randn(6, LATENT), pictures(6, image)), strict=True):
        with torch.no_grad():
            for p in network.parameters():
                p += 0.01 * torch.randn_like(p)
        y = labels(6, classes)
        network(x, *y)
        other.load_state_dict(network.state_dict())
        state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        skeleton = deepcopy(network).to("meta").eval()
        expected = network.eval()(x, *y)
        assert other.eval()(x, *y).equal(expected)
        assert functional_call(skeleton, state, (x, *y)).equal(expected)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize(
    ("image", "width"), [((3, 64, 64), 8), ((3, 256, 256), 4), ((1, 256, 8), 8), ((4, 97, 131), 4)]
)
def test_large_and_long_images(name: str, image: tuple[int, ...], width: int) -> None:
    torch.manual_seed(0)
    G, D = FACTORIES[name]((LATENT,), image, width=width), FACTORIES[name](image, (), width=width)
    x = G(torch.randn(3, LATENT))
    assert x.shape == (3, *image)
    assert 0.01 < float(x.std().detach()) < 0.9
    D(x).square().sum().backward()
    assert D(x).shape == (3,)
    assert next(G.parameters()).grad.abs().sum() > 0  # type: ignore


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("pair", [(4, 4), (7, 32), (32, 7), (1, 1)])
def test_too_small_an_image_is_refused_in_one_line(name: str, pair: tuple[int, int]) -> None:
    for inputs, outputs in (((5,), (1, *pair)), ((1, *pair), ())):
        with refused(*pair, 8):
            FACTORIES[name](inputs, outputs)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize(
    ("inputs", "outputs"), [((5,), ()), ((2,), (2,)), ((1, 8, 8), (1, 8, 8)), ((8, 8), ()), ((5,), (8, 8))]
)
def test_shapes_that_are_no_image_are_refused(name: str, inputs: tuple[int, ...], outputs: Any) -> None:
    with refused("C, H, W"):
        FACTORIES[name](inputs, outputs)


@kinds
def test_a_label_too_few_or_too_many_is_an_error(kind: str) -> None:
    y = torch.zeros(2, dtype=torch.long)
    for classes, given in ((0, (y,)), (3, ())):
        G, D = make(kind, (1, 8, 8), classes)
        for network, x in ((G, torch.randn(2, LATENT)), (D, pictures(2, (1, 8, 8)))):
            with pytest.raises(TypeError):
                network(x, *given)


# what each network is ---------------------------------------------------------------------------------------


def test_dcgan_at_64_pixels_is_the_published_network() -> None:
    G, D = networks.dcgan((100,), (3, 64, 64)), networks.dcgan((3, 64, 64), ())
    up = [m for m in G.modules() if isinstance(m, nn.ConvTranspose2d)]
    down = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in up] == [(512, 256), (256, 128), (128, 64), (64, 3)]
    assert [(m.in_channels, m.out_channels) for m in down] == [(3, 64), (64, 128), (128, 256), (256, 512)]
    assert all((m.kernel_size, m.stride, m.padding) == ((4, 4), (2, 2), (1, 1)) for m in (*up, *down))
    assert [m.num_features for m in D.modules() if isinstance(m, nn.BatchNorm2d)] == [128, 256, 512]
    assert [m.num_features for m in G.modules() if isinstance(m, nn.BatchNorm2d)] == [512, 256, 128, 64]
    assert (
        sum(p.numel() for p in G.parameters()) == 3_576_704 + 3
    )  # the most copied script, and its last biases
    assert sum(p.numel() for p in D.parameters()) == 2_765_568 + 64 + 1  # and the biases where no norm is
    for m in (*up, *down):
        assert float(m.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


LAYERS = [nn.Linear(300, 200), nn.Conv2d(30, 200, 3), nn.Conv2d(40, 200, 3, groups=4)]


@pytest.mark.parametrize("layer", LAYERS)
def test_scaled_layers_keep_the_variance(layer: nn.Module) -> None:
    torch.manual_seed(0)
    shape = (200, 300) if isinstance(layer, nn.Linear) else (50, layer.in_channels, 6, 6)  # type: ignore
    out = images.scaled(layer, 1.5)(torch.randn(shape))
    assert float(out.detach().std()) == pytest.approx(1.5, rel=0.05)


def test_a_scaled_transposed_convolution_keeps_the_variance() -> None:
    torch.manual_seed(0)
    layer = images.scaled(nn.ConvTranspose2d(64, 64, 4, 2, 1))
    inner = layer(torch.randn(20, 64, 12, 12))[..., 2:-2, 2:-2].detach()
    assert float(inner.std()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_of_r3_start_as_the_identity_and_move_the_output_alike(blocks: int) -> None:
    """Fix-up: after one step of size e, the output has moved by O(e) whatever the depth."""
    torch.manual_seed(0)
    D = networks.r3((3, 32, 32), (), blocks=blocks)
    residuals = [m for m in D.modules() if type(m).__name__ == "Residual"]
    assert len(residuals) == 3 * blocks
    for block in residuals:
        x = torch.randn(2, block.expand.in_channels, 4, 4)  # type: ignore
        assert block(x).equal(x)
        inner = nn.functional.leaky_relu(block.expand(x), 0.2)  # type: ignore
        inner = nn.functional.leaky_relu(block.grouped(inner)[..., 1:-1, 1:-1], 0.2)  # type: ignore
        power = float(inner.square().mean().detach())
        assert power == pytest.approx((3 * blocks) ** -1.0, rel=0.35)


@pytest.mark.parametrize("size", [(24, 24), (28, 20), (25, 31)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_no_weights_of_r3_draw_chequers(patch: int, size: tuple[int, int]) -> None:
    """What is the same at every place of the largest stage is so at every pixel, but for the border."""
    torch.manual_seed(0)
    G = networks.r3((LATENT,), (3, *size), patch=patch)
    assert G(torch.randn(4, LATENT)).detach().std((0, 2, 3)).min() > 0.1
    for weights in G.parameters():
        nn.init.normal_(weights, std=0.05)
    stage = [m for m in G.modules() if type(m).__name__ == "Residual"][-1]
    stage.register_forward_hook(
        lambda module, given, h: torch.randn(h.shape[1])[None, :, None, None].expand_as(h)
    )
    x = G(torch.randn(4, LATENT)).detach()
    assert x.shape == (4, 3, *size)
    border = 2 * patch
    inner = x[..., border:-border, border:-border]
    torch.testing.assert_close(inner, inner[..., :1, :1].expand_as(inner))
    assert float(inner[:, :, 0, 0].abs().min()) > 0


def test_resnet_d_has_singular_values_of_one() -> None:
    torch.manual_seed(0)
    D = networks.resnet((1, 16, 16), (), classes=3, width=8)
    for _ in range(100):
        D(pictures(2, (1, 16, 16)), torch.tensor([0, 1]))
    D.eval()
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 3 * 3 + 2
    for layer in layers:
        sigma = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(sigma) == pytest.approx(1, abs=0.01)


def test_spectral_norm_is_as_exact_under_autocast() -> None:
    torch.manual_seed(0)
    layer = networks.spectral_norm(nn.Conv2d(16, 32, 3)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        weight = layer.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, layer.weight, rtol=1e-6, atol=0)


def test_projection_adds_the_inner_product_with_the_class() -> None:
    torch.manual_seed(0)
    head = images.Projection(5, 3).double()
    h, y = torch.randn(6, 5).double(), torch.tensor([0, 2, 1, 1, 0, 2])
    for n in range(6):
        e, w = head.embed.weight[y[n]].detach(), head.linear.weight[0].detach()
        expected = float(h[n] @ w + head.linear.bias.detach()[0] + e @ h[n])
        assert float(head(h, y).detach()[n]) == pytest.approx(expected, rel=1e-12)


def test_sizes_halve_rounding_up() -> None:
    assert images.sizes(64, 64) == [(4, 4), (8, 8), (16, 16), (32, 32), (64, 64)]
    for side in range(8, 300):
        passed = images.sizes(side, side)
        assert 4 <= passed[0][0] <= 7
        assert all(after[0] in (2 * before[0], 2 * before[0] - 1) for before, after in pairwise(passed))


# layers -----------------------------------------------------------------------------------------------------


def test_conditional_batch_norm_is_batch_norm_then_the_affine_map_of_the_class() -> None:
    torch.manual_seed(0)
    layer, reference = networks.ConditionalBatchNorm(4, 3).double(), nn.BatchNorm2d(4, affine=False).double()
    x, y = torch.randn(6, 4, 3, 5).double(), torch.tensor([0, 1, 2, 2, 1, 0])
    out, normal = layer(x, y), reference(x)
    for n in range(6):
        for c in range(4):
            expected = layer.gamma.weight[y[n], c] * normal[n, c] + layer.beta.weight[y[n], c]
            torch.testing.assert_close(out[n, c], expected)
    torch.testing.assert_close(layer.norm.running_var, reference.running_var)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 13, 16])
@pytest.mark.parametrize("group", [2, 4])
def test_minibatch_std_measures_each_group(n: int, group: int) -> None:
    torch.manual_seed(0)
    layer, x = networks.MinibatchStd(group), torch.randn(n, 3, 4, 5)
    out = layer(x)
    assert out.shape == (n, 4, 4, 5)
    assert out[:, :3].equal(x)
    groups = -(-n // group)
    spreads = []
    for k in range(groups):
        members = x[k::groups]
        assert len(members) in (n // groups, n // groups + 1)
        spreads.append((members.var(0, unbiased=False) + 1e-8).sqrt().mean())
        torch.testing.assert_close(out[k::groups, 3], spreads[-1].expand(len(members), 4, 5))
    torch.testing.assert_close(layer.typical, 0.9 + 0.1 * torch.stack(spreads).mean())


def test_minibatch_std_of_equal_examples_has_finite_derivatives() -> None:
    """Collapse is what it is for: the root of a variance of zero must not blow up, twice."""
    layer = networks.MinibatchStd()
    x = torch.ones(8, 2, 4, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_minibatch_std_tells_a_collapsed_batch_from_a_varied_one() -> None:
    torch.manual_seed(0)
    D = networks.r3((1, 16, 16), (), width=8, minibatch_std=True)
    x = pictures(8, (1, 16, 16))
    assert any(getattr(m, "mixes_examples", False) for m in D.modules())
    same = x[:1].expand(8, -1, -1, -1)
    assert not D(torch.cat([x[:1], x[1:]]))[0].allclose(D(same)[0], rtol=1e-3)


# in a game --------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("classes", [0, 10])
def test_a_game_is_played(kind: str, classes: int) -> None:
    """Every parameter moves under R1; the conditional game adds minibatch std and bf16."""
    G, D = make(kind, (1, 8, 8), classes, minibatch_std=classes > 0)
    settings: dict[str, Any] = {"classes": classes, "precision": "bf16" if classes else "fp32"}
    r1 = penalties.r1(weight=0.1)
    game = Game(G, D, objectives.nonsaturating(), [r1], latent=LATENT, batch=8, **settings)
    before = [deepcopy(network.state_dict()) for network in (G, D)]
    for turn in game.play(data.digits(), 2):
        assert turn.d_loss.isfinite()
        assert turn.g_loss.isfinite()
    for network, old in zip((G, D), before, strict=True):
        assert all(not old[name].equal(p) for name, p in network.named_parameters())
    x = game.sample(5)
    assert x.shape == (5, 1, 8, 8)
    assert x.abs().max() <= 1
    assert x.std(0).mean() > 1e-6


# conditional networks of vectors ----------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [networks.mlp, networks.maxout])
@pytest.mark.parametrize("inputs", [(5,), (1, 4, 4)])
def test_vector_networks_take_labels_as_one_hot_inputs(factory: Any, inputs: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = factory(inputs, (), classes=3).eval()
    x = torch.randn(6, *inputs)
    outs = torch.stack([network(x, torch.full((6,), c)) for c in range(3)])
    assert outs.shape == (3, 6)
    assert (outs.std(0) > 1e-3 * outs.std()).all()
    onehot = torch.tensor([0.0, 1.0, 0.0]).expand(6, 3)
    assert network.layers(torch.cat([x.flatten(1), onehot], 1))[:, 0].equal(outs[1])
    with pytest.raises(TypeError):
        network(x)
    with pytest.raises(TypeError):
        factory(inputs, ())(x, torch.zeros(6, dtype=torch.long))
