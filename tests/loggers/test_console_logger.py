from __future__ import annotations

import io
import re
from typing import Any, ClassVar

import pytest
import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.evaluator import Evaluator
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers.console_logger import ConsoleLogger
from composer.loggers.progress_bar_logger import ProgressBarLogger
from composer.models.tasks.classification import ComposerClassifier
from tests.loggers._runs import Terminal, Unsized, make_batches, make_trainer


class LogCount(Callback):
    """Logs the batch count where training has it, and again at the end of the batch."""

    def batch_start(self, state: State, logger: Logger) -> None:
        logger.log_metrics({"start": state.timestamp.batch.value})

    def batch_end(self, state: State, logger: Logger) -> None:
        logger.log_metrics({"end": state.timestamp.batch.value})


def fit(log_interval: Any = "1ba", **arguments: Any) -> str:
    """Return what a run prints, without the hyperparameters."""
    stream = io.StringIO()
    trainer = make_trainer(ConsoleLogger(log_interval, stream), **arguments)
    trainer.fit()
    trainer.close()
    return stream.getvalue().partition(f"{'-' * 30}\n")[2]


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("\t")]


def test_a_line_has_the_place_and_each_value_below() -> None:
    text = fit("4ba", max_duration="2ep")
    first = text.partition("[epoch=1][batch=4/4]:")[0]
    assert re.fullmatch(
        r"\[epoch=1\]\[batch=1/4\]:\n"
        r"\t Train time/epoch: 0\n"
        r"\t Train time/batch: 0\n"
        r"\t Train time/sample: 0\n"
        r"\t Train time/batch_in_epoch: 0\n"
        r"\t Train time/sample_in_epoch: 0\n"
        r"\t Train loss/train/total: \d\.\d{4}\n",
        first,
    )


def test_lines_come_after_the_first_batch_every_interval_and_at_the_end() -> None:
    assert headings(fit("3ba", num_batches=8)) == [
        "[epoch=1][batch=1/8]:",
        "[epoch=1][batch=3/8]:",
        "[epoch=1][batch=6/8]:",
        "[epoch=1][batch=8/8]:",
    ]


def test_nothing_is_repeated_where_the_last_batch_is_at_the_interval() -> None:
    assert headings(fit("2ba")) == [f"[epoch=1][batch={n}/4]:" for n in (1, 2, 4)]


def test_epochs_are_counted_at_their_ends() -> None:
    assert headings(fit("2ep", max_duration="5ep", num_batches=2)) == [
        f"[epoch={n}][batch=2/2]:" for n in (1, 2, 4, 5)
    ]


@pytest.mark.parametrize(
    ("duration", "places"),
    [("3ba", ["[batch=2/3]:", "[batch=3/3]:"]), ("6sp", ["[sample=4/6]:", "[sample=6/6]:"])],
)
def test_a_run_counted_otherwise_has_one_place(duration: str, places: list[str]) -> None:
    assert headings(fit("2ba", max_duration=duration))[1:] == places


def test_a_loader_without_a_length_has_no_total() -> None:
    assert headings(fit("2ba", train_dataloader=Unsized(3))) == [
        f"[epoch=1][batch={n}]:" for n in (1, 2, 3)
    ]


def values_by_line(text: str) -> list[dict[str, str]]:
    lines: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("["):
            lines.append({})
        else:
            name, _, value = line.strip().partition(": ")
            lines[-1][name] = value
    return lines


@pytest.mark.parametrize("is_late", [False, True])
def test_a_line_has_the_values_of_its_own_batch(
    is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_late:
        late = property(lambda copy: False)
        monkeypatch.setattr("composer.core.logger._Copy.is_done", late)
    lines = values_by_line(fit("1ba", num_batches=12, callbacks=LogCount()))
    assert [line["Train start"] for line in lines] == [str(n) for n in range(12)]
    assert [line["Train end"] for line in lines] == [str(n) for n in range(1, 13)]
    assert all("Train loss/train/total" in line for line in lines)


def test_late_values_are_printed_before_the_evaluation_that_follows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = property(lambda copy: False)
    monkeypatch.setattr("composer.core.logger._Copy.is_done", late)
    text = fit("1ba", eval_dataloader=make_batches(1), eval_interval="2ba")
    assert [line.split()[0] for line in headings(text)] == [
        "[epoch=1][batch=1/4]:",
        "[epoch=1][batch=2/4]:",
        "[Eval",
        "[epoch=1][batch=3/4]:",
        "[epoch=1][batch=4/4]:",
        "[Eval",
    ]


def test_late_values_are_printed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    late = property(lambda copy: False)
    monkeypatch.setattr("composer.core.logger._Copy.is_done", late)

    class Fail(Callback):
        def batch_checkpoint(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 2:
                raise RuntimeError("on purpose")

    stream = io.StringIO()
    trainer = make_trainer(ConsoleLogger("1ba", stream), callbacks=Fail())
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    assert "[epoch=1][batch=2/4]:\n" in stream.getvalue()


def test_an_evaluation_shows_about_ten_points_and_then_its_metrics() -> None:
    evaluator = Evaluator(
        label="val", dataloader=make_batches(100), metric_names=["MulticlassAccuracy"]
    )
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    text = fit("1ep", model=model, eval_dataloader=evaluator)
    points = [line for line in headings(text) if line.startswith("[Eval")]
    assert len(points) == 11
    assert points[0] == "[Eval batch=1/100] Eval on val data"
    assert re.search(
        r"\[Eval batch=100/100\] Eval on val data:\n"
        r"\t Eval metrics/val/MulticlassAccuracy: 0\.\d{4}\n$",
        text,
    )


def test_a_short_evaluation_shows_each_batch() -> None:
    text = fit("1ep", eval_dataloader=make_batches(3))
    assert [line for line in headings(text) if line.startswith("[Eval")] == [
        "[Eval batch=1/3] Eval on eval data",
        "[Eval batch=2/3] Eval on eval data",
        "[Eval batch=3/3] Eval on eval data:",
    ]


def test_evaluations_in_between_take_nothing_from_the_lines_of_training() -> None:
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    text = fit("4ba", model=model, eval_dataloader=make_batches(1), eval_interval="2ba")
    for line, values in zip(headings(text), values_by_line(text), strict=True):
        prefix = "Eval" if line.startswith("[Eval") else "Train"
        assert {name.split()[0] for name in values} == {prefix}


def test_the_last_line_of_training_comes_before_the_last_evaluation() -> None:
    text = fit("3ba", max_duration="4ba", eval_dataloader=make_batches(1))
    assert headings(text)[-2:] == ["[batch=4/4]:", "[Eval batch=1/1] Eval on eval data:"]


def test_hyperparameters_are_printed_once() -> None:
    stream = io.StringIO()
    trainer = make_trainer(ConsoleLogger(stream=stream))
    trainer.fit()
    trainer.fit(duration="1ep")
    assert stream.getvalue().startswith("Config:\n")
    assert stream.getvalue().count("Config:") == 1


def test_hyperparameters_are_printed_once_where_a_bar_shows_them_too() -> None:
    stream = io.StringIO()
    make_trainer([ProgressBarLogger(stream), ConsoleLogger(stream=stream)]).fit()
    assert stream.getvalue().count("Config:") == 1


def test_lines_and_a_bar_share_a_terminal() -> None:
    with Terminal() as terminal:
        loggers = [ProgressBarLogger(terminal.stream), ConsoleLogger("2ba", terminal.stream)]
        trainer = make_trainer(loggers)
        trainer.fit()
        trainer.close()
        screen = terminal.screen()
    seen = [line for line in screen if line.startswith(("[", "train"))]
    assert seen[:3] == [f"[epoch=1][batch={n}/4]:" for n in (1, 2, 4)]
    assert seen[3].startswith("train epoch 1/1: 100%|")
    assert len(seen) == 4


def test_tables_are_printed_as_json() -> None:
    stream = io.StringIO()
    ConsoleLogger(stream=stream).log_table(["a", "b"], [[1, "x"], [None, 2.5]], "Samples")
    expected = '[table]: Samples: {"columns":["a","b"],"data":[[1,"x"],[null,2.5]]}\n'
    assert stream.getvalue() == expected


@pytest.mark.parametrize("log_traces", [False, True])
def test_traces_are_printed_only_where_asked_for(log_traces: bool) -> None:
    class Act(Algorithm):
        events: ClassVar = {Event.FIT_END: "act"}

        def act(self, state: State, logger: Logger) -> None:
            pass

    stream = io.StringIO()
    make_trainer(ConsoleLogger(stream=stream, log_traces=log_traces), algorithms=Act()).fit()
    line = "[trace]: algorithm_traces/Act/fit_end: 1\n"
    assert (line in stream.getvalue()) is log_traces


def test_other_processes_of_the_machine_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_local_rank", lambda: 1)
    stream = io.StringIO()
    make_trainer(ConsoleLogger(stream=stream), eval_dataloader=make_batches(2)).fit()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("interval", ["10sp", "5tok", "0.1dur", "1h"])
def test_an_interval_in_another_unit_is_refused(interval: str) -> None:
    with pytest.raises(ValueError, match=r"log_interval=.*allowed here are 'ep', 'ba'"):
        ConsoleLogger(interval)


@pytest.mark.parametrize("interval", ["0ba", -1])
def test_an_interval_of_nothing_is_refused(interval: str | int) -> None:
    with pytest.raises(ValueError, match="must be above 0; leave the ConsoleLogger out"):
        ConsoleLogger(interval)


def test_a_bare_number_counts_epochs() -> None:
    assert ConsoleLogger(2).log_interval == "2ep"


def test_nothing_is_printed_after_close() -> None:
    stream = io.StringIO()
    console = ConsoleLogger(stream=stream)
    trainer = make_trainer(console)
    trainer.fit()
    trainer.close()
    before = stream.getvalue()
    console.log_table(["a"], [[1]])
    console.close(trainer.state, trainer.logger)
    assert stream.getvalue() == before
