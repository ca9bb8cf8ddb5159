import copy
import pickle
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from composer.algorithms.randaugment import RandAugment, RandAugmentTransform, randaugment_image
from composer.algorithms.utils.augmentation_primitives import augmentation_sets
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from composer.trainer.trainer import Trainer
from composer.utils.vision import TransformChain
from tests.algorithms._runs import HandRun, classifier, image_batch

Image = pytest.importorskip("PIL.Image")


def picture() -> Any:
    pixels = torch.rand(12 * 16 * 3, generator=torch.Generator().manual_seed(1)) * 255
    return Image.frombytes("RGB", (16, 12), bytes(pixels.to(torch.uint8).tolist()))


@pytest.mark.parametrize("name", augmentation_sets)
def test_images_of_all_kinds_keep_kind_size_and_range(name: str) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        assert randaugment_image(picture(), augmentation_set=name).size == (16, 12)
        image = randaugment_image(torch.rand(3, 8, 8), augmentation_set=name)
        assert image.shape == (3, 8, 8)
        assert 0 <= image.min() <= image.max() <= 1
    batch = randaugment_image(torch.randint(256, (6, 3, 8, 8)).to(torch.uint8), 10, 3, name)
    assert batch.dtype is torch.uint8


def test_depth_counts_the_operations() -> None:
    # Cubuk et al. 2020, figure 2: N operations, one after the other.
    seen: list[float] = []

    def note(image: Any, level: float) -> Any:
        seen.append(level)
        return image

    randaugment_image(picture(), severity=7, depth=3, augmentation_set=[note])
    assert seen == [7, 7, 7]
    # A function of the user's has no form on tensors; each image goes through Pillow.
    image = torch.randint(256, (2, 3, 4, 4)).to(torch.uint8)
    assert torch.equal(randaugment_image(image, depth=1, augmentation_set=[note]), image)
    assert len(seen) == 5


def test_no_operations_leave_the_image_as_it_is() -> None:
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(randaugment_image(images, depth=0), images)


def test_each_image_of_a_batch_gets_operations_of_its_own() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 8, 8).expand(64, 3, 8, 8)
    changed = randaugment_image(images, depth=1)
    assert len({tuple(image.flatten().tolist()) for image in changed}) > 20


def test_the_batch_is_changed_in_the_loop() -> None:
    run = HandRun(RandAugment(batch=True))
    images, labels = image_batch(8)
    run.state.batch = (images, labels)
    run.run(Event.AFTER_DATALOADER)
    changed = run.state.batch[0]
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    assert run.state.batch[1] is labels


def test_normalised_batches_are_changed_as_plain_ones_are() -> None:
    mean, std = [0.2, 0.4, 0.6], [0.1, 0.2, 0.3]
    shift, scale = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))
    images, labels = image_batch(8)
    results = []
    for method, batch in (
        (RandAugment(batch=True), images),
        (RandAugment(batch=True, mean=mean, std=std), (images - shift) / scale),
    ):
        torch.manual_seed(0)
        run = HandRun(method)
        run.state.batch = (batch, labels)
        run.run(Event.AFTER_DATALOADER)
        results.append(run.state.batch[0])
    torch.testing.assert_close(results[1] * scale + shift, results[0], atol=1e-2, rtol=0)


class Pictures(Dataset[Any]):
    """Like a vision data set of torchvision."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.transform(picture()), index % 4


class ToTensor:
    def __call__(self, image: Any) -> torch.Tensor:
        return (
            torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
            .float()
            .reshape(image.height, image.width, 3)
            .permute(2, 0, 1)
            / 255
        )


def trainer_on(dataset: Dataset[Any], method: RandAugment, **keywords: Any) -> Trainer:
    return Trainer(
        model=classifier(),
        train_dataloader=DataLoader(dataset, 4),
        max_duration="1ep",
        algorithms=method,
        progress_bar=False,
        optimizers=None,
        **keywords,
    )


@pytest.mark.filterwarnings("ignore:No optimizer")
def test_a_data_set_gets_the_transform_before_its_tensors_and_only_once() -> None:
    dataset = Pictures(TransformChain([ToTensor()]))
    trainer = trainer_on(Subset(dataset, [0, 1, 2, 3]), RandAugment())
    trainer.fit()
    trainer.fit(duration="1ep")
    kinds = [type(each) for each in dataset.transform.transforms]
    assert kinds == [RandAugmentTransform, ToTensor]


@pytest.mark.filterwarnings("ignore:No optimizer")
def test_evaluation_on_the_same_data_set_is_refused() -> None:
    dataset = Pictures(TransformChain([ToTensor()]))
    trainer = trainer_on(dataset, RandAugment(), eval_dataloader=DataLoader(dataset, 4))
    with pytest.raises(DataError, match="would change the images of an evaluation too"):
        trainer.fit()


def test_a_data_set_without_transforms_is_refused() -> None:
    run = HandRun(RandAugment())
    with pytest.raises(DataError, match=r"no attribute 'transform'.*batch=True"):
        run.run(Event.FIT_START)


def test_copies_and_pickles_work_on() -> None:
    method = RandAugment(batch=True, depth=1)
    for again in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        run = HandRun(again)
        run.state.batch = image_batch()
        run.run(Event.AFTER_DATALOADER)
        assert repr(again) == repr(method)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="severity=11 is out of range"):
        RandAugment(severity=11)
    with pytest.raises(ConfigError, match="depth=-1"):
        RandAugmentTransform(depth=-1)
    with pytest.raises(ConfigError, match=r"augmentation_set='sfe' is not known.*safe"):
        RandAugment(augmentation_set="sfe")
    with pytest.raises(ConfigError, match=r"augmentation_set=\[\] must be"):
        randaugment_image(picture(), augmentation_set=[])
    with pytest.raises(ConfigError, match="both mean and std"):
        RandAugment(mean=[0.5])
    with pytest.raises(DataError, match="shape"):
        randaugment_image(torch.rand(8, 8))
