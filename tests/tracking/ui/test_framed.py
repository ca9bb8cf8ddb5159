"""Charts that were described and not drawn: shown in frames that can reach nothing."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.tracking.tracker import Tracker

pytest.importorskip("plotly", reason="figures are made with it")

DRAWN = """() => {
    const canvas = document.querySelector("canvas.marks");
    return canvas !== null && canvas.getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
}"""


@pytest.fixture(scope="module")
def described(recipes: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    name = recipes.client("log_charts.py", tmp_path_factory.mktemp("charts"), "described")
    assert name == "local/own-bars"
    return recipes


def _box(page: Page, name: str):
    return page.locator(".media-box", has=page.get_by_role("heading", name=name, exact=True))


def test_a_specification_of_ones_own_draws_its_table(page: Page, described: Tracker) -> None:
    page.goto(f"{described.url}/local/described/runs/charts/media")
    box = _box(page, "gains_table")
    save = box.get_by_role("button", name="Download Own bars as PNG")
    expect(save).to_be_visible()
    frame = next(each for each in page.frames if each.url.endswith("/frame/vega"))
    assert frame.evaluate(DRAWN)
    assert frame.evaluate("() => window.origin") == "null"
    with page.expect_download() as saved:
        save.click()
    assert Path(saved.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    expect(_box(page, "nowhere_table")).to_contain_text("local/never-made is not on this server")


def test_figures_of_plotly_are_drawn_also_out_of_a_page(page: Page, described: Tracker) -> None:
    page.goto(f"{described.url}/local/described/runs/charts/media")
    for name in ("lines", "page"):
        _box(page, name).scroll_into_view_if_needed()
        inside = _box(page, name).frame_locator("iframe")
        expect(inside.locator(".gtitle")).to_have_text("Losses")
        expect(inside.locator(".scatterlayer path.js-line")).to_have_count(1)


def test_a_page_without_charts_loads_no_library_of_charts(page: Page, recipes: Tracker) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{recipes.url}/local/recipes/runs/composed-0/media")
    page.locator(".preset").first.wait_for()
    assert not [url for url in asked if re.search(r"plotly|vega|frames/", url)]


def test_the_frame_knows_two_scripts_and_no_address(recipes: Tracker) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{recipes.url}/api/frame/vega") as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["sandbox"] == "allow-scripts"
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'nonce-[\w-]{22}'", rules["script-src"])
    assert rules["img-src"] == "data: blob:"
    assert (
        text.count("<script") == text.count(rules["script-src"][1:-1].removeprefix("nonce-")) == 2
    )


def test_a_chart_that_never_ends_is_stopped_and_others_go_on(
    browser: Browser, recipes: Tracker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipes.client("log_attacks.py", tmp_path_factory.mktemp("bomb"), "bombed")
    page = browser.new_page(viewport={"width": 1300, "height": 1400})
    # The same watch, with less patience.
    script = (files("composer.tracking") / "ui/media/framed.js").read_text()
    hasty = script.replace("LIMIT_S = 10", "LIMIT_S = 3").replace("ASK_S = 5", "ASK_S = 1")
    assert hasty != script
    page.route(
        "**/media/framed.js",
        lambda route: route.fulfill(body=hasty, content_type="text/javascript"),
    )
    page.goto(f"{recipes.url}/local/bombed/runs/bomb/media")
    note = _box(page, "bomb_table").locator(".framed-note")
    expect(note).to_contain_text("was stopped", timeout=60_000)
    expect(_box(page, "bomb_table").locator("iframe")).to_have_count(0)
    after = _box(page, "after_table").get_by_role("button", name=re.compile("Download"))
    expect(after.first).to_be_visible(timeout=60_000)
    # The page itself never waited.
    assert page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(1)))") == 1
    page.close()
