from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from composer.algorithms.ema import EMA
from composer.algorithms.whitening import Whitening, apply_whitening
from composer.core.event import Event
from composer.errors import ConfigError, DataError, StateError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer
from composer.utils.warnings import NoEffectWarning


def smooth_images(number: int = 64, seed: int = 0, channels: int = 3) -> torch.Tensor:
    """Images whose neighbouring pixels and whose channels are alike, as in photographs."""
    noise = torch.randn(number, channels, 10, 10, generator=torch.Generator().manual_seed(seed))
    blurred = nn.functional.avg_pool2d(noise, 3, stride=1)
    return blurred + blurred.mean(1, keepdim=True) + 0.5


def outputs_of(conv: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """What the convolution gives for each patch: filters in rows."""
    return conv(images).transpose(0, 1).flatten(1).detach()


def test_outputs_have_unit_variance_no_correlation_and_with_a_bias_no_mean() -> None:
    images, conv = smooth_images(), nn.Conv2d(3, 24, 2)
    apply_whitening(nn.Sequential(conv), images, eps=1e-9)
    first = outputs_of(conv, images)[:12]
    torch.testing.assert_close(torch.cov(first), torch.eye(12), atol=1e-3, rtol=0)
    assert first.mean(1).abs().max() < 1e-4


def test_every_filter_is_there_with_either_sign() -> None:
    conv = nn.Conv2d(3, 24, 2)
    apply_whitening(nn.Sequential(conv), smooth_images())
    torch.testing.assert_close(conv.weight[12:], -conv.weight[:12])
    torch.testing.assert_close(conv.bias[12:], -conv.bias[:12])


def test_with_few_filters_the_directions_of_most_variance_are_kept() -> None:
    images, few, all_of_them = smooth_images(), nn.Conv2d(3, 6, 2), nn.Conv2d(3, 24, 2)
    for conv in (few, all_of_them):
        apply_whitening(nn.Sequential(conv), images)
    torch.testing.assert_close(few.weight[:3], all_of_them.weight[:3])
    # A filter is a direction over the root of its variance: the longer, the less variance.
    lengths = all_of_them.weight[:12].flatten(1).norm(dim=1)
    assert (lengths.diff() > 0).all()


def test_filters_beyond_the_directions_keep_their_weights() -> None:
    conv = nn.Conv2d(3, 27, 2)
    before = conv.weight.detach().clone()
    apply_whitening(nn.Sequential(conv), smooth_images())
    assert torch.equal(conv.weight[24:], before[24:])
    assert not torch.equal(conv.weight[:24], before[:24])


def test_a_direction_without_variance_is_not_blown_up() -> None:
    conv = nn.Conv2d(3, 24, 2)
    apply_whitening(nn.Sequential(conv), torch.ones(4, 3, 8, 8), eps=0.01)
    assert conv.weight.abs().max() <= 10.001  # 1 / sqrt(0.01)


def test_patches_are_those_of_a_dilated_kernel() -> None:
    images, conv = smooth_images(), nn.Conv2d(3, 24, 2, dilation=3)
    apply_whitening(nn.Sequential(conv), images, eps=1e-9)
    torch.testing.assert_close(
        torch.cov(outputs_of(conv, images)[:12]), torch.eye(12), atol=1e-3, rtol=0
    )


def test_of_many_patches_a_part_is_enough() -> None:
    whole = torch.randn(2, 1, 700, 700, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    whole = (whole - whole.mean()) / whole.std()
    conv = nn.Conv2d(1, 8, 2)
    apply_whitening(nn.Sequential(conv), whole, eps=1e-9)
    found = torch.cov(outputs_of(conv, whole)[:4])
    torch.testing.assert_close(found, torch.eye(4), atol=0.05, rtol=0)


def test_a_computed_weight_is_set_through_what_it_is_computed_from() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    plain, computed = nn.Conv2d(3, 24, 2), nn.Conv2d(3, 24, 2)
    nn.utils.parametrize.register_parametrization(computed, "weight", Doubled())
    for conv in (plain, computed):
        apply_whitening(nn.Sequential(conv), smooth_images())
    torch.testing.assert_close(computed.weight, 2 * plain.weight)
    assert not any(p.requires_grad for n, p in computed.named_parameters() if "weight" in n)


def test_what_normalises_the_outputs_is_frozen_where_that_is_asked_for() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 24, 2), nn.BatchNorm2d(24)), nn.ReLU(), nn.BatchNorm2d(24)
    )
    apply_whitening(model, smooth_images(), freeze_norm=True)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "0.0.bias", "2.weight", "2.bias",
    ]  # fmt: skip


def test_nothing_more_is_frozen_by_default() -> None:
    model = nn.Sequential(nn.Conv2d(3, 24, 2, bias=False), nn.BatchNorm2d(24))
    apply_whitening(model, smooth_images())
    assert all(p.requires_grad for p in model[1].parameters())


def test_a_warning_says_that_no_normalisation_follows() -> None:
    model = nn.Sequential(nn.Conv2d(3, 24, 2), nn.ReLU(), nn.BatchNorm2d(24))
    with pytest.warns(NoEffectWarning, match="a normalisation after the first"):
        apply_whitening(model, smooth_images(), freeze_norm=True)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 1, 8, 8),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8),
        torch.zeros(2, 3, 2, 8),
    ],
    ids=["channels", "bytes", "one image", "too small"],
)
def test_images_that_do_not_fit_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(DataError, match="Whitening"):
        apply_whitening(nn.Sequential(nn.Conv2d(3, 8, 3)), images)


def test_a_grouped_convolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="groups"):
        apply_whitening(nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)), torch.zeros(2, 4, 8, 8))


def test_sharded_weights_are_refused() -> None:
    conv = nn.Conv2d(3, 8, 3)
    conv.weight.device_mesh = None
    with pytest.raises(StateError, match="sharded"):
        apply_whitening(nn.Sequential(conv), smooth_images())


@pytest.mark.parametrize("eps", [0.0, -1.0])
def test_eps_must_be_positive(eps: float) -> None:
    with pytest.raises(ConfigError, match="eps"):
        Whitening(eps=eps)
    with pytest.raises(ConfigError, match="eps"):
        apply_whitening(nn.Sequential(nn.Conv2d(3, 8, 3)), smooth_images(), eps=eps)


def test_a_model_without_convolutions_is_left_as_it_is() -> None:
    with pytest.warns(NoEffectWarning, match="Conv2d"):
        apply_whitening(nn.Sequential(nn.Linear(3, 3)), smooth_images())


# In a run.


def make_model() -> ComposerClassifier:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 24, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4)
    )
    return ComposerClassifier(layers, num_classes=4)


def make_trainer(model: ComposerClassifier, **keywords: object) -> Trainer:
    data = TensorDataset(smooth_images(32), torch.arange(32) % 4)
    keywords.setdefault("algorithms", Whitening())
    return Trainer(
        model=model,
        train_dataloader=DataLoader(data, 8, shuffle=True, generator=torch.Generator()),
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1),
        max_duration="2ep",
        progress_bar=False,
        seed=1,
        **keywords,
    )


def test_a_run_sets_the_filters_from_its_first_batch_and_leaves_them_alone() -> None:
    model = make_model()
    trainer = make_trainer(model)
    conv = model.module[0]
    assert not conv.weight.requires_grad
    trainer.fit(duration="1ba")
    filters = conv.weight.detach().clone()
    trainer.fit(duration="7ba")
    assert torch.equal(conv.weight, filters)
    trainer.close()


def test_filters_are_those_of_the_first_batch() -> None:
    model, alone = make_model(), make_model()
    trainer = make_trainer(model)
    seen: list[torch.Tensor] = []
    model.module[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    trainer.fit(duration="1ba")
    trainer.close()
    apply_whitening(alone, seen[0])
    assert torch.equal(model.module[0].weight, alone.module[0].weight)


def test_a_resumed_run_keeps_the_filters_of_the_checkpoint(tmp_path: Path) -> None:
    folder = {"save_folder": str(tmp_path), "save_interval": "3ba", "save_overwrite": True}
    whole = make_model()
    trainer = make_trainer(whole, **folder)
    trainer.fit()
    trainer.close()
    again = make_model()
    trainer = make_trainer(again, load_path=str(tmp_path / "ep0-ba3-rank0.pt"))
    trainer.fit()
    trainer.close()
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def test_a_run_under_way_is_not_whitened(tmp_path: Path) -> None:
    trainer = make_trainer(
        make_model(), algorithms=[], save_folder=str(tmp_path), save_interval="3ba"
    )
    trainer.fit()
    trainer.close()
    model = make_model()
    with pytest.warns(UserWarning, match="starts afresh"):
        trainer = make_trainer(model, load_path=str(tmp_path / "ep0-ba3-rank0.pt"))
    filters = model.module[0].weight.detach().clone()
    with pytest.warns(NoEffectWarning, match="too late"):
        trainer.fit()
    trainer.close()
    assert torch.equal(model.module[0].weight, filters)


def test_an_average_of_the_weights_leaves_the_filters_alone() -> None:
    model = make_model()
    average = EMA(half_life="1ba")
    trainer = make_trainer(model, algorithms=[Whitening(), average])
    trainer.fit()
    filters = model.module[0].weight.detach().clone()
    average.get_averaged_model(model)
    assert torch.equal(model.module[0].weight, filters)
    average.get_training_model(model)
    trainer.close()


def test_after_the_first_batch_it_is_not_called() -> None:
    method = Whitening()
    trainer = make_trainer(make_model(), algorithms=method)
    assert method.match(Event.BATCH_START, trainer.state)
    trainer.fit(duration="1ba")
    assert not method.match(Event.BATCH_START, trainer.state)
    trainer.close()


def test_the_method_serves_one_run_after_another() -> None:
    method, filters = Whitening(), []
    for _ in range(2):
        model = make_model()
        trainer = make_trainer(model, algorithms=method)
        trainer.fit(duration="1ba")
        trainer.close()
        filters.append(model.module[0].weight.detach())
    assert torch.equal(*filters)
