"""A real browser looking at a real server with runs that the real client logged."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.tracking.tracker import Tracker

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by it")
pytest.importorskip("wandb", reason="the real client logs what is looked at")

CHROMIUM = os.environ.get("COMPOSER_CHROMIUM") or shutil.which("chromium")
# What a bare container lacks: a sandbox of the kernel, a GPU, and anybody to call.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# A machine may be busy.
playwright.expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A server with the project ``recipes``: two recipes, two seeds each."""
    folder = tmp_path_factory.mktemp("dashboard")
    found = Tracker(folder / "store")
    found.client("log_recipes.py", folder / "client", "recipes", "2", timeout=170)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator["playwright.Browser"]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; name one with COMPOSER_CHROMIUM")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def _is_bad(message: "playwright.ConsoleMessage") -> bool:
    # The client itself puts a style sheet of another site into the HTML it logs.
    return message.type == "error" and "app.wandb.ai/normalize.css" not in message.text


@pytest.fixture
def page(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """A page that fails its test when a script does, or when the policy stops one."""
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    context.set_default_timeout(30_000)
    found = context.new_page()
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on(
        "console", lambda message: complaints.append(message.text) if _is_bad(message) else None
    )
    yield found
    context.close()
    assert complaints == []
