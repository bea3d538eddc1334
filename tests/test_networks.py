"""Networks: shapes, live gradients at the start, and layers against what they claim to compute."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from zerosum import Game, data, networks, objectives

GENERATORS: dict[str, Any] = {
    "mlp": {},
    "vector": {"depth": 1, "width": 32},
    "activation and output": {"activation": nn.SiLU, "output": nn.Tanh},
    "batch norm": {"norm": nn.BatchNorm1d},
    "layer norm": {"norm": nn.LayerNorm, "depth": 4},
    "dropout": {"dropout": 0.3, "dropout_in": 0.1},
    "spectral": {"spectral": True},
    "2014": {"init": 0.05, "output": nn.Sigmoid, "width": 200, "depth": 2},
    "2014, spectral": {"init": 0.05, "spectral": True},
    "gain": {"gain": 10.0},
}


def build(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    return networks.mlp(inputs, outputs, **GENERATORS[kind])


kinds = pytest.mark.parametrize("kind", GENERATORS)


@kinds
@pytest.mark.parametrize("inputs", [(5,), (1, 4, 4)])
@pytest.mark.parametrize(("outputs", "shape"), [((), (7,)), ((2,), (7, 2)), ((1, 8, 8), (7, 1, 8, 8))])
def test_shapes(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...], shape: tuple[int, ...]) -> None:
    assert build(kind, inputs, outputs)(torch.randn(7, *inputs)).shape == shape


@kinds
def test_the_first_layer_learns_and_no_output_is_dead(kind: str) -> None:
    network = build(kind, (6,), (9,))
    out = network(torch.randn(64, 6))
    assert (out.std(0) > 0).all()
    assert not out.isnan().any()
    out.square().sum().backward()
    for p in network.parameters():
        assert p.grad is not None
        assert p.grad.abs().sum() > 0
    first = next(p for p in network.parameters() if p.ndim == 2)
    assert first.shape[1] == 6
    assert first.grad is not None
    assert (first.grad.abs().sum(0) > 0).all()


@pytest.mark.parametrize("outputs", [(), (3,)])
def test_maxout_shapes_and_gradients(outputs: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = networks.maxout((1, 4, 4), outputs, units=12, pieces=3)
    logits = network(torch.randn(40, 1, 4, 4))
    assert logits.shape == (40, *outputs)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_maxout_of_2014_has_its_dropout_and_sizes() -> None:
    layers = list(networks.maxout((1, 28, 28), ()).layers)
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == (785 + 241) * 240 * 5 + 241
    for layer in layers:
        for name, p in layer.named_parameters():
            assert p.abs().max() <= 0.005
            assert name.endswith("weight") or p.eq(0).all()
    assert isinstance(layers[0], nn.Dropout)


def test_maxout_is_the_maximum_over_its_maps() -> None:
    torch.manual_seed(0)
    layer, x = networks.Maxout(5, 4, pieces=3).double(), torch.randn(6, 5).double()
    W, b = layer.linear.weight.detach(), layer.linear.bias.detach()
    for n in range(6):
        for i in range(4):
            pieces = [float(W[4 * j + i] @ x[n] + b[4 * j + i]) for j in range(3)]
            assert float(layer(x)[n, i].detach()) == pytest.approx(max(pieces), rel=1e-12)


def test_gain_multiplies() -> None:
    assert networks.Gain(3.0)(torch.tensor([1.0, -2.0])).tolist() == [3, -6]
    plain, loud = build("mlp", (4,), (2,)), build("gain", (4,), (2,))
    x = torch.randn(5, 4)
    assert loud(x).equal(plain(10 * x))


@kinds
def test_initial_weights_are_in_their_range(kind: str) -> None:
    """Also behind spectral normalisation, where the weight that one sees is not the one that is set."""
    init = GENERATORS[kind].get("init")
    weights = [
        p
        for name, p in build(kind, (6,), (9,)).named_parameters()
        if p.ndim == 2 and name.endswith(("weight", "original"))
    ]
    assert len(weights) == GENERATORS[kind].get("depth", 3) + 1
    if init is not None:
        for w in weights:
            assert 0.9 * init < float(w.detach().abs().max()) <= init


# centre -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "mean"),
    [
        (nn.Identity, [-3.0, 0.0, 0.5, 7.0]),
        (nn.Sigmoid, [0.01, 0.2, 0.5, 0.99]),
        (nn.Tanh, [-0.95, -0.2, 0.0, 0.6]),
    ],
)
def test_centre_starts_the_output_at_the_mean(output: Any, mean: list[float]) -> None:
    torch.manual_seed(0)
    network = networks.mlp((8,), (1, 2, 2), output=output, init=0.05)
    wanted = torch.tensor(mean).reshape(1, 2, 2)
    network.centre(wanted.double())
    at_start = network(torch.randn(500, 8)).mean(0)
    torch.testing.assert_close(at_start, wanted, rtol=0.02, atol=0.02)
    with torch.no_grad():  # and exactly, where the last layer's weights are out of the way
        next(layer for layer in reversed(network.layers) if isinstance(layer, nn.Linear)).weight.zero_()
    torch.testing.assert_close(network(torch.randn(1, 8))[0], wanted, rtol=1e-5, atol=1e-6)


def test_centre_at_the_edge_of_the_range_stays_finite() -> None:
    network = networks.mlp((8,), (3,), output=nn.Sigmoid)
    network.centre(torch.tensor([0.0, 1.0, 0.5]))
    bias = next(layer for layer in reversed(network.layers) if isinstance(layer, nn.Linear)).bias
    assert bias.tolist() == pytest.approx([-10, 10, 0], abs=1e-5)


# spectral norm ----------------------------------------------------------------------------------------------


def sigma(layer: nn.Module) -> float:
    return float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2))  # type: ignore


LAYERS: dict[str, Any] = {
    "linear": lambda: nn.Linear(20, 12),
    "wide": lambda: nn.Linear(3, 40),
    "one output": lambda: nn.Linear(15, 1),
    "convolution": lambda: nn.Conv2d(4, 6, 3),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_spectral_norm_brings_the_largest_singular_value_to_one(make: Any) -> None:
    torch.manual_seed(2)
    layer = make()
    exact = layer.weight.detach() / sigma(layer)
    layer = networks.spectral_norm(layer)
    for _ in range(300):
        _ = layer.weight
    layer.eval()
    assert sigma(layer) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(layer.weight.detach(), exact, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_spectral_norm_agrees_with_torch_in_value_and_gradient(make: Any) -> None:
    torch.manual_seed(2)
    mine = make()
    theirs = nn.utils.parametrizations.spectral_norm(deepcopy(mine))
    mine = networks.spectral_norm(mine)
    for _ in range(300):
        _ = mine.weight, theirs.weight
    probe = torch.randn(mine.weight.shape)
    gradients = []
    for layer in (mine, theirs):
        (layer.weight * probe).sum().backward()
        gradients.append(layer.parametrizations.weight.original.grad)
    torch.testing.assert_close(mine.weight, theirs.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_spectral_norm_rests_in_evaluation_and_works_in_training() -> None:
    torch.manual_seed(0)
    layer = networks.spectral_norm(nn.Linear(30, 30))
    u = layer.get_buffer("parametrizations.weight.0.u")
    layer.eval()
    before = u.clone()
    assert layer.weight.equal(layer.weight)
    assert u.equal(before)
    layer.train()
    with torch.no_grad():
        layer.get_parameter("parametrizations.weight.original").normal_()
    _ = layer.weight
    assert not u.equal(before)
    assert float(u.norm()) == pytest.approx(1, abs=1e-5)


def test_spectral_norm_starts_well_where_all_outputs_cancel() -> None:
    layer = nn.Linear(6, 2)
    with torch.no_grad():
        layer.weight[1] = -layer.weight[0]  # a sum over the outputs is zero
    assert sigma(networks.spectral_norm(layer)) == pytest.approx(1, abs=1e-5)


def test_an_averaged_vector_of_spectral_norm_is_used_as_a_direction() -> None:
    torch.manual_seed(0)
    layer = networks.spectral_norm(nn.Linear(6, 4)).eval()
    weight = layer.weight.detach().clone()
    layer.get_buffer("parametrizations.weight.0.u").mul_(0.3)
    torch.testing.assert_close(layer.weight.detach(), weight)


def test_spectral_norm_under_vmap_gives_each_member_what_it_gets_alone() -> None:
    torch.manual_seed(0)

    def make() -> nn.Module:
        return networks.mlp((3,), (), width=10, depth=2, spectral=True)

    members = [make() for _ in range(4)]
    for member in members:  # somewhere where power iteration still moves
        with torch.no_grad():
            for name, p in member.named_parameters():
                if name.endswith("original"):
                    p.normal_()
    alone = [deepcopy(member) for member in members]
    parameters, buffers = stack_module_state(members)
    skeleton = deepcopy(members[0]).to("meta").train()
    x = torch.randn(4, 8, 3)

    def loss(p: dict[str, Tensor], b: dict[str, Tensor], points: Tensor) -> Tensor:
        return functional_call(skeleton, (p, b), (points,)).square().sum()

    for _ in range(3):
        gradients = vmap(grad(loss))(parameters, buffers, x)
        for i, member in enumerate(alone):
            member.zero_grad()
            member(x[i]).square().sum().backward()
            for name, p in member.named_parameters():
                torch.testing.assert_close(gradients[name][i], p.grad, rtol=1e-4, atol=1e-6)
            for name, b in member.named_buffers():
                torch.testing.assert_close(buffers[name][i], b, rtol=1e-4, atol=1e-6)


# in a game --------------------------------------------------------------------------------------------------


def test_dropout_is_off_in_samples_and_on_in_training() -> None:
    torch.manual_seed(0)
    G = networks.mlp((4,), (2,), width=16, dropout=0.5, dropout_in=0.2)
    game = Game(G, networks.maxout((2,), (), units=8), objectives.nonsaturating(), latent=4, batch=8)
    list(game.play(data.ring(), 2))
    for live in (True, False):
        assert game.sample(50, live=live).equal(game.sample(50, live=live))
    assert G.training
    z = torch.randn(50, 4)
    assert not G(z).equal(G(z))
    torch.testing.assert_close(game.generate(z, live=True), deepcopy(G).eval()(z))
