"""Makes the pictures of `docs/loggers/`: what each logger shows of one small run.

Run it from the root of the repository: ``python tools/logger_pictures.py``. It needs the extras of
the loggers, the tracker, and Playwright with a Chromium (``--chromium`` names one).
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from composer import Callback, Logger, State, Trainer
from composer.loggers import (
    CometMLLogger,
    ConsoleLogger,
    FileLogger,
    InMemoryLogger,
    MLFlowLogger,
    ProgressBarLogger,
    SlackLogger,
    TensorboardLogger,
    WandBLogger,
)
from composer.models import ComposerClassifier

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images" / "loggers"
SIZE = {"width": 1280, "height": 800}


class _ShowPredictions(Callback):
    """Logs some images with what the model makes of them."""

    def eval_end(self, state: State, logger: Logger) -> None:
        images, targets = state.batch
        guesses = state.outputs.argmax(-1)
        logger.log_images(images[:8], "digits", use_table=False)
        rows = [[int(t), int(g)] for t, g in zip(targets[:8], guesses[:8], strict=True)]
        logger.log_table(["truth", "guess"], rows, "guesses")


def _train(loggers: Any, seed: int = 0, **arguments: Any) -> Trainer:
    from sklearn.datasets import load_digits

    torch.manual_seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    targets = torch.tensor(digits.target)
    parts = [torch.utils.data.TensorDataset(images[i::5], targets[i::5]) for i in range(5)]
    loaders = [
        torch.utils.data.DataLoader(torch.utils.data.ConcatDataset(part), batch_size=32)
        for part in (parts[:4], parts[4:])
    ]
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    trainer = Trainer(
        model=ComposerClassifier(net, num_classes=10),
        train_dataloader=loaders[0],
        eval_dataloader=loaders[1],
        optimizers=torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
        max_duration="4ep",
        run_name=f"digits-{seed}",
        loggers=loggers,
        device="cpu",
        progress_bar=False,
        **arguments,
    )
    trainer.fit()
    trainer.close()
    return trainer


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _server(*words: str, url: str, folder: str) -> Iterator[str]:
    """Run a server until the end of the block; returns what it has printed when it answers."""
    path = Path(folder) / "server.log"
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *words], stdout=output, stderr=output, cwd=folder,
            start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
                break
            time.sleep(0.3)
        yield path.read_text()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _of_wandb(browser: Any, folder: str) -> None:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("-m", "composer.cli", "track", "serve", "--folder", folder, "--port", str(port))
    with _server(*words, url=url, folder=folder) as said:
        key = re.search(r"WANDB_API_KEY=(\S+)", said)
        assert key is not None, said
        os.environ.update(
            WANDB_BASE_URL=url, WANDB_API_KEY=key[1], WANDB_DIR=folder, WANDB_SILENT="true"
        )
        for seed in (0, 1):
            _train(WandBLogger(project="digits"), seed, callbacks=_ShowPredictions())
        _picture(browser, f"{url}/local/digits", "wandb.png", wait_s=5)


def _of_tensorboard(browser: Any, folder: str) -> None:
    for seed in (0, 1):
        _train(TensorboardLogger(folder), seed, callbacks=_ShowPredictions())
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("-m", "tensorboard.main", "--logdir", folder, "--port", str(port))
    with _server(*words, url=url, folder=folder):
        _picture(browser, f"{url}/#timeseries", "tensorboard.png", wait_s=8)


def _of_mlflow(browser: Any, folder: str) -> None:
    store = f"sqlite:///{folder}/mlflow.db"
    for seed in (0, 1):
        _train(MLFlowLogger("digits", tracking_uri=store, log_system_metrics=False), seed)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    words = (
        "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port), "--workers",
        "1",
    )  # fmt: skip
    with _server(*words, url=f"{url}/health", folder=folder):
        page = f"{url}/#/experiments/1/runs?compareRunsMode=CHART"
        _picture(browser, page, "mlflow.png", wait_s=10, wait_for="text=digits-0")


def _of_terminals(browser: Any, folder: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    bar = Terminal()
    _train(ProgressBarLogger(bar))
    _terminal(browser, "train.py", bar.getvalue(), "progress_bar.png")
    lines = io.StringIO()
    _train(ConsoleLogger("1ep", lines))
    _terminal(browser, "train.py", lines.getvalue(), "console.png", 32)
    _train(FileLogger(f"{folder}/log.txt", log_traces=False))
    found = Path(folder, "log.txt").read_text()
    _terminal(browser, "tail log.txt", found, "file.png", 24)
    memory = InMemoryLogger()
    _train(memory)
    series = memory.get_timeseries("metrics/eval/MulticlassAccuracy")
    shown = "\n".join(
        f"{name}: {series[name]}"
        for name in ("metrics/eval/MulticlassAccuracy", "epoch", "batch", "total_wct")
    )
    command = 'logger.get_timeseries("metrics/eval/MulticlassAccuracy")'
    _terminal(browser, command, shown, "in_memory.png")
    options = {"offline_directory": f"{folder}/comet", "display_summary_level": 0}
    with contextlib.redirect_stderr(io.StringIO()) as said:
        _train(CometMLLogger(project_name="digits", exp_kwargs=options))
    del said
    archives = [path.name for path in Path(folder, "comet").iterdir()]
    _terminal(browser, "ls comet", "\n".join(archives), "comet.png")


def _of_slack(browser: Any, folder: str) -> None:
    """Draw the messages as they are sent: Slack itself needs an account."""
    del folder
    logger = SlackLogger(
        ["metrics/eval"], log_interval="1ep", slack_logging_api_key="t", channel_id="C"
    )
    posts: list[list[dict[str, Any]]] = []
    logger.client.chat_postMessage = lambda **message: posts.append(message["blocks"])
    _train(logger)

    def line(block: dict[str, Any]) -> str:
        return "<p>" + re.sub(r"\*(.+?)\*", r"<b>\1</b>", block["text"]["text"]) + "</p>"

    rows = "".join(
        "<div class=m><b>composer</b> <i>APP</i>" + "".join(map(line, blocks)) + "</div>"
        for blocks in posts
    )
    style = (
        "body{font:15px sans-serif;margin:24px;width:720px} .m{margin-bottom:18px} p{margin:4px 0}"
    )
    style += "i{background:#ddd;font:10px sans-serif;padding:1px 3px;border-radius:2px}"
    _draw(browser, f"<style>{style}</style>{rows}", "slack.png", 360)


def _terminal(browser: Any, command: str, text: str, name: str, max_lines: int = 40) -> None:
    """Draw what a terminal shows in the end; of lines drawn over, the last state."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.rpartition("\r")[2] for line in text.split("\n")]
    shown = [line for line in lines if line.strip()][-max_lines:]
    style = (
        "body{margin:0;background:#1e1e1e;color:#ddd;font:14px/1.45 'DejaVu Sans Mono',monospace;"
        "padding:16px} pre{margin:0;white-space:pre} b{color:#8fd18f}"
    )
    body = html.escape("\n".join(shown))
    page = f"<style>{style}</style><pre><b>$ {html.escape(command)}</b>\n{body}</pre>"
    _draw(browser, page, name, 60 + 21 * len(shown))


def _draw(browser: Any, page_text: str, name: str, height: int) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": height})
    page.set_content(page_text)
    page.screenshot(path=PICTURES / name)
    page.close()


def _picture(browser: Any, url: str, name: str, wait_s: float, wait_for: str = "body") -> None:
    page = browser.new_page(viewport=SIZE)
    page.goto(url)
    page.wait_for_selector(wait_for, timeout=120_000)
    # What is beside the point, such as MLflow's assistant.
    close = page.get_by_label("Close", exact=True)
    if close.count():
        close.first.click()
    page.wait_for_timeout(wait_s * 1000)
    page.screenshot(path=PICTURES / name)
    page.close()


ALL = {
    each.__name__.removeprefix("_of_"): each
    for each in (_of_wandb, _of_tensorboard, _of_mlflow, _of_terminals, _of_slack)
}


def main() -> None:
    """Make the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("only", nargs="*", choices=[*ALL, []], default=[*ALL])
    parser.add_argument("--chromium", help="path of the browser")
    options = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                ALL[name](browser, folder)
        browser.close()


if __name__ == "__main__":
    main()
