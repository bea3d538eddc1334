"""The report: made from whatever is there, safe against what files say, exact in what it draws, usable."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zerosum import objectives
from zerosum import recipe as recipes
from zerosum.cli import main
from zerosum.data import digits
from zerosum.page import report
from zerosum.run.run import Run, RunError

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = """<script>window.pwned=1</script>"'><img src=x onerror="pwned=1">&lt;{0}{x}</style></textarea>"""
TINY = {
    "watch": "none",
    "steps": 6, "log_every": 1, "sample_every": 2, "checkpoint_every": 3, "batch": 8, "latent": 4,
    "G.width": 16, "D.width": 16,
}  # fmt: skip
VOID = {"meta", "img", "input", "br", "link"}


class Seen(HTMLParser):
    """The elements, attributes and text of a page; says whether every element was closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.faults: list[str] = []
        self.feed(page)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, Any]]:
        pairs = wanted.items()
        return [
            a for t, a in self.elements if t == tag and all(v in (a.get(k) or "").split() for k, v in pairs)
        ]


def seen(run: Path) -> Seen:
    """The page of a run, which is whole, refers to nothing outside of itself and runs one script only."""
    page = Seen(report.page(run))
    assert page.faults == []
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert (value or "").startswith(("data:", "#")), (tag, name, value)
    assert len(page.all("script")) == len(page.all("style")) == 1
    return page


def trained(path: Path, name: str, **overrides: Any) -> Path:
    run = Run.start(path, recipes.load(name, {**TINY, **overrides}))
    for _ in run.play():
        pass
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def add(path: Path, *lines: dict[str, Any] | bytes) -> None:
    with path.open("ab") as file:
        file.writelines(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = trained(tmp_path_factory.mktemp("runs") / "digits", "digits")
    (run / "samples/000000.png").unlink()
    return run


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


def cut(name: str, kept: float) -> Callable[[Path], None]:
    """Keep a share of a file, as a process that was killed may have left it."""

    def damage(run: Path) -> None:
        file = run / name
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * kept)])

    return damage


def fill(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content) and None


def lines(name: str, *content: dict[str, Any] | bytes) -> Callable[[Path], None]:
    return lambda run: add(run / name, *content)


def young(run: Path) -> None:
    for name in ("samples", "checkpoints", "metrics.jsonl", "events.jsonl"):
        remove(name)(run)
    Run.start(run, recipes.load(str(run / "recipe.yaml")))


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
ODD = {
    "step": 7,
    "value": 10**400,
    "d_loss": "high",
    "g_loss": None,
    "r1": [1],
    "d_real": math.nan,
    "d_fake": True,
}

DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "whole": (lambda run: None, "Finished: 6 of 6 steps"),
    "young": (young, "There is no picture of samples yet: this run draws one every 2 steps"),
    "no recipe": (remove("recipe.yaml"), "The recipe could not be read"),
    "no metrics": (remove("metrics.jsonl"), "metrics.jsonl could not be read: No such file or directory"),
    "no events": (remove("events.jsonl"), "there is no readable event"),
    "no samples": (remove("samples"), "There is no picture of samples yet"),
    "no checkpoints": (remove("checkpoints"), "No checkpoint could be opened"),
    "only metrics": (remove("recipe.yaml", *report.FILES[2:]), "V(D, G) ends at"),
    "only a recipe": (remove(*report.FILES[1:]), "No step has been logged"),
    "half a recipe": (cut("recipe.yaml", 0.47), "Only its text can be shown"),
    "recipe of nothing": (fill("recipe.yaml", b""), "The recipe could not be read"),
    "recipe of bytes": (fill("recipe.yaml", b"\xff\xfe\x00"), "The recipe could not be read"),
    "foreign recipe": (lines("recipe.yaml", b"speed: 3\n"), "a recipe has no field 'speed'"),
    "half a metrics line": (cut("metrics.jsonl", 0.95), "metrics.jsonl: 1 of"),
    "half an events line": (cut("events.jsonl", 0.95), "No end is recorded"),
    "junk metrics": (lines("metrics.jsonl", JUNK), "metrics.jsonl: 8 of 14 lines could not be read"),
    "junk events": (lines("events.jsonl", JUNK), "events.jsonl: 8 of 10 lines could not be read"),
    "junk evaluation": (lines("evaluation.jsonl", JUNK), "have not been judged yet"),
    "odd metrics": (lines("metrics.jsonl", ODD), "How the game went"),
    "only odd metrics": (fill("metrics.jsonl", json.dumps(ODD).encode()), "no curve to show"),
    "odd events": (lines("events.jsonl", {"event": ["x"], "time": "soon"}, {"time": 1e300}), "event without"),
    "odd evaluation": (
        lines("evaluation.jsonl", {"step": 6, "metric": 3, "value": 1, "floor": "x", "low": [], "n": {}}),
        "Metrics, each with its uncertainty",
    ),
    "half a picture": (cut("samples/000006.png", 0.5), "Samples, from step 2 to 4"),
    "no picture at all": (fill("samples/000002.png", b"GIF"), "from step 4 to 6"),
    "broken checkpoints": (broken_checkpoints, "No checkpoint could be opened"),
    "data gone": (without_data, "which cannot be had: "),
    "fault": (
        lines("events.jsonl", {"event": "fault", "name": "non-finite", "step": 5, "term": "d_loss"}),
        "Ended by a fault",
    ),
    "stopped": (lines("events.jsonl", {"event": "stopped", "reason": "SIGTERM"}), "Stopped by SIGTERM"),
    "resumed": (lines("events.jsonl", {"event": "resumed", "step": 3, "torch": "2.99"}), "on other set-ups"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_any_run_has_a_page_that_says_what_is_missing(case: str, run: Path) -> None:
    damage, said = DAMAGES[case]
    damage(run)
    assert said in seen(run).text


def test_a_whole_run_misses_nothing(finished: Path) -> None:
    page = seen(finished)
    assert "What is missing" not in page.text
    assert [a["id"] for a in page.all("section")] == [
        a["href"][1:] for a in page.all("a") if "#" in a["href"]
    ][1:]
    assert all(a.get("alt") for a in page.all("img"))


@pytest.mark.parametrize("name", ["ring", "digits"])
@pytest.mark.parametrize("objective", ["minimax", "wasserstein", "least_squares", "relativistic_average"])
def test_every_kind_of_game_has_a_page(name: str, objective: str, tmp_path: Path) -> None:
    page = seen(trained(tmp_path / "run", name, objective=objective, steps=2))
    assert ("V(D, G) ends at" in page.text) == (objective in ("minimax", "least_squares"))
    assert ("logits end at" in page.text) == (objective not in ("minimax", "least_squares"))
    assert ("Each row goes" in page.text) == (name == "digits")


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
        text = re.sub(rf"(?m)^{name}: .*$", lambda m, n=name: f"{n}: {json.dumps(HOSTILE + n)}", text)
    (run / "recipe.yaml").write_text(text)
    machine = dict.fromkeys(("zerosum", "torch", "device", "threads"), HOSTILE)
    add(run / "events.jsonl", {"event": HOSTILE, HOSTILE: HOSTILE, "step": 4, "time": HOSTILE, **machine})
    add(run / "events.jsonl", {"event": "stopped", "step": 6, "reason": HOSTILE, "half": "\ud800"})
    add(run / "metrics.jsonl", {"step": 6, HOSTILE: 3.0, "d_loss": HOSTILE})
    names = dict.fromkeys(("metric", "space", "data", "split", "n", "p_value", "higher_is_better"), HOSTILE)
    for step in (3, 6):
        add(
            run / "evaluation.jsonl",
            {**names, "step": step, "value": 1.0, "floor": {"value": 2, "low": HOSTILE}},
        )
    return run


def test_nothing_in_a_file_becomes_markup(hostile: Path) -> None:
    page = seen(hostile)
    assert page.text.count("<script>window.pwned=1</script>") > 20
    assert HOSTILE + "about" in page.text
    assert not [a for a in page.all("img") if not a["src"].startswith("data:image/")]
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy
    script = re.search(r"<script>(.*)</script>", report.page(hostile), re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_what_cannot_be_encoded_is_replaced(hostile: Path) -> None:
    assert "half: ?" in report.write(hostile).read_text(encoding="utf-8")


# what it draws ----------------------------------------------------------------------------------------------


def heights(page: Seen, kind: str) -> list[float]:
    """Where the horizontal lines of a kind are, top to bottom, 0 to 1000."""
    return [float(a["y1"]) for a in page.all("line", **{"class": kind})]


def curve(page: Seen, nth: int) -> list[tuple[float, float]]:
    """The nth curve of the page (not of the legends), as SVG coordinates."""
    drawn = [a["d"] for a in page.all("path", **{"class": "line"}) if a["d"] != "M0,2 L28,2"]
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", drawn[nth])]


def test_the_equilibrium_is_drawn_where_it_is(run: Path) -> None:
    rows = records(run / "metrics.jsonl")
    for row, value in zip(rows, (-3, -math.log(4), -1, -2, -math.log(4), -0.5), strict=True):
        row |= {"value": value, "d_real": 0.5 if value == -1 else 0.9, "d_fake": 0.1, "d_loss": -value}
        row |= {"g_loss": math.log(2) if value == -1 else 2.0}
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = seen(run)
    v, half, d, g = heights(page, "level")
    assert curve(page, 0)[1][1] == curve(page, 0)[4][1] == v
    assert curve(page, 1)[2][1] == half
    assert curve(page, 3)[1][1] == d
    assert curve(page, 4)[2][1] == g
    assert [x for x, _ in curve(page, 0)] == [round(1000 * i / 6, 1) for i in range(1, 7)]
    assert "−log 4, the equilibrium: −1.386" in page.text
    assert "1/2, the equilibrium: 0.5" in page.text


def test_events_are_marked_on_the_time_axis(run: Path) -> None:
    before = seen(run)
    assert not before.all("line", **{"class": "bad"})
    add(run / "events.jsonl", {"event": "fault", "name": "non-finite", "step": 3, "term": "g_loss"})
    page = seen(run)
    charts = len(page.all("figure", **{"class": "chart"}))
    assert [a["x1"] for a in page.all("line", **{"class": "bad"})] == ["500.0"] * charts
    titles = [a["title"] for a in page.all("span") if a.get("title", "").startswith("step 3: fault")]
    assert titles == ["step 3: fault name: non-finite, term: g_loss"] * charts
    assert page.text.count("▲") == charts + 1  # the last in the key of the marks


FAMILY = {
    **{n: getattr(objectives, n) for n in objectives.__all__ if n not in ("Objective", "f_divergence")},
    **{n: lambda n=n: objectives.f_divergence(n) for n in ("kl", "pearson", "jensen_shannon")},
}


@pytest.mark.parametrize("name", FAMILY)
def test_the_equilibrium_of_every_objective(name: str, tmp_path: Path) -> None:
    objective = FAMILY[name]()
    game = SimpleNamespace(objective=objective, penalties=[])
    facts: Any = SimpleNamespace(run=SimpleNamespace(game=game))
    balance = report._Balance.of(facts)
    assert balance.d == objective.equilibrium
    # a critic's G loss is only known where a constant added to all logits would not change it
    shifted = [float(objective.g(torch.full((1,), c), torch.full((1,), c))) for c in (0.0, 3.0)]
    critic = objective.probability is None and shifted[0] != shifted[1]
    assert balance.g == (None if critic else pytest.approx(shifted[0], abs=1e-6))
    assert balance.note == ""


def test_smoothed_labels_move_the_equilibrium(tmp_path: Path) -> None:
    smoothed = {"name": "nonsaturating", "label_smoothing": 0.2}
    page = seen(trained(tmp_path / "run", "digits", objective=smoothed, steps=2))
    assert "The labels are smoothed" in page.text
    assert "G at equilibrium" not in page.text


@pytest.mark.parametrize(
    "low, high", [(-1.4, -0.9), (0, 1), (0, 7), (3, 3.0001), (-1e9, 2e9), (-2e-8, 1e-9), (0, 1500)]
)
def test_ticks_are_round_even_and_within(low: float, high: float) -> None:
    ticks, labels = zip(*report._ticks(low, high), strict=True)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-6 * (high - low) <= t <= high + 1e-6 * (high - low) for t in ticks)
    gaps = np.diff(ticks)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-6)
    assert round(gaps[0] / 10 ** math.floor(math.log10(gaps[0] * 1.0001)), 3) in (1, 2, 5)
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("n", [1, 2, 499, 501, 10_000])
def test_thinning_keeps_the_ends_and_the_extremes(n: int) -> None:
    points = list(
        zip(map(float, range(n)), np.random.default_rng(n).standard_cauchy(n).tolist(), strict=True)
    )
    kept = report._thinned(points)
    assert len(kept) <= 502
    assert kept == sorted(set(kept))
    assert {points[0], points[-1], min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])} <= set(
        kept
    )
    assert set(kept) <= set(points)


def test_outliers_do_not_flatten_a_curve_and_are_told(run: Path) -> None:
    rows = [{"step": i, "value": math.sin(i), "d_loss": 1.0} for i in range(1, 300)]
    rows[100]["value"] = -90.0
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = seen(run)
    assert "1 values, from −90 to −90, lie outside of this chart." in page.text
    ys = [y for _, y in curve(page, 0)]
    assert np.percentile(ys, 90) - np.percentile(ys, 10) > 200  # of 1000


def test_penalties_over_decades_are_logarithmic(run: Path) -> None:
    rows = [{"step": i, "r1": 10.0**-i} for i in range(1, 5)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = seen(run)
    assert "Logarithmic scale." in page.text
    np.testing.assert_allclose(np.diff([y for _, y in curve(page, 0)], 2), 0, atol=0.2)


def png(side: int, seed: int) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_many_pictures_are_thinned_evenly(run: Path) -> None:
    for step in range(100, 12_100, 100):
        (run / "samples" / f"{step:06d}.png").write_bytes(png(8, step))
    steps = [int(a["data-step"].replace(",", "")) for a in seen(run).all("img") if "data-step" in a]
    assert len(steps) == report.PICTURES
    assert (steps[0], steps[-1]) == (2, 12_000)
    assert max(np.diff(steps)) < 2 * np.median(np.diff(steps))


def test_heavy_pictures_are_made_lighter(run: Path) -> None:
    noise = png(1200, 0)  # 4 MB: nothing compresses worse
    for step in range(100, 1300, 100):
        (run / "samples" / f"{step:06d}.png").write_bytes(noise)
    page = report.page(run)
    assert len(page) < 5_000_000
    sizes = [int(a["width"]) for a in Seen(page).all("img") if a.get("data-step") == "1,200"]
    assert sizes == [report.SIDE]


def judged(step: int, metric: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "time": 1.8e9 + step, "step": step, "metric": metric, "value": value,
        "low": value - 0.25, "high": value + 0.5,
        "n": 5000, "space": "pixels", "interval": "jackknife", "floor": None, "p_value": None,
        "higher_is_better": False, "split": "test", "data": "digits", "seed": 0, **more,
    }  # fmt: skip


def cells(run: Path) -> dict[str, list[str]]:
    """The rows of the table of metrics, by their first cell."""
    table = report.page(run).split('aria-label="Metrics"')[1].split("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("<tr>")[2:]]
    return {row[0].strip(): row for row in rows}


def test_the_newest_of_each_metric_stands_beside_its_floor(run: Path) -> None:
    floor = {"value": 1.125, "low": 1.0, "high": 1.25}
    add(
        run / "evaluation.jsonl",
        judged(6, "frechet_distance", 3.5, floor=floor, time=1.8e9),
        judged(6, "frechet_distance", 4.5, floor=floor),  # judged again
        judged(3, "frechet_distance", 9.5, floor=floor, time=1.9e9),  # an older step, judged later
        judged(6, "coverage", 0.75, floor=0.875, p_value=0.03125, higher_is_better=True),
        judged(6, "ms_ssim_diversity", 0.25, higher_is_better=None),
    )
    rows = cells(run)
    assert rows["frechet distance ↓"][1:4] == ["4.5", "4.25 to 5", "1.125"]
    assert rows["coverage ↑"][1:4] == ["0.75", "0.5 to 1.25", "0.875"]
    assert rows["coverage ↑"][5] == "0.031"
    assert rows["ms ssim diversity"][3] == "–"
    page = seen(run)
    assert "In every row: step 6, n 5,000, space pixels, data digits, split test." in page.text
    assert "frechet distance: lowest at step 6" in page.text
    assert "coverage: " not in page.text  # one step makes no curve
    whiskers = [a["aria-label"] for a in page.all("svg", **{"class": "whisker"})]
    assert whiskers[0] == "4.5, interval 4.25 to 5, floor 1.125"


def test_metrics_in_different_spaces_are_different_metrics(run: Path) -> None:
    add(
        run / "evaluation.jsonl",
        judged(6, "kernel_distance", 1.0),
        judged(6, "kernel_distance", 2.0, space="inception"),
        judged(6, "kernel_distance", 3.0, space="inception", average=False),
    )
    page = report.page(run)
    assert "<td>pixels</td>" in page
    assert page.count("<td>inception</td>") == 2
    assert page.count("<td>live</td>") == 1


# the generator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2,), (64,), (3, 4)])
def test_a_walk_keeps_to_its_line(shape: tuple[int, ...]) -> None:
    a, b = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    straight = report._walk(a, b, 5, great_circle=False)
    torch.testing.assert_close(straight, torch.stack([a + (b - a) * i / 4 for i in range(5)]))
    walk = report._walk(a, b, 5, great_circle=True)
    torch.testing.assert_close(walk[0], a)
    torch.testing.assert_close(walk[-1], b)
    norms = walk.flatten(1).norm(dim=1)
    torch.testing.assert_close(
        norms, torch.linspace(float(a.norm()), float(b.norm()), 5, dtype=torch.float64)
    )
    unit = walk.flatten(1) / norms[:, None]
    angles = (unit[1:] * unit[:-1]).sum(1).arccos()
    torch.testing.assert_close(angles, angles[:1].expand(4))


def test_a_walk_between_equal_or_opposite_points_is_finite() -> None:
    a = torch.randn(8, generator=torch.Generator().manual_seed(0))
    for b in (a, 2 * a, -a):
        assert report._walk(a, b, 9, great_circle=True).isfinite().all()


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_the_samples_and_neighbours_shown_are_the_runs(finished: Path) -> None:
    page, run = seen(finished), Run.open(finished)
    made = np.stack([pixels_of(a["src"]) for a in page.all("img", **{"class": "made"})])
    inner = made[:, 2:-2, 2:-2].reshape(12, 8, 4, 8, 4)[:, :, 0, :, 0]  # tiles: a gap of 2, enlarged 4 times
    np.testing.assert_array_equal(inner, next(run.samples(12)))
    train = digits().pixels[:, 0].numpy()
    shown = [pixels_of(a["src"]) for a in page.all("img") if "neighbour" not in a and "training" in a["alt"]]
    first = np.stack([image[2:34, 2:34].reshape(8, 4, 8, 4)[:, 0, :, 0] for image in shown])
    distances = ((inner[:, None].astype(float) - train[None]) ** 2).sum(axis=(2, 3))
    best = ((inner.astype(float) - first) ** 2).sum(axis=(1, 2))
    np.testing.assert_array_equal(best, distances.min(axis=1))


# recipe and repetition --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.presets())
def test_the_choices_shown_make_the_recipe_again(name: str) -> None:
    full = recipes.resolved(recipes.load(name))
    choices = {field: mine for field, mine, _ in report._choices(full)}
    again = recipes.Recipe(**{**choices, "name": full["name"], "about": full["about"]})
    assert recipes.resolved(again) == full
    usual = recipes.resolved(recipes.Recipe())
    assert all(full[field] != usual[field] for field in choices)


def test_the_command_shown_repeats_the_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = report.page(finished)
    command = re.search(r"<code>(zerosum train .*?)</code>", page)
    carried = re.search(r'href="data:application/yaml;base64,(.*?)"', page)
    assert command and carried
    (tmp_path / "recipe.yaml").write_bytes(base64.b64decode(carried[1]))
    monkeypatch.chdir(tmp_path)
    assert "--seed 0" in command[1]
    assert main(shlex.split(command[1])[1:]) == 0
    for name in ("G", "D", "ema"):
        file = f"checkpoints/000006/{name}.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (finished / file).read_bytes()


# the verb ---------------------------------------------------------------------------------------------------


def test_the_verb_writes_the_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    assert main(["report", str(run), "--out", str(tmp_path / "mine.html"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert "Finished" in (tmp_path / "mine.html").read_text()


@pytest.mark.parametrize("out", ["nowhere/x.html", ".", "run"])
def test_what_cannot_be_written_is_one_line(
    out: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["report", "run", "--out", out]) == 1
    assert re.fullmatch(r"zerosum: cannot write .*; give --out another file\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", ["empty", "missing", "file"])
def test_what_is_no_run_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / name)]) == 1
    assert re.fullmatch(r"zerosum: .* is not a run: .*\n", capsys.readouterr().err)
    with pytest.raises(RunError, match="is not a run"):
        report.page(tmp_path / name)


# in a browser -----------------------------------------------------------------------------------------------

CONTRASTS = """
([selector, property]) => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = rgb => [.2126, .7152, .0722].reduce((sum, share, i) => sum + share * linear(rgb[i] / 255), 0);
  const ground = e => {
    const c = channels(getComputedStyle(e).backgroundColor);
    return c.length < 4 || c[3] > 0 ? c : ground(e.parentElement);
  };
  const own = e => property !== "color" || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  const all = [...document.body.querySelectorAll(selector)].filter(e => own(e) && !e.closest("script"));
  return all.map(e => {
    const [a, b] = [channels(getComputedStyle(e)[property]), ground(e)].map(light).sort((x, y) => y - x);
    return [(a + .05) / (b + .05), e.tagName, e.getAttribute("class"), e.textContent.slice(0, 30)];
  });
}
"""


class Tab:
    """A page in Chromium, with all that it said and asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1000, scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_page()
        self.page.on("console", lambda m: self.said.append(m.text))
        self.page.on("pageerror", lambda e: self.said.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme=scheme)
        self.page.goto(file.as_uri())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="the extra `dev` brings playwright")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *quiet])
        yield browser  # with a fresh profile
        browser.close()


@pytest.fixture(scope="module")
def file(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that has everything."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("shown") / "run"))
    for step in (3, 6):
        floor = {"value": 1, "low": 0.9, "high": 1.1}
        add(run / "evaluation.jsonl", judged(step, "frechet_distance", 9.0 - step, floor=floor))
    add(
        run / "events.jsonl",
        {"event": "fault", "name": "non-finite", "step": 5, "term": "d_loss", "time": 1.8e9},
    )
    add(run / "metrics.jsonl", b'{"step": 7, "val')
    return report.write(run)


@pytest.fixture
def tab(chromium: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Tab]:
    tab = Tab(chromium, file, **getattr(request, "param", {}))
    yield tab
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith("data:")] == [file.as_uri()]
    tab.page.close()


def test_pictures_are_there(tab: Tab) -> None:
    widths = tab.page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(widths) == 3 + 1 + 24
    assert min(widths) > 0


def test_the_slider_moves_by_keyboard(tab: Tab) -> None:
    def shown() -> list[str]:
        return tab.page.eval_on_selector_all(".pictures img:not([hidden])", "all => all.map(i => i.alt)")

    assert shown() == ["Samples at step 6"]
    first = tab.page.evaluate("document.querySelector('.pictures img:not([hidden])').src")
    for _ in range(30):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.id") == "when":
            break
    outline = tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for press, step in (("ArrowLeft", 4), ("Home", 2), ("ArrowRight", 4), ("End", 6), ("ArrowLeft", 4)):
        tab.page.keyboard.press(press)
        assert shown() == [f"Samples at step {step}"]
        assert tab.page.text_content("output[for=when]") == str(step)
        assert tab.page.get_attribute("#when", "aria-valuetext") == f"step {step}"
    assert tab.page.evaluate("document.querySelector('.pictures img:not([hidden])').src") != first


def test_folded_parts_open_by_keyboard(tab: Tab) -> None:
    tab.page.locator("summary", has_text="The whole recipe").focus()
    tab.page.keyboard.press("Enter")
    assert tab.page.locator("pre", has_text="checkpoint_every: 3").is_visible()


def test_values_are_read_off_the_curves(tab: Tab, finished: Path) -> None:
    logged = {r["step"]: r["value"] for r in records(finished / "metrics.jsonl")}
    area, legend = tab.page.locator(".area").first, tab.page.locator(".legend b").first
    before = legend.text_content()
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 2 / 6, box["y"] + 20)
    assert float(legend.text_content().replace("−", "-")) == pytest.approx(logged[2], rel=1e-3)
    assert tab.page.locator(".axis output").first.text_content() == "at step 2"
    tab.page.mouse.move(0, 0)
    assert legend.text_content() == before


@pytest.mark.parametrize(
    "tab", [{"scheme": s} for s in ("light", "dark")], indirect=True, ids=["light", "dark"]
)
def test_text_and_curves_stand_out(tab: Tab) -> None:
    texts = tab.page.evaluate(CONTRASTS, ["*", "color"])
    assert len(texts) > 100
    assert [text for text in texts if text[0] < 4.5] == []
    lines = tab.page.evaluate(CONTRASTS, [".line, .level, .whisker path", "stroke"])
    assert len(lines) > 10
    assert [line for line in lines if line[0] < 3] == []


def test_light_and_dark_differ(chromium: Any, file: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        tab = Tab(chromium, file, scheme=scheme)
        grounds.append(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        tab.page.close()
    assert grounds[0] != grounds[1]


@pytest.mark.parametrize(
    "tab", [{"width": w} for w in (320, 360, 768, 1400)], indirect=True, ids=lambda p: str(p)
)
def test_nothing_scrolls_sideways(tab: Tab) -> None:
    tab.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    smallest = tab.page.evaluate("Math.min(...[...document.querySelectorAll('.ys span, .legend li')].map("
                                 "e => parseFloat(getComputedStyle(e).fontSize)))")  # fmt: skip
    assert smallest >= 12


def test_without_scripts_the_newest_samples_are_shown(chromium: Any, file: Path) -> None:
    page = chromium.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    pictures = page.locator(".pictures img").all()
    assert [p.get_attribute("alt") for p in pictures if p.is_visible()] == ["Samples at step 6"]
    page.close()


def test_hostile_text_stays_text_in_a_browser(chromium: Any, hostile: Path) -> None:
    tab = Tab(chromium, report.write(hostile))
    assert tab.page.evaluate("typeof window.pwned") == "undefined"
    assert "<script>window.pwned=1</script>" in tab.page.text_content("h1")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith(("data:", "file:"))] == []
    tab.page.close()


# how the game stands ----------------------------------------------------------------------------------------


def test_faults_and_readings_are_shown_with_their_equilibrium(tmp_path: Path) -> None:
    data = {"name": "digits", "low": 0.0}  # against G's tanh
    run = trained(tmp_path / "run", "digits", data=data, watch="standard", log_every=1, steps=30)
    page = seen(run)
    assert "Fault: range mismatch" in page.text and "Try --G.output Sigmoid" in page.text
    assert "What the instruments read" in page.text and "g_gradient ends at" in page.text
    assert "accuracy ends at" in page.text and "at the equilibrium" in page.text


def test_a_run_that_nobody_watched_is_still_judged_by_what_it_logged(tmp_path: Path) -> None:
    page = seen(trained(tmp_path / "run", "digits", steps=3))
    assert "How the game stands" in page.text and "What the instruments read" not in page.text
    (tmp_path / "run" / "events.jsonl").unlink()
    assert "It could not be judged" in seen(tmp_path / "run").text
