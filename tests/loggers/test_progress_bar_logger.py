from __future__ import annotations

import io
import re
import sys
import types
from typing import Any, ClassVar

import pytest
import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.evaluator import Evaluator
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers import _meters
from composer.loggers.progress_bar_logger import ProgressBarLogger
from composer.models.tasks.classification import ComposerClassifier
from tests.loggers._runs import Net, Terminal, Unsized, make_batches, make_trainer


class Fail(Callback):
    """Raises at the end of a batch."""

    def __init__(self, batch: int, error: type[BaseException] = RuntimeError) -> None:
        self.batch, self.error = batch, error

    def batch_end(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == self.batch:
            raise self.error("on purpose")


def lines_of(text: str) -> list[str]:
    """The lines of output, without the hyperparameters."""
    return text.partition(f"{'-' * 30}\n")[2].splitlines()


def fit(**arguments: Any) -> list[str]:
    stream = io.StringIO()
    trainer = make_trainer(ProgressBarLogger(stream), **arguments)
    trainer.fit()
    trainer.close()
    return lines_of(stream.getvalue())


def watch(columns: int = 100, **arguments: Any) -> list[str]:
    with Terminal(columns) as terminal:
        trainer = make_trainer(ProgressBarLogger(terminal.stream), **arguments)
        trainer.fit()
        trainer.close()
        screen = terminal.screen()
    return screen[screen.index("-" * 30) + 1 :]


# A pipe or a file.


def test_a_pipe_gets_a_line_after_the_first_batch_and_at_the_end_of_each_epoch() -> None:
    lines = fit(max_duration="2ep")
    assert [line.partition(" (")[0] for line in lines] == [
        "[train epoch 1/2] batch 1/4",
        "[train epoch 1/2] batch 4/4",
        "[train epoch 2/2] batch 4/4",
    ]


def test_a_pipe_gets_no_carriage_returns() -> None:
    stream = io.StringIO()
    make_trainer(ProgressBarLogger(stream)).fit()
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_each_line_shows_share_rate_time_and_loss() -> None:
    first, last = fit()
    number = r"[0-9.e+]+"
    assert re.fullmatch(
        rf"\[train epoch 1/1\] batch 1/4 \(25%\), {number} ba/s, \d+:\d\d left \| loss={number}",
        first,
    )
    assert re.fullmatch(
        rf"\[train epoch 1/1\] batch 4/4 \(100%\), {number} ba/s, took \d+:\d\d \| loss={number}",
        last,
    )


def test_the_last_line_shows_the_last_loss() -> None:
    losses: list[float] = []

    class Note(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            losses.append(state.total_loss_dict["loss/train/total"].item())

    lines = fit(callbacks=Note())
    assert lines[-1].endswith(f"loss={losses[-1]:.4g}")


def test_the_last_loss_is_shown_where_values_arrive_late(monkeypatch: pytest.MonkeyPatch) -> None:
    late = property(lambda copy: False)
    monkeypatch.setattr("composer.core.logger._Copy.is_done", late)
    losses: list[float] = []

    class Note(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            losses.append(state.total_loss_dict["loss/train/total"].item())

    lines = fit(num_batches=12, callbacks=Note())
    assert lines[-1].endswith(f"loss={losses[-1]:.4g}")


def test_a_line_is_due_after_ten_seconds_and_in_a_long_run_after_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(_meters.time, "perf_counter", lambda: now)
    stream = io.StringIO()
    maker = _meters.LineMaker(_meters.Screen(stream))
    assert maker.next_show_s() == 0
    maker.print("first")
    assert maker.next_show_s() == 1010
    now = 1601.0
    maker.print("later")
    assert maker.next_show_s() == 1661


def test_a_run_counted_in_samples_has_one_position_for_all_epochs() -> None:
    lines = fit(max_duration="16sp")
    assert [line.partition(" (")[0] for line in lines] == [
        "[train epoch 1] sample 2/16",
        "[train epoch 2] sample 16/16",
    ]


def test_a_loader_without_a_length_shows_no_share() -> None:
    lines = fit(train_dataloader=Unsized(3))
    assert [line.partition(", ")[0] for line in lines] == [
        "[train epoch 1/1] batch 1",
        "[train epoch 1/1] batch 3",
    ]


def test_each_evaluator_has_a_line_with_its_metrics() -> None:
    evaluators = [
        Evaluator(label=label, dataloader=make_batches(n), metric_names=["MulticlassAccuracy"])
        for label, n in (("small", 2), ("large", 3))
    ]
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    lines = fit(model=model, eval_dataloader=evaluators)
    places = [line.partition(" (")[0] for line in lines]
    assert places[-2:] == ["[eval small] batch 2/2", "[eval large] batch 3/3"]
    for line in lines[-2:]:
        assert re.search(r"\| MulticlassAccuracy=[0-9.]+$", line)


def test_training_metrics_are_shown_by_their_short_names() -> None:
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    assert re.search(r"loss=[0-9.]+, MulticlassAccuracy=[0-9.]+$", fit(model=model)[-1])


def test_a_second_fit_goes_on() -> None:
    stream = io.StringIO()
    trainer = make_trainer(ProgressBarLogger(stream))
    trainer.fit()
    trainer.fit(duration="1ep")
    assert lines_of(stream.getvalue())[-1].startswith("[train epoch 2/2] batch 4/4 (100%)")


def test_a_run_that_stops_in_the_middle_says_where() -> None:
    class Stop(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 3:
                state.stop_training()

    lines = fit(callbacks=Stop(), max_duration="2ep")
    assert lines[-1].startswith("[train epoch 1] batch 3/4 (75%)")


def test_a_run_that_fails_says_where() -> None:
    stream = io.StringIO()
    trainer = make_trainer(ProgressBarLogger(stream), callbacks=Fail(3))
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    assert lines_of(stream.getvalue())[-1].startswith("[train epoch 1/1] batch 3/4 (75%)")


def test_a_resumed_run_shows_the_right_position(tmp_path: Any) -> None:
    first = make_trainer(None, max_duration="3ba", save_folder=str(tmp_path), save_interval="3ba")
    first.fit()
    first.close()
    lines = fit(load_path=first.saved_checkpoints[-1], max_duration="2ep")
    assert [line.partition(" (")[0] for line in lines] == [
        "[train epoch 1/2] batch 4/4",
        "[train epoch 1/2] batch 4/4",
        "[train epoch 2/2] batch 4/4",
    ]


# Hyperparameters, traces, values of one's own.


def test_hyperparameters_are_printed_once_as_yaml() -> None:
    stream = io.StringIO()
    trainer = make_trainer(ProgressBarLogger(stream))
    trainer.logger.log_hyperparameters({"size": {"width": 3}, "names": ("a", "b"), "odd": object})
    trainer.fit()
    trainer.fit(duration="1ep")
    text = stream.getvalue()
    assert text.startswith("Config:\n")
    assert "size:\n  width: 3\nnames:\n- a\n- b\nodd: <class 'object'>\n" in text
    assert text.count("Config:") == 1


def test_hyperparameters_are_printed_before_an_evaluation_alone() -> None:
    stream = io.StringIO()
    make_trainer(ProgressBarLogger(stream), eval_dataloader=make_batches(2)).eval()
    assert stream.getvalue().startswith("Config:\n")
    assert lines_of(stream.getvalue())[-1].startswith("[eval] batch 2/2 (100%)")


def test_a_prediction_has_a_line_of_its_own() -> None:
    stream = io.StringIO()
    make_trainer(ProgressBarLogger(stream)).predict(make_batches(3))
    assert lines_of(stream.getvalue())[-1].startswith("[predict] batch 3/3 (100%)")


def test_traces_are_shown_only_where_asked_for() -> None:
    class Act(Algorithm):
        events: ClassVar = {Event.BATCH_END: "act"}

        def act(self, state: State, logger: Logger) -> None:
            pass

    shown, hidden = io.StringIO(), io.StringIO()
    for stream, log_traces in ((shown, True), (hidden, False)):
        trainer = make_trainer(ProgressBarLogger(stream, log_traces), algorithms=Act())
        trainer.fit()
        assert trainer.logger.listens_to_traces is log_traces
    assert "algorithm_traces/Act/batch_end=1" in shown.getvalue()
    assert "algorithm_traces" not in hidden.getvalue()


def test_values_of_ones_own_are_shown_until_they_are_none() -> None:
    stream = io.StringIO()
    bar = ProgressBarLogger(stream)
    trainer = make_trainer(bar)
    bar.log_to_pbar({"note": "two\nlines"})
    trainer.fit()
    assert lines_of(stream.getvalue())[-1].endswith(", note=two lines")
    bar.log_to_pbar({"note": None})
    trainer.fit(duration="1ep")
    assert "note" not in lines_of(stream.getvalue())[-1]


# Who shows.


def test_other_processes_of_the_machine_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("composer.distributed.comm.get_local_rank", lambda: 1)
    bar = ProgressBarLogger(stream)
    trainer = make_trainer(bar, eval_dataloader=make_batches(2))
    trainer.fit()
    trainer.eval()
    trainer.predict(make_batches(2))
    assert stream.getvalue() == ""
    assert not bar.show_pbar


def test_a_stream_that_goes_away_ends_the_output_and_not_the_training() -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    trainer = make_trainer(ProgressBarLogger(Gone()))
    trainer.fit()
    assert trainer.state.timestamp.batch == 4


def test_a_closed_stream_ends_the_output_and_not_the_training() -> None:
    stream = io.StringIO()
    trainer = make_trainer(ProgressBarLogger(stream))
    stream.close()
    trainer.fit()
    assert trainer.state.timestamp.batch == 4


@pytest.mark.parametrize("name", ["stderr", "stdout"])
def test_a_stream_is_named_and_looked_up_when_the_logger_is_made(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, name, stream)
    assert ProgressBarLogger(name).stream is stream


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown stream 'sterr'\. Did you mean 'stderr'"):
        ProgressBarLogger("sterr")
    with pytest.raises(TypeError, match="must be 'stderr', 'stdout' or a file"):
        ProgressBarLogger(3)  # type: ignore[arg-type]


# A terminal.


def test_a_terminal_gets_a_bar_per_epoch_and_evaluation() -> None:
    screen = watch(max_duration="2ep", eval_dataloader=make_batches(3))
    assert len(screen) == 5
    for line, start in zip(
        screen,
        ("train epoch 1/2: 100%|", "eval: 100%|", "train epoch 2/2: 100%|", "eval: 100%|", ""),
        strict=True,
    ):
        assert line.startswith(start)
    assert re.search(r"\| 4/4 \[00:00<00:00, +[0-9.]+ ba/s, loss=[0-9.]+\]$", screen[0])
    assert screen[-1] == "", "the cursor stands at the start of a line of its own"


def test_evaluations_within_an_epoch_stay_above_the_bar_of_training() -> None:
    screen = watch(eval_dataloader=make_batches(3), eval_interval="2ba")
    assert [line.partition(":")[0] for line in screen] == ["eval", "train epoch 1/1", "eval", ""]


def test_a_bar_for_the_run_is_complete_before_the_last_evaluation() -> None:
    screen = watch(max_duration="8ba", eval_dataloader=make_batches(3), eval_interval="6ba")
    assert [line.partition(":")[0] for line in screen] == ["eval", "train epoch 2", "eval", ""]
    assert "| 8/8 [" in screen[1]


@pytest.mark.parametrize("columns", [30, 0])
def test_a_narrow_terminal_keeps_one_line_per_bar(columns: int) -> None:
    screen = watch(columns, max_duration="2ep", eval_dataloader=make_batches(3))
    starts = [line.partition(":")[0] for line in screen]
    assert starts == ["train epoch 1/2", "eval", "train epoch 2/2", "eval", ""]


def test_where_there_is_little_room_names_are_cut_and_values_are_not() -> None:
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    screen = watch(80, model=model, eval_dataloader=make_batches(3))
    # How much is cut depends on how wide the measured speed is.
    assert re.search(r", lo\w*\.?=[0-9.]+, Mu\w*\.?=[0-9.]+\]$", screen[0])
    assert re.search(r", Cr\w*\.?=[0-9.]+, Mu\w*\.?=[0-9.]+\]$", screen[1])


def test_a_bar_without_a_total_counts() -> None:
    assert "train epoch 1/1: 3 ba [00:00, " in watch(train_dataloader=Unsized(3))[0]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_bar_leaves_the_cursor_on_a_new_line(error: type[BaseException]) -> None:
    with Terminal() as terminal:
        trainer = make_trainer(ProgressBarLogger(terminal.stream), callbacks=Fail(3, error))
        with pytest.raises(error):
            trainer.fit()
        terminal.stream.write("Traceback")
        *_, bar, last = terminal.screen()
    assert bar.startswith("train epoch 1/1:  75%|")
    assert last == "Traceback"


def test_an_interrupted_evaluation_leaves_the_cursor_on_a_new_line() -> None:
    class FailInEval(Callback):
        def eval_batch_end(self, state: State, logger: Logger) -> None:
            raise RuntimeError("on purpose")

    with Terminal() as terminal:
        trainer = make_trainer(
            ProgressBarLogger(terminal.stream),
            callbacks=FailInEval(),
            eval_dataloader=make_batches(3),
            eval_interval="2ba",
        )
        with pytest.raises(RuntimeError, match="on purpose"):
            trainer.fit()
        terminal.stream.write("Traceback")
        *_, evaluation, training, last = terminal.screen()
    assert evaluation.startswith("eval:  33%|")
    assert training.startswith("train epoch 1/1: ")
    assert last == "Traceback"


def test_training_goes_on_after_an_interruption() -> None:
    with Terminal() as terminal:
        trainer = make_trainer(ProgressBarLogger(terminal.stream), callbacks=Fail(3))
        with pytest.raises(RuntimeError, match="on purpose"):
            trainer.fit()
        trainer.fit()
        *_, first, second, last = terminal.screen()
    assert first.startswith("train epoch 1/1:  75%|")
    assert second.startswith("train epoch 1/1: 100%|")
    assert last == ""


def test_a_bar_is_drawn_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock that goes on by a millisecond with each look: 300 batches take less than a second.
    now = iter(range(10**9))
    clock = types.SimpleNamespace(perf_counter=lambda: next(now) / 1000, time=lambda: 0.0)
    monkeypatch.setattr(_meters, "time", clock)
    monkeypatch.setattr("composer.loggers.progress_bar_logger.time", clock)
    with Terminal() as terminal:
        trainer = make_trainer(ProgressBarLogger(terminal.stream), num_batches=300)
        trainer.fit()
        num_drawn = terminal.text().count("train epoch")
    assert 3 <= num_drawn <= 6


def test_names_that_the_terminal_has_no_letters_for_are_escaped() -> None:
    class Log(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            logger.log_metrics({"loss/train/größe": 1.5})

    with Terminal(encoding="ascii") as terminal:
        trainer = make_trainer(ProgressBarLogger(terminal.stream), callbacks=Log())
        trainer.fit()
        *_, bar, _ = terminal.screen()
    assert "loss/gr\\xf6\\xdfe=1.5" in bar


def test_a_pause_for_evaluation_does_not_count_as_training_time() -> None:
    with Terminal() as terminal:
        screen = _meters.Screen(terminal.stream)
        maker = _meters.choose_maker(screen)
        reading = _meters.Reading("train", "ba", 0, 10, {})
        meter: Any = maker.open(reading)
        start_s = meter._bar.start_t
        meter.pause()
        meter._paused_at -= 50
        meter.resume()
        assert 50 <= meter._bar.start_t - start_s < 60
        meter.close(None)


def test_bars_that_tqdm_was_told_not_to_show_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bar_class = _meters._terminal_bar()
    monkeypatch.setattr(
        _meters, "_terminal_bar", lambda: lambda **given: bar_class(**{**given, "disable": True})
    )
    screen = watch(eval_dataloader=make_batches(3), eval_interval="2ba")
    assert screen == [""]


# A notebook.


def test_a_notebook_without_widgets_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(_meters, "_notebook_bar", lambda: None)
    assert _meters.is_notebook()
    assert isinstance(_meters.choose_maker(_meters.Screen(io.StringIO())), _meters.LineMaker)


def test_a_notebook_with_widgets_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(_meters, "_notebook_bar", _meters._terminal_bar)
    assert isinstance(_meters.choose_maker(_meters.Screen(io.StringIO())), _meters.BarMaker)


def test_a_program_that_loads_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not _meters.is_notebook()


def test_nothing_is_shown_after_close() -> None:
    stream = io.StringIO()
    bar = ProgressBarLogger(stream)
    trainer = make_trainer(bar)
    trainer.fit()
    trainer.close()
    before = stream.getvalue()
    bar.log_metrics({"loss/train/total": 1.0}, 9)
    bar.close(trainer.state, trainer.logger)
    assert stream.getvalue() == before


def test_a_closed_logger_serves_another_trainer() -> None:
    stream = io.StringIO()
    bar = ProgressBarLogger(stream)
    for _ in range(2):
        trainer = make_trainer(bar, model=Net())
        trainer.fit()
        trainer.close()
    assert stream.getvalue().count("batch 4/4 (100%)") == 2
