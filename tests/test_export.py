"""A generator handed on is the same generator, wherever and by whomever it is loaded."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import kstest
from torch import nn

import zerosum
from pages import evaluation
from refusals import refused
from zerosum import cli, export
from zerosum import recipe as recipes
from zerosum.data import Numbers
from zerosum.data.sheet import Sheet
from zerosum.export import ExportError, Pretrained, load, save, to_onnx
from zerosum.export.card import script
from zerosum.game import normal
from zerosum.recipe import presets
from zerosum.run.datacard import DataCard
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run
from zerosum.sampling import Generator, SamplingError

OWN = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.map = nn.Linear(*inputs, *outputs)
    def forward(self, z):
        return self.map(z)

class Sorts(Mine):
    def forward(self, z):
        return self.map(z) if z.sum().item() > 0 else z

class Counts(Mine):
    def forward(self, z):
        return self.map(z) + torch.zeros(len(z), 2)
"""
RUNS = {
    "digits": "digits --G.width 16 --D.width 16",
    "classes": "digits --conditional true --G.width 16 --D.width 16",
    "ring": "ring --G.width 8 --D.width 8",
    "table": "table --data rows.csv --G.width 8 --D.width 8",
    "own": "ring --G exported_mine:Mine --D.width 8",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of each kind, played where a module of the user's stands."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "exported_mine.py").write_text(OWN)
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(1, 32)},{rng.normal():.2f},{'abc'[rng.integers(3)]}" for _ in range(200)]
    (folder / "rows.csv").write_text("day,size,kind\n" + "\n".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        for name, command in RUNS.items():
            short = f"train {command} --out {name} --steps 3 --batch 8 --threads 1 --watch none --quiet"
            assert cli.main(short.split()) == 0
    return folder


@pytest.fixture
def here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(runs))
    return tmp_path


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Sheet):
        return list(a) == list(b) and list(a.rows()) == list(b.rows())
    return a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("name", ["digits", "classes", "ring"])
def test_load_gives_what_sample_writes_bit_for_bit(name: str, runs: Path, here: Path) -> None:
    command = ["sample", str(runs / name), "--n", "70", "--seed", "5", "--out", "x.npy", "--quiet"]
    assert cli.main(command) == 0
    G = zerosum.load(runs / name)
    assert equal(G.sample(70, seed=5), np.load("x.npy"))
    assert f"{G.latent} -> {G.shape}" in repr(G) and "step 3" in repr(G)
    z = G.noise(4, seed=5)
    x = G(z, G.conditions(4, 5)) if G.classes else G(z)
    assert equal(G.codec.decode(x), G.sample(70, seed=5)[:4]) or np.allclose(
        G.codec.decode(x), G.sample(4, 5)
    )


@pytest.mark.parametrize("name", ["digits", "classes", "ring", "table", "own"])
def test_an_exported_generator_is_the_same_bit_for_bit(name: str, runs: Path, here: Path) -> None:
    assert cli.main(["export", str(runs / name), "--to", "out", "--quiet"]) == 0
    G, again = load(runs / name, trust=True), load("out", trust=True)
    assert equal(G.sample(300, seed=2), again.sample(300, seed=2))
    assert again.classes == G.classes and again.shares == G.shares
    if G.classes:
        assert equal(G.sample(9, y="3"), again.sample(9, y=3)) and not equal(G.sample(9, y="3"), G.sample(9))
    files = {path.name for path in Path("out").iterdir()}
    assert files == {"config.json", "model.safetensors", "README.md", "samples.png"}
    assert cli.main(["sample", "out", "--trust", "--n", "9", "--out", "y.png", "--quiet"]) == 0
    save(again, here / "twice")
    assert (here / "twice" / "model.safetensors").read_bytes() == (
        here / "out" / "model.safetensors"
    ).read_bytes()


def test_code_of_somebody_is_imported_only_when_trusted(runs: Path, here: Path) -> None:
    assert cli.main(["export", str(runs / "own"), "--to", "out", "--quiet"]) == 0
    for path in (runs / "own", here / "out"):
        with pytest.raises(ExportError):
            load(path)
        assert len(load(path, trust=True).sample(3)) == 3
    assert cli.main(["sample", "out", "--out", "y.npy", "--quiet"]) == 1


NEVER = "a_stranger_s:Code"
"""Of a module that writes a file when it is imported."""
BUILT = [
    "G",
    "D",
    "prior",
    "objective",
    "g_optimizer",
    "d_optimizer",
    "ema",
    "penalties.0",
    "penalties.0.weight",
]
BUILT += ["G.activation", "D.activation", "d_optimizer.lr"]
NOT_BUILT = ["data", "instruments.0", "faults.0"]


@pytest.fixture
def imported(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stranger's module leaves its mark."""
    (here / "a_stranger_s.py").write_text("open('imported', 'w').close()\ndef Code(**_): pass\n")
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.delitem(sys.modules, "a_stranger_s", raising=False)
    return here / "imported"


def _named(field: str, code: Any) -> dict[str, Any]:
    """Changes of a recipe that name code in a field."""
    if field == "penalties.0.weight":
        return {"penalties": [{"name": "r1", "weight": code}]}
    return {field.removesuffix(".0"): [code] if field.endswith(".0") else code}


@pytest.mark.parametrize("way", ["recipe.yaml", "events.jsonl"])
@pytest.mark.parametrize("field", BUILT + NOT_BUILT)
def test_no_field_of_a_stranger_s_run_imports_code(
    field: str, way: str, runs: Path, here: Path, imported: Path
) -> None:
    shutil.copytree(runs / "ring", here / "run")
    fields = _named(field, {"name": NEVER, "command": "touch x"})
    if way == "recipe.yaml":
        recipe = recipes.load("ring", {"G.width": 8, "D.width": 8, "batch": 8, "threads": 1, "watch": "none"})
        tree = recipes.resolved(recipe)
        for name, value in fields.items():
            head, _, option = name.partition(".")
            tree[head] = {**tree[head], option: value} if option else value
        (here / "run" / "recipe.yaml").write_text(yaml.safe_dump(tree))
    else:
        event = {"event": "changed", "step": 0, "time": 0.0, "fields": fields}
        with (here / "run" / "events.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
    if field in BUILT:
        with pytest.raises((ExportError, RunError)):
            load(here / "run")
    else:
        G = load(here / "run")
        G.sample(2)
        assert not G.mirrored
        if field == "data":
            with refused("not imported", by=SamplingError):
                G.source()
    assert not imported.exists() and "a_stranger_s" not in sys.modules


def test_what_is_not_imported_is_named_and_blocks_may_be_nested(runs: Path, here: Path) -> None:
    with (
        recipes.imports(False),
        recipes.imports(True),
        refused("G", "exported_mine:Mine", by=recipes.OwnCode),
    ):
        recipes.build_network("G", "exported_mine:Mine", (2,), (2,))
    recipes.build_network("G", "exported_mine:Mine", (2,), (2,))
    with refused("exported_mine:Mine", "trust=True", by=ExportError):
        load(runs / "own")


def test_the_card_says_what_it_is(runs: Path, here: Path) -> None:
    few = ["--n", "100", "--metrics", "kernel_distance,class_coverage", "--features", "pixels", "--quiet"]
    assert cli.main(["evaluate", str(runs / "classes"), *few]) == 0
    assert cli.main(["export", str(runs / "classes"), "--to", "out", "--license", "cc0-1.0", "--quiet"]) == 0
    card = Path("out/README.md").read_text()
    for words in (
        "license: cc0-1.0",
        "kernel_distance",
        "class_coverage",
        "digits",
        "0, 1, 2",
        "conditional: true",
    ):
        assert words in card, words
    assert str(runs) not in card + Path("out/config.json").read_text()


@pytest.mark.parametrize("live", [False, True])
def test_the_card_has_the_figures_of_the_weights_that_it_goes_with(
    runs: Path, here: Path, live: bool
) -> None:
    shutil.copytree(runs / "digits", "run")
    log = Log(Path("run"))
    old = evaluation(3, "coverage", 0.5)  # of a run that wrote nothing of its weights
    rows = [old, *(evaluation(3, "kernel_distance", x, average=x < 2, where=None) for x in (1.0, 2.0))]
    others = [
        evaluation(2, "kernel_distance", 3.0, average=not live),
        evaluation(3, "kernel_distance", 4.0, average=not live, where="class=3"),
        evaluation(3, "kernel_distance", 5.0, average=not live, data="mnist"),
    ]
    for row in rows + others:
        log.add_evaluation(row)
    assert load("run", live=live).about["evaluation"] == [old, rows[2 if live else 1]]


IMAGES = {"mnist": (28, 28), "stacked_mnist": (28, 28, 3), "image_folder": (16, 16, 3)}


def begun(name: str, at: Path) -> None:
    """The run of a preset before its first turn, on images of the shape that the preset is for."""
    recipe = recipes.load(name)
    shape = IMAGES.get(recipes.name_of(recipe.data).replace("-", "_"))
    fields: dict[str, Any] = {"watch": "none"}
    if shape is not None:
        x = np.random.default_rng(0).integers(0, 255, (40, *shape), dtype=np.uint8)
        np.savez(at / "images.npz", samples=x, labels=np.arange(40) % 4)
        fields["data"] = recipes.data_component(str(at / "images.npz"))
    Run.start(at / "run", recipes.load(name, fields)).close()


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_the_same_by_sample_load_export_and_onnx(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    begun(name, tmp_path)
    G = load("run")
    file = "x.csv" if G.codec.state_dict()["codec"] == "columns" else "x.npy"
    assert cli.main(["sample", "run", "--n", "5", "--seed", "4", "--out", file, "--quiet"]) == 0
    save(G, tmp_path / "out", onnx=True)
    for one in (G, load("out")):
        made = one.sample(5, seed=4)
        if isinstance(made, Sheet):
            with Path(file).open(newline="") as lines:
                assert [*csv.reader(lines)] == [
                    list(made),
                    *([str(cell) for cell in row] for row in made.rows()),
                ]
        else:
            assert equal(made, np.load(file))
    session = onnxruntime.InferenceSession("out/model.onnx")
    for n in (1, 5):
        z, y = G.noise(n, seed=1), G.conditions(n, 1)
        feed = {"z": z.numpy()} | ({} if y is None else {"y": y.numpy()})
        (x,) = session.run(["x"], feed)
        assert x.shape == (n, *G.shape) and np.abs(x - G(z, y).numpy()).max() < 1e-5


def test_the_script_of_an_export_needs_neither_torch_nor_zerosum(runs: Path, here: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert cli.main(["export", str(runs / "classes"), "--to", "out", "--onnx", "--quiet"]) == 0
    script = Path("out/sample.py")
    assert len(script.read_text().splitlines()) <= 20
    code = (
        "import sys; sys.modules.update(torch=None, zerosum=None); import runpy; runpy.run_path('sample.py')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "500", "3"], cwd="out", capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    x, G = np.load("out/samples.npy"), load("out")
    assert x.shape == (500, 1, 8, 8) and x.dtype == np.uint8
    assert abs(x.mean() - G.sample(500).mean()) < 5


@pytest.mark.parametrize("prior", ["normal", "uniform", "mixture", {"name": "mixture", "std": 0.5}], ids=str)
def test_the_script_of_an_export_draws_from_the_prior(prior: Any, tmp_path: Path) -> None:
    with Run.start(tmp_path / "run", recipes.load("ring", {"prior": prior})) as run:
        G = Generator.of(run)
    (drawn,) = (line for line in script(G).splitlines() if line.startswith("feed ="))
    names: dict[str, Any] = {"np": np, "n": 100_000, "rng": np.random.default_rng(0)}
    exec(drawn, names)
    made, own = names["feed"]["z"], G.noise(100_000, 0).numpy()
    assert made.dtype == own.dtype and kstest(made[:, 0], own[:, 0]).pvalue > 0.001


@pytest.mark.parametrize("layer", ["Sorts", "Counts"])
def test_what_cannot_be_exported_says_which_layer(layer: str, here: Path) -> None:
    pytest.importorskip("onnx")
    sys.modules.pop("exported_mine", None)
    import exported_mine  # pyright: ignore[reportMissingImports]

    own = getattr(exported_mine, layer)((2,), (2,))
    network = nn.Sequential(nn.Linear(2, 2), own) if layer == "Sorts" else own
    G = Generator(network, (2,), normal, DataCard(Numbers((2,))))
    with refused(layer, by=ExportError):
        to_onnx(G)
    with pytest.raises(ExportError):
        save(G, here / "out")


BROKEN = {
    "no config": lambda folder: (folder / "config.json").write_text("{"),
    "another format": lambda folder: (folder / "config.json").write_text('{"format": 99}'),
    "cut weights": lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 40),
    "weights of another": lambda folder: (folder / "model.safetensors").write_bytes(other_weights()),
    "another network": lambda folder: edit(folder, network={"name": "mlp", "width": 5}),
    "no network": lambda folder: edit(folder, network={"name": "gone"}),
    "no shape": lambda folder: edit(folder, latent=[0]),
}


def other_weights() -> bytes:
    from safetensors.torch import save as to_bytes

    return to_bytes({"a": torch.zeros(3)})


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_export_is_one_line(
    what: str, runs: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(runs / "ring"), "--to", "out", "--quiet"]) == 0
    BROKEN[what](here / "out")
    assert cli.main(["sample", "out", "--out", "x.npy"]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1


# a hub ----------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as it takes to upload small files and to download them."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    commit = "1" * 40

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer: dict[str, Any] = {"url": f"http://{self.headers['Host']}/me/mine", "name": "me/mine"}
        if "preupload" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]}
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            Hub.files = {file["path"]: base64.b64decode(file["content"]) for file in sent}
            url = f"{answer['url']}/commit/{self.commit}"
            answer = {"commitUrl": url, "commitOid": self.commit, "success": True}
        self.answer(json.dumps(answer).encode())

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self.answer(Hub.files[self.path.split(f"/{self.commit}/")[-1]])
        elif "/tree/" in self.path:
            tree = [
                {"type": "file", "path": k, "size": len(v), "oid": "2" * 40} for k, v in Hub.files.items()
            ]
            self.answer(json.dumps(tree).encode())
        else:
            names = [{"rfilename": name} for name in Hub.files]
            self.answer(json.dumps({"id": "me/mine", "sha": self.commit, "siblings": names}).encode())

    do_HEAD = do_GET

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


ROUND_TRIP = """
import sys
import numpy as np
import zerosum
from zerosum.export import Pretrained
G = zerosum.load(sys.argv[1])
print(G.push_to_hub("me/mine", token="hf_x"))
for again in (zerosum.load("hf://me/mine"), Pretrained.from_pretrained("me/mine")):
    assert np.array_equal(again.sample(9, seed=3), G.sample(9, seed=3))
"""


def test_what_is_pushed_to_a_hub_comes_back_from_it(runs: Path, here: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        found = subprocess.run(
            [sys.executable, "-c", ROUND_TRIP, str(runs / "ring")],
            env={**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(here), "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
        )
        server.shutdown()
    assert found.returncode == 0, found.stderr
    assert "me/mine" in found.stdout
    assert set(Hub.files) == {"config.json", "model.safetensors", "README.md", "samples.png"}


def test_from_pretrained_is_from_a_folder_and_says_what_is_wrong_of_a_name(runs: Path, here: Path) -> None:
    G = zerosum.load(runs / "ring")
    G.save_pretrained("out")
    assert equal(Pretrained.from_pretrained("out").sample(7), G.sample(7))
    assert export.is_exported(here / "out") and not export.is_exported(runs / "ring")
