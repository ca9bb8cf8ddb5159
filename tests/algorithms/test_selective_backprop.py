from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.algorithms.selective_backprop import (
    SelectiveBackprop,
    select_using_loss,
    should_selective_backprop,
)
from composer.core.event import Event
from composer.core.passes import sort_by_order
from composer.errors import ConfigError, DataError
from composer.models.base import ComposerModel
from composer.models.tasks.classification import ComposerClassifier
from tests.algorithms._runs import HandRun, classifier, image_batch


def own_value(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """A loss that is the input itself."""
    assert reduction == "none"
    return outputs.flatten(1).mean(1)


def identity(inputs: Tensor) -> Tensor:
    return inputs


# The functions.


@pytest.mark.parametrize(
    ("elapsed", "index", "interrupt", "expected"),
    [
        (0.49, 0, 2, False),
        (0.5, 0, 2, True),
        (0.5, 1, 2, False),
        (0.5, 2, 2, True),
        (0.5, 1, 0, True),
        (0.5, 2, 3, False),
        (0.89, 0, 2, True),
        (0.9, 0, 2, False),
    ],
)
def test_it_is_due_between_start_and_end_and_not_on_every_nth_batch(
    elapsed: float, index: int, interrupt: int, expected: bool
) -> None:
    assert should_selective_backprop(elapsed, index, 0.5, 0.9, interrupt) is expected


def test_the_chance_of_a_sample_follows_the_rank_of_its_loss() -> None:
    # Jiang et al. 2019, section 3.2: the chance is the percentile to the power 1 / keep - 1.
    # keep = 1/3: chances are percentiles squared, (1/6)^2, (3/6)^2, (5/6)^2, i.e. 1 : 9 : 25.
    torch.manual_seed(0)
    losses = torch.tensor([[7.0], [0.1], [0.5]])
    counts = torch.zeros(3)
    for _ in range(3500):
        chosen, _ = select_using_loss(
            losses, torch.arange(3), identity, own_value, keep=1 / 3 + 1e-9
        )
        counts += (losses == chosen).flatten()
    # Standard errors are at most sqrt(0.25 / 3500) = 0.0085.
    assert (counts / 3500).tolist() == pytest.approx([25 / 35, 1 / 35, 9 / 35], abs=0.035)


def test_samples_are_drawn_without_repetition_and_keep_their_targets() -> None:
    inputs, targets = torch.rand(8, 2), torch.arange(8)
    chosen, kept = select_using_loss(inputs, targets, identity, own_value, keep=0.5)
    assert len(set(kept.tolist())) == 4
    assert torch.equal(chosen, inputs[kept])


def test_keeping_all_returns_each_sample_once() -> None:
    _, kept = select_using_loss(torch.rand(5, 2), torch.arange(5), identity, own_value, keep=1.0)
    assert sorted(kept.tolist()) == [0, 1, 2, 3, 4]


def test_images_are_judged_at_the_scaled_size_and_returned_at_their_own() -> None:
    images, labels = image_batch(4)
    sizes = []

    def model(inputs: Tensor) -> Tensor:
        sizes.append(tuple(inputs.shape))
        return inputs.flatten(1).mean(1, keepdim=True)

    chosen, _ = select_using_loss(images, labels, model, own_value, 0.5, scale_factor=0.5)
    assert sizes == [(4, 3, 8, 8)]
    assert chosen.shape == (2, 3, 16, 16)


def test_a_loss_that_is_a_mean_already_is_refused() -> None:
    with pytest.raises(DataError, match="loss of each of 4 samples"):
        select_using_loss(
            torch.rand(4, 1), torch.arange(4), identity, lambda o, t, reduction: o.mean()
        )


def test_only_images_can_be_scaled() -> None:
    with pytest.raises(DataError, match="scale_factor="):
        select_using_loss(torch.rand(4, 1), torch.arange(4), identity, own_value, 0.5, 0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"keep": 0},
        {"keep": 1.1},
        {"scale_factor": 0},
        {"start": 0.9, "end": 0.5},
        {"interrupt": -1},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        SelectiveBackprop(**arguments)


# The method.


def due(method: SelectiveBackprop, model: nn.Module | None = None) -> HandRun:
    """A run half of which is over."""
    run = HandRun(method, model or classifier(), max_duration="10ba")
    run.begin()
    for _ in range(5):
        run.end_batch()
    run.state.timestamp = run.state.timestamp.copy(batch_in_epoch=0)
    return run


def test_a_batch_is_thinned_out_when_it_is_due() -> None:
    run = due(SelectiveBackprop(start=0.5, keep=0.5))
    images, labels = image_batch(8, num_classes=8)
    run.state.batch = (images, labels % 4)
    run.run(Event.AFTER_DATALOADER)
    inputs, targets = run.state.batch
    assert len(inputs) == len(targets) == 4
    for image, target in zip(inputs, targets, strict=True):
        (number,) = [n for n in range(8) if torch.equal(image, images[n])]
        assert target == number % 4


def test_batches_as_mappings_are_thinned_out_too() -> None:
    class Named(ComposerClassifier):
        def forward(self, batch: Any) -> Tensor:
            return super().forward((batch["image"], batch["label"]))

        def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Tensor:
            return super().loss(outputs, (batch["image"], batch["label"]), *args, **kwargs)

    model = Named(classifier().module, num_classes=4)
    run = due(SelectiveBackprop(input_key="image", target_key="label", scale_factor=0.5), model)
    images, labels = image_batch(8)
    run.state.batch = {"image": images, "label": labels}
    run.run(Event.AFTER_DATALOADER)
    assert run.state.batch["image"].shape == (4, 3, 16, 16)
    assert run.state.batch["label"].shape == (4,)


def test_judging_leaves_no_trace_in_the_model() -> None:
    model = classifier(
        nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(), nn.Linear(768, 4))
    )
    run = due(SelectiveBackprop(), model)
    run.state.batch = image_batch(8)
    run.run(Event.AFTER_DATALOADER)
    assert model.module[0].num_batches_tracked == 0
    assert model.training
    assert model.module[3].weight.grad is None


def test_judging_is_cut_into_microbatches() -> None:
    run = due(SelectiveBackprop())
    run.state.device_train_microbatch_size = 3
    sizes: list[int] = []
    run.state.model.module.register_forward_hook(lambda m, args, out: sizes.append(len(out)))
    run.state.batch = image_batch(8)
    run.run(Event.AFTER_DATALOADER)
    assert sizes == [3, 3, 2]
    assert len(run.state.batch[0]) == 4


def test_a_loss_without_reduction_is_refused_at_the_start() -> None:
    class Mean(ComposerModel):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(1, 1)

        def forward(self, batch: Any) -> Tensor:
            return self.line(batch[0])

        def loss(self, outputs: Tensor, batch: Any) -> Tensor:  # pyright: ignore
            return F.mse_loss(outputs, batch[1])

    with pytest.raises(ConfigError, match=r"Mean\.loss take reduction='none'"):
        HandRun(SelectiveBackprop(), Mean()).begin()


def test_it_judges_samples_as_other_methods_leave_them() -> None:
    from composer.algorithms.progressive_resizing import ProgressiveResizing
    from composer.core.passes import set_filo_order

    methods = [ProgressiveResizing(), SelectiveBackprop()]
    ordered = set_filo_order(sort_by_order(methods, Event.AFTER_DATALOADER), Event.AFTER_DATALOADER)
    assert [type(each).__name__ for each in ordered] == ["ProgressiveResizing", "SelectiveBackprop"]
