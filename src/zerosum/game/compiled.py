"""Parts of a turn as machine code: what they do is recorded, operation by operation, and compiled.

A part is recorded below autograd, on tensors without numbers: the forward pass, the backward pass and
penalties' second derivatives become one list of operations on its inputs, weights and buffers. Nothing else
is looked at when it is played, and little has to be compared before: all else that decides what a part does
(attributes of networks, the objective, which penalties are due) is as it was recorded, or recorded anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zerosum.game.inputs import Part
from zerosum.game.player import Player
from zerosum.penalties import Penalty

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from zerosum.game.play import Game
    from zerosum.game.rehearsal import Batch

__all__ = ["CompiledPart"]

MOST_RECORDINGS = 32
"""A part that asks for more changes from turn to turn: it is not worth compiling."""
NARROW = 4
"""Matrix products of so few rows, columns or terms are sums."""
_OPTIONS = {"fallback_random": True, "pattern_matcher": False, "size_asserts": False}


class CompiledPart:
    """A part of a turn, compiled when it is first played; after one warning as it is where that fails."""

    def __init__(self, part: Callable[..., Any], player: Player, game: Game) -> None:
        self.part = part
        self.player = player
        self.game = game
        self.attributes = _Attributes([])
        self.recordings: dict[Any, _Recording] = {}
        self.count = 0

    def __call__(self, part: Part, batch: Batch | None, due: list[Penalty], strengths: list[Tensor]) -> Any:
        if self.game.compile and batch is None:
            try:
                return self._play((*part, *strengths), due)
            except Exception as error:  # whatever the compiler cannot do
                self.game.compile = False
                line = " ".join(str(error).split())[:150]
                warnings.warn(f"the game goes on uncompiled: {line}", stacklevel=2)
        return self.part(part, batch, due, strengths)

    def _play(self, inputs: Sequence[Tensor | None], due: list[Penalty]) -> Any:
        game = self.game
        if not self.attributes.are_as_recorded():
            self.recordings.clear()
        shapes = [None if x is None else (x.shape, x.dtype) for x in inputs]
        form = (game.precision, game.objective, *due, *shapes)
        if form not in self.recordings:
            self.count += 1
            if self.count > MOST_RECORDINGS:
                raise RuntimeError("the networks change from turn to turn")
            roots = [game.G.network, game.D.network, *game.penalties]
            self.attributes = _Attributes(roots)
            part = lambda real, y, z, *strengths: self.part(Part(real, y, z), None, due, [*strengths])  # noqa: E731
            buffers = [b for root in roots for b in root.buffers()]
            self.recordings[form] = _Recording(part, self.player.leaves, buffers, inputs)
            if not self.attributes.are_as_recorded():
                raise RuntimeError("a network or a penalty sets an attribute of its own when it is called")
        return self.recordings[form](inputs)


class _Attributes:
    """The numbers and words that networks and penalties have in attributes, and which their buffers are."""

    def __init__(self, roots: Sequence[nn.Module]) -> None:
        roots = [*roots, *(m for root in roots for m in getattr(root, "architecture", ()))]  # of an ensemble
        modules = [m for root in roots for m in root.modules()]
        plain = (bool, int, float, str)
        self.places = [(vars(m), k) for m in modules for k, v in vars(m).items() if isinstance(v, plain)]
        self.buffers = [(m._buffers, name) for m in modules for name in m._buffers]
        self.recorded = self._now()

    def _now(self) -> list[Any]:
        return [there.get(name) for there, name in self.places] + [id(d.get(k)) for d, k in self.buffers]

    def are_as_recorded(self) -> bool:
        return self._now() == self.recorded


class _Recording:
    """What a part does to inputs of these shapes, as machine code."""

    def __init__(
        self,
        part: Callable[..., Any],
        leaves: Sequence[Tensor],
        buffers: Sequence[Tensor],
        inputs: Sequence[Tensor | None],
    ) -> None:
        from unittest.mock import patch

        from torch._inductor import compile as inductor
        from torch._inductor import lowering
        from torch.fx.experimental.proxy_tensor import make_fx
        from torch.utils import _pytree as pytree

        self.leaves = leaves
        self.form: Any = None
        tensors = [x for x in inputs if x is not None]

        def play(*tensors: Tensor) -> list[Tensor | None]:
            each = iter(tensors)
            said, self.form = pytree.tree_flatten(part(*(None if x is None else next(each) for x in inputs)))
            return [*said, *(p.grad for p in self.leaves)]

        gradients = [p.grad for p in self.leaves]
        before = [b.clone() for b in buffers]
        try:
            for p in self.leaves:
                p.grad = None
            record = make_fx(play, _PRODUCTS, "fake", _allow_non_fake_inputs=True)
            graph = record(*tensors)
        finally:
            for p, gradient in zip(self.leaves, gradients, strict=True):
                p.grad = gradient
            for b, old in zip(buffers, before, strict=True):  # recording moves counters on
                b.copy_(old)
        self.weights = _as_inputs(graph)
        # the compiler's own way to a oneDNN product is for weights that never change
        operations = [_linear()] if torch.backends.mkldnn.is_available() else []
        called = {one: lowering.fallback_handler(one, add_to_fallback_set=False) for one in operations}
        with torch.no_grad(), patch.dict(lowering.lowerings, called):
            self.code: Any = inductor(graph, [*(x.detach() for x in self.weights), *tensors], _OPTIONS)

    def __call__(self, inputs: Sequence[Tensor | None]) -> Any:
        """What the part says; its gradients are added."""
        with torch.no_grad():
            out = self.code(*self.weights, *(x for x in inputs if x is not None))
        n = self.form.num_leaves
        for p, gradient in zip(self.leaves, out[n:], strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient
        return self.form.unflatten(out[:n])


def _as_inputs(graph: GraphModule) -> list[Tensor]:
    """The weights and buffers that a recording looks up, in its order; they become its first inputs."""
    nodes = [node for node in graph.graph.nodes if node.op == "get_attr"]
    weights = {node.target: getattr(graph, str(node.target)) for node in nodes}
    first = next(iter(graph.graph.nodes))
    with graph.graph.inserting_before(first):
        inputs = {name: graph.graph.placeholder(str(name)) for name in weights}
    for node in nodes:
        node.replace_all_uses_with(inputs[node.target])
        graph.graph.erase_node(node)
    for node in graph.graph.nodes:
        node.meta.clear()  # of other fake tensors than the compiler will make
    graph.recompile()
    return [*weights.values()]


# matrix products -------------------------------------------------------------------------------------------


def _product(a: Tensor, b: Tensor) -> Any:
    """a b, ``[..., m, k] [..., k, n]``, by what is fastest at it; NotImplemented where that is torch.

    Narrow ones are sums, which join what surrounds them. Others of float32 torch gives to MKL, which keeps
    its widest instructions to the processors of its maker: on others oneDNN is nearly twice as fast.
    """
    m, k, n = *a.shape[-2:], b.shape[-1]
    if k <= NARROW:
        terms = [a[..., :, i : i + 1] * b[..., i : i + 1, :] for i in range(k)]
        return sum(terms[1:], terms[0])
    if n <= NARROW:
        return (a.unsqueeze(-2) * b.mT.unsqueeze(-3)).sum(-1)
    if m <= NARROW:
        return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)
    if a.device.type != "cpu" or a.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return NotImplemented
    if a.ndim == 2:
        return _linear()(a, b.mT, None, "none", [], "")
    return torch.stack([_product(x, y) for x, y in zip(a, b, strict=True)])


def _biased(bias: Tensor, a: Tensor, b: Tensor) -> Any:
    product = _product(a, b)
    return product if product is NotImplemented else product + bias


def _linear() -> Any:
    return torch.ops.mkldnn._linear_pointwise.default


_PRODUCTS = {
    torch.ops.aten.mm.default: _product,
    torch.ops.aten.bmm.default: _product,
    torch.ops.aten.addmm.default: _biased,
}
