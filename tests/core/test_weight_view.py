from __future__ import annotations

import pytest
import torch

from composer.core.state import State
from composer.core.weight_view import WeightView, evaluation_weights, set_weight_view, swap_tensors
from composer.errors import ConfigError
from tests.core._doubles import make_state


class Average:
    """A view of zeros."""

    def __init__(self, is_ready: bool = True) -> None:
        self.is_ready = is_ready
        self.is_shown = False
        self.weights: list[torch.Tensor] = []

    def show(self, model: torch.nn.Module) -> None:
        self.weights = [torch.zeros_like(p) for p in model.parameters()]
        swap_tensors([p.data for p in model.parameters()], self.weights)
        self.is_shown = True

    def hide(self, model: torch.nn.Module) -> None:
        swap_tensors([p.data for p in model.parameters()], self.weights)
        self.is_shown = False


@pytest.fixture
def state() -> State:
    return make_state()


def shows_average(state: State) -> bool:
    return not any(p.any() for p in state.model.parameters())


def test_a_view_fits_the_protocol() -> None:
    assert isinstance(Average(), WeightView)


def test_the_views_weights_are_there_inside_and_the_models_own_outside(state: State) -> None:
    own = [p.clone() for p in state.model.parameters()]
    set_weight_view(state, Average())
    with evaluation_weights(state):
        assert shows_average(state)
    assert all(map(torch.equal, own, state.model.parameters()))


def test_without_a_view_nothing_happens(state: State) -> None:
    with evaluation_weights(state):
        assert not shows_average(state)


def test_a_view_that_is_not_ready_is_not_shown(state: State) -> None:
    set_weight_view(state, Average(is_ready=False))
    with evaluation_weights(state):
        assert not shows_average(state)


def test_within_another_use_nothing_happens(state: State) -> None:
    set_weight_view(state, Average())
    with evaluation_weights(state):
        with evaluation_weights(state):
            assert shows_average(state)
        assert shows_average(state)
    assert not shows_average(state)


def test_an_error_inside_puts_the_models_weights_back(state: State) -> None:
    set_weight_view(state, Average())
    with pytest.raises(OSError, match="inside"), evaluation_weights(state):
        raise OSError("inside")
    assert not shows_average(state)


def test_a_second_view_is_refused(state: State) -> None:
    view = Average()
    set_weight_view(state, view)
    set_weight_view(state, view)
    with pytest.raises(ConfigError, match="Average and Average both replace the weights"):
        set_weight_view(state, Average())


def test_tensors_are_swapped_in_their_own_storage() -> None:
    left, right = torch.tensor([1.0]), torch.tensor([2.0])
    places = left.data_ptr(), right.data_ptr()
    swap_tensors([left], [right])
    assert (left.item(), right.item()) == (2.0, 1.0)
    assert (left.data_ptr(), right.data_ptr()) == places


def test_only_lists_of_one_length_are_swapped() -> None:
    with pytest.raises(ValueError, match="shorter"):
        swap_tensors([torch.zeros(1)], [])
