import copy

import pytest
import torch
from torch import nn

from composer.algorithms.lawa import LAWA
from composer.errors import ConfigError
from tests.algorithms._runs import HandRun
from tests.algorithms.test_ema import held, line, resume, run_of, save, shown, train_to


def test_evaluation_sees_the_mean_of_the_latest_weights() -> None:
    # Kaddour 2022, equation (1): the mean of the last k = 3.
    run = run_of(LAWA(num_latest=3, update_interval="1ba"))
    for value, mean in ((6.0, 6.0), (12.0, 9.0), (0.0, 6.0), (9.0, 7.0), (0.0, 3.0)):
        train_to(run, value)
        assert shown(run) == pytest.approx(mean)
        assert held(run) == value


def test_batches_between_do_not_count() -> None:
    run = run_of(LAWA(num_latest=2, update_interval="2ba"))
    train_to(run, 1.0, 4.0, 9.0, 8.0, 5.0)
    assert shown(run) == 6.0


def test_it_waits_for_its_start() -> None:
    run = run_of(LAWA(num_latest=4, update_interval="1ba", lawa_start="0.3dur"))
    train_to(run, 1.0, 2.0)
    assert shown(run) == held(run) == 2.0
    train_to(run, 3.0, 5.0)
    assert shown(run) == 4.0


def test_epochs_may_be_what_is_counted() -> None:
    run = run_of(LAWA(num_latest=2, update_interval="1ep"))
    train_to(run, 1.0, 2.0)
    assert shown(run) == 2.0  # no epoch has ended
    run.end_epoch()
    train_to(run, 7.0)
    assert shown(run) == 2.0


def test_no_more_sets_are_kept_than_are_averaged_and_their_memory_is_used_again() -> None:
    method = LAWA(num_latest=2, update_interval="1ba")
    run = run_of(method)
    train_to(run, 1.0, 2.0)
    kept = {each["weight"].data_ptr() for each in method._latest}
    train_to(run, 3.0, 4.0, 5.0)
    assert {each["weight"].data_ptr() for each in method._latest} == kept
    assert len(method._latest) == 2


def test_infinite_masks_stay_what_they_are() -> None:
    model = line()
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    run = run_of(LAWA(num_latest=2, update_interval="1ba"), model)
    train_to(run, 1.0, 3.0, 5.0)
    assert shown(run) == 4.0
    assert model.mask.tolist() == [0.0, -torch.inf]


def test_a_resumed_run_equals_one_that_was_not_interrupted() -> None:
    run = run_of(LAWA(num_latest=3, update_interval="1ba"))
    train_to(run, 1.0, 2.0)
    again = resume(LAWA(num_latest=3, update_interval="1ba"), save(run), line(0.0), 2)
    assert held(again) == 2.0
    for value in (6.0, 10.0, 5.0):
        train_to(run, value)
        train_to(again, value)
        assert shown(again) == shown(run)
        assert held(again) == held(run)


def test_a_second_run_begins_afresh() -> None:
    method = LAWA(num_latest=3, update_interval="1ba")
    train_to(run_of(method), 100.0)
    second = run_of(method)
    train_to(second, 1.0, 3.0)
    assert shown(second) == 2.0


def test_a_copy_goes_its_own_way() -> None:
    method = LAWA(num_latest=2, update_interval="1ba")
    run = run_of(method)
    train_to(run, 1.0, 3.0)
    other = copy.deepcopy(method)
    train_to(run, 50.0)
    model = line(0.0)
    other.get_averaged_model(model)
    assert model.weight.item() == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_latest": 1}, "num_latest"),
        ({"update_interval": "0ba"}, "update_interval"),
        ({"update_interval": "5tok"}, "update_interval"),
        ({"lawa_start": "5tok"}, "lawa_start"),
        ({"lawa_start": "1.5dur"}, "lawa_start"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LAWA(**arguments)


def test_a_model_that_only_counts_has_no_average() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.requires_grad_(False)
    method = LAWA(num_latest=2, update_interval="1ba")
    run = HandRun(method, nn.Sequential(model, line()))
    run.begin()
    run.end_batch()
    assert list(method._latest[0]) == ["1.weight"]
