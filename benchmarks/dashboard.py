"""Measures the dashboard in a real browser: pages, charts, panning, tables, live updates, size.

Run: python benchmarks/dashboard.py [--runs 1000] [--points 10000] [--long 10000000]. With --folder
the store is kept there, and found there by the next measurement. The browser is the system's
Chromium, without a GPU; what it draws is drawn by the processor. Frames are counted by the browser
itself while the mouse moves or the wheel turns.
"""

import argparse
import itertools
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from tracking import Server, body, report

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PAINTED = """() => {
    const canvas = document.querySelector("figure.panel canvas");
    if (!canvas || !canvas.width) return false;
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return data.some((value) => value !== 0);
}"""
ENLARGE = """() => new Promise((done) => {
    const start = performance.now();
    document.querySelector('[aria-label="Enlarge m0"]').click();
    const look = () => {
        const canvas = document.querySelector("dialog figure.panel canvas");
        const isDrawn = canvas && canvas.width > 400 && canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value !== 0);
        if (isDrawn) done(performance.now() - start); else requestAnimationFrame(look);
    };
    look();
})"""
FRAMES = """(seconds) => new Promise((done) => {
    const times = [];
    const end = performance.now() + seconds * 1000;
    const tick = (now) => {
        times.push(now);
        if (now < end) requestAnimationFrame(tick); else done(times);
    };
    requestAnimationFrame(tick);
})"""
# Beside a store that is kept: everything has been posted.
DONE = "posted"
TABLE = """
import sys, numpy as np, wandb
run = wandb.init(project="pictures", id="t")
table = wandb.Table(columns=["id", "image", "score"])
rng = np.random.default_rng(0)
for i in range(int(sys.argv[1])):
    image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    table.add_data(i, wandb.Image(image), float(i))
run.log({"table": table})
run.finish()
print("done")
"""


@lru_cache(maxsize=8)
def rows(start: int, count: int, keys: int) -> bytes:
    return body(start, count, keys)


def fill(
    server: Server, client: httpx.Client, project: str, run: str, points: int, keys: int
) -> None:
    server.make_run(client, project, run)
    address = f"{server.url}/files/local/{project}/{run}/file_stream"
    for start in range(0, points, 10_000):
        part = rows(start, min(10_000, points - start), keys)
        client.post(address, content=part, headers=server.auth).raise_for_status()
    names = ", ".join(f'"m{key}": 0.5' for key in range(keys))
    summary = {"files": {"wandb-summary.json": {"offset": 0, "content": ["{" + names + "}"]}}}
    client.post(address, json=summary, headers=server.auth).raise_for_status()


def prepare(server: Server, client: httpx.Client, given: argparse.Namespace) -> None:
    if server.folder.with_name(DONE).exists():
        return
    start = time.perf_counter()
    for i in range(given.runs):
        fill(server, client, "many", f"r{i}", given.points, 3)
    fill(server, client, "long", "r", given.long, 1)
    taken = time.perf_counter() - start
    print(
        f"{given.runs} x {given.points} and {given.long} rows posted in {taken:.0f} s", flush=True
    )
    server.client(TABLE, "1000")
    server.folder.with_name(DONE).touch()


def timed(page: Page, address: str, until: Callable[[], object]) -> float:
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    until()
    return time.perf_counter() - start


def median_of(count: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(count))


def first_pages(browser: Browser, server: Server) -> None:
    def measure(path: str, until: Callable[[Page], object]) -> Callable[[], float]:
        def once() -> float:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            taken = timed(page, server.url + path, lambda: until(page))
            page.close()
            return taken

        return once

    listed = ".list-row, .table-row:not(.table-head)"
    found = median_of(5, measure("/local/many/table", lambda page: page.wait_for_selector(listed)))
    report("first page: table of all runs", found, "s", "< 1")
    found = median_of(5, measure("/local/many", lambda page: page.wait_for_selector(listed)))
    report("first page: charts, runs listed", found, "s", "< 1")
    found = median_of(
        5, measure("/local/many?metrics=m0", lambda page: page.wait_for_function(PAINTED))
    )
    report("first page to a chart of 20 runs in pixels", found, "s", "-")
    found = median_of(3, measure("/local/long", lambda page: page.wait_for_function(PAINTED)))
    report("first page to the long run's chart in pixels", found, "s", "< 1")


def charts(browser: Browser, server: Server) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server.url}/local/many?metrics=%5Em0")
    page.wait_for_function(PAINTED)

    def enlarge() -> float:
        taken = page.evaluate(ENLARGE)
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        return taken / 1000

    report("a chart of 20 runs, asked for to pixels", median_of(5, enlarge), "s", "< 1")
    report("panning 20 runs", frames_of_panning(page), "frames/s", ">= 30")
    page.goto(f"{server.url}/local/long")
    page.wait_for_function(PAINTED)
    report("panning the long run", frames_of_panning(page), "frames/s", ">= 30")
    page.close()


def frames_of_panning(page: Page, seconds: float = 3.0) -> float:
    """Zoom in, then move the range about with Shift held."""
    box = page.locator("figure.panel canvas.over").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 100
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=3)
    page.mouse.up()
    page.wait_for_timeout(1500)
    page.evaluate("(seconds) => { window.counted = (" + FRAMES + ")(seconds); }", seconds)
    page.keyboard.down("Shift")
    page.mouse.down()
    end = time.perf_counter() + seconds
    at = 0
    while time.perf_counter() < end:
        at += 1
        page.mouse.move(x + 40 * ((at // 20) % 2 * 2 - 1) * (at % 20) / 20, y)
    page.mouse.up()
    page.keyboard.up("Shift")
    return rate(page.evaluate("() => window.counted"))


def rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) * 1000


def tables(browser: Browser, server: Server) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server.url}/local/pictures/runs/t/media")
    page.wait_for_selector(".logged-table img")
    box = page.locator(".logged-table .table").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.evaluate("(seconds) => { window.counted = (" + FRAMES + ")(seconds); }", 4)
    end = time.perf_counter() + 4
    while time.perf_counter() < end:
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(8)
    times = page.evaluate("() => window.counted")
    slow = sum(1 for a, b in itertools.pairwise(times) if b - a > 1000 / 30 + 1)
    report("scrolling 1,000 rows with pictures", rate(times), "frames/s", ">= 30")
    report("frames slower than 1/30 s while scrolling", 100 * slow / len(times), "%", "-")
    page.close()


def live(browser: Browser, server: Server, client: httpx.Client, seconds: float = 20.0) -> None:
    """Twenty charts of one run that logs ten rows a second."""
    keys = 20
    run = f"r{time.time_ns()}"
    fill(server, client, "live", run, 1000, keys)
    page = browser.new_page(viewport={"width": 1440, "height": 2600})
    page.goto(f"{server.url}/local/live/runs/{run}/charts")
    page.wait_for_function(PAINTED)
    page.wait_for_timeout(2000)
    is_over = threading.Event()

    def log() -> None:
        at = 1000
        while not is_over.wait(0.5):
            client.post(
                f"{server.url}/files/local/live/{run}/file_stream",
                content=body(at, 5, keys),
                headers=server.auth,
            )
            at += 5

    thread = threading.Thread(target=log)
    thread.start()
    before, start = cpu_s(), time.perf_counter()
    page.wait_for_timeout(seconds * 1000)
    share = (cpu_s() - before) / (time.perf_counter() - start)
    is_over.set()
    thread.join()
    report("live update of 20 charts: the browser's processes", 100 * share, "% of a core", "< 10")
    page.close()


def cpu_s() -> float:
    total = 0.0
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if "chrom" in process.name():
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total


def size(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(f"{server.url}/local/many", wait_until="load")
    found = page.evaluate(
        """() => performance.getEntriesByType("resource")
            .filter((each) => each.name.includes("/ui/"))
            .reduce((sum, each) => sum + each.transferSize, 0)"""
    )
    report("all scripts and styles over the wire", found / 1000, "kB", "< 300")
    page.close()


def measure_all(server: Server, given: argparse.Namespace) -> None:
    chromium = os.environ.get("COMPOSER_CHROMIUM") or shutil.which("chromium")
    with httpx.Client(timeout=300) as client, sync_playwright() as started:
        prepare(server, client, given)
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        size(browser, server)
        first_pages(browser, server)
        charts(browser, server)
        tables(browser, server)
        live(browser, server, client)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="keep the store here, or use the one kept here")
    given = parser.parse_args()
    server = Server(given.folder and given.folder / "store")
    try:
        measure_all(server, given)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
