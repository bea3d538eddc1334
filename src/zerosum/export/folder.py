"""Generators in folders: loaded from a run, from what was exported, from a hub; saved, and uploaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from zerosum import __version__
from zerosum import recipe as recipes
from zerosum.export.card import card, script
from zerosum.export.errors import ExportError, one_line
from zerosum.export.graph import to_onnx
from zerosum.game.prior import Prior
from zerosum.randomness import seeded
from zerosum.recipe import Component
from zerosum.recipe.build import noise_of
from zerosum.run import files
from zerosum.run.datacard import DataCard
from zerosum.run.log import Log
from zerosum.sampling import Generator, Sampler
from zerosum.text import png, printable

__all__ = ["Pretrained", "is_exported", "load", "push", "save"]

FORMAT = 1
_FILES = "config.json", "model.safetensors"


class Pretrained(Generator):
    """A generator that was loaded, with the methods that users of hubs know."""

    def save_pretrained(self, folder: str | Path, onnx: bool = False) -> None:
        """Write it to a folder: see `save`."""
        save(self, Path(folder), onnx=onnx)

    @classmethod
    def from_pretrained(cls, name: str | Path, trust: bool = False) -> Pretrained:
        """From a folder, or ``user/name`` of the hub, that `save_pretrained` or `push_to_hub` wrote."""
        return load(name if Path(name).exists() else f"hf://{name}", trust=trust)

    def push_to_hub(self, repo: str, onnx: bool = False, **options: Any) -> str:
        """Export it and upload that as ``user/name``; the address. options: such as ``private=True``."""
        with TemporaryDirectory() as folder:
            save(self, Path(folder), onnx=onnx)
            return push(repo, Path(folder), **options)


# load ---------------------------------------------------------------------------------------------------


def load(
    where: str | Path,
    step: int | str | None = None,
    *,
    live: bool = False,
    trust: bool = False,
    device: str | torch.device | None = None,
) -> Pretrained:
    """The generator of a run, of an exported folder, or of a model on the Hugging Face hub.

    where: the directory of a run, a folder that `save` wrote, or ``hf://user/name``. step: of the checkpoint
    of a run, the newest unless given, or "best" (`zerosum.run.checkpoints.numbered`). live: the last weights
    in place of their running average. trust: import what is named as ``package.module:function``, now and
    when the run's data are asked for, which runs that code.

    Raises ExportError, RunError and RecipeError, each in one line.

    Example: ``load("runs/digits-seed0").sample(16, seed=1)`` is what ``zerosum sample runs/digits-seed0 --n
    16 --seed 1 --out x.npy`` writes, bit for bit."""
    path = _downloaded(str(where)) if str(where).startswith("hf://") else Path(where)
    if is_exported(path) and (step is not None or live):
        one = "an exported generator has one set of weights: no step, no live"
        raise ExportError(f"{printable(path)}: {one}")
    try:
        with recipes.imports(trust):
            G = _from_folder(path) if is_exported(path) else _from_run(path, step, live)
    except recipes.OwnCode as error:
        needs = f"{printable(path)} needs code of its own, {printable(error.name)}"
        raise ExportError(f"{needs}: trust=True imports it") from error
    G.trusted = trust
    G.eval().requires_grad_(False)
    return G if device is None else G.to(device)


def is_exported(path: Path) -> bool:
    """Whether a folder holds what `save` writes."""
    return all((path / name).is_file() for name in _FILES)


def _from_run(path: Path, step: int | str | None, live: bool) -> Pretrained:
    from zerosum.run.run import Run

    run = Run.open(path, step)
    averaged = not live and run.game.G.average is not None
    return _with_facts(Pretrained.of(run, live), path, averaged)


def _with_facts(G: Pretrained, path: Path, averaged: bool) -> Pretrained:
    """What a model card says of a run: its recipe without the paths of this machine, and its evaluation: of
    these weights, without a condition, by the data of the run."""
    assert G.recipe is not None
    tree = recipes.resolved(G.recipe)
    if isinstance(tree["data"], dict):
        tree["data"] = {k: Path(v).name if k == "path" else v for k, v in tree["data"].items()}
    bare = replace(G.recipe, data=tree["data"])
    about = {"step": G.about["step"], "average": averaged, "data": recipes.name_of(bare.data), "where": None}
    rows = [row for row in Log(path).evaluations() if about.items() <= {**about, **row}.items()]
    latest = {row["metric"]: row for row in rows}
    G.about |= {
        "data": about["data"],
        "recipe_text": recipes.dump(bare),
        "evaluation": [*latest.values()],
    }
    return G


def _from_folder(path: Path) -> Pretrained:
    try:
        config = json.loads((path / "config.json").read_bytes())
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, and this zerosum reads {FORMAT}")
        data = DataCard.restore(config["data"])
        latent, inputs = (tuple(int(size) for size in config[name]) for name in ("latent", "inputs"))
        about = dict(config["about"])
        options = {name: config[name] for name in ("conditional", "batch", "label")}
        component, prior = config["network"], config["prior"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExportError(f"{printable(path / 'config.json')}: no generator: {one_line(error)}") from error
    labels = {"classes": data.classes} if data.classes and options["conditional"] else {}
    with seeded(0):
        groups = getattr(data.codec, "groups", ())
        network = recipes.build_network("network", component, inputs, data.shape, groups=groups, **labels)
    if latent[0] != inputs[0] + noise_of(network):
        raise ExportError(f"{printable(path / 'config.json')}: latent {latent} is not what the network takes")
    try:
        weights = from_safetensors((path / "model.safetensors").read_bytes())
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        file = printable(path / "model.safetensors")
        raise ExportError(f"{file}: not the weights of this network: {one_line(error)}") from error
    return Pretrained(
        network,
        latent,
        _prior(prior),
        data,
        about=about,
        component=component,
        inputs=inputs,
        prior_name=prior,
        **options,
    )


def _prior(component: Component) -> Prior:
    from zerosum.recipe.components import argument

    return argument("prior", component, "prior")


def _downloaded(where: str) -> Path:
    hub = _hub()
    try:
        return Path(hub.snapshot_download(where.removeprefix("hf://")))
    except Exception as error:  # whatever a hub, a network or a cache raises
        raise ExportError(f"{printable(where)}: {one_line(error)}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ExportError("a hub needs huggingface_hub: pip install 'zerosum[export]'") from error
    return huggingface_hub


# save ---------------------------------------------------------------------------------------------------


def save(G: Generator, folder: Path, *, onnx: bool = False, license: str = "other") -> list[Path]:
    """Write a generator to a folder, which is made; the files that were written.

    onnx: also model.onnx and sample.py. license: what the model card says; yours to choose.

    Raises ExportError where its network has no name to be built from, or a layer cannot be exported.
    """
    if G.component is None:
        raise ExportError(
            "this generator was given as an object: name its network in a recipe, module:function"
        )
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "config.json", json.dumps(_config(G), indent=1).encode())
    weights = {name: x.detach().cpu().contiguous().clone() for name, x in G.network.state_dict().items()}
    files.write(folder / "model.safetensors", to_safetensors(weights))
    written = [folder / name for name in _FILES]
    files.write(folder / "samples.png", png(Sampler.overview(G, G.real)))
    if onnx:
        files.write(folder / "model.onnx", to_onnx(G))
        files.write(folder / "sample.py", script(G).encode())
        written += [folder / "model.onnx", folder / "sample.py"]
    files.write(folder / "README.md", card(G, onnx, license).encode())
    return [*written, folder / "samples.png", folder / "README.md"]


def _config(G: Generator) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "zerosum": __version__,
        "network": G.component,
        "inputs": list(G.inputs),
        "latent": list(G.latent),
        "prior": G.prior_name,
        "conditional": G.conditional,
        "batch": G.batch,
        "label": G.label,
        "data": G.data.state_dict(),
        "about": G.about,
    }


def push(repo: str, folder: Path, **options: Any) -> str:
    """Upload an exported folder to the hub, as `repo`; its address.

    options: of `HfApi.create_repo`; token, if it is not the one that is logged in.

    Raises ExportError for whatever the hub answers.
    """
    hub = _hub()
    try:
        api = hub.HfApi(token=options.pop("token", None))
        made = api.create_repo(repo, exist_ok=True, **options)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder)
        return str(made)
    except Exception as error:  # whatever a hub or a network raises
        raise ExportError(f"{printable(repo)}: {one_line(error)}") from error
