from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from composer.algorithms.ema import EMA
from composer.callbacks.generate import Generate
from composer.core.weight_view import evaluation_weights
from composer.errors import ConfigError
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.models.huggingface import HuggingFaceModel
from composer.trainer.trainer import Trainer
from tests.algorithms._runs import classifier
from tests.models._hf import gpt2, make_tokenizer

pytest.importorskip("transformers")

PROMPTS = ["w3 w4", "w5"]


def make_trainer(callback: Generate | None, **keywords: Any) -> Trainer:
    model = keywords.pop("model", None) or HuggingFaceModel(gpt2(), make_tokenizer())
    ids = torch.randint(3, 11, (8, 6), generator=torch.Generator().manual_seed(0))
    samples = [{"input_ids": row, "labels": row} for row in ids]
    return Trainer(
        **{
            "model": model,
            "train_dataloader": DataLoader(samples, 4, shuffle=True),  # type: ignore[arg-type]
            "optimizers": torch.optim.SGD(model.parameters(), lr=0.5),
            "max_duration": "4ba",
            "callbacks": callback,
            "progress_bar": False,
            "seed": 3,
            **keywords,
        }
    )


class Tables(InMemoryLogger):
    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[list[str], list[list[Any]], str, int | None]] = []

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        self.logged.append((columns, rows, name, step))


def test_prompts_and_texts_are_logged_at_the_interval_and_at_the_end() -> None:
    tables = Tables()
    trainer = make_trainer(Generate(PROMPTS, "3ba", max_new_tokens=3), loggers=tables)
    trainer.fit()
    assert [step for _, _, _, step in tables.logged] == [3, 4]
    columns, rows, name, _ = tables.logged[-1]
    assert (columns, name) == (["prompt", "generation"], "generations")
    assert [prompt for prompt, _ in rows] == PROMPTS
    model = trainer.state.model.eval()
    ids = model.tokenizer("w3 w4", return_tensors="pt")["input_ids"]
    written = model.generate(ids, max_new_tokens=3, pad_token_id=0)[:, 2:]
    assert rows[0][1] == model.tokenizer.decode(written[0], skip_special_tokens=True)


def test_epochs_are_intervals_too() -> None:
    tables = Tables()
    make_trainer(Generate(PROMPTS, 1, max_new_tokens=1), loggers=tables).fit()
    assert [step for _, _, _, step in tables.logged] == [2, 4]


def test_a_short_prompt_beside_a_long_one_is_answered_as_alone() -> None:
    tables = Tables()
    trainer = make_trainer(None, loggers=tables)
    for size in (None, 1):
        callback = Generate(PROMPTS, "1ba", size, max_new_tokens=4)
        callback.generate(trainer.state, trainer.logger)
    assert tables.logged[0][1] == tables.logged[1][1]
    assert trainer.state.model.tokenizer.padding_side == "right"


def test_training_is_the_same_with_and_without_it() -> None:
    plain = make_trainer(None)
    plain.fit()
    watched = make_trainer(Generate(PROMPTS, "1ba", max_new_tokens=2, do_sample=True))
    watched.fit()
    for left, right in zip(
        plain.state.model.parameters(), watched.state.model.parameters(), strict=True
    ):
        assert torch.equal(left, right)
    assert watched.state.model.training


def test_averaged_weights_write() -> None:
    tables = Tables()
    trainer = make_trainer(
        Generate(PROMPTS, "4ba", max_new_tokens=4), loggers=tables, algorithms=EMA("100ba")
    )
    trainer.fit()
    model = trainer.state.model.eval()
    with evaluation_weights(trainer.state):
        ids = model.tokenizer("w5", return_tensors="pt")["input_ids"]
        written = model.generate(ids, max_new_tokens=4, pad_token_id=0)[0, 1:]
    assert tables.logged[-1][1][1][1] == model.tokenizer.decode(written, skip_special_tokens=True)


def test_a_tokenizer_without_padding_pads_with_its_end() -> None:
    model = HuggingFaceModel(gpt2(), make_tokenizer())
    model.tokenizer.pad_token = None
    tables = Tables()
    make_trainer(Generate(PROMPTS, "4ba", max_new_tokens=1), model=model, loggers=tables).fit()
    assert len(tables.logged[0][1]) == 2
    assert model.tokenizer.pad_token is None


@pytest.mark.parametrize("model", [classifier(), HuggingFaceModel(gpt2())])
def test_a_model_that_cannot_write_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match="Generate needs a HuggingFaceModel with a tokenizer"):
        make_trainer(Generate(PROMPTS, "1ba"), model=model)


@pytest.mark.parametrize("arguments", [([], "1ba"), ("text", "1ba"), (["a"], "1ba", 0)])
def test_bad_arguments_are_refused_when_made(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match=r"prompts=|batch_size="):
        Generate(*arguments)
