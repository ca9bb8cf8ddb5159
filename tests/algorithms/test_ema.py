import copy
import pickle

import pytest
import torch
from torch import nn

from composer.algorithms.ema import EMA, compute_ema
from composer.core.event import Event
from composer.core.time import Timestamp
from composer.core.weight_view import evaluation_weights
from composer.errors import CheckpointError, ConfigError, StateError
from composer.utils.warnings import NotIntendedUseWarning
from tests.algorithms._runs import HandRun, classifier, image_batch


def line(value: float = 0.0) -> nn.Module:
    """One weight."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def run_of(method: EMA, model: nn.Module | None = None, max_duration: str = "10ba") -> HandRun:
    run = HandRun(method, model or line(), max_duration=max_duration)
    run.begin()
    return run


def set_weight(run: HandRun, value: float) -> None:
    nn.init.constant_(run.state.model.weight, value)


def train_to(run: HandRun, *values: float) -> None:
    """Batches after which the weight has these values."""
    for value in values:
        set_weight(run, value)
        run.end_batch()


def shown(run: HandRun) -> float:
    with evaluation_weights(run.state):
        return run.state.model.weight.tolist()[0][0]


def held(run: HandRun) -> float:
    return run.state.model.weight.tolist()[0][0]


# The function.


def test_the_average_moves_by_its_share() -> None:
    # Polyak and Juditsky 1992, as in Tarvainen and Valpola 2017, section 2:
    # average_t = s * average_(t-1) + (1 - s) * weights_t.
    # 0.75 * 0 + 0.25 * 8 = 2, then 0.75 * 2 + 0.25 * 8 = 3.5.
    average = line(0.0)
    for expected in (2.0, 3.5):
        compute_ema(line(8.0), average, smoothing=0.75)
        assert average.weight.tolist() == [[expected]]


def test_floating_buffers_are_averaged_and_counters_copied() -> None:
    model, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    model.running_mean.fill_(4.0)
    model.num_batches_tracked.fill_(7)
    compute_ema(model, average, smoothing=0.5)
    assert average.running_mean.tolist() == [2.0]
    assert average.num_batches_tracked.tolist() == 7


def test_infinite_masks_stay_what_they_are() -> None:
    model = line()
    model.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    average = copy.deepcopy(model)
    compute_ema(model, average)
    assert torch.equal(average.mask, model.mask)


def test_a_model_of_another_structure_is_refused() -> None:
    with pytest.raises(StateError, match="'bias'"):
        compute_ema(nn.Linear(1, 1), line())


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_a_share_outside_zero_and_one_is_refused(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="smoothing="):
        compute_ema(line(), line(), smoothing)


# Arguments.


def test_a_half_life_halves_the_weight_of_the_past() -> None:
    # After one half-life of steps towards 1 the average of 0 is 1/2.
    run = run_of(EMA(half_life="5ba"))
    train_to(run, *[1.0] * 5)
    assert shown(run) == pytest.approx(0.5)


def test_a_longer_interval_weighs_each_update_more() -> None:
    # 2 ** (-2 / 4)
    assert EMA(half_life="4ba", update_interval="2ba").smoothing == pytest.approx(0.5**0.5)


def test_smoothing_alone_updates_every_batch() -> None:
    method = EMA(half_life=None, smoothing=0.75)
    assert str(method.update_interval) == "1ba"
    run = run_of(method)
    train_to(run, 8.0, 8.0)
    assert shown(run) == 3.5


def test_a_half_life_in_epochs_updates_every_epoch() -> None:
    method = EMA(half_life="1ep")
    run = run_of(method, max_duration="4ep")
    train_to(run, 8.0, 8.0)
    assert shown(run) == 0.0
    run.end_epoch()
    assert shown(run) == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"half_life": None}, "either half_life or smoothing"),
        ({"smoothing": 0.9}, "either half_life or smoothing"),
        ({"half_life": "1ep", "update_interval": "1ba"}, "same unit"),
        ({"half_life": "0ba"}, "half_life='0ba'"),
        ({"half_life": "100sp"}, "half_life='100sp'"),
        ({"half_life": None, "smoothing": 1.5}, "smoothing=1.5"),
        ({"ema_start": "100tok"}, "ema_start='100tok'"),
        ({"half_life": "ten"}, "not a time"),
        ({"update_interval": "0.5dur"}, "update_interval='0.5dur'"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EMA(**arguments)


# When it acts.


def test_the_average_begins_with_the_first_weights() -> None:
    # 0.5 * 2 + 0.5 * 4 = 3: the weights before training count.
    run = HandRun(EMA(half_life="1ba"), line(2.0))
    run.begin()
    train_to(run, 4.0)
    assert shown(run) == 3.0


@pytest.mark.parametrize("start", ["3ba", "0.3dur"])
def test_a_later_start_begins_with_the_weights_of_that_moment(start: str) -> None:
    run = run_of(EMA(half_life="1ba", ema_start=start))
    train_to(run, 9.0, 9.0)
    assert shown(run) == 9.0
    assert not run.state.weight_view.is_ready
    train_to(run, 2.0)
    assert run.state.weight_view.is_ready
    assert shown(run) == 2.0
    train_to(run, 4.0)
    assert shown(run) == 3.0


def test_a_start_in_epochs_waits_for_the_epoch() -> None:
    run = run_of(EMA(half_life="1ep", ema_start="1ep"), max_duration="5ep")
    train_to(run, 6.0)
    run.end_epoch()
    train_to(run, 8.0)
    run.end_epoch()
    assert shown(run) == 7.0


def test_batches_between_updates_do_not_count() -> None:
    run = run_of(EMA(half_life="2ba", update_interval="2ba"))
    train_to(run, 100.0, 8.0, 100.0)
    assert shown(run) == 4.0


def test_warming_up_it_forgets_the_first_weights_soon() -> None:
    run = run_of(EMA(half_life="1000ba", warmup=True), line(10.0))
    average = 10.0
    for number, value in enumerate((20.0, 40.0, 0.0), start=1):
        train_to(run, value)
        share = number / (number + 9)
        average = share * average + (1 - share) * value
        assert shown(run) == pytest.approx(average)


def test_a_warm_average_keeps_what_its_half_life_says() -> None:
    run = run_of(EMA(half_life=None, smoothing=0.2, warmup=True), line(10.0))
    train_to(run, 10.0, 10.0, 10.0, 20.0)  # 4 / 13 > 0.2
    assert shown(run) == pytest.approx(0.2 * 10 + 0.8 * 20)


def test_a_resumed_average_goes_on_warming_up_where_it_was() -> None:
    run = run_of(EMA(half_life="1000ba", warmup=True), line(10.0))
    train_to(run, 20.0, 40.0)
    again = resume(EMA(half_life="1000ba", warmup=True), save(run), line(0.0), 2)
    for each in (run, again):
        train_to(each, 30.0)
    assert shown(again) == shown(run)


def test_evaluation_sees_the_average_and_training_its_own_weights() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    with evaluation_weights(run.state):
        assert held(run) == 4.0
    assert held(run) == 8.0


def test_the_weights_come_back_after_an_error() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    with pytest.raises(KeyError), evaluation_weights(run.state):
        raise KeyError
    assert held(run) == 8.0


def test_parameters_stay_the_objects_the_optimizer_knows() -> None:
    run = run_of(EMA(half_life="1ba"))
    weight, pointer = run.state.model.weight, run.state.model.weight.data_ptr()
    train_to(run, 8.0)
    shown(run)
    assert run.state.model.weight is weight
    assert weight.data_ptr() == pointer


def test_a_second_fit_goes_on() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    run.run(Event.FIT_START)
    train_to(run, 8.0)
    assert shown(run) == 6.0


def test_a_second_run_begins_afresh() -> None:
    method = EMA(half_life="1ba")
    train_to(run_of(method), 8.0)
    second = run_of(method, line(2.0))
    assert shown(second) == 2.0


def test_frozen_weights_take_no_memory() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    method = EMA()
    run_of(method, model)
    assert set(method.state_dict()["weights"]) == {"1.weight", "1.bias"}


def test_shared_weights_are_averaged_once() -> None:
    model = nn.Sequential(line(), line())
    model[1].weight = model[0].weight
    method = EMA(half_life="1ba")
    run = run_of(method, model)
    nn.init.constant_(model[0].weight, 8.0)
    run.end_batch()
    with evaluation_weights(run.state):
        assert model[1].weight.tolist() == [[4.0]]


def test_two_averages_of_one_model_are_refused() -> None:
    run = HandRun([EMA(), EMA(half_life="2ba")], line())
    with pytest.raises(ConfigError, match="both replace the weights"):
        run.run(Event.INIT)


def test_weights_too_coarse_for_the_average_are_told() -> None:
    with pytest.warns(NotIntendedUseWarning, match=r"torch\.bfloat16"):
        run_of(EMA(half_life="1000ba"), line().bfloat16())


# Models for others.


def test_the_average_can_be_put_into_another_model() -> None:
    method = EMA(half_life="1ba")
    run = run_of(method)
    train_to(run, 8.0)
    for _ in range(2):
        assert method.get_ema_model(line()).weight.tolist() == [[4.0]]
        assert method.get_training_model(line()).weight.tolist() == [[8.0]]
        method.show(run.state.model)
    method.hide(run.state.model)
    assert held(run) == 8.0


def test_another_model_gets_counters_too() -> None:
    method = EMA(half_life="1ba")
    model = nn.BatchNorm1d(2)
    run = run_of(method, model)
    model.num_batches_tracked.fill_(5)
    run.end_batch()
    assert method.get_ema_model(nn.BatchNorm1d(2)).num_batches_tracked.tolist() == 5


def test_the_runs_own_model_keeps_its_training_weights_aside() -> None:
    method = EMA(half_life="1ba")
    run = run_of(method)
    train_to(run, 8.0)
    assert method.get_ema_model(run.state.model) is run.state.model
    assert held(run) == 4.0
    method.get_training_model(run.state.model)
    assert held(run) == 8.0


def test_the_next_fit_takes_the_training_weights_back() -> None:
    method = EMA(half_life="1ba")
    run = run_of(method)
    train_to(run, 8.0)
    method.get_ema_model(run.state.model)
    run.run(Event.FIT_START)
    assert held(run) == 8.0


def test_training_on_the_average_is_refused() -> None:
    method = EMA(half_life="1ba")
    run = run_of(method)
    train_to(run, 8.0)
    method.get_ema_model(run.state.model)
    with pytest.raises(StateError, match="get_training_model"):
        run.end_batch()


def test_there_is_no_average_before_it_begins() -> None:
    with pytest.raises(StateError, match="no average yet"):
        EMA().get_ema_model(line())


# Copies and checkpoints.


def save(run: HandRun) -> tuple[dict, dict]:
    """What a checkpoint holds: the model's weights and the method's state, as they are then."""
    with evaluation_weights(run.state):
        saved = run.state.model.state_dict(), run.state.algorithms[0].state_dict()
        return pickle.loads(pickle.dumps(saved))


def resume(method: EMA, saved: tuple[dict, dict], model: nn.Module, batch: int) -> HandRun:
    run = HandRun(method, model)
    run.run(Event.INIT, Event.BEFORE_LOAD)
    model.load_state_dict(saved[0])
    method.load_state_dict(saved[1])
    run.state.timestamp = Timestamp(batch=batch)
    run.run(Event.AFTER_LOAD, Event.FIT_START)
    return run


def test_a_checkpoint_holds_the_average_and_the_training_weights() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    model, state = save(run)
    assert model["weight"].tolist() == [[4.0]]
    assert state["weights"]["weight"].tolist() == [[8.0]]
    assert held(run) == 8.0


def test_a_resumed_run_equals_one_that_was_not_interrupted() -> None:
    torch.manual_seed(0)
    model, batch = classifier(), image_batch()
    straight = HandRun(EMA(half_life="2ba"), model)
    straight.begin()
    for _ in range(3):
        straight.step(batch)
    saved = save(straight)
    resumed = resume(EMA(half_life="2ba"), saved, classifier(), batch=3)
    for run in (straight, resumed):
        run.step(batch)
    assert_same(straight.state.model, resumed.state.model)
    with evaluation_weights(straight.state), evaluation_weights(resumed.state):
        assert_same(straight.state.model, resumed.state.model)


def assert_same(a: nn.Module, b: nn.Module) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_from_outside_a_view_is_restored_too() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    saved = copy.deepcopy((run.state.model.state_dict(), run.state.algorithms[0].state_dict()))
    resumed = resume(EMA(half_life="1ba"), saved, line(), batch=1)
    assert held(resumed) == 8.0
    assert shown(resumed) == 4.0


def test_weights_alone_are_the_averaged_ones() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    model = line()
    model.load_state_dict(save(run)[0])
    assert model.weight.tolist() == [[4.0]]


def test_a_state_from_before_the_start_starts_when_due() -> None:
    run = run_of(EMA(half_life="1ba", ema_start="5ba"))
    train_to(run, 8.0)
    resumed = resume(EMA(half_life="1ba", ema_start="5ba"), save(run), line(), batch=1)
    assert not resumed.state.weight_view.is_ready
    assert held(resumed) == 8.0


def test_strict_loading_wants_weights() -> None:
    with pytest.raises(CheckpointError, match="no 'weights'"):
        EMA().load_state_dict({"repr": "EMA()"}, strict=True)


def old_state(active: bool, kept: float) -> dict:
    weights = {"weight": torch.tensor([[kept]])}
    return {
        "repr": "EMA()",
        "ema_weights_active": active,
        "ema_started": True,
        "ema_model": {"named_parameters_dict": weights, "named_buffers_dict": {}},
    }


def older_state(active: bool) -> dict:
    """Before 0.13: both sets."""
    return {
        "repr": "EMA()",
        "ema_weights_active": active,
        "ema_started": True,
        "ema_model": {"weight": torch.tensor([[4.0]])},
        "training_model": {"weight": torch.tensor([[8.0]])},
    }


@pytest.mark.parametrize(
    ("state", "in_model"),
    [
        (old_state(active=True, kept=8.0), 4.0),
        (old_state(active=False, kept=4.0), 8.0),
        (older_state(active=True), 4.0),
        (older_state(active=False), 8.0),
    ],
)
def test_states_of_older_versions_load(state: dict, in_model: float) -> None:
    run = resume(EMA(half_life="1ba"), (line(in_model).state_dict(), state), line(), batch=1)
    assert held(run) == 8.0
    assert shown(run) == 4.0


def test_a_copy_goes_its_own_way() -> None:
    run = run_of(EMA(half_life="1ba"))
    train_to(run, 8.0)
    model, method = copy.deepcopy((run.state.model, run.state.algorithms[0]))
    train_to(run, 100.0)
    method.show(model)
    assert model.weight.tolist() == [[4.0]]
    method.hide(model)
    assert model.weight.tolist() == [[8.0]]


def test_a_state_that_does_not_fit_the_model_is_refused() -> None:
    run = run_of(EMA(half_life="1ba"))
    saved = save(run)
    other = EMA(half_life="1ba")
    other.load_state_dict(saved[1])
    with pytest.raises(StateError, match="no 'weight'"):
        HandRun(other, nn.Sequential(line())).run(Event.AFTER_LOAD)


def test_the_older_names_of_its_flags_still_read() -> None:
    method = EMA(half_life="1ba")
    run = run_of(method)
    assert method.ema_started
    with evaluation_weights(run.state):
        assert method.ema_weights_active
    assert not method.ema_weights_active
