"""Every page passes axe, the field's own checker, in both themes."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.tracking.tracker import Tracker

axe = pytest.importorskip("axe_playwright_python", reason="it brings the checker")

RUN = "local/recipes/runs/composed-0"
PAGES = {
    "": ".card",
    "local/recipes": "figure.panel canvas",
    "local/recipes?panel=lr": "dialog canvas",
    "local/recipes/table?group=config.recipe&select=plain-0": ".group-row",
    "local/recipes/cost?group=config.recipe": ".cost-table",
    "local/recipes/ablation": ".empty",
    "local/recipes/explore?kind=parallel": "canvas",
    "local/recipes/compare": ".compare",
    "local/recipes/artifacts/model/v0": ".lineage",
    RUN: ".facts",
    f"{RUN}/media": ".logged-table img",
    f"{RUN}/console": ".console-row",
    f"{RUN}/files": "table",
    "authorize": "input",
}
DARK = ("", "local/recipes/table?group=config.recipe&select=plain-0", RUN, f"{RUN}/console")
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
CHECK = """(rules) => axe.run(document, { iframes: false, ...rules }).then(
    (found) => found.violations.flatMap(({ id, nodes }) => nodes.map((node) => [id, node.html])))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_passes_the_checker(browser: Browser, recipes: Tracker, theme: str) -> None:
    source = next(Path(axe.__file__).parent.glob("axe*.js")).read_text()
    context = browser.new_context(
        viewport={"width": 1300, "height": 850},
        color_scheme=theme,  # pyright: ignore[reportArgumentType]
    )
    page = context.new_page()
    found: dict[str, object] = {}
    # The themes differ in nothing but colours, and pages share most of those.
    pages = PAGES if theme == "light" else {path: PAGES[path] for path in DARK}
    for path, part in pages.items():
        page.goto(f"{recipes.url}/{path}")
        page.locator(part).first.wait_for(timeout=60_000)
        page.evaluate(source)
        if bad := page.evaluate(CHECK, RULES[theme]):
            found[path] = bad
    context.close()
    assert found == {}
