"""A generator as an ONNX model."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from zerosum.export.errors import ExportError, one_line
from zerosum.sampling import Generator

__all__ = ["to_onnx"]

OPSET = 18


def to_onnx(G: Generator) -> bytes:
    """G(z) or G(z, y) as an ONNX model with inputs z ``[n, *latent]`` and y int64 ``[n]``, any n; output x.

    Raises ExportError with the layer that stands in the way.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ExportError("ONNX needs onnx and onnxscript: pip install 'zerosum[export]'") from error
    z, y = G.noise(2).cpu(), torch.zeros(2, dtype=torch.int64) if G.conditional else None
    batch = torch.export.Dim("n", min=1)
    arguments = (z,) if y is None else (z, y)
    shapes = ({0: batch},) if y is None else ({0: batch}, ({0: batch},))  # of z, and of what follows it
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _Bare(G.network).cpu().eval(),
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=["z", "y"][: len(arguments)],
                output_names=["x"],
                dynamic_shapes=shapes,
                verbose=False,
            )
        except Exception as error:  # whatever the exporter does not know
            culprit = _culprit(G.network, arguments)
            raise ExportError(f"{culprit} cannot be exported: {one_line(_root(error))}") from error
    assert program is not None
    model = program.model_proto
    onnx.checker.check_model(model)
    if not all(given.type.tensor_type.shape.dim[0].dim_param for given in model.graph.input):
        raise ExportError(
            f"{type(G.network).__name__} would make 2 samples at a time only, as len(z) does in a forward: "
            "write z.shape[0]"
        )
    return model.SerializeToString()


class _Bare(nn.Module):
    """The network with arguments of fixed names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: torch.Tensor, *y: torch.Tensor) -> torch.Tensor:
        return self.network(z, *y).float()


def _root(error: BaseException) -> BaseException:
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _culprit(network: nn.Module, arguments: tuple[torch.Tensor, ...]) -> str:
    """The innermost layer that torch.export does not take by itself, or the whole network."""
    given: dict[str, tuple[Any, ...]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, args, name=name: given.setdefault(name, args) and None)
        for name, module in network.named_modules()
        if name
    ]
    try:
        network(*arguments)
    finally:
        for hook in hooks:
            hook.remove()
    for name in sorted(given, key=lambda name: -name.count(".")):
        layer = network.get_submodule(name)
        try:
            torch.export.export(layer, given[name])
        except Exception:  # whatever the exporter does not know
            return f"layer {name} ({type(layer).__name__})"
    return type(network).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter prints, logs and warns of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
