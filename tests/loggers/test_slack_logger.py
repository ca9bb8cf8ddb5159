"""SlackLogger on the real client, with a server that says what it was sent."""

from __future__ import annotations

import json
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from composer.loggers import slack_logger
from composer.loggers.slack_logger import SlackLogger
from tests.loggers._runs import make_trainer


class Slack(ThreadingHTTPServer):
    """A stand-in for Slack: keeps messages."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {"ok": True}

    def texts(self) -> list[list[str]]:
        return [[block["text"]["text"] for block in m["blocks"]] for m in self.messages]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        message: dict[str, Any] = dict(urllib.parse.parse_qsl(body))
        if self.headers["Content-Type"].startswith("application/json"):
            message = json.loads(body)
        else:
            message["blocks"] = json.loads(message["blocks"])
        message["path"], message["token"] = self.path, self.headers["Authorization"]
        self.server.messages.append(message)
        data = json.dumps(self.server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def slack() -> Iterator[Slack]:
    server = Slack()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def make_logger(slack: Slack, *keys: str, **arguments: Any) -> SlackLogger:
    logger = SlackLogger(keys, slack_logging_api_key="token", channel_id="C1", **arguments)
    logger.client.base_url = f"http://127.0.0.1:{slack.server_port}/api/"
    return logger


def fit(logger: SlackLogger) -> None:
    trainer = make_trainer(logger)
    trainer.fit()
    trainer.close()


def test_chosen_metrics_are_posted_at_intervals(slack: Slack) -> None:
    fit(make_logger(slack, "time/batch$", log_interval="2ba"))
    first = slack.messages[0]
    assert (first["path"], first["token"], first["channel"]) == (
        "/api/chat.postMessage", "Bearer token", "C1",
    )  # fmt: skip
    posted = [text for message in slack.texts() for text in message]
    assert posted == [f"*time/batch:* {step} (step {step})" for step in range(5)]
    assert 2 <= len(slack.messages) <= 3


def test_hyperparameters_are_posted_without_a_step(slack: Slack) -> None:
    fit(make_logger(slack, "rank_zero_seed"))
    assert slack.texts() == [["*rank_zero_seed:* 1"]]


def test_nothing_is_posted_that_was_not_chosen(slack: Slack) -> None:
    fit(make_logger(slack))
    assert slack.messages == []


def test_long_messages_are_cut_into_several(slack: Slack) -> None:
    fit(make_logger(slack, "time/", log_interval="1ep", max_logs_per_message=3))
    assert len(slack.messages) > 4
    assert max(len(message["blocks"]) for message in slack.messages) == 3


def test_a_formatter_of_ones_own_is_used(slack: Slack) -> None:
    def shout(key: str, value: Any, step: int | None) -> list[dict[str, Any]]:
        return [{"type": "section", "text": {"type": "mrkdwn", "text": f"{key}!{value}!{step}"}}]

    fit(make_logger(slack, "time/epoch", formatter_func=shout, log_interval="1ep"))
    assert slack.texts()[0] == ["time/epoch!0!0"]


def test_when_slack_refuses_it_is_reported_once_and_training_goes_on(
    slack: Slack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.answer = {"ok": False, "error": "invalid_auth"}
    logger = make_logger(slack, "time/batch$")
    trainer = make_trainer(logger, num_batches=50)
    trainer.fit()
    trainer.close()
    assert trainer.state.timestamp.batch == 50
    assert len(slack.messages) == 1
    assert "invalid_auth" in caplog.text


def test_a_server_that_does_not_answer_does_not_stop_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_logger, "CLOSE_TIMEOUT_S", 0.1)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        logger = SlackLogger(["time"], slack_logging_api_key="token", channel_id="C1")
        logger.client.base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        logger.client.timeout = 5
        fit(logger)
    assert "Slack did not take all that was logged" in caplog.text


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_LOGGING_API_KEY", raising=False)
    monkeypatch.delenv("SLACK_LOGGING_CHANNEL_ID", raising=False)
    with pytest.raises(ValueError, match="set SLACK_LOGGING_API_KEY"):
        SlackLogger(channel_id="C1")
    with pytest.raises(ValueError, match="set SLACK_LOGGING_CHANNEL_ID"):
        SlackLogger(slack_logging_api_key="token")
    with pytest.raises(ValueError, match=r"must be in \[1, 50\]"):
        SlackLogger(slack_logging_api_key="t", channel_id="C", max_logs_per_message=51)
    with pytest.raises(ValueError, match="log_interval"):
        SlackLogger(slack_logging_api_key="t", channel_id="C", log_interval="3sp")
    monkeypatch.setitem(sys.modules, "slack_sdk", None)
    with pytest.raises(ImportError, match=r"composer-ml\[slack\]"):
        SlackLogger(slack_logging_api_key="t", channel_id="C")
