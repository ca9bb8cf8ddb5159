"""A run in which everything is an attack is shown, and nothing of it runs."""

import pytest
from playwright.sync_api import Browser, expect

from tests.tracking.tracker import Tracker

pytest.importorskip("plotly", reason="some of the attacks are its figures")

PAGES = [
    "",
    "local/attacked",
    "local/attacked/table",
    "local/attacked/cost?quality=loss",
    "local/attacked/compare?select=attack&select=other",
    "local/attacked/explore",
    "local/attacked/media",
    "local/attacked/artifacts/evil",
    "local/attacked/runs/attack",
    "local/attacked/runs/attack/charts",
    "local/attacked/runs/attack/media",
    "local/attacked/runs/attack/console",
    "local/attacked/runs/attack/files",
    "local/attacked/runs/attack/artifacts",
    "local/attacked/table?filter=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&group=name",
    "local/attacked?metrics=%3Cscript%3Ealert(1)%3C/script%3E&colour=%3Csvg:1&panel=%3Cimg%3E",
]


@pytest.fixture(scope="module")
def attacked(recipes: Tracker, tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    recipes.client("log_attacks.py", tmp_path_factory.mktemp("attacks"), "attacked")
    recipes.make_run("attacked", "other")
    return recipes


def test_nothing_that_was_logged_runs(browser: Browser, attacked: Tracker) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    strangers: list[str] = []
    page.on("dialog", lambda dialog: (strangers.append(dialog.message), dialog.dismiss()))
    # What the policy stops is announced too, and fails with "csp": it was never sent.
    ours = (attacked.url, "data:", "blob:")
    page.on(
        "requestfailed",
        lambda request: (
            None
            if request.url.startswith(ours) or request.failure == "csp"
            else strangers.append(f"{request.url} {request.failure}")
        ),
    )
    page.on(
        "requestfinished",
        lambda request: None if request.url.startswith(ours) else strangers.append(request.url),
    )
    page.on("popup", lambda popup: strangers.append(popup.url))
    for path in PAGES:
        page.goto(f"{attacked.url}/{path}", wait_until="networkidle" if not path else "load")
        page.locator("main :is(h1, h2, a, canvas, table, [role=table])").first.wait_for()
        page.wait_for_timeout(350)
        assert page.evaluate("() => window.__ran") is None, path
        assert page.url.startswith(attacked.url), path
        assert (
            page.locator("main img[src='x'], main script, main [onload], main [onerror]").count()
            == 0
        )
        assert page.evaluate("() => ({}).polluted") is None
    assert strangers == []
    context.close()


def test_nothing_runs_in_the_frames_of_charts(browser: Browser, attacked: Tracker) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 5000})
    page = context.new_page()
    sent: list[str] = []
    page.on("requestfinished", lambda request: sent.append(request.url))
    page.goto(f"{attacked.url}/local/attacked/runs/attack/media")
    # Five charts: each is drawn, or says why it is not.
    ends = page.locator(".framed-tools button, .media-box [role=alert]")
    expect(ends).to_have_count(5, timeout=90_000)
    frames = [each for each in page.frames if "/api/frame/" in each.url]
    assert len(frames) >= 4
    for frame in frames:
        assert frame.evaluate("() => window.__ran") is None
        links = frame.locator("a").evaluate_all("(all) => all.map((a) => a.href.baseVal ?? a.href)")
        assert not [link for link in links if link.startswith("javascript")]
        frame.locator("body").click(position={"x": 300, "y": 150})
        assert frame.evaluate("() => window.origin") == "null"
    assert page.evaluate("() => window.__ran") is None
    assert [url for url in sent if not url.startswith((attacked.url, "data:", "blob:"))] == []
    context.close()


def test_links_of_notes_lead_to_the_web_only(browser: Browser, attacked: Tracker) -> None:
    page = browser.new_page()
    page.goto(f"{attacked.url}/local/attacked/runs/attack")
    notes = page.locator(".markdown").first
    notes.wait_for()
    targets = notes.locator("a").evaluate_all("(links) => links.map((link) => link.protocol)")
    assert set(targets) <= {"https:", "http:"}
    expect(notes).to_contain_text("javascript:")
    page.close()


def test_logged_pages_are_of_no_origin_and_without_scripts(
    browser: Browser, attacked: Tracker
) -> None:
    page = browser.new_page()
    page.goto(f"{attacked.url}/local/attacked/runs/attack/media")
    frame = page.locator("iframe.page-frame").first
    frame.wait_for()
    assert frame.get_attribute("sandbox") == ""
    source = frame.get_attribute("src") or ""
    # Opened by itself it is as harmless as in the frame.
    answer = page.goto(attacked.url + source)
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert page.evaluate("() => window.origin") == "null"
    assert page.evaluate("() => window.__ran") is None
    page.close()


def test_the_policy_of_the_page_lets_no_script_of_others_in(attacked: Tracker) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{attacked.url}/local/attacked") as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = answer.read().decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["style-src"] == "'self'"
    assert "unsafe" not in policy
    assert text.count("<script") == 1
    assert " style=" not in text
