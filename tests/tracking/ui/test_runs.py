"""The table of runs in a browser: filter, sort, group, change, undo, keep."""

import json

from playwright.sync_api import Page, expect

from tests.tracking.tracker import Tracker


def _names(page: Page) -> list[str]:
    return page.locator(".table .cell-name > a").all_inner_texts()


def _table(page: Page, tracker: Tracker, query: str = "", project: str = "recipes") -> None:
    page.goto(f"{tracker.url}/local/{project}/table?{query}")
    page.locator(".table-row:not(.table-head)").first.wait_for()


def test_the_first_page_lists_the_projects(page: Page, recipes: Tracker) -> None:
    page.goto(recipes.url)
    page.get_by_role("link", name="recipes").first.click()
    page.wait_for_url("**/local/recipes")


def test_columns_that_differ_are_shown_unasked(page: Page, recipes: Tracker) -> None:
    _table(page, recipes)
    head = page.locator(".table-head")
    expect(head).to_contain_text("optimizer.lr")
    expect(head).not_to_contain_text("batch_size")


def test_an_expression_filters_and_the_address_keeps_it(page: Page, recipes: Tracker) -> None:
    _table(page, recipes)
    page.keyboard.press("/")
    page.keyboard.type("optimizer.lr > 0.06 and seed = 1")
    expect(page.locator(".table .cell-name > a")).to_have_count(1)
    assert _names(page) == ["composed, seed 1"]
    page.reload()
    expect(page.locator(".table .cell-name > a")).to_have_text(["composed, seed 1"])


def test_a_filter_that_makes_no_sense_says_why(page: Page, recipes: Tracker) -> None:
    _table(page, recipes, "filter=nothing+%3E+3")
    expect(page.get_by_role("alert")).to_have_text("There is no “nothing”.")


def test_a_column_sorts_both_ways(page: Page, recipes: Tracker) -> None:
    _table(page, recipes, "columns=summary.metrics/eval/accuracy")
    page.get_by_role("button", name="metrics/eval/accuracy").click()
    page.wait_for_url("**sort=-summary*")
    falling = _names(page)
    assert {falling[0].split(",")[0], falling[1].split(",")[0]} == {"composed"}
    page.get_by_role("button", name="metrics/eval/accuracy").click()
    expect(page.locator(".table .cell-name > a").first).to_have_text(falling[-1])


def test_groups_show_mean_spread_and_number(page: Page, recipes: Tracker) -> None:
    _table(page, recipes, "group=config.recipe&columns=config.seed")
    row = page.locator(".group-row").first
    expect(row).to_contain_text("n = 2")
    expect(row).to_contain_text("0.5 ± 0.7071")
    row.get_by_role("button").first.click()
    expect(page.locator(".in-group")).to_have_count(2)


def test_a_change_can_be_taken_back(page: Page, recipes: Tracker) -> None:
    recipes.make_run("edited", "r1")
    _table(page, recipes, project="edited")
    old = _names(page)[0]
    page.locator(".table-row:not(.table-head)").first.hover()
    page.get_by_role("button", name="Actions for").click()
    page.get_by_role("button", name="Rename…").click()
    page.get_by_role("textbox", name="Name").fill("a better name")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".table .cell-name > a")).to_have_text("a better name")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".table .cell-name > a")).to_have_text(old)


def test_deleted_runs_come_back(page: Page, recipes: Tracker) -> None:
    for name in ("a", "b", "c"):
        recipes.make_run("binned", name)
    _table(page, recipes, project="binned")
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No runs yet")).to_be_visible()
    assert recipes.ask("/api/runs?entity=local&project=binned")[1]["total"] == 0
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".table .cell-name > a")).to_have_count(3)
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Trash").click()
    page.get_by_role("button", name="Restore").first.click()
    expect(page.locator(".table .cell-name > a")).to_have_count(1)


def test_a_run_deleted_elsewhere_disappears(page: Page, recipes: Tracker) -> None:
    for name in ("a", "b"):
        recipes.make_run("shared", name)
    _table(page, recipes, project="shared")
    expect(page.locator(".table .cell-name > a")).to_have_count(2)
    body = {"entity": "local", "project": "shared", "runs": ["a"]}
    assert recipes.ask("/api/runs/trash", body)[0] == 200
    expect(page.locator(".table .cell-name > a")).to_have_count(1)
    assert recipes.ask("/api/runs/restore", body)[0] == 200
    expect(page.locator(".table .cell-name > a")).to_have_count(2)


def test_tags_are_added_to_many_runs(page: Page, recipes: Tracker) -> None:
    for name in ("a", "b"):
        recipes.make_run("tagged", name)
    _table(page, recipes, project="tagged")
    page.get_by_role("checkbox", name="Select all").check()
    page.get_by_role("button", name="Tag").click()
    page.get_by_label("Add tags").fill("best, kept")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".table .tag")).to_have_count(4)
    # Shown before the server has it.
    expect(page.locator(".toast")).to_contain_text("Tagged 2 runs")
    found = recipes.ask("/api/runs?entity=local&project=tagged")[1]["runs"]
    assert all(run["tags"] == ["best", "kept"] for run in found)


def test_differences_come_first_in_a_comparison(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/compare?select=plain-0&select=composed-0")
    parts = page.locator(".compare-part")
    expect(parts).to_have_text(["Config that differs", "Results", "Config that is the same"])
    first = page.locator("table.compare tbody").first
    expect(first).to_contain_text("optimizer.lr")
    expect(first).not_to_contain_text("seed")


def test_a_view_is_kept_on_the_server_and_can_be_shared(page: Page, recipes: Tracker) -> None:
    _table(page, recipes, "filter=seed+%3D+1")
    page.get_by_role("button", name="Saved views").click()
    page.get_by_role("button", name="Save this view…").click()
    page.get_by_role("textbox", name="Name").fill("second seed")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("View “second seed” saved.")).to_be_visible()
    _table(page, recipes)
    page.get_by_role("button", name="Saved views").click()
    page.get_by_role("button", name="second seed", exact=True).click()
    expect(page.locator(".table .cell-name > a")).to_have_count(2)


def test_the_table_is_kept_as_csv_and_spreadsheets_run_nothing(
    page: Page, recipes: Tracker
) -> None:
    query = "mutation M($p: String, $n: String, $d: String) {upsertBucket(input: {modelName: $p, "
    query += "name: $n, displayName: $d}) {bucket {id}}}"
    recipes.graphql(query, p="formulas", n="r", d="=HYPERLINK(1)")
    _table(page, recipes, project="formulas")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert "r,'=HYPERLINK(1)" in saved.value.path().read_text()


def test_only_the_rows_on_the_screen_exist(page: Page, recipes: Tracker) -> None:
    query = 'mutation M($n: String) {upsertBucket(input: {modelName: "many", name: $n}) '
    query += "{bucket {id}}}"
    for i in range(300):
        recipes.graphql(query, n=f"r{i}")
    _table(page, recipes, project="many")
    assert page.locator(".table-row").count() < 80
    page.locator(".table").evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
    expect(page.locator(".table-row[aria-rowindex='301']")).to_be_visible()
    assert json.loads(page.locator(".table").get_attribute("aria-rowcount") or "0") == 301
