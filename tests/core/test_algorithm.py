from __future__ import annotations

from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from tests.core._doubles import Deciding, make_engine


class Scaling(Algorithm):
    events = {Event.AFTER_LOSS: "scale"}  # noqa: RUF012 - the short way a user writes it

    def __init__(self, factor: float = 2.0, *, where: tuple[str, ...] = ("a",), hidden: object = 0):
        self.factor, self.where = factor, where
        self._hidden = hidden

    def scale(self, state: State, logger: Logger) -> None:
        state.loss = state.loss * self.factor


def test_the_table_of_events_is_match_and_apply() -> None:
    engine = make_engine()
    method, state = Scaling(3), engine.state
    state.loss = 2
    assert method.match(Event.AFTER_LOSS, state)
    assert not method.match(Event.BEFORE_LOSS, state)
    method.apply(Event.AFTER_LOSS, state, engine.logger)
    assert state.loss == 6


def test_a_method_asks_nothing_special_of_the_run() -> None:
    method = Scaling()
    assert not method.find_unused_parameters
    assert not method.backwards_create_graph
    assert not method.required_on_load()


def test_arguments_kept_under_their_own_name_are_remembered() -> None:
    assert Scaling(3, where=("b",)).arguments() == {"factor": 3, "where": ("b",)}


def test_arguments_that_are_no_json_are_left_out() -> None:
    method = Scaling()
    method.where = (object(),)  # pyright: ignore[reportAttributeAccessIssue]
    assert method.arguments() == {"factor": 2.0}


def test_a_method_without_a_constructor_has_no_arguments() -> None:
    class Plain(Algorithm):
        events = {Event.AFTER_LOSS: "act"}  # noqa: RUF012 - as above

    assert Plain().arguments() == {}


def test_the_state_dict_says_what_the_method_is() -> None:
    state = Deciding("m", []).state_dict()
    assert "Deciding" in state["repr"]
    assert state["arguments"] == {"name": "m", "notes": [], "acts": True}
