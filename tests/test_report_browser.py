"""The report in a browser: it says nothing to the console, asks for nothing, and every control works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pages import Tab, add, evaluation, trained
from zerosum.page import report
from zerosum.run.log import Log

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
SHOWN = "document.querySelector('[data-step]:not([hidden])').dataset.step"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has everything."""
    run = trained(tmp_path_factory.mktemp("shown") / "run", "digits")
    for step in (3, 6):
        floor = {"value": 1, "low": 0.9, "high": 1.1}
        add(run / "evaluation.jsonl", evaluation(step, "frechet_distance", 9.0 - step, floor=floor))
    for step in (4, 5, 5, 6):
        add(run / "events.jsonl", {"event": "fault", "name": "non-finite", "step": step, "term": "d_loss"})
    add(run / "metrics.jsonl", b'{"step": 7, "val')
    return run


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    return report.write(run)


@pytest.fixture
def tab(chromium: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Tab]:
    tab = Tab(chromium, file.as_uri(), **getattr(request, "param", {}))
    yield tab
    assert tab.said == []
    assert tab.outside() == [file.as_uri()]
    tab.page.close()


def test_pictures_are_there_and_as_large_as_their_place(tab: Tab) -> None:
    ask = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    assert min(tab.page.evaluate(ask)) > 0
    boxes = [tab.page.locator(f".pictures > div:nth-child({i}) img:visible").bounding_box() for i in (1, 2)]
    assert boxes[0]["width"] == boxes[1]["width"] > 400  # generated and real, side by side
    assert boxes[0]["y"] == boxes[1]["y"]


def test_the_slider_moves_by_keyboard(tab: Tab, run: Path) -> None:
    steps = [f"{step:,}" for step in Log(run).pictures()]
    assert tab.page.evaluate(SHOWN) == steps[-1]
    tab.page.locator("#when").focus()
    assert tab.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for press, i in (("ArrowLeft", -2), ("Home", 0), ("ArrowRight", 1), ("End", -1), ("ArrowLeft", -2)):
        tab.page.keyboard.press(press)
        assert tab.page.evaluate(SHOWN) == steps[i]
        assert tab.page.text_content("output[for=when]") == steps[i]
        assert tab.page.get_attribute("#when", "aria-valuetext") == f"step {steps[i]}"


def test_the_button_plays_from_the_start_to_the_end(tab: Tab, run: Path) -> None:
    steps = [f"{step:,}" for step in Log(run).pictures()]
    button = tab.page.locator("[data-viewer] button")
    label = button.text_content()
    button.click()
    assert tab.page.evaluate(SHOWN) == steps[0] and button.text_content() != label
    tab.page.wait_for_selector(f"[data-step='{steps[-1]}']:not([hidden])")
    assert button.text_content() == label


def test_folded_parts_open_by_keyboard(tab: Tab) -> None:
    tab.page.locator("#recipe summary").focus()
    tab.page.keyboard.press("Enter")
    assert tab.page.locator("pre", has_text="checkpoint_every: 3").is_visible()


def test_values_are_read_off_the_curves_by_pointer_and_by_keys(tab: Tab, run: Path) -> None:
    logged = {r["step"]: r["value"] for r in Log(run).records()}
    area, legend = tab.page.locator("#game .area").first, tab.page.locator("#game .legend b").first
    before = legend.text_content()
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] * 2 / 6, box["y"] + 20)
    assert float(legend.text_content().replace("−", "-")) == pytest.approx(logged[2], rel=1e-3)
    assert tab.page.locator("#game .axis output").first.text_content() == "at 2"
    tab.page.mouse.move(0, 0)
    assert legend.text_content() == before
    area.focus()
    for _ in range(9):
        tab.page.keyboard.press("ArrowLeft")
    assert float(legend.text_content().replace("−", "-")) == pytest.approx(logged[5], rel=1e-3)


@pytest.mark.parametrize("tab", [{"scheme": s} for s in ("light", "dark")], indirect=True, ids=str)
def test_text_and_curves_stand_out(tab: Tab) -> None:
    texts = tab.page.evaluate(CONTRASTS, ["*", "color"])
    assert len(texts) > 100
    assert [text for text in texts if text[0] < 4.5] == []
    lines = tab.page.evaluate(CONTRASTS, [".line, .level, .whisker path", "stroke"])
    assert len(lines) > 10
    assert [line for line in lines if line[0] < 3] == []
    light = tab.page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(25")
    assert light == tab.page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")


@pytest.mark.parametrize("tab", [{"width": w} for w in (320, 390, 768, 1400)], indirect=True, ids=str)
def test_nothing_scrolls_sideways_is_cut_or_too_small(tab: Tab) -> None:
    tab.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = "[...document.querySelectorAll('.ys span, .xs span, .legend li')]"
    sizes = f"{small}.map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(tab.page.evaluate(sizes)) >= 12
    overlap = """[...document.querySelectorAll('.marks, .xs')].flatMap(row => {
      const boxes = [...row.children].map(e => e.getBoundingClientRect()).sort((a, b) => a.left - b.left);
      return boxes.slice(1).filter((box, i) => box.left < boxes[i].right - 1);
    }).length"""
    assert tab.page.evaluate(overlap) == 0
    if tab.page.viewport_size["width"] >= 1400:
        wide = "[...document.querySelectorAll('.numbers')].every(e => e.scrollWidth <= e.clientWidth)"
        assert tab.page.evaluate(wide)


def test_without_scripts_the_newest_samples_are_shown(chromium: Any, file: Path) -> None:
    page = chromium.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.locator(".pictures img:visible").first.get_attribute("alt") == "Samples at step 6"
    page.close()


def test_hostile_text_stays_text(chromium: Any, tmp_path: Path) -> None:
    hostile = """<script>window.pwned=1</script>"'><img src=x onerror="pwned=1"></style>"""
    run = trained(tmp_path / "run", "digits", steps=2)
    recipe = (
        (run / "recipe.yaml")
        .read_text()
        .replace("name: digits", f"name: {json.dumps(hostile.replace('/', '|'))}", 1)
    )
    (run / "recipe.yaml").write_text(recipe)
    add(run / "metrics.jsonl", {"step": 2, hostile: 3.0, f"${hostile}$": 1.0})
    add(run / "events.jsonl", {"event": "fault", "step": 2, "name": hostile, "evidence": [hostile]})
    tab = Tab(chromium, report.write(run).as_uri())
    assert tab.page.evaluate("typeof window.pwned") == "undefined"
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.said == [] and len(tab.outside()) == 1
    tab.page.close()
