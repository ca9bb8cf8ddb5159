"""Windows of packed documents, their labels, and training on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.packed_documents import PackedDocuments, document_mask, pack_documents
from composer.distributed import comm
from composer.errors import DataError
from composer.models.base import ComposerModel
from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer

NUM_TOKENS = 17


def documents(count: int = 40, longest: int = 30) -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, longest + 1, count)
    return [generator.integers(1, NUM_TOKENS, size) for size in sizes]


class Attentive(ComposerModel):
    """A language model of one causal attention layer that keeps documents apart."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.tokens = nn.Embedding(NUM_TOKENS, width)
        self.places = nn.Embedding(64, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, NUM_TOKENS)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        hidden = self.tokens(batch["input_ids"]) + self.places(batch["position_ids"])
        q, k, v = self.qkv(hidden)[:, None].chunk(3, -1)
        mask = document_mask(batch["document_ids"])
        return self.head(hidden + F.scaled_dot_product_attention(q, k, v, mask)[:, 0])

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return F.cross_entropy(outputs.flatten(0, 1), batch["labels"].flatten())


@torch.no_grad()
def by_document(data: PackedDocuments, model: Attentive) -> tuple[float, int]:
    """Sum of losses and number of labels, of each document alone."""
    total, count = 0.0, 0
    pieces = [p for d in data.documents for p in torch.as_tensor(d).split(data.packing.length)]
    for piece in (each for each in pieces if len(each) > 1):
        batch = pack_documents([piece], len(piece), shift_labels=True)
        total += float(model.loss(model(batch), batch)) * (len(piece) - 1)
        count += len(piece) - 1
    return total, count


def test_labels_are_the_tokens_but_for_the_first_of_each_document() -> None:
    window = PackedDocuments([[5, 6, 7], [8, 9]], 7, pad_id=3, seed=None)[0]
    assert window["input_ids"].tolist() == [5, 6, 7, 8, 9, 3, 3]
    assert window["labels"].tolist() == [-100, 6, 7, -100, 9, -100, -100]
    assert window["position_ids"].tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert window["document_ids"].tolist() == [1, 1, 1, 2, 2, 0, 0]


def test_shifted_labels_are_the_tokens_that_follow() -> None:
    window = PackedDocuments([[5, 6, 7], [8, 9]], 7, shift_labels=True, seed=None)[0]
    assert window["labels"].tolist() == [6, 7, -100, 9, -100, -100, -100]


def test_a_document_that_is_cut_keeps_the_label_at_the_cut() -> None:
    data = PackedDocuments([list(range(10))], 4, shift_labels=True, seed=None)
    assert [data[index]["labels"].tolist() for index in range(3)] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, -100, -100, -100],
    ]


@pytest.mark.parametrize("kind", [list, np.asarray, torch.as_tensor, lambda t: {"input_ids": t}])
def test_documents_may_be_of_any_usual_kind(kind: Any) -> None:
    expected = PackedDocuments(documents(), 16)[3]
    found = PackedDocuments([kind(each) for each in documents()], 16)[3]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_lengths_that_are_given_spare_reading_the_documents() -> None:
    class Counting(list[Any]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    data = Counting(documents())
    packed = PackedDocuments(data, 16, lengths=[len(each) for each in documents()])
    assert data.reads == 0
    assert torch.equal(packed[0]["input_ids"], PackedDocuments(documents(), 16)[0]["input_ids"])


def test_lengths_that_are_not_those_of_the_documents_are_refused() -> None:
    with pytest.raises(DataError, match="2 lengths for 1 documents"):
        PackedDocuments([[1, 2]], 4, lengths=[2, 3])
    with pytest.raises(DataError, match="document 0 has 2 tokens and was packed as one of 3"):
        PackedDocuments([[1, 2]], 4, lengths=[3])[0]


@pytest.mark.parametrize("bad", ["text", torch.ones(2, 2), {"text": [1]}])
def test_what_is_no_document_is_refused(bad: Any) -> None:
    with pytest.raises(DataError):
        PackedDocuments([bad], 4)


def test_a_window_that_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        PackedDocuments([[1, 2]], 4)[1]


def test_a_batch_of_documents_is_packed_by_a_collate_function() -> None:
    loader: Any = DataLoader(documents(), 20, collate_fn=partial(pack_documents, length=32))  # pyright: ignore
    batches = list(loader)
    assert len(batches) == 2
    tokens = sum(int((batch["document_ids"] > 0).sum()) for batch in batches)
    assert tokens == sum(map(len, documents()))
    assert all(batch["labels"].shape[1] == 32 for batch in batches)


def test_packed_documents_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model, data = Attentive(), PackedDocuments(documents(longest=16), 16, shift_labels=True)
    total, count = by_document(data, model)
    batch = next(iter(DataLoader(data, len(data))))
    assert count == int((batch["labels"] != -100).sum())
    loss = model.loss(model(batch), batch).item()
    assert loss == pytest.approx(total / count, rel=1e-5)


class Gradient(Callback):
    def after_train_batch(self, state: State, logger: Logger) -> None:
        self.value = torch.cat([p.grad.flatten() for p in state.model.parameters()])


def gradient(microbatch_size: int) -> Tensor:
    torch.manual_seed(0)
    model, kept = Attentive(), Gradient()
    # One window is nearly empty: by samples it would count as much as a full one.
    data = PackedDocuments([*documents(6, 16), [1, 2]], 16, shift_labels=True, lookahead=1)
    Trainer(
        model=model,
        train_dataloader=DataLoader(data, len(data)),
        optimizers=torch.optim.SGD(model.parameters(), lr=0.0),
        max_duration="1ba",
        device_train_microbatch_size=microbatch_size,
        callbacks=kept,
        progress_bar=False,
    ).fit()
    return kept.value


def test_gradients_do_not_depend_on_how_windows_are_cut_into_microbatches() -> None:
    torch.testing.assert_close(gradient(1), gradient(100), atol=1e-7, rtol=1e-5)


def make_trainer(num_workers: int = 0) -> Trainer:
    torch.manual_seed(0)
    model = Attentive()
    data = PackedDocuments(documents(), 16, shift_labels=True)
    return Trainer(
        model=model,
        train_dataloader=DataLoader(
            data, 4, sampler=comm.get_sampler(data, shuffle=True), num_workers=num_workers
        ),
        optimizers=torch.optim.AdamW(model.parameters()),
        max_duration="2ep",
        device_train_microbatch_size=3,
        progress_bar=False,
        seed=1,
    )


def test_a_run_on_packed_documents_resumes_exactly() -> None:
    verify_resume(make_trainer, interrupt_at=["3ba", "1ep"]).require()
