"""Quality against cost in a browser: the front, the target, and what they say in numbers."""

import json

from playwright.sync_api import Page, expect

from tests.tracking.tracker import Tracker, lines

COST = "cost?group=config.recipe&quality=metrics/eval/accuracy&cost=time/total"


def _open(page: Page, tracker: Tracker, more: str = "") -> None:
    page.goto(f"{tracker.url}/local/recipes/{COST}{more}")
    page.locator(".cost-table tbody tr").first.wait_for()


def _time_to_target(page: Page, recipe: str) -> str:
    row = page.locator(".cost-table tbody tr", has_text=recipe)
    return row.locator("td").nth(3).inner_text()


def test_each_recipe_has_its_quality_its_cost_and_its_time_to_the_target(
    page: Page, recipes: Tracker
) -> None:
    _open(page, recipes, "&target=0.9")
    rows = page.locator(".cost-table tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("composed")
    expect(rows.first).to_contain_text("2 of 2")
    assert float(_time_to_target(page, "composed").split()[0]) < float(
        _time_to_target(page, "plain").split()[0]
    )


def test_a_target_nobody_reaches_is_said_to_be_reached_never(page: Page, recipes: Tracker) -> None:
    _open(page, recipes, "&target=1.5")
    assert _time_to_target(page, "plain") == "never"


def test_dragging_the_target_reads_off_the_time(page: Page, recipes: Tracker) -> None:
    _open(page, recipes, "&target=0.9")
    before = _time_to_target(page, "plain")
    plot = page.locator(".cost-charts canvas").first
    box = plot.bounding_box()
    assert box is not None
    cursor = "(canvas) => canvas.style.cursor"
    y = next(
        y
        for y in range(8, int(box["height"]), 6)
        if (page.mouse.move(box["x"] + 200, box["y"] + y), plot.evaluate(cursor))[1]
    )
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + y + 120, steps=5)
    page.mouse.up()
    page.wait_for_function("() => !location.search.includes('target=0.9&')")
    page.wait_for_function("() => /target=0\\.[0-8]/.test(location.search)")
    assert _time_to_target(page, "plain") != before


def test_the_target_moves_with_the_keyboard(page: Page, recipes: Tracker) -> None:
    _open(page, recipes, "&target=0.9")
    page.locator(".cost-charts canvas").first.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => /target=0\\.8/.test(location.search)")


def test_the_front_is_told_to_screen_readers(page: Page, recipes: Tracker) -> None:
    _open(page, recipes, "&target=0.9")
    label = page.locator(".cost-charts canvas").nth(1).get_attribute("aria-label") or ""
    assert "On the Pareto front" in label
    assert "composed" in label


def test_an_ablation_is_compared_seed_by_seed(page: Page, recipes: Tracker) -> None:
    finals = {("off", 0): 0.5, ("off", 1): 0.7, ("+ EMA", 0): 0.6, ("+ EMA", 1): 0.8}
    for (arm, seed), final in finals.items():
        config = {"arm": arm, "seed": seed, "group": "mine", "metric": "Accuracy"}
        name = f"{'off' if arm == 'off' else 'ema'}{seed}"
        recipes.graphql(
            'mutation M($n: String, $c: JSONString) {upsertBucket(input: {modelName: "ablated", '
            "name: $n, config: $c}) {bucket {id}}}",
            n=name,
            c=json.dumps({f"ablation/{key}": {"value": value} for key, value in config.items()}),
        )
        key = "metrics/eval/Accuracy"
        post = lines(0, 5, **{key: final})
        post["files"]["wandb-summary.json"] = {"offset": 0, "content": [json.dumps({key: final})]}
        recipes.post("ablated", name, post)
    page.goto(f"{recipes.url}/local/ablated")
    page.get_by_role("link", name="Ablation").click()
    row = page.locator("tbody tr", has_text="+ EMA")
    expect(row).to_contain_text("+0.1 on off")
    expect(row).to_contain_text("+0.1 … +0.1")
    expect(row.locator(".is-gain")).to_have_count(1)
