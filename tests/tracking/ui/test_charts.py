"""Line charts in a browser: what is drawn, zoomed, grouped, and told live."""

import json
from typing import Any

from playwright.sync_api import Page, expect

from tests.tracking.tracker import Tracker, lines


def _paint(page: Page, metric: str) -> str:
    """The pixels of a chart, once it has any."""
    plot = page.locator(f"figure.panel:has([title='{metric}']) canvas").first
    plot.wait_for()
    page.wait_for_function(
        """(canvas) => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.data.some((value) => value !== 0);
        }""",
        arg=plot.element_handle(),
    )
    return plot.evaluate("(canvas) => canvas.toDataURL()")


def test_every_metric_has_a_chart_under_its_prefix(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes")
    expect(page.get_by_role("button", name="metrics 2")).to_be_visible()
    for metric in ("loss/train/total", "metrics/eval/accuracy", "lr"):
        assert len(_paint(page, metric)) > 2000


def test_a_metric_is_drawn_over_the_axis_its_run_defined(page: Page, recipes: Tracker) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{recipes.url}/local/recipes?metrics=accuracy")
    _paint(page, "metrics/eval/accuracy")
    assert any("/api/chart" in url and "x=epoch" in url for url in asked)


def test_pointing_at_a_chart_reads_every_run_and_moves_the_others(
    page: Page, recipes: Tracker
) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=loss/train|%5Elr")
    _paint(page, "loss/train/total")
    over = page.locator("figure.panel:has([title='loss/train/total']) canvas.over")
    other = page.locator("figure.panel:has([title='lr']) canvas.over")
    _paint(page, "lr")
    before = other.evaluate("(canvas) => canvas.toDataURL()")
    over.hover(position={"x": 180, "y": 100})
    expect(page.locator(".tooltip-row")).to_have_count(4)
    expect(page.locator(".tooltip")).to_contain_text("composed, seed 0")
    assert other.evaluate("(canvas) => canvas.toDataURL()") != before


def test_dragging_zooms_to_exact_rows_and_writes_the_address(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=loss/train")
    whole = _paint(page, "loss/train/total")
    box = page.locator("figure.panel canvas.over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 120, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 90)
    with page.expect_response(lambda answer: "/api/chart" in answer.url and "low=" in answer.url):
        page.mouse.up()
    page.wait_for_url("**low=*")
    assert _paint(page, "loss/train/total") != whole
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("() => !location.search.includes('low=')")


def test_replicates_become_a_mean_with_a_band(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=accuracy&group=config.recipe")
    _paint(page, "metrics/eval/accuracy")
    page.locator("figure.panel canvas.over").first.hover(position={"x": 200, "y": 90})
    expect(page.locator(".tooltip-row")).to_have_count(2)
    expect(page.locator(".tooltip-row").first).to_contain_text("±")


def test_values_that_are_not_finite_are_counted_in_the_table(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=loss/train&filter=name+~+%22plain,+seed+0%22")
    _paint(page, "loss/train/total")
    page.get_by_role("button", name="Options of loss/train/total").click()
    page.get_by_role("button", name="Show as a table").click()
    row = page.get_by_role("dialog").locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("td").last).to_have_text("1")


def test_a_chart_is_read_with_the_keyboard(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=loss/train")
    _paint(page, "loss/train/total")
    page.locator("figure.panel canvas.over").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tooltip")).to_contain_text("step 1")
    page.keyboard.press("+")
    page.wait_for_url("**low=*")
    page.keyboard.press("0")
    page.wait_for_function("() => !location.search.includes('low=')")


def test_a_chart_can_be_kept_as_numbers(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes?metrics=accuracy")
    _paint(page, "metrics/eval/accuracy")
    page.get_by_role("button", name="Options of metrics/eval/accuracy").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    text = saved.value.path().read_text()
    assert text.splitlines()[0] == "run,epoch,value,low,high"
    assert len(text.splitlines()) == 1 + 4 * 20


def test_a_running_run_grows_without_reloading(page: Page, recipes: Tracker) -> None:
    recipes.make_run("live", "r")
    post: dict[str, Any] = lines(0, 50)
    post["files"]["wandb-summary.json"] = {"offset": 0, "content": [json.dumps({"loss": 7.0})]}
    recipes.post("live", "r", post)
    page.goto(f"{recipes.url}/local/live")
    before = _paint(page, "loss")
    with page.expect_response(lambda answer: "/api/chart" in answer.url):
        recipes.post("live", "r", lines(50, 400))
    page.wait_for_timeout(300)
    assert _paint(page, "loss") != before
