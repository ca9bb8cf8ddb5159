from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from composer.core import engine as engine_module
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.errors import ConfigError, StateError
from tests.core._doubles import Deciding, Memory, Method, Noting, NotingDestination, make_engine


@pytest.fixture
def notes() -> list[str]:
    return []


def test_methods_run_before_callbacks_and_callbacks_before_destinations(notes: list[str]) -> None:
    engine = make_engine(
        [Method("method", notes, Event.BATCH_END)],
        [NotingDestination("destination", notes), Noting("callback", notes)],
    )
    engine.run_event(Event.BATCH_END)
    assert notes == ["method", "callback", "destination"]


def test_on_init_destinations_come_first_and_methods_last(notes: list[str]) -> None:
    engine = make_engine(
        [Method("method", notes, Event.INIT)],
        [Noting("callback", notes), NotingDestination("destination", notes)],
    )
    engine.run_event(Event.INIT)
    assert notes == ["destination", "callback", "method"]


def test_plugins_of_a_kind_run_in_the_users_order(notes: list[str]) -> None:
    engine = make_engine(
        [Method("m1", notes, Event.BATCH_END), Method("m2", notes, Event.BATCH_END)],
        [Noting("c1", notes), Noting("c2", notes)],
    )
    engine.run_event(Event.BATCH_END)
    assert notes == ["m1", "m2", "c1", "c2"]


def test_an_event_may_be_given_by_name(notes: list[str]) -> None:
    make_engine((), [Noting("callback", notes)]).run_event("batch_end")
    assert notes == ["callback"]


def test_a_callback_method_named_after_the_event_is_called() -> None:
    seen: list[Any] = []

    class Watch(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            seen.append((state, logger))

    engine = make_engine((), [Watch()])
    engine.run_event(Event.BATCH_START)
    engine.run_event(Event.BATCH_END)
    assert seen == [(engine.state, engine.logger)]


def test_a_method_set_on_the_instance_of_a_callback_is_called(notes: list[str]) -> None:
    callback = Callback()
    callback.batch_end = lambda state, logger: notes.append("instance")  # pyright: ignore
    make_engine((), [callback]).run_event(Event.BATCH_END)
    assert notes == ["instance"]


def test_a_method_acts_only_on_the_events_of_its_table(notes: list[str]) -> None:
    engine = make_engine([Method("m", notes, Event.BEFORE_LOSS)])
    engine.run_event(Event.BEFORE_LOSS)
    engine.run_event(Event.AFTER_LOSS)
    assert notes == ["m"]


def test_a_method_that_decides_at_run_time_is_asked_each_time(notes: list[str]) -> None:
    method = Deciding("m", notes, acts=False)
    engine = make_engine([method])
    engine.run_event(Event.BATCH_END)
    method.acts = True
    engine.run_event(Event.BATCH_END)
    assert notes == ["m"]


def test_match_is_asked_only_on_events_of_the_table_where_there_is_one(notes: list[str]) -> None:
    class Both(Method):
        def match(self, event: Event, state: State) -> bool:
            notes.append(f"asked {event.value}")
            return False

    engine = make_engine([Both("m", notes, Event.BEFORE_LOSS)])
    engine.run_event(Event.AFTER_LOSS)
    engine.run_event(Event.BEFORE_LOSS)
    assert notes == ["asked before_loss"]


def test_a_method_that_acts_on_nothing_is_refused() -> None:
    class Empty(Algorithm):
        pass

    with pytest.raises(ConfigError, match=r"acts on nothing.*`events`"):
        make_engine([Empty()]).run_event(Event.INIT)


def test_traces_say_what_ran_in_which_order_and_what_it_returned(notes: list[str]) -> None:
    class Second(Method):
        pass

    engine = make_engine([Method("a", notes, Event.BATCH_END), Second("b", notes, Event.BATCH_END)])
    traces = engine.run_event(Event.BATCH_END)
    assert list(traces) == ["Method/batch_end", "Second/batch_end"]
    second = traces["Second/batch_end"]
    assert (second.name, second.event, second.exit_code) == ("Second", Event.BATCH_END, 7)
    assert (second.order, second.run) == (1, True)


def test_traces_are_logged_where_a_destination_takes_them(notes: list[str]) -> None:
    memory = Memory()
    engine = make_engine([Method("a", notes, Event.BATCH_END)], [memory])
    engine.run_event(Event.BATCH_END)
    engine.run_event(Event.BATCH_START)
    assert memory.traces == [{"algorithm_traces/Method/batch_end": 1}]


def test_an_event_without_listeners_leaves_no_traces() -> None:
    assert dict(make_engine().run_event(Event.BATCH_END)) == {}


def test_it_is_known_whether_anybody_listens(notes: list[str]) -> None:
    engine = make_engine([Method("m", notes, Event.BEFORE_LOSS)])
    assert engine.listens(Event.BEFORE_LOSS)
    assert not engine.listens(Event.AFTER_LOSS)
    engine.run_event(Event.AFTER_LOSS)
    assert not engine.listens(Event.AFTER_LOSS)


@pytest.mark.parametrize("as_method", [True, False])
def test_an_error_says_which_plugin_raised_it_where_and_when(as_method: bool) -> None:
    class Broken(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise OSError("disk full")

        def __repr__(self) -> str:
            return "Broken()"

    class BrokenMethod(Method):
        def act(self, state: State, logger: Logger) -> int:
            raise OSError("disk full")

        def __repr__(self) -> str:
            return "Broken()"

    method = BrokenMethod("m", [], Event.BATCH_END)
    engine = make_engine([method]) if as_method else make_engine((), [Broken()])
    engine.state.timestamp = engine.state.timestamp.to_next_batch()
    with pytest.raises(OSError, match="disk full") as caught:
        engine.run_event(Event.BATCH_END)
    assert caught.value.__notes__ == [
        "raised by Broken() on 'batch_end' at epoch 0, batch 1 (1 in epoch)"
    ]


class BrokenLogger(LoggerDestination):
    """A logger that cannot act on events."""

    num_calls = 0

    def batch_end(self, state: State, logger: Logger) -> None:
        self.num_calls += 1
        raise OSError("disk full")

    def init(self, state: State, logger: Logger) -> None:
        raise OSError("disk full")


def test_a_logger_that_raises_is_switched_off_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = BrokenLogger()
    engine = make_engine((), [broken])
    engine.run_event(Event.BATCH_END)
    engine.run_event(Event.BATCH_END)
    assert broken.num_calls == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_logger_that_cannot_begin_stops_the_run_before_it_begins() -> None:
    with pytest.raises(OSError, match="disk full"):
        make_engine((), [BrokenLogger()]).run_event(Event.INIT)


def test_a_plugin_added_within_an_epoch_acts_from_the_next_epoch_on(notes: list[str]) -> None:
    engine = make_engine()
    engine.run_event(Event.EPOCH_START)
    engine.run_event(Event.BATCH_END)
    engine.state.callbacks.append(Noting("late", notes))
    engine.run_event(Event.BATCH_END)
    assert notes == []
    engine.run_event(Event.EPOCH_START)
    engine.run_event(Event.BATCH_END)
    assert notes == ["late", "late"]


@pytest.mark.parametrize("event", [Event.FIT_START, Event.AFTER_LOAD, Event.PREDICT_START])
def test_a_plugin_added_before_a_phase_acts_in_it(event: Event, notes: list[str]) -> None:
    engine = make_engine()
    engine.run_event(event)
    engine.run_event(Event.BATCH_END)
    engine.state.algorithms.append(Method("late", notes, Event.BATCH_END))
    engine.run_event(event)
    engine.run_event(Event.BATCH_END)
    assert notes == ["late"]


def test_events_of_a_run_need_a_dataloader() -> None:
    engine = make_engine(dataloader=None, dataloader_label=None)
    engine.run_event(Event.AFTER_LOAD)
    engine.run_event(Event.EVAL_STANDALONE_START)
    with pytest.raises(StateError, match="'batch_end' needs a dataloader"):
        engine.run_event(Event.BATCH_END)


def test_events_of_training_need_a_duration() -> None:
    engine = make_engine(max_duration=None)
    engine.run_event(Event.INIT)
    engine.run_event(Event.EVAL_START)
    engine.run_event(Event.PREDICT_START)
    with pytest.raises(StateError, match="max_duration"):
        engine.run_event(Event.FIT_START)


def test_closing_closes_all_and_then_runs_post_close(notes: list[str]) -> None:
    engine = make_engine((), [NotingDestination("d", notes), Noting("c", notes)])
    engine.close()
    assert notes == ["close d", "close c", "post_close d", "post_close c"]


def test_closing_twice_closes_once(notes: list[str]) -> None:
    engine = make_engine((), [Noting("c", notes)])
    engine.close()
    engine.close()
    assert notes == ["close c", "post_close c"]


def test_a_callback_that_fails_to_close_is_logged_and_gets_no_post_close(
    notes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Noting):
        def close(self, state: State, logger: Logger) -> None:
            raise OSError("cannot close")

    engine = make_engine((), [Broken("broken", notes), Noting("c", notes)])
    with caplog.at_level(logging.ERROR, "composer"):
        engine.close()
    assert notes == ["close c", "post_close c"]
    assert "cannot close" in caplog.text


def test_what_was_logged_arrives_before_destinations_close() -> None:
    order: list[str] = []

    class Closing(Memory):
        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            order.append(f"metrics {list(metrics)}")

        def close(self, state: State, logger: Logger) -> None:
            order.append("close")

    engine = make_engine((), [Closing()])
    engine.logger.log_metrics({"a": 1})
    engine.close()
    assert order == ["metrics ['a']", "close"]


def test_a_closed_engine_refuses_events() -> None:
    engine = make_engine()
    engine.run_event(Event.BATCH_END)
    engine.close()
    assert engine.is_closed
    with pytest.raises(StateError, match="'batch_end' cannot run: the trainer is closed"):
        engine.run_event(Event.BATCH_END)


def test_a_callback_that_watches_an_open_run_is_refused_by_another(notes: list[str]) -> None:
    callback = Noting("c", notes)
    first, second = make_engine((), [callback]), make_engine((), [callback])
    first.run_event(Event.INIT)
    with pytest.raises(StateError, match="still watches another trainer"):
        second.run_event(Event.INIT)


def test_a_callback_may_watch_another_run_once_the_first_is_closed(notes: list[str]) -> None:
    callback = Noting("c", notes)
    first, second = make_engine((), [callback]), make_engine((), [callback])
    first.run_event(Event.INIT)
    first.close()
    second.run_event(Event.INIT)
    assert notes.count("c") == 2


def test_open_engines_close_when_the_program_ends(notes: list[str]) -> None:
    engine = make_engine((), [Noting("c", notes)])
    engine_module._close_open_engines()
    assert engine.is_closed
    assert notes == ["close c", "post_close c"]


def test_a_forgotten_engine_is_not_kept_alive_by_its_callbacks(notes: list[str]) -> None:
    callback = Noting("c", notes)
    engine: Engine | None = make_engine((), [callback])
    assert engine is not None
    engine.run_event(Event.INIT)
    engine = None
    gc.collect()
    make_engine((), [callback]).run_event(Event.INIT)


class Spans:
    """A profiler that keeps the names of its spans."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        self.names.append(name)
        yield
        self.names.append(f"end of {name}")


def test_the_profiler_sees_a_span_around_each_plugin(notes: list[str]) -> None:
    engine = make_engine([Method("m", notes, Event.BATCH_END)], [Noting("c", notes)])
    engine.state.profiler = spans = Spans()
    engine.run_event(Event.BATCH_END)
    assert spans.names == [
        "Method/batch_end",
        "end of Method/batch_end",
        "Noting/batch_end",
        "end of Noting/batch_end",
    ]


def test_a_marker_only_event_is_seen_by_the_profiler_alone(notes: list[str]) -> None:
    engine = make_engine((), [Noting("c", notes)])
    engine.run_marker_only_event(Event.BATCH_END)
    engine.state.profiler = spans = Spans()
    engine.run_marker_only_event(Event.BATCH_END)
    assert spans.names == ["batch_end", "end of batch_end"]
    assert notes == []
