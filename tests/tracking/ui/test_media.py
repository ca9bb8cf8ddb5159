"""Media, tables, artifacts and the page of a run in a browser."""

from playwright.sync_api import Page, expect

from tests.tracking.tracker import Tracker

RUN = "local/recipes/runs/composed-0"


def _box(page: Page, name: str):
    return page.locator(".media-box", has=page.get_by_role("heading", name=name, exact=True))


def test_pictures_have_masks_and_boxes_and_steps(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/media")
    box = _box(page, "samples")
    expect(box.locator("img")).to_have_count(3)
    page.wait_for_function(
        """() => [...document.querySelectorAll(".picture-over")].some((canvas) =>
            canvas.width > 0 &&
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
                .data.some((value) => value > 0))"""
    )
    first = box.locator("img").first.get_attribute("src")
    box.get_by_role("slider").fill("0")
    expect(box.locator("output")).to_have_text("199")
    assert box.locator("img").first.get_attribute("src") != first
    assert "at=samples%40199" in page.url


def test_classes_of_masks_have_names_and_are_shown_one_by_one(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/media")
    classes = _box(page, "samples").get_by_role("group", name="Classes of mask truth")
    blob = classes.get_by_role("button", name="blob")
    expect(blob).to_have_attribute("aria-pressed", "true")
    expect(classes.get_by_role("button", name="nothing")).to_have_attribute("aria-pressed", "false")
    painted = """() => [...document.querySelectorAll(".picture-over")].filter((canvas) => {
        const { width, height } = canvas;
        const data = canvas.getContext("2d").getImageData(width / 2, height / 2, 1, 1).data;
        const all = canvas.getContext("2d").getImageData(0, 0, width, height).data;
        let count = 0;
        for (let i = 3; i < all.length; i += 4) count += all[i] > 0;
        return data && count > 0.04 * width * height;
    }).length"""
    page.wait_for_function(f"() => ({painted})() === 3")
    blob.click()
    expect(blob).to_have_attribute("aria-pressed", "false")
    page.wait_for_function(f"() => ({painted})() === 0")
    assert "classes+samples=mask+truth+1" in page.url


def test_sounds_clouds_and_histograms_are_shown(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/media")
    audio = _box(page, "tone").locator("audio")
    expect(audio).to_have_count(1)
    page.wait_for_function("() => document.querySelector('audio').duration > 0.4")
    expect(_box(page, "cloud").get_by_role("img")).to_have_attribute(
        "aria-label", "300 points in space. Arrow keys turn them."
    )
    expect(_box(page, "weights").get_by_role("img")).to_have_attribute(
        "aria-label", "weights: histograms at 20 steps."
    )


def test_a_table_is_sorted_and_filtered_and_has_pictures(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/media")
    box = _box(page, "predictions")
    expect(box.locator("img").first).to_be_visible()
    page.wait_for_function("() => document.querySelector('.logged-table img').naturalWidth === 48")
    box.get_by_role("button", name="confidence").click()
    box.get_by_role("button", name="confidence").click()
    rows = box.locator(".table-row:not(.table-head)")
    values = [float(text) for text in rows.locator("> :last-child").all_inner_texts()]
    assert values == sorted(values)
    box.get_by_role("searchbox").fill('truth = "class 2" and id < 7')
    expect(rows).to_have_count(2)


def test_tables_of_two_runs_are_compared_by_a_column(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/media?filter=seed+%3D+0")
    box = _box(page, "predictions")
    box.get_by_label("Compare by").select_option("id")
    head = box.locator(".table-head")
    expect(head).to_contain_text("guess (composed, seed 0)")
    expect(head).to_contain_text("guess (plain, seed 0)")
    assert box.locator(".differs").count() > 0


def test_ready_made_custom_charts_are_drawn_from_their_tables(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/media")
    curve = _box(page, "curve_table")
    expect(curve.get_by_role("img")).to_have_attribute(
        "aria-label", "Precision over recall: 1 lines"
    )
    cells = _box(page, "confusion_table").locator(".matrix tbody tr").nth(1).locator("td")
    expect(cells).to_have_text(["1", "1"])


def test_the_run_page_tells_what_was_given_and_what_came(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}")
    expect(page.get_by_role("heading", level=1)).to_have_text("composed, seed 0")
    expect(page.locator(".overview")).to_contain_text("optimizer.lr")
    notes = page.locator(".markdown")
    expect(notes.get_by_role("link", name="the paper")).to_have_attribute(
        "rel", "noopener noreferrer nofollow"
    )


def test_the_console_has_colours_and_search(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/console")
    expect(page.locator(".ansi-green").first).to_have_text("step 0")
    expect(page.locator(".is-error")).to_contain_text("the last batch was short")
    page.get_by_role("searchbox", name="Search the console").fill("STEP 3")
    expect(page.locator(".console-row")).to_have_count(1)
    assert "find=STEP" in page.url


def test_the_files_of_a_run_can_be_fetched(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/{RUN}/files")
    with page.expect_download() as saved:
        page.get_by_role("link", name="requirements.txt").click()
    assert "wandb" in saved.value.path().read_text()


def test_an_artifact_has_versions_files_and_a_difference(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/artifacts")
    page.get_by_role("link", name="model").first.click()
    expect(page.locator(".version")).to_have_count(4)
    expect(page.locator(".version").first).to_contain_text("latest")
    page.get_by_label("Compare with").select_option("v0")
    expect(page.get_by_text("0 added, 1 changed, 0 removed, 1 the same")).to_be_visible()


def test_aliases_are_given_moved_taken_and_undone(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/artifacts/blobs/v0")
    facts, versions = page.locator(".facts"), page.locator(".versions")
    page.get_by_role("button", name="Add an alias").click()
    page.get_by_label("Alias", exact=True).fill("golden")
    page.keyboard.press("Enter")
    expect(versions).to_contain_text("golden")
    facts.get_by_role("button", name="Take the alias golden away").click()
    expect(versions).not_to_contain_text("golden")
    page.get_by_role("button", name="Undo").click()
    expect(versions).to_contain_text("golden")
    page.goto(f"{recipes.url}/local/recipes/artifacts/model/v0")
    page.get_by_role("button", name="Add an alias").click()
    page.get_by_label("Alias", exact=True).fill("v7")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("v7")


def test_lineage_leads_from_data_to_run_to_model(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/artifacts/model/v0")
    graph = page.locator(".lineage")
    for text in ("blobs:v0", "plain, seed 0", "model:v0"):
        expect(graph).to_contain_text(text)
    graph.get_by_text("plain, seed 0").click()
    page.wait_for_url("**/runs/plain-0")
