import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from composer.algorithms.layer_freezing import LayerFreezing, freeze_layers
from composer.errors import ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer
from tests.algorithms._runs import HandRun


def five_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 3),
        nn.ReLU(),
        nn.Linear(3, 3),
        nn.BatchNorm1d(3),
        nn.Linear(3, 3),
        nn.Linear(3, 2),
    )


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.named_parameters(), lr=0.01)


def frozen(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


# The function.


@pytest.mark.parametrize(
    ("elapsed", "depth", "share"),
    # share = level * (d - start) / (1 - start), of the four layers before the last.
    [(0.0, 0, 0.0), (0.5, 0, 0.0), (0.6, 0, 0.2), (0.75, 2, 0.5), (0.9, 3, 0.8), (1.0, 4, 1.0)],
)
def test_layers_are_frozen_from_the_first_on(elapsed: float, depth: int, share: float) -> None:
    # From the bottom up, as in Raghu et al. 2017:
    # depth = int(level * (elapsed - start) / (1 - start) * (layers - 1)).
    model = five_layers()
    optimizer = adam(model)
    got = freeze_layers(model, optimizer, elapsed)
    assert got == (depth, pytest.approx(share))
    expected = ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"][: 2 * depth]
    assert frozen(model)[:6] == expected
    left = optimizer.param_groups[0]["params"]
    assert all(any(p is each for each in left) == p.requires_grad for p in model.parameters())


def test_a_lower_level_freezes_less() -> None:
    assert freeze_layers(five_layers(), [], 1.0, freeze_level=0.5) == (2, 0.5)


def test_the_optimizer_forgets_what_is_frozen() -> None:
    model = five_layers()
    optimizer = adam(model)
    model(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    freeze_layers(model, optimizer, 0.75)
    assert model[0].weight not in optimizer.state
    assert model[4].weight in optimizer.state
    assert model[0].weight.grad is None
    assert optimizer.param_groups[0]["param_names"][0] == "3.weight"


def test_a_weight_that_a_later_layer_uses_trains_on() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    freeze_layers(model, adam(model), 1.0)
    assert frozen(model) == ["0.bias", "1.weight", "1.bias"]


def test_calling_again_changes_nothing_more() -> None:
    model = five_layers()
    optimizer = adam(model)
    assert freeze_layers(model, optimizer, 0.75) == freeze_layers(model, optimizer, 0.75)
    assert len(optimizer.param_groups[0]["params"]) == 6


@pytest.mark.parametrize("arguments", [{"freeze_start": -0.1}, {"freeze_level": 1.5}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        LayerFreezing(**arguments)


# The method.


def trainer(max_duration: str = "4ep", **keywords: Any) -> Trainer:
    model = ComposerClassifier(five_layers(), num_classes=2)
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.rand(8, 3, generator=generator), torch.arange(8) % 2)
    return Trainer(
        model=model,
        algorithms=LayerFreezing(freeze_start=0.0),
        optimizers=adam(model),
        train_dataloader=DataLoader(data, 4),
        max_duration=max_duration,
        progress_bar=False,
        **keywords,
    )


def test_the_share_is_logged_at_the_ends_of_epochs() -> None:
    run = HandRun(
        LayerFreezing(freeze_start=0.0), ComposerClassifier(five_layers(), 2), max_duration="4ep"
    )
    run.begin()
    run.end_epoch()
    run.logger.flush()
    assert run.memory.metrics == [
        {"layer_freezing/layers_frozen": 1, "layer_freezing/percentage_frozen": 0.25}
    ]


def test_frozen_layers_stay_as_they_are() -> None:
    run = trainer("4ep")
    run.fit(duration="3ep")
    before = copy.deepcopy(run.state.model.state_dict())
    assert frozen(run.state.model)[:2] == ["module.0.weight", "module.0.bias"]
    run.fit(duration="1ep")
    after = run.state.model.state_dict()
    assert not torch.equal(after["module.5.weight"], before["module.5.weight"])


def test_a_longer_run_lets_layers_train_again() -> None:
    run = trainer("1ep")
    run.fit()
    model, optimizer = run.state.model, run.state.optimizers[0]
    assert len(frozen(model)) == 8
    first = model.module[0].weight
    before = first.detach().clone()
    run.fit(duration="9ep")
    # In the first of ten epochs nothing is frozen, at the end all but the last layer is again.
    assert not torch.equal(first, before)
    assert len(frozen(model)) == 8
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_what_the_user_froze_stays_frozen() -> None:
    run = trainer("1ep")
    run.state.model.module[0].weight.requires_grad = False
    run.fit()
    run.fit(duration="9ep")
    assert not run.state.model.module[0].weight.requires_grad


def test_a_resumed_run_has_the_same_layers_frozen(tmp_path: Path) -> None:
    straight = trainer(save_folder=str(tmp_path), save_filename="ep{epoch}.pt")
    straight.fit()
    resumed = trainer(load_path=str(tmp_path / "ep2.pt"))
    assert len(resumed.state.optimizers[0].param_groups[0]["params"]) == 6
    resumed.fit()
    assert frozen(resumed.state.model) == frozen(straight.state.model)
    for left, right in zip(
        straight.state.model.parameters(), resumed.state.model.parameters(), strict=True
    ):
        assert torch.equal(left, right)
