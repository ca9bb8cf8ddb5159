"""Dataloaders with what the trainer must know about their batches."""

from collections import UserDict

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, TensorDataset

from composer.core import data_spec as module
from composer.core.data_spec import DataSpec, ensure_data_spec
from composer.core.split import count_samples, default_split_batch
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(6))


class Sequences(Dataset):
    max_seq_len = 128

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.zeros(4), 0


@pytest.fixture
def loader():
    return DataLoader(TensorDataset(torch.arange(6)), batch_size=2)


class TestConstruction:
    def test_any_iterable_is_a_dataloader(self):
        batches = [torch.zeros(2)]
        spec = DataSpec(batches)
        assert spec.dataloader is batches
        assert spec.num_samples is None

    def test_the_length_of_the_data_set_is_the_number_of_samples(self, loader):
        assert DataSpec(loader).num_samples == 6
        assert DataSpec(loader, num_samples=60).num_samples == 60

    def test_a_stream_has_no_number_of_samples(self):
        assert DataSpec(DataLoader(Stream())).num_samples is None

    def test_a_data_set_that_cannot_tell_its_length_has_no_number_of_samples(self):
        class Shy(Sequences):
            def __len__(self):
                raise NotImplementedError

        spec = DataSpec(type("Loader", (), {"dataset": Shy(), "__iter__": lambda self: iter(())})())
        assert spec.num_samples is None

    def test_functions_not_given_are_the_default_ones(self, loader):
        spec = DataSpec(loader)
        assert spec.split_batch is default_split_batch
        assert spec.get_num_samples_in_batch is count_samples

    def test_transforms_not_given_are_none(self, loader):
        spec = DataSpec(loader)
        assert spec.batch_transforms is None
        assert spec.microbatch_transforms is None

    def test_functions_given_are_used(self, loader):
        spec = DataSpec(
            loader,
            batch_transforms=lambda batch: batch + 1,
            microbatch_transforms=lambda batch: batch * 2,
            split_batch=lambda batch, size: [batch] * int(size),
            get_num_samples_in_batch=lambda batch: 7,
        )
        assert spec.batch_transforms(1) == 2
        assert spec.microbatch_transforms(1) == 2
        assert spec.split_batch(1, 3.0) == [1, 1, 1]
        assert spec.get_num_samples_in_batch(1) == 7

    @pytest.mark.parametrize("thing", [3, None, object()])
    def test_what_is_not_iterable_is_refused(self, thing):
        with pytest.raises(ArgumentTypeError, match="iterable of batches"):
            DataSpec(thing)

    @pytest.mark.parametrize(
        "name",
        [
            "batch_transforms",
            "microbatch_transforms",
            "split_batch",
            "get_num_samples_in_batch",
            "get_num_tokens_in_batch",
        ],
    )
    def test_functions_must_be_functions(self, loader, name):
        with pytest.raises(ArgumentTypeError, match=f"{name} must be a function, got 3"):
            DataSpec(loader, **{name: 3})

    def test_a_loader_in_use_is_refused(self, loader):
        loader._iterator = iter(())  # what persistent workers leave behind
        with pytest.raises(ConfigError, match="iterated over already"):
            DataSpec(loader)


class TestSeveralRanks:
    @pytest.fixture(autouse=True)
    def two_ranks(self, monkeypatch):
        monkeypatch.setattr(module.comm, "get_world_size", lambda: 2)

    def test_a_loader_that_gives_all_ranks_the_same_is_refused(self, loader):
        with pytest.raises(ConfigError, match="all 2 ranks would train on the same samples"):
            DataSpec(loader)

    def test_a_distributed_sampler_is_accepted(self):
        dataset = TensorDataset(torch.arange(6))
        sampler = DistributedSampler(dataset, num_replicas=2, rank=0)
        assert DataSpec(DataLoader(dataset, sampler=sampler)).num_samples == 6

    def test_a_distributed_batch_sampler_is_accepted(self):
        class Batches:
            num_replicas = 2

            def __iter__(self):
                return iter([[0, 2], [4]])

        loader = DataLoader(TensorDataset(torch.arange(6)), batch_sampler=Batches())
        assert DataSpec(loader).dataloader is loader

    def test_streams_and_plain_iterables_share_out_by_themselves(self):
        loader = DataLoader(Stream())
        assert DataSpec(loader).dataloader is loader
        assert DataSpec([1]).num_samples is None


def token_batch(**changes):
    return {
        "input_ids": torch.ones(2, 5, dtype=torch.long),
        "labels": torch.tensor([[1, 2, -100, -100, 3], [4, 5, 6, -100, -100]]),
        **changes,
    }


class TestTokens:
    def test_all_tokens_count_padding_included(self):
        assert DataSpec([1]).get_num_tokens_in_batch(token_batch()) == 10

    def test_only_two_dimensions_of_the_ids_are_tokens(self):
        batch = {"input_ids": torch.zeros(2, 5, 7)}
        assert DataSpec([1]).get_num_tokens_in_batch(batch) == 10

    def test_other_mappings_count_too(self):
        assert DataSpec([1]).get_num_tokens_in_batch(UserDict(token_batch())) == 10

    @pytest.mark.parametrize(
        "batch", [(torch.zeros(2, 5), torch.zeros(2)), torch.zeros(2), {"x": torch.zeros(2)}]
    )
    def test_batches_without_tokens_have_none(self, batch):
        assert DataSpec([1]).get_num_tokens_in_batch(batch) == 0

    def test_the_length_of_sequences_comes_from_the_data_set(self):
        spec = DataSpec(DataLoader(Sequences(), batch_size=4))
        assert spec.get_num_tokens_in_batch((torch.zeros(4, 4), torch.zeros(4))) == 4 * 128

    def test_samples_are_counted_with_the_users_function(self):
        spec = DataSpec(DataLoader(Sequences()), get_num_samples_in_batch=lambda batch: 3)
        assert spec.get_num_tokens_in_batch(object()) == 3 * 128

    def test_a_users_number_answers_every_kind(self):
        spec = DataSpec([1], get_num_tokens_in_batch=lambda batch: 42)
        assert spec.get_num_tokens_in_batch(token_batch()) == 42
        assert spec.get_num_tokens_in_batch(token_batch(), "loss_generating") == 42

    def test_a_users_kinds_are_told_apart(self):
        counts = {"total": 10, "loss_generating": 4, "images": 2}
        spec = DataSpec([1], get_num_tokens_in_batch=lambda batch: counts)
        assert {kind: spec.get_num_tokens_in_batch(None, kind) for kind in counts} == counts

    def test_an_unknown_kind_gets_a_near_name(self):
        spec = DataSpec(
            [1], get_num_tokens_in_batch=lambda batch: {"total": 1, "loss_generating": 1}
        )
        with pytest.raises(UnknownNameError, match="Did you mean 'loss_generating'"):
            spec.get_num_tokens_in_batch(None, "loss_generatin")


class TestLossGeneratingTokens:
    def test_labels_that_are_not_ignored_count(self):
        assert DataSpec([1]).loss_generating_tokens(token_batch()) == 6
        assert DataSpec([1]).get_num_tokens_in_batch(token_batch(), "loss_generating") == 6

    def test_the_answer_is_a_plain_number(self):
        assert type(DataSpec([1]).loss_generating_tokens(token_batch())) is int

    @pytest.mark.parametrize(
        "labels",
        [
            torch.zeros(2, dtype=torch.long),
            torch.zeros(2, 5),
            torch.zeros(2, 5, dtype=torch.bool),
            torch.zeros(2, 5, 5, dtype=torch.long),
            torch.zeros(2, 5, dtype=torch.long, device="meta"),
            [[1, 2]],
            None,
        ],
        ids=["classes", "floats", "booleans", "maps", "on a device", "a list", "nothing"],
    )
    def test_other_labels_say_nothing_about_tokens(self, labels):
        assert DataSpec([1]).loss_generating_tokens(token_batch(labels=labels)) is None

    def test_a_pair_says_nothing_about_tokens(self):
        assert DataSpec([1]).loss_generating_tokens((torch.zeros(2), torch.zeros(2))) is None

    def test_asking_by_kind_where_it_is_not_known_is_an_error(self):
        with pytest.raises(UnknownNameError, match="loss_generating"):
            DataSpec([1]).get_num_tokens_in_batch((torch.zeros(2),), "loss_generating")

    def test_the_users_function_decides(self):
        counts = {"total": 10, "loss_generating": 4}
        spec = DataSpec([1], get_num_tokens_in_batch=lambda batch: counts)
        assert spec.loss_generating_tokens(token_batch()) == 4

    @pytest.mark.parametrize("answer", [42, {"total": 42}])
    def test_a_users_function_that_does_not_say_leaves_it_unknown(self, answer):
        spec = DataSpec([1], get_num_tokens_in_batch=lambda batch: answer)
        assert spec.loss_generating_tokens(token_batch()) is None


class TestEnsure:
    def test_a_specification_stays(self, loader):
        spec = DataSpec(loader)
        assert ensure_data_spec(spec) is spec

    def test_a_loader_is_wrapped(self, loader):
        assert ensure_data_spec(loader).dataloader is loader

    def test_a_dictionary_holds_arguments(self, loader):
        spec = ensure_data_spec({"dataloader": loader, "num_samples": 9})
        assert (spec.dataloader, spec.num_samples) == (loader, 9)

    def test_an_unknown_argument_gets_a_near_name(self, loader):
        with pytest.raises(UnknownNameError, match="Did you mean 'num_samples'"):
            ensure_data_spec({"dataloader": loader, "num_sample": 9})

    def test_a_dictionary_needs_a_dataloader(self):
        with pytest.raises(ConfigError, match="'dataloader' is missing"):
            ensure_data_spec({"num_samples": 9})
