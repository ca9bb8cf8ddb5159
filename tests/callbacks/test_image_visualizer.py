"""Which images are shown, and with which masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from composer.callbacks.image_visualizer import ImageVisualizer
from composer.core.logger_destination import LoggerDestination
from composer.errors import ConfigError, DataError
from composer.models.base import ComposerModel
from tests.trainer._runs import make_trainer, sgd


class Images(LoggerDestination):
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def log_images(
        self, images: Any, name: str = "Images", channels_last: bool = False,
        step: int | None = None, masks: Any = None, mask_class_labels: Any = None,
        use_table: bool = True,
    ) -> None:  # fmt: skip
        self.seen.append({"images": images, "name": name, "step": step, "masks": masks})

    def steps(self, name: str) -> list[int]:
        return [each["step"] for each in self.seen if each["name"] == name]


class Segmenter(ComposerModel):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, batch: Any) -> torch.Tensor:
        return self.conv(batch[0])

    def loss(self, outputs: torch.Tensor, batch: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, batch[1], ignore_index=-1)


PICTURES = torch.randn(16, 3, 5, 6)
TARGETS = torch.randint(-1, 4, (16, 5, 6))


def run(visualizer: ImageVisualizer, **arguments: Any) -> Images:
    seen, model = Images(), Segmenter()
    data = DataLoader(TensorDataset(PICTURES, TARGETS), batch_size=4)
    make_trainer(
        model=model, optimizers=sgd(model), train_dataloader=data, eval_dataloader=data,
        callbacks=visualizer, loggers=seen, **arguments,
    ).fit()  # fmt: skip
    return seen


def test_training_batches_are_shown_at_intervals_and_the_first_of_each_evaluation() -> None:
    seen = run(ImageVisualizer("2ba", num_images=3), max_duration="2ep")
    assert seen.steps("Images/Train") == [0, 2, 4, 6]
    assert seen.steps("Images/Eval") == [4, 8]
    assert torch.equal(seen.seen[0]["images"], PICTURES[:3])


def test_a_batch_of_several_microbatches_is_shown_once() -> None:
    seen = run(ImageVisualizer("1ep"), device_train_microbatch_size=1)
    assert seen.steps("Images/Train") == [0]


def test_segmentation_shows_predictions_and_targets() -> None:
    seen = run(ImageVisualizer("3ba", mode="segmentation", num_images=2))
    assert seen.steps("Images/Train") == [0, 3]
    assert seen.steps("Images/Eval") == [4]
    masks = seen.seen[0]["masks"]
    assert masks["pred"].shape == masks["targets"].shape == (2, 5, 6)
    assert torch.equal(masks["targets"][TARGETS[:2] < 0].unique(), torch.tensor([4]))


def test_segmentation_needs_outputs_per_pixel() -> None:
    visualizer = ImageVisualizer("1ba", mode="segmentation")
    with pytest.raises(DataError, match=r"\(4, 3\)"):
        make_trainer(callbacks=visualizer, loggers=Images()).fit()


@pytest.mark.parametrize(
    "arguments", [{"mode": "video"}, {"num_images": 0}, {"interval": "3sp"}, {"interval": "x"}]
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ImageVisualizer(**arguments)
