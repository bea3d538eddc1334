"""Handing a generator on: loaded in a line, exported to a folder that outlives this code's checkpoints, to
ONNX and to a hub.

    G = load("runs/mine")                                # or a folder that was exported, or "hf://user/name"
    save(G, Path("mine"), onnx=True)

    config.json          what the network is, what an example is, classes and their shares
    model.safetensors    the weights of the running average
    README.md            the model card: data, recipe, command, samples, metrics with their floors, limits
    samples.png          what it makes
    model.onnx           G(z) or G(z, y), any batch size
    sample.py            samples by onnxruntime and numpy alone

Nothing in it is code that runs on loading: a network of somebody's own is imported by its name, and only if
`trust` says so.
"""

from zerosum.export.errors import ExportError
from zerosum.export.folder import Pretrained, is_exported, load, push, save
from zerosum.export.graph import to_onnx

__all__ = ["ExportError", "Pretrained", "is_exported", "load", "push", "save", "to_onnx"]
