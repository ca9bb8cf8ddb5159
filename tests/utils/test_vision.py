"""Transforms added to data sets; torchvision is not needed."""

from types import SimpleNamespace

import pytest

from composer.errors import ArgumentTypeError
from composer.utils.vision import TransformChain, add_vision_dataset_transform


class ToTensor:
    def __call__(self, image):
        return [*image, "tensor"]


class Compose:
    """As torchvision's: a list named `transforms`."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


def note(word):
    return lambda image: [*image, word]


def applied(transform, is_tensor_transform=False):
    dataset = SimpleNamespace(transform=transform)
    add_vision_dataset_transform(dataset, note("new"), is_tensor_transform)
    return dataset.transform([])


def test_the_first_transform_stands_alone():
    assert applied(None) == ["new"]


def test_a_transform_of_images_goes_before_the_tensor():
    assert applied(ToTensor()) == ["new", "tensor"]
    assert applied(Compose([note("a"), ToTensor(), note("b")])) == ["a", "new", "tensor", "b"]


def test_a_transform_of_tensors_goes_right_behind_the_tensor():
    assert applied(ToTensor(), True) == ["tensor", "new"]
    assert applied(Compose([note("a"), ToTensor(), note("b")]), True) == ["a", "tensor", "new", "b"]


@pytest.mark.parametrize("is_tensor_transform", [False, True])
def test_without_a_tensor_it_goes_last(is_tensor_transform):
    assert applied(note("a"), is_tensor_transform) == ["a", "new"]
    assert applied(Compose([note("a")]), is_tensor_transform) == ["a", "new"]


def test_transforms_can_be_added_one_after_another():
    dataset = SimpleNamespace(transform=ToTensor())
    add_vision_dataset_transform(dataset, note("first"))
    add_vision_dataset_transform(dataset, note("second"))
    assert dataset.transform([]) == ["first", "second", "tensor"]
    assert isinstance(dataset.transform, TransformChain)


def test_another_data_set_with_the_same_transforms_is_left_alone():
    shared = Compose([ToTensor()])
    train, val = SimpleNamespace(transform=shared), SimpleNamespace(transform=shared)
    add_vision_dataset_transform(train, note("new"))
    assert val.transform([]) == ["tensor"]


def test_the_second_place_in_which_torchvision_keeps_it_is_changed_too():
    pair = SimpleNamespace(transform=ToTensor(), target_transform=None)
    dataset = SimpleNamespace(transform=pair.transform, transforms=pair)
    add_vision_dataset_transform(dataset, note("new"))
    assert dataset.transforms.transform([]) == ["new", "tensor"]
    assert pair.transform([]) == ["tensor"]


def test_a_data_set_without_transforms_is_refused():
    with pytest.raises(ArgumentTypeError, match="no attribute 'transform'"):
        add_vision_dataset_transform(SimpleNamespace(), note("new"))
