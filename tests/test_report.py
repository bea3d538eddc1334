"""The report: made from whatever is there, safe against what files say, exact in what it draws."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pages import TINY, Parsed, add, checked, deep, evaluation, trained
from zerosum import recipe as recipes
from zerosum.cli import main
from zerosum.data import digits
from zerosum.page import columns, curves, events, judged, report, samples
from zerosum.run import changes
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run

HOSTILE = """<script>window.pwned=1</script>"'><img src=x onerror="pwned=1">&lt;{0}{x}</style></textarea>"""


def page(run: Path) -> Parsed:
    return checked(report.page(run))


def missing(run: Path) -> list[str]:
    return report._read(run).missing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "digits", "digits")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


# whatever is there ------------------------------------------------------------------------------------------


def remove(*names: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        for name in names:
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()

    return damage


def cut(name: str, share: float) -> Callable[[Path], None]:
    """Keep a share of a file, as a process that was killed may have left it."""

    def damage(run: Path) -> None:
        file = run / name
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])

    return damage


def fill(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content) and None


def lines(name: str, *content: dict[str, Any] | bytes) -> Callable[[Path], None]:
    return lambda run: add(run / name, *content)


def elsewhere(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else in a file's place."""

    def damage(run: Path) -> None:
        remove(name)(run)
        make(run / name)

    return damage


def without_data(run: Path) -> None:
    file = run / "recipe.yaml"
    gone = "data: {name: idx_folder, path: /nowhere, split: train, low: -1.0, high: 1.0}"
    file.write_text(re.sub(r"(?m)^data: .*$", gone, file.read_text()))


def broken_checkpoints(run: Path) -> None:
    for file in run.glob("checkpoints/*/G.safetensors"):
        file.write_bytes(b"broken")


JUNK = (
    b'\xff\xfe\x00{"step": 1\n[1, 2]\n"text"\n{"step": -1}\n{"step": "x"}\n{"step": true}\nnull\n'
    + b"[" * 9999
    + b"\n"
)
ODD = {"step": 7, "value": 10**400, "d_loss": "high", "g_loss": None, "r1": [1], "d_real": math.nan}
DEEP = json.loads(deep(600))
LINK = elsewhere("samples/000006.png", lambda file: file.symlink_to("/etc/hostname"))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"

DAMAGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "whole": (lambda run: None, 0),
    "no recipe": (remove("recipe.yaml"), 1),
    "no metrics": (remove("metrics.jsonl"), 1),
    "no events": (remove("events.jsonl"), 1),
    "no samples": (remove("samples"), 0),
    "no checkpoints": (remove("checkpoints"), 1),
    "only metrics": (remove("recipe.yaml", *report.FILES[2:]), 2),
    "only a recipe": (remove(*report.FILES[1:]), 3),
    "half a recipe": (cut("recipe.yaml", 0.47), 1),
    "recipe of bytes": (fill("recipe.yaml", b"\xff\xfe\x00"), 1),
    "foreign recipe": (lines("recipe.yaml", b"speed: 3\n"), 1),
    "half a metrics line": (cut("metrics.jsonl", 0.95), 1),
    "half an events line": (cut("events.jsonl", 0.95), 1),
    "junk metrics": (lines("metrics.jsonl", JUNK), 1),
    "junk events": (lines("events.jsonl", JUNK), 1),
    "junk evaluation": (lines("evaluation.jsonl", JUNK), 1),
    "odd metrics": (lines("metrics.jsonl", ODD), 0),
    "odd events": (lines("events.jsonl", {"event": ["x"], "time": "soon"}, {"time": 1e300}), 1),
    "deep metrics": (lines("metrics.jsonl", {"step": 6, "d_loss": DEEP}), 1),
    "deep events": (lines("events.jsonl", {"event": "changed", "step": 6, "fields": {"a": DEEP}}), 1),
    "deep evaluation": (lines("evaluation.jsonl", evaluation(6, "coverage", 0.5, split=DEEP)), 1),
    "half a picture": (cut("samples/000006.png", 0.5), 0),
    "no picture at all": (fill("samples/000002.png", b"GIF"), 0),
    "a picture of another kind": (fill("samples/000002.png", EPS), 0),
    "a link for a picture": (LINK, 0),
    "a pipe for a picture": (elsewhere("samples/000006.png", os.mkfifo), 0),
    "a pipe for records": (elsewhere("metrics.jsonl", os.mkfifo), 1),
    "a link for records": (elsewhere("events.jsonl", lambda file: file.symlink_to("/etc/hostname")), 1),
    "a folder for a recipe": (elsewhere("recipe.yaml", Path.mkdir), 1),
    "broken checkpoints": (broken_checkpoints, 1),
    "data gone": (without_data, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_any_run_has_a_page_that_says_what_is_missing(case: str, run: Path) -> None:
    damage, count = DAMAGES[case]
    damage(run)
    assert (len(missing(run)) >= 1) == (count >= 1), missing(run)
    parsed = page(run)
    assert all(line in parsed.text for line in missing(run))
    assert len(parsed.all("section")) == 8


def test_what_is_no_png_goes_to_no_other_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript on an EPS, whatever the file is called."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was asked for"))
    assert samples.png(EPS) is None and samples.png(b"GIF89a") is None


def test_a_whole_run_misses_nothing(finished: Path) -> None:
    parsed = page(finished)
    assert missing(finished) == []
    targets = [a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")]
    assert [a["id"] for a in parsed.all("section")] == targets[1:]
    assert all(a.get("alt") for a in parsed.all("img"))


@pytest.mark.parametrize("name", ["ring", "digits"])
@pytest.mark.parametrize("objective", ["minimax", "wasserstein", "relativistic_average"])
def test_every_kind_of_game_has_a_page(name: str, objective: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", name, objective=objective, steps=2)
    parsed = page(run)
    titles = [f.title for f in charts(run).game]
    assert any(title.startswith("V(D, G)") for title in titles) == (objective == "minimax")
    assert any("a(G(z))" in title for title in titles) == (objective != "minimax")
    assert (len(parsed.all("figure", **{"class": "card"})) > 0) == (name == "digits")


def test_making_it_changes_nothing_of_the_run(run: Path) -> None:
    def state() -> dict[str, str]:
        files = [p for p in sorted(run.rglob("*")) if p.is_file() and p.name != "report.html"]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = state()
    assert report.write(run) == run / "report.html"
    assert state() == before
    assert not list(run.glob(".report.html*"))


# what files say is text -------------------------------------------------------------------------------------


@pytest.fixture
def hostile(run: Path) -> Path:
    text = (run / "recipe.yaml").read_text()
    for name in ("name", "about"):
        text = re.sub(
            rf"(?m)^{name}: .*$", lambda m, n=name: f"{n}: {json.dumps(HOSTILE.replace('/', '|') + n)}", text
        )
    (run / "recipe.yaml").write_text(text)
    machine = dict.fromkeys(("zerosum", "torch", "python", "device", "machine"), HOSTILE)
    add(run / "events.jsonl", {"event": "resumed", "step": 4, **machine})
    add(
        run / "events.jsonl",
        {"event": "fault", "step": 4, "name": HOSTILE, "evidence": [HOSTILE, "\x1b[31m"]},
    )
    add(run / "events.jsonl", {"event": "changed", "step": 4, "fields": {HOSTILE: {HOSTILE: HOSTILE}}})
    add(run / "events.jsonl", {"event": "stopped", "step": 6, "reason": HOSTILE + "\ud800\u202e"})
    add(run / "metrics.jsonl", {"step": 6, HOSTILE: 3.0, "$<img src=x>&lt;$": 1.0, "d_loss": 1.0})
    names = dict.fromkeys(("metric", "space", "data", "split", "n", "p_value", "higher_is_better"), HOSTILE)
    for step in (3, 6):
        add(
            run / "evaluation.jsonl",
            {**evaluation(step, "", 1.0), **names, "floor": {"value": 2, "low": HOSTILE}},
        )
    return run


def test_nothing_in_a_file_becomes_markup(hostile: Path) -> None:
    text = report.page(hostile)
    parsed = checked(text)
    assert parsed.text.count("<script>window.pwned=1</script>") > 12
    assert HOSTILE.replace("/", "|") + "about" in parsed.text
    assert not [a for a in parsed.all("img") if not a["src"].startswith("data:image/")]
    assert not {c for c in text if not c.isprintable() and c != "\n"}
    policy = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy
    script = re.search(r"<script>(.*)</script>", text, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize(
    "event",
    [
        {
            "event": "fault",
            "name": "mode collapse",
            "confidence": 0.7,
            "evidence": ["3 of 8 modes", "spread 0.2"],
        },
        {"event": "fault", "name": "ValueError", "traceback": "Traceback ...\n  line\nValueError: no"},
        {"event": "fault", "name": "non-finite", "term": "d_loss"},
        {"event": "recovered", "name": "mode collapse"},
        {
            "event": "changed",
            "fields": {"g_optimizer.lr": 1e-4, "penalties": [{"name": "r1", "weight": 1.0}]},
        },
        {"event": "refused", "cause": "no field of that name"},
        {"event": "started", "zerosum": "1", "torch": "2", "device": "cpu", "threads": 1},
        {"event": "stopped", "reason": "SIGTERM"},
        {"event": "something new", "of": {"a": [1, {"b": True}]}},
    ],
    ids=lambda event: event["event"],
)
def test_events_are_sentences_not_python(event: dict[str, Any]) -> None:
    text = events.sentence({"step": 3, "time": 1.8e9, **event})
    assert text.endswith(".")
    assert not re.search(r"[\[\]{}']|\bTrue\b|\bNone\b|1\.8e9|1800000000", text)
    assert all(
        word in text for word in re.findall(r"mode collapse|SIGTERM|0\.0001|3 of 8|d_loss", str(event))
    )


# what it draws ----------------------------------------------------------------------------------------------


def charts(path: Path) -> curves.Charts:
    run = report._read(path)
    game = run.run.game if run.run else None
    objective, penalties = (game.objective, [p.name for p in game.penalties]) if game else (None, [])
    return curves.charts(run.records, run.scales, events.marks(run.events), objective, penalties)


def test_the_equilibrium_is_drawn_where_it_is(run: Path) -> None:
    levels = {level.name: level.y for figure in charts(run).game for level in figure.levels}
    assert sorted(levels.values()) == pytest.approx(sorted([-math.log(4), 0.5, math.log(4), math.log(2)]))


def test_smoothed_labels_move_the_equilibrium(tmp_path: Path) -> None:
    smoothed = {"name": "nonsaturating", "label_smoothing": 0.2}
    run = trained(tmp_path / "run", "digits", objective=smoothed, steps=2)
    objective = Run.open(run).game.objective
    assert any(figure.caption for figure in charts(run).game if figure.title.startswith("V"))
    assert objective.equilibrium in {level.y for figure in charts(run).game for level in figure.levels}


def test_headline_and_legend_say_one_value_for_one_quantity(run: Path) -> None:
    rows = [
        {"step": i, "value": math.sin(i), "d_loss": -math.sin(i), "g_loss": 1.0 / i} for i in range(1, 200)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for figure in charts(run).game:
        values = [curve.value for curve in figure.curves]
        said = re.findall(r" at (−?[\d.,]+)", figure.title)
        assert [float(text.replace("−", "-").rstrip(",")) for text in said] == pytest.approx(values, rel=1e-3)
    assert dict(report._summary(report._read(run)))["V(D, G), nats; −1.39 at equilibrium"] in page(run).text


def test_modes_and_coverage_come_first(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "ring", watch="standard", steps=8)
    assert [f.title.split(" ends")[0] for f in charts(run).quality][:3] == [
        "Modes covered", "Samples near a mode", "Data that samples come near",
    ]  # fmt: skip
    names = [name for name, _ in report._summary(report._read(run))]
    assert names[0] == "state" and names[1].startswith("modes covered")
    text = page(run).text
    assert text.index("Modes covered ends at") < text.index("Loss of D ends at")


def test_events_are_marked_on_the_time_axis(run: Path) -> None:
    assert not page(run).all("path", **{"class": "bad"})
    add(run / "events.jsonl", {"event": "fault", "name": "non-finite", "step": 3, "term": "g_loss"})
    parsed = page(run)
    places = [a["d"] for a in parsed.all("path", **{"class": "bad"})]
    assert places == ["M500.0,0v1000"] * len(parsed.all("figure", **{"class": "chart"}))


def png(side: int, seed: int) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_many_pictures_are_thinned_evenly(run: Path) -> None:
    for step in range(100, 12_100, 100):
        (run / "samples" / f"{step:06d}.png").write_bytes(png(8, step))
    steps = [int(a["data-step"].replace(",", "")) for a in page(run).all("div") if "data-step" in a]
    assert len(steps) == samples.PICTURES
    assert (steps[0], steps[-1]) == (min(Log(run).pictures()), 12_000)
    assert max(np.diff(steps)) < 2 * np.median(np.diff(steps))


def test_heavy_pictures_are_made_lighter_and_small_ones_are_enlarged_by_whole_factors(run: Path) -> None:
    for step in range(100, 1300, 100):
        (run / "samples" / f"{step:06d}.png").write_bytes(png(500, 0))  # 750 kB: nothing compresses worse
    assert len(report.page(run)) < 5_000_000
    heavy, small = samples.png(png(1100, 0)), samples.png(png(30, 0))
    assert heavy and small
    assert heavy.width == samples.SIDE
    assert small.width == 990 and small.zoom == 33


def test_the_newest_of_each_metric_stands_beside_its_floor() -> None:
    floor = {"value": 1.125, "low": 1.0, "high": 1.25}
    table = judged.judged(
        [
            evaluation(6, "frechet_distance", 3.5, floor=floor, time=1.8e9),
            evaluation(6, "frechet_distance", 4.5, floor=floor),  # judged again
            evaluation(3, "frechet_distance", 9.5, floor=floor, time=1.9e9),  # an older step, judged later
            evaluation(6, "coverage", 0.75, floor=0.875, p_value=0.03125, higher_is_better=True),
            evaluation(6, "ms_ssim_diversity", 0.25, higher_is_better=None),
            evaluation(6, "kernel_distance", 2.0, space="inception"),
            evaluation(6, "kernel_distance", 3.0, space="inception", average=False),
            evaluation(6, "frechet_distance", 9.0, where="sex=Female"),
            evaluation(6, "frechet_distance", 9.0, n=100),
        ]
    )
    assert table is not None
    rows = {(row.name, *row.circumstances): row for row in table.rows}
    assert len(rows) == len(table.rows) == 7
    assert {"n", "weights", "space", "where"} == set(table.differing)
    first, second, third, *_ = table.rows
    assert (first.value, first.interval, first.floor) == ("4.5", "4.25 to 5", "1.125")
    assert (second.value, second.interval, second.floor, second.p) == (
        "0.75",
        "0.5 to 1.25",
        "0.875",
        "0.031",
    )
    assert third.floor == "–"
    assert [len(figure.curves[0].points) for figure in table.figures] == [2]  # one step makes no curve


# the generator ----------------------------------------------------------------------------------------------


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))))


def tile(picture: np.ndarray, columns: int = 1) -> np.ndarray:
    """The first image of 8 x 8 of a row, whatever it was enlarged by: each pixel at its middle."""
    height, width = picture.shape[:2]
    rows, across = (((np.arange(8) + 0.5) / 8 * side).astype(int) for side in (height, width / columns))
    return picture[np.ix_(rows, across)]


def test_the_nearest_examples_shown_are_the_nearest(finished: Path) -> None:
    run = Run.open(finished)
    answer = samples.nearest(run, digits(), n=4)
    train = digits().pixels[:, 0].numpy().astype(float)
    for neighbour in answer.neighbours:
        sample = tile(pixels_of(neighbour.sample.uri)).astype(float)
        example = tile(pixels_of(neighbour.examples.uri), columns=3).astype(float)
        distances = np.sqrt(((sample - train) ** 2).mean(axis=(1, 2)))
        assert neighbour.distances[0] == pytest.approx(distances.min(), rel=1e-4)
        assert ((example - train[distances.argmin()]) ** 2).mean() < 1


def test_an_interpolation_keeps_its_class_along_a_row(tmp_path: Path) -> None:
    """Of a generator that draws its class and nothing else, each row shows one image."""
    run = Run.open(trained(tmp_path / "run", "mnist-conditional", data="digits", steps=1))
    asked: list[Any] = []
    generate = run.game.generate

    def remembered(z: Any, live: bool = False, y: Any = None) -> Any:
        asked.append(y)
        return generate(z, live, y)

    run.game.generate = remembered  # type: ignore[method-assign]
    walks = samples.walks(run, rows=5, columns=7)
    rows = asked[0].reshape(5, 7)
    assert (rows == rows[:, :1]).all()
    assert len(set(rows[:, 0].tolist())) == 5 == len(walks.classes)


# recipe and repetition --------------------------------------------------------------------------------------


def test_the_command_shown_repeats_the_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = report.page(finished)
    command = re.search(r"<code>(zerosum train .*?)</code>", text)
    carried = re.search(r'href="data:application/yaml;base64,(.*?)"', text)
    assert command and carried
    (tmp_path / "recipe.yaml").write_bytes(base64.b64decode(carried[1]))
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command[1])[1:]) == 0
    for name in ("G", "D", "ema"):
        file = f"checkpoints/000006/{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (finished / file).read_bytes()


def wished(path: Path) -> None:
    with Run.start(path, recipes.load("ring", {**TINY, "seed": 3})) as run:
        for record in run.play():
            if record["step"] in (2, 4):
                changes.wish(path, "more", {"batch": 8 * record["step"]})


def steered(path: Path) -> None:
    change = changes.Change(2, {"k": 2}, written=False)
    with Run.start(path, recipes.load("ring", {**TINY, "seed": 3}), steered=[change]) as run:
        for _ in run.play():
            pass


@pytest.mark.parametrize("play", [wished, steered])
def test_the_command_of_a_run_that_was_changed_repeats_its_changes(
    play: Callable[[Path], None], tmp_path: Path
) -> None:
    play(tmp_path / "run")
    assert changes.written(Log(tmp_path / "run").events())
    parsed = page(tmp_path / "run")
    (command,) = (text for text in re.findall(r"zerosum train .*", parsed.text) if "--changes" in text)
    assert "events.jsonl" in parsed.text and not parsed.all("a", download="recipe.yaml")
    assert main(shlex.split(command)[1:]) == 0
    for name in ("G", "D", "ema"):
        file = f"checkpoints/000006/{name}.safetensors"
        assert (tmp_path / "run-again" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()


# a directory of seeds ---------------------------------------------------------------------------------------


def test_a_directory_of_seeds_shows_every_seed_and_their_mean(finished: Path, tmp_path: Path) -> None:
    for seed in (3, 11):
        shutil.copytree(finished, tmp_path / "many" / f"seed{seed}")
    lines = [{"step": s, "d_loss": 3.0 * s, "odd": 1} for s in (1, 2, 3)]
    (tmp_path / "many" / "seed11" / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    parsed = page(tmp_path / "many")
    assert len(parsed.all("img")) == 2
    own = {r["step"]: r["d_loss"] for r in report._read(finished).records}
    mean = [[s, pytest.approx((own[s] + 3.0 * s) / 2, rel=1e-5)] for s in (1, 2, 3)]
    assert mean in parsed.curves()
    assert main(["report", str(tmp_path / "many"), "--quiet"]) == 0
    assert (tmp_path / "many" / "report.html").is_file()


# the verb ---------------------------------------------------------------------------------------------------


def test_the_verb_writes_the_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert str(run / "report.html") in capsys.readouterr().out
    assert main(["report", str(run), "--out", str(tmp_path / "mine.html"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "mine.html").stat().st_size > 10_000


@pytest.mark.parametrize("out", ["nowhere/x.html", ".", "run"])
def test_what_cannot_be_written_is_one_line(
    out: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["report", "run", "--out", out]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_link_in_the_place_of_the_report_is_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (run / "report.html").symlink_to(tmp_path / "precious")
    assert main(["report", str(run)]) == 1
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["empty", "missing", "file"])
def test_what_is_no_run_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(RunError):
        report.page(tmp_path / name)


@pytest.mark.parametrize("name", recipes.presets())
def test_the_choices_shown_make_the_recipe_again(name: str) -> None:
    import yaml

    full = recipes.resolved(recipes.load(name))
    choices = {field: yaml.safe_load(mine) for field, mine, _ in report._choices(full)}
    again = recipes.Recipe(**{**choices, "name": full["name"], "about": full["about"]})
    assert recipes.resolved(again) == full


def test_a_fault_stands_in_the_page_with_its_advice(tmp_path: Path) -> None:
    data = {"name": "digits", "low": 0.0}  # against G's tanh
    run = trained(tmp_path / "run", "digits", data=data, watch="standard", log_every=1, steps=30)
    parsed = page(run)
    findings = report._read(run).findings
    assert findings[0].fault
    assert all(finding.name in parsed.text for finding in findings)
    assert all(str(one) in parsed.text for finding in findings for one in finding.advice)
    assert len(charts(run).readings) > 20


# tables -----------------------------------------------------------------------------------------------------


def test_a_table_has_its_columns_real_and_made_and_two_maps(tmp_path: Path) -> None:
    rows = ["height,kind,day", *(f"{i % 7}.5,{'ab'[i % 2]},2024-01-{1 + i % 28:02d}" for i in range(60))]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    data = {"name": "file", "path": str(tmp_path / "rows.csv"), "encoding": "ranks"}
    run = trained(tmp_path / "run", "table", data=data, steps=2, batch=8)
    found = columns.of_run(Run.open(run), recipes.build_source(Log(run).recipe()))
    assert found is not None and found.rows[0] == found.rows[1]
    assert [f.title.split(":")[0] for f in found.numbers] == ["height", "day"]
    for curve in (curve for figure in found.numbers for curve in figure.curves):
        assert sum(y for _, y in curve.points[1:-1]) / 2 == pytest.approx(100)  # two points a bin
    assert [row[0] for row in found.categories[0].rows] == ["a", "b"]
    assert [sum(row[i] for row in found.categories[0].rows) for i in (1, 2)] == pytest.approx([100, 100])
    assert [m.names for m in found.maps] == [["height", "kind", "day"]] * 2
    text = report.page(run)
    assert checked(text) and text.count('class="matrix"') == 2 and "days since 2024-01-01" in text
