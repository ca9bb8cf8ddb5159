import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from composer.algorithms.ema import EMA
from composer.algorithms.swa import SWA
from composer.checkpoint.load_run import read_checkpoint
from composer.core.event import Event
from composer.core.weight_view import evaluation_weights
from composer.distributed.comm import get_sampler
from composer.errors import ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer
from composer.utils.warnings import NoEffectWarning
from tests._dist import run_ranks
from tests.algorithms._runs import HandRun


def line(value: float = 0.0) -> nn.Module:
    """One weight."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def run_of(max_duration: str = "10ba", **arguments: Any) -> HandRun:
    given = {"swa_start": "0.3dur", "swa_end": "0.8dur", "update_interval": "1ba"}
    run = HandRun(SWA(**{**given, **arguments}), line(), max_duration=max_duration)
    run.begin()
    return run


def train_to(run: HandRun, *values: float) -> None:
    """Batches after which the weight has these values."""
    for value in values:
        nn.init.constant_(run.state.model.weight, value)
        run.end_batch()


def held(run: HandRun) -> float:
    return run.state.model.weight.item()


def shown(run: HandRun) -> float:
    with evaluation_weights(run.state):
        return held(run)


def rate(run: HandRun) -> float:
    return run.state.optimizers[0].param_groups[0]["lr"]


# The average.


def test_the_weights_between_start_and_end_are_averaged_alike() -> None:
    # Izmailov et al. 2018, algorithm 1: w_swa = (w_swa * n + w) / (n + 1).
    run = run_of()
    train_to(run, 100.0, 100.0)
    # At batches 3, 4, 5: (1 + 2 + 6) / 3.
    train_to(run, 1.0, 2.0, 6.0)
    assert shown(run) == pytest.approx(3.0)
    assert held(run) == 6.0


def test_at_the_end_the_average_becomes_the_model() -> None:
    run = run_of()
    train_to(run, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    train_to(run, 7.0)
    assert held(run) == pytest.approx(3.0)
    train_to(run, 8.0)
    assert shown(run) == held(run) == 8.0


def test_a_longer_interval_leaves_weights_out() -> None:
    run = run_of(update_interval="2ba")
    train_to(run, 9.0, 9.0, 1.0, 100.0, 3.0, 100.0)
    assert shown(run) == pytest.approx(2.0)


def test_epochs_are_counted_too() -> None:
    run = run_of("10ep", swa_start="2ep", swa_end="4ep", update_interval="1ep")
    for value in (9.0, 1.0, 3.0):
        train_to(run, value)
        run.end_epoch()
    assert shown(run) == pytest.approx(2.0)
    train_to(run, 5.0)
    run.end_epoch()
    assert held(run) == pytest.approx(2.0)


def test_before_it_begins_evaluation_sees_the_training_weights() -> None:
    run = run_of()
    train_to(run, 5.0)
    assert shown(run) == 5.0


def test_running_statistics_are_averaged_too() -> None:
    run = HandRun(SWA("0.1dur", "0.9dur", "1ba"), nn.BatchNorm1d(1), max_duration="10ba")
    run.begin()
    for value in (2.0, 4.0):
        run.state.model.running_mean.fill_(value)
        run.end_batch()
    with evaluation_weights(run.state):
        assert run.state.model.running_mean.item() == pytest.approx(3.0)


def test_a_run_too_short_to_average_anything_is_told() -> None:
    run = run_of("2ep", swa_start="0.6dur", swa_end="0.9dur", update_interval="1ep")
    run.end_epoch()
    with pytest.warns(NoEffectWarning, match="SWA averaged nothing"):
        run.end_epoch()


def test_a_longer_run_averages_again() -> None:
    run = run_of()
    train_to(run, *[1.0] * 10)
    run.state.max_duration = "40ba"
    run.run(Event.FIT_START)
    train_to(run, 5.0)
    assert shown(run) == 5.0
    train_to(run, 5.0, 3.0, 7.0)
    assert shown(run) == pytest.approx(5.0)


# Learning rates.


@pytest.mark.parametrize(
    ("strategy", "expected"),
    # From 0.1 to 0.5 in four steps; by cosine the shares are 0.146, 0.5, 0.854, 1.
    [("linear", [0.2, 0.3, 0.4, 0.5, 0.5]), ("cos", [0.1586, 0.3, 0.4414, 0.5, 0.5])],
)
def test_rates_go_to_their_target_while_weights_are_averaged(
    strategy: str, expected: list[float]
) -> None:
    run = run_of(schedule_swa_lr=True, anneal_strategy=strategy, anneal_steps=4, swa_lr=0.5)
    train_to(run, 1.0, 1.0)
    assert rate(run) == 0.1
    seen = []
    for _ in range(5):
        # A schedule that sets its own rate in each batch, before the event.
        run.state.optimizers[0].param_groups[0]["lr"] = 0.1
        train_to(run, 1.0)
        seen.append(rate(run))
    assert seen == pytest.approx(expected, abs=1e-3)
    run.state.optimizers[0].param_groups[0]["lr"] = 0.1
    train_to(run, 1.0)
    assert rate(run) == 0.1


def test_without_a_target_the_rate_stays_as_it_is_when_averaging_begins() -> None:
    run = run_of(schedule_swa_lr=True)
    train_to(run, 1.0, 1.0, 1.0)
    run.state.optimizers[0].param_groups[0]["lr"] = 0.01
    train_to(run, 1.0)
    assert rate(run) == 0.1


def test_with_an_interval_in_epochs_each_batch_keeps_the_rate() -> None:
    run = run_of(
        "4ep", swa_start="1ep", swa_end="3ep", update_interval="1ep",
        schedule_swa_lr=True, anneal_steps=1, swa_lr=0.7,
    )  # fmt: skip
    run.end_epoch()
    run.state.optimizers[0].param_groups[0]["lr"] = 0.1
    train_to(run, 1.0)
    assert rate(run) == 0.7


# Going on.


def test_a_resumed_run_goes_on_with_average_weights_and_rates() -> None:
    arguments = {"schedule_swa_lr": True, "anneal_steps": 10, "swa_lr": 0.5}
    run = run_of(**arguments)
    train_to(run, 9.0, 9.0, 1.0, 2.0)
    with evaluation_weights(run.state):
        model = copy.deepcopy(run.state.model.state_dict())
        saved = copy.deepcopy(run.state.algorithms[0].state_dict())
    again = HandRun(SWA("0.3dur", "0.8dur", "1ba", **arguments), line(), max_duration="10ba")
    again.run(Event.INIT, Event.BEFORE_LOAD)
    again.state.model.load_state_dict(model)
    again.state.algorithms[0].load_state_dict(saved)
    again.state.timestamp = run.state.timestamp
    again.run(Event.AFTER_LOAD, Event.FIT_START)
    assert held(again) == 2.0
    assert rate(again) == rate(run)
    for each in (run, again):
        train_to(each, 6.0)
    assert shown(again) == shown(run) == pytest.approx(3.0)
    assert rate(again) == rate(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"swa_start": "10ba"}, "swa_start='10ba'"),
        ({"swa_start": "0.9dur", "swa_end": "0.8dur"}, "must be before"),
        ({"swa_end": "1.5dur"}, "swa_end=1.5"),
        ({"update_interval": "0.1dur"}, "update_interval='0.1dur'"),
        ({"anneal_strategy": "step"}, "anneal_strategy='step'"),
        ({"anneal_steps": -1}, "anneal_steps=-1"),
        ({"swa_lr": -0.1}, "swa_lr=-0.1"),
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SWA(**arguments)


def test_two_averages_of_one_model_are_refused() -> None:
    run = HandRun([SWA(), EMA()], line())
    with pytest.raises(ConfigError, match="EMA and SWA both replace"):
        run.run(Event.INIT)


def test_averaging_does_not_touch_gradients_or_the_optimizers_tensors() -> None:
    run = run_of()
    weight = run.state.model.weight
    train_to(run, *[1.0] * 9)
    assert run.state.optimizers[0].param_groups[0]["params"][0] is weight
    assert torch.equal(weight, torch.ones(1, 1))


# Ranks.


def trainer(max_duration: str, **keywords: Any) -> Trainer:
    torch.manual_seed(0)
    model = ComposerClassifier(nn.Linear(3, 2), num_classes=2)
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.rand(16, 3, generator=generator), torch.arange(16) % 2)
    return Trainer(
        model=model,
        algorithms=SWA("0.25dur", "0.9dur", "1ba"),
        optimizers=torch.optim.SGD(model.parameters(), lr=0.5),
        train_dataloader=DataLoader(data, 2, sampler=get_sampler(data)),
        max_duration=max_duration,
        progress_bar=False,
        **keywords,
    )


def train_and_save(folder: str) -> list[float]:
    run = trainer("8ba", save_folder=folder, save_filename="ba{batch}.pt", save_interval="4ba")
    run.fit()
    return run.state.model.module.weight.flatten().tolist()


def resume(path: str) -> list[float]:
    run = trainer("8ba", load_path=path)
    run.fit()
    return run.state.model.module.weight.flatten().tolist()


def test_a_checkpoint_of_two_ranks_goes_on_with_two_and_with_one(tmp_path: Path) -> None:
    straight = run_ranks(2, train_and_save, str(tmp_path))
    path = str(tmp_path / "ba4.pt")
    assert run_ranks(2, resume, path) == straight
    with pytest.warns(UserWarning, match="written by 2 ranks"):
        alone = trainer("8ba", load_path=path)
    saved = read_checkpoint(path)["state"]
    (_, own), *_ = saved["algorithms"]
    # The file's model is the average, the method's own state has the training weights.
    for name, value in alone.state.model.state_dict().items():
        assert torch.equal(value, own["weights"][name])
    with evaluation_weights(alone.state):
        for name, value in alone.state.model.state_dict().items():
            assert torch.equal(value, saved["model"][name])
