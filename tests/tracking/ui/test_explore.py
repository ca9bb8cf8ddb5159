"""Runs against one another, and what runs of this library tell about themselves, in a browser."""

import json

from playwright.sync_api import Page, expect

from tests.tracking.tracker import Tracker, lines


def test_any_two_columns_make_a_scatter_chart(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/explore?px=config.optimizer.lr&py=summary.lr")
    chart = page.locator("figure.panel canvas")
    expect(chart).to_have_attribute("aria-label", "lr against optimizer.lr of 4 runs or groups.")


def test_a_charts_numbers_and_picture_are_saved(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/explore?px=config.optimizer.lr&py=summary.epoch")
    for what, start in (("CSV", b"run,optimizer.lr,epoch\r\n"), ("PNG", b"\x89PNG")):
        page.get_by_role("button", name="Options of epoch against optimizer.lr").click()
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Download {what}").click()
        assert saved.value.path().read_bytes().startswith(start)


def test_bars_of_groups_are_means(page: Page, recipes: Tracker) -> None:
    page.goto(f"{recipes.url}/local/recipes/explore?kind=bars&group=config.recipe&py=config.seed")
    label = page.locator(".bars canvas").get_attribute("aria-label") or ""
    assert label.startswith("seed: ")
    assert label.count("(2) 0.5") == 2


def test_runs_are_chosen_along_an_axis_and_the_address_keeps_it(
    page: Page, recipes: Tracker
) -> None:
    axes = "axes=config.seed&axes=summary.metrics/eval/accuracy"
    page.goto(f"{recipes.url}/local/recipes/explore?kind=parallel&{axes}")
    expect(page.get_by_text("4 of 4 pass")).to_be_visible()
    box = page.locator("figure.panel canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] - 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] - 4, steps=3)
    page.mouse.up()
    expect(page.get_by_text("2 of 4 pass")).to_be_visible()
    page.reload()
    expect(page.get_by_text("2 of 4 pass")).to_be_visible()


def test_a_run_of_this_library_shows_its_methods_and_where_time_goes(
    page: Page, recipes: Tracker
) -> None:
    recipes.graphql(
        'mutation M($c: JSONString) {upsertBucket(input: {modelName: "mine", name: "r", '
        "config: $c}) {bucket {id}}}",
        c=json.dumps({name: {"value": value} for name, value in _CONFIG.items()}),
    )
    post = lines(0, 3)
    summary = {"stall/data": 0.001, "stall/forward": 0.003, "loss": 1.0}
    post["files"]["wandb-summary.json"] = {"offset": 0, "content": [json.dumps(summary)]}
    recipes.post("mine", "r", post)
    page.goto(f"{recipes.url}/local/mine/runs/r")
    box = page.locator(".box", has=page.get_by_role("heading", name="Composition"))
    rows = box.locator("tbody tr")
    expect(rows).to_have_text(
        ["before_lossMixUpbatch", "LabelSmoothingbatch", "after_lossLabelSmoothingbatch"]
    )
    expect(box.locator(".stall-bar")).to_have_attribute("aria-label", "data 25 %, forward 75 %")


_CONFIG = {
    "composer_version": "1",
    "enabled_algorithms/LabelSmoothing": True,
    "composition/after_loss": ["LabelSmoothing: batch"],
    "composition/before_loss": ["MixUp: batch", "LabelSmoothing: batch"],
}


def test_a_resumed_run_is_marked_and_its_old_branch_is_kept(page: Page, recipes: Tracker) -> None:
    recipes.make_run("resumed", "r")
    post = lines(0, 100)
    post["files"]["wandb-summary.json"] = {"offset": 0, "content": ['{"loss": 1}']}
    recipes.post("resumed", "r", post)
    answer = recipes.graphql(
        'mutation M {rewindRun(input: {runName: "r", entityName: "local", projectName: "resumed", '
        'metricName: "_step", metricValue: 59}) {rewoundRun {historyLineCount}}}'
    )
    assert "errors" not in answer
    recipes.post("resumed", "r", lines(60, 20))
    _, found = recipes.ask("/api/chart?entity=local&project=resumed&key=loss&runs=r")
    (branch,) = found["lines"]["r"]["branches"]
    assert (branch["mark"], branch["x"][0], branch["x"][-1]) == (59, 60, 99)
    assert branch["y"][-1] == 99 / 7
    page.goto(f"{recipes.url}/local/resumed")
    plot = page.locator("figure.panel canvas").first
    plot.wait_for()
    page.wait_for_function(_HAS_GREY, arg=plot.element_handle())


# The colour of what was left behind; the run itself has the first colour of the palette, a blue.
_HAS_GREY = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
        if (data[i] === 140 && data[i + 1] === 145 && data[i + 2] === 155) return true;
    return false;
}"""
