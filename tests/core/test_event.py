import pytest

from composer.core.callback import Callback
from composer.core.event import Event


def test_events_stand_in_the_order_of_training() -> None:
    names = [event.value for event in Event]
    assert names[:4] == ["init", "before_load", "after_load", "fit_start"]
    assert names.index("after_train_batch") < names.index("batch_end") < names.index("epoch_end")
    assert names[23] == "fit_end"
    assert len(names) == 40


@pytest.mark.parametrize("event", [Event.BEFORE_LOSS, Event.EPOCH_START, Event.EVAL_BEFORE_ALL])
def test_events_that_open_something_are_before_events(event: Event) -> None:
    assert event.is_before_event
    assert not event.is_after_event


@pytest.mark.parametrize("event", [Event.AFTER_LOSS, Event.EPOCH_END, Event.EVAL_AFTER_ALL])
def test_events_that_close_something_are_after_events(event: Event) -> None:
    assert event.is_after_event
    assert not event.is_before_event


@pytest.mark.parametrize("event", [Event.INIT, Event.BATCH_CHECKPOINT])
def test_single_moments_are_neither(event: Event) -> None:
    assert not event.is_before_event
    assert not event.is_after_event


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Event.BEFORE_FORWARD, "forward"),
        (Event.AFTER_FORWARD, "forward"),
        (Event.EPOCH_START, "epoch"),
        (Event.EPOCH_END, "epoch"),
        (Event.EVAL_BEFORE_FORWARD, "eval_forward"),
        (Event.EVAL_STANDALONE_END, "eval_standalone"),
        (Event.INIT, "init"),
    ],
)
def test_the_canonical_name_says_what_is_opened_or_closed(event: Event, name: str) -> None:
    assert event.canonical_name == name


def test_every_event_that_opens_has_one_that_closes() -> None:
    opened = {e.canonical_name for e in Event if e.is_before_event}
    closed = {e.canonical_name for e in Event if e.is_after_event}
    assert opened == closed


def test_evaluation_and_prediction_are_told_apart() -> None:
    assert {e for e in Event if e.is_eval} == {e for e in Event if e.name.startswith("EVAL_")}
    assert {e for e in Event if e.is_predict} == {e for e in Event if e.name.startswith("PREDICT_")}


def test_every_event_has_a_method_of_callback() -> None:
    assert all(callable(getattr(Callback, event.value)) for event in Event)


def test_an_event_is_found_by_its_name() -> None:
    assert Event("Batch_End") is Event.BATCH_END
