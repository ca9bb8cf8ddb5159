"""An ablation's report opens as a page of its own."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from composer.ablation.arms import make_arms
from composer.ablation.records import Point, Record
from composer.ablation.report import Report
from composer.cli import track
from tests.tracking.test_import import imported
from tests.tracking.tracker import Tracker

pytest.importorskip("scipy", reason="ablations compare with it")
FINALS = {"off": 0.80, "+ EMA": 0.85, "+ SAM": 0.79, "all": 0.88, "all - EMA": 0.81}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an ablation of three methods with three seeds leaves in its folder."""
    arms = make_arms({name: name for name in ("EMA", "SAM", "Mixup")}, group="does it help?")
    records = [
        Record(
            arm.name,
            seed,
            {},
            [Point(i, i, i * (2.0 if "SAM" in arm.name else 1.0), final - 0.1 / i) for i in (1, 9)],
            batches=9,
            seconds=18.0 if "SAM" in arm.name else 9.0,
        )
        for arm in arms
        for seed, final in enumerate(FINALS.get(arm.name, 0.85) + 0.01 * s for s in range(3))
    ]
    made = Report(
        arms,
        records,
        metric="Accuracy",
        greater_is_better=True,
        target=0.8,
        conditions={"budget": "9ba"},
    )
    path = tmp_path_factory.mktemp("ablation") / "report.json"
    made.save(path)
    return path


def test_a_report_is_opened_and_has_an_address(page: Page, recipes: Tracker, report: Path) -> None:
    recipes.make_run("reports", "r")
    page.goto(f"{recipes.url}/local/reports/ablation")
    page.locator("input[type=file]").set_input_files(report)
    row = page.locator("tbody tr", has=page.get_by_role("rowheader", name="+ EMA", exact=True))
    expect(row).to_contain_text("+0.05 on off")
    expect(row.locator(".is-gain")).to_have_count(1)
    rival = page.locator("tbody tr", has=page.get_by_role("rowheader", name="all - EMA"))
    expect(rival).to_contain_text("0.07 on all")
    slow = page.locator("tbody tr", has=page.get_by_role("rowheader", name="+ SAM"))
    expect(slow.locator("td").nth(5)).to_contain_text("2")
    expect(page.get_by_role("note")).to_contain_text("3 seeds")
    page.wait_for_url("**/ablation?ablation=ablation-does-it-help-")
    page.reload()
    label = page.locator(".cost-charts canvas").nth(1)
    expect(label).to_have_attribute(
        "aria-label", "Accuracy against seconds of training. On the Pareto front: all."
    )


def test_what_is_no_report_is_refused_in_words(recipes: Tracker) -> None:
    address = "/api/ablation?entity=local&project=reports"
    for data in (b'{"loss": 1}', b"[]", b"no JSON", b'{"metric": "a", "rows": [], "runs": []}'):
        status, answer = recipes.ask(address, data, method="POST")
        assert status == 400, data
        assert "report" in answer["error"]


def test_a_report_among_a_runs_files_opens(page: Page, recipes: Tracker, report: Path) -> None:
    status, answer = recipes.ask(
        "/api/ablation?entity=local&project=filed", report.read_bytes(), method="POST"
    )
    assert (status, answer) == (200, {"run": "ablation-does-it-help-"})
    page.goto(f"{recipes.url}/local/filed/runs/{answer['run']}/files")
    page.get_by_role("link", name="Open as an ablation").click()
    expect(page.get_by_role("heading", name="does it help?")).to_be_visible()


def test_reports_are_imported_from_a_folder(tmp_path: Path, report: Path) -> None:
    words = ["import", "ablation", str(report.parent), "--project", "old"]
    for _ in range(2):
        assert track.main([*words, "--folder", str(tmp_path / "store")]) == 0
    run, rows = imported(tmp_path / "store", "old", "ablation-does-it-help-")
    assert (run["display_name"], run["state"], rows) == ("does it help?", "finished", [])
