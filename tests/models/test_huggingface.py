"""Models of transformers, small and random; nothing is downloaded."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import Metric

from composer.checkpoint.load_run import read_checkpoint
from composer.data.packed_documents import pack_documents
from composer.errors import CheckpointError, ConfigError, DataError, UntrustedCheckpointError
from composer.metrics.metrics import CrossEntropy
from composer.metrics.nlp import LanguageCrossEntropy, MaskedAccuracy
from composer.models.huggingface import (
    HuggingFaceModel,
    write_huggingface_pretrained_from_composer_checkpoint,
)
from composer.trainer.trainer import Trainer
from tests.models._hf import gpt2, make_tokenizer, sequence_classifier

transformers = pytest.importorskip("transformers")

# What peft asks of transformers by an older name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


def batch(size: int = 2, length: int = 6) -> dict[str, Tensor]:
    ids = torch.randint(3, 11, (size, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}


def wrapped(**keywords: Any) -> HuggingFaceModel:
    return HuggingFaceModel(gpt2(), make_tokenizer(), **keywords)


# Training.


def test_the_loss_is_the_models_own() -> None:
    model, data = wrapped(), batch()
    outputs = model(data)
    logits = outputs.logits[:, :-1].reshape(-1, 11)
    expected = torch.nn.functional.cross_entropy(logits, data["labels"][:, 1:].reshape(-1))
    torch.testing.assert_close(model.loss(outputs, data), expected)


def test_entries_the_model_does_not_take_are_left_out_and_the_batch_stays() -> None:
    model, data = wrapped(), {**batch(), "url": ["a", "b"]}
    before = dict(data)
    model.eval_forward(data, model(data))
    assert data.keys() == before.keys()
    assert all(data[name] is before[name] for name in before)


def test_packed_documents_are_kept_apart() -> None:
    model = wrapped().eval()
    first, second = torch.tensor([3, 4, 5, 6]), torch.tensor([7, 8, 9])
    packed = pack_documents([first, second], 8)
    with torch.no_grad():
        together = model(packed)
        apart = [model({"input_ids": each[None], "labels": each[None]}) for each in (first, second)]
    torch.testing.assert_close(together.logits[:, 4:7], apart[1].logits)
    torch.testing.assert_close(together.loss, (apart[0].loss * 3 + apart[1].loss * 2) / 5)


def test_packed_documents_with_a_mask_that_hides_their_borders_are_refused() -> None:
    packed = pack_documents([[3, 4, 5, 6], [7, 8, 9]], 8)
    with pytest.raises(DataError, match="from one packed document into another"):
        wrapped()({**packed, "attention_mask": torch.ones_like(packed["input_ids"])})


def test_a_batch_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(DataError, match="got a tuple"):
        wrapped()((torch.ones(1), torch.ones(1)))  # type: ignore[arg-type]


def test_a_batch_without_labels_has_no_loss() -> None:
    data = {"input_ids": batch()["input_ids"]}
    model = wrapped()
    with pytest.raises(DataError, match="no 'labels'"):
        model.loss(model(data), data)


def test_outputs_as_tuples_work() -> None:
    model, data = wrapped(use_logits=True), batch()
    outputs = model(data).to_tuple()
    assert torch.equal(model.loss(outputs, data), outputs[0])
    assert model.eval_forward(data, outputs) is outputs[1]


# Metrics.


class Noted(Metric):
    """Keeps what it is updated with."""

    full_state_update = False

    def update(self, outputs: Any, labels: Any) -> None:
        self.seen = (outputs, labels)

    def compute(self) -> Tensor:
        return torch.tensor(0.0)


def test_labels_of_causal_models_are_shifted_for_metrics() -> None:
    model, data = wrapped(use_logits=True, metrics=[Noted()]), batch()
    metric = model.get_metrics(is_train=True)["Noted"]
    logits = model.eval_forward(data)
    model.update_metric(data, logits, metric)
    assert logits.shape == (2, 6, 11)
    labels = metric.seen[1]
    assert torch.equal(labels[:, :-1], data["labels"][:, 1:])
    assert (labels[:, -1] == -100).all()
    assert torch.equal(data["labels"], batch()["labels"])


def test_several_metrics_share_a_batch_and_agree_with_the_loss() -> None:
    metrics = [LanguageCrossEntropy(), MaskedAccuracy()]
    model, data = wrapped(metrics=metrics, use_logits=True).eval(), batch()
    outputs = model.eval_forward(data)
    values = {}
    for name, metric in model.get_metrics().items():
        model.update_metric(data, outputs, metric)
        values[name] = metric.compute()
    torch.testing.assert_close(values["LanguageCrossEntropy"], model.loss(model(data), data))
    assert set(values) == {"LanguageCrossEntropy", "MaskedAccuracy"}


def test_known_outputs_are_not_computed_again() -> None:
    model, data = wrapped(use_logits=True), batch()
    outputs = model(data)
    assert model.eval_forward(data, outputs) is outputs["logits"]
    assert wrapped().eval_forward(data, outputs) is outputs


def test_a_single_class_has_no_dimension_of_its_own() -> None:
    model = HuggingFaceModel(sequence_classifier(num_labels=1), use_logits=True)
    data = {"input_ids": batch()["input_ids"], "labels": torch.rand(2)}
    assert model.eval_forward(data).shape == (2,)
    assert not model.shift_labels


def test_evaluation_metrics_are_copies_unless_they_are_given() -> None:
    train = [LanguageCrossEntropy()]
    model = wrapped(metrics=train)
    assert model.get_metrics(is_train=True)["LanguageCrossEntropy"] is train[0]
    assert model.get_metrics(is_train=False)["LanguageCrossEntropy"] is not train[0]
    other = wrapped(metrics=train, eval_metrics=[CrossEntropy()])
    assert list(other.get_metrics(is_train=False)) == ["CrossEntropy"]
    assert not any("metrics" in name for name, _ in model.named_modules())


# The tokenizer.


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_or_makes_it_grow() -> None:
    tokenizer = make_tokenizer(extra=4)
    with pytest.raises(ConfigError, match="15 tokens and the model 11"):
        HuggingFaceModel(gpt2(), tokenizer)
    model = HuggingFaceModel(gpt2(), tokenizer, allow_embedding_resizing=True)
    assert model.model.get_input_embeddings().num_embeddings == 15


def test_text_is_written_for_batches_of_that_mode() -> None:
    model = wrapped()
    data = {**batch(), "mode": "generate", "generation_length": 3}
    texts = model.eval_forward(data)
    assert len(texts) == 2
    ids = model.generate(
        data["input_ids"], attention_mask=data["attention_mask"], max_new_tokens=3, pad_token_id=0
    )
    assert texts == model.tokenizer.batch_decode(ids[:, 6:], skip_special_tokens=True)


def test_text_needs_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        HuggingFaceModel(gpt2()).eval_forward({**batch(), "mode": "generate"})


# Copies.


@pytest.mark.parametrize("make", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_compute_the_same(make: Any) -> None:
    model, data = wrapped(metrics=[MaskedAccuracy()]).eval(), batch()
    again = make(model)
    assert torch.equal(again(data).logits, model(data).logits)
    assert list(again.get_metrics()) == ["MaskedAccuracy"]


# Checkpoints.


def trained(folder: Path, model: HuggingFaceModel, **keywords: Any) -> Trainer:
    data = batch(8)
    samples = [{name: value[row] for name, value in data.items()} for row in range(8)]
    trainer = Trainer(
        **{
            "model": model,
            "train_dataloader": DataLoader(samples, 4),  # type: ignore[arg-type]
            "optimizers": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "max_duration": "3ba",
            "save_folder": str(folder),
            "save_filename": "ba{batch}.pt",
            "save_interval": "1ba",
            "progress_bar": False,
            **keywords,
        }
    )
    trainer.fit()
    return trainer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, HuggingFaceModel]:
    folder = tmp_path_factory.mktemp("hf")
    model = wrapped(use_logits=True, metrics=[LanguageCrossEntropy()])
    trained(folder, model)
    return str(folder / "ba3.pt"), model


def test_a_resumed_run_equals_one_that_was_not_interrupted(
    checkpoint: tuple[str, HuggingFaceModel], tmp_path: Path
) -> None:
    path, straight = checkpoint
    model = wrapped(use_logits=True, metrics=[LanguageCrossEntropy()])
    trained(tmp_path, model, load_path=path.replace("ba3", "ba1"))
    for left, right in zip(straight.parameters(), model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_model_and_tokenizer_are_made_again(checkpoint: tuple[str, HuggingFaceModel]) -> None:
    path, model = checkpoint
    again, tokenizer = HuggingFaceModel.hf_from_composer_checkpoint(path)
    assert type(again) is type(model.model)
    assert not again.training
    ids = batch()["input_ids"]
    assert torch.equal(again(ids).logits, model.eval().model(ids).logits)
    text = "w3 w5 w9"
    assert tokenizer(text)["input_ids"] == model.tokenizer(text)["input_ids"]
    assert tokenizer.pad_token == model.tokenizer.pad_token
    assert again.lm_head.weight is again.transformer.wte.weight


@pytest.mark.parametrize(
    "cls",
    [
        "transformers.GPT2Model",
        "transformers.AutoModelForCausalLM",
        transformers.GPT2LMHeadModel,
    ],
)
def test_another_class_can_be_made(checkpoint: tuple[str, HuggingFaceModel], cls: Any) -> None:
    if cls == "transformers.GPT2Model":
        with pytest.raises(CheckpointError, match="do not fit GPT2Model"):
            HuggingFaceModel.hf_from_composer_checkpoint(checkpoint[0], cls)
        return
    model, _ = HuggingFaceModel.hf_from_composer_checkpoint(checkpoint[0], cls)
    assert type(model).__name__ == "GPT2LMHeadModel"


def test_the_configuration_can_be_changed(checkpoint: tuple[str, HuggingFaceModel]) -> None:
    model, _ = HuggingFaceModel.hf_from_composer_checkpoint(
        checkpoint[0], model_config_kwargs={"resid_pdrop": 0.5}
    )
    assert model.config.resid_pdrop == 0.5
    with pytest.raises(ConfigError, match="'resid_drop'"):
        HuggingFaceModel.hf_from_composer_checkpoint(
            checkpoint[0], model_config_kwargs={"resid_drop": 0.5}
        )


def test_a_copy_of_the_checkpoint_can_be_kept(
    checkpoint: tuple[str, HuggingFaceModel], tmp_path: Path
) -> None:
    kept = tmp_path / "kept.pt"
    HuggingFaceModel.hf_from_composer_checkpoint(
        checkpoint[0], local_checkpoint_save_location=str(kept)
    )
    assert kept.exists()


def test_a_folder_for_transformers_is_written(
    checkpoint: tuple[str, HuggingFaceModel], tmp_path: Path
) -> None:
    path, model = checkpoint
    write_huggingface_pretrained_from_composer_checkpoint(path, tmp_path / "out")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = batch()["input_ids"]
    assert torch.equal(again.eval()(ids).logits, model.eval().model(ids).logits)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("w3")["input_ids"] == model.tokenizer("w3")["input_ids"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"state": {"model": {}}}, path)
    with pytest.raises(CheckpointError, match="not written with a HuggingFaceModel"):
        HuggingFaceModel.hf_from_composer_checkpoint(str(path))


def test_a_changed_tokenizer_is_described_anew() -> None:
    model = wrapped()
    before = model.get_metadata()["tokenizer"]
    assert model.get_metadata()["tokenizer"] == before
    model.tokenizer.pad_token = "[EOS]"
    assert model.get_metadata()["tokenizer"] != before


# Nothing from a file is run.


def state_of(checkpoint: tuple[str, HuggingFaceModel]) -> tuple[dict[str, Any], dict[str, Any]]:
    contents = read_checkpoint(checkpoint[0])
    return copy.deepcopy(contents["state"]["integrations"]["huggingface"]), contents


@pytest.mark.parametrize("name", ["os.system", "transformers.trainer.Trainer"])
def test_a_class_is_not_imported_because_a_file_names_it(
    checkpoint: tuple[str, HuggingFaceModel], name: str
) -> None:
    hf_state, contents = state_of(checkpoint)
    hf_state["model"]["config"]["class"] = name
    with pytest.raises(UntrustedCheckpointError, match=name.replace(".", r"\.")):
        HuggingFaceModel.load_huggingface_model_from_saved_state(hf_state, contents, None, None)


def test_a_kind_of_model_that_needs_code_is_refused(
    checkpoint: tuple[str, HuggingFaceModel],
) -> None:
    hf_state, contents = state_of(checkpoint)
    hf_state["model"]["config"]["content"]["model_type"] = "mine"
    with pytest.raises(CheckpointError, match="'mine', which transformers does not have"):
        HuggingFaceModel.load_huggingface_model_from_saved_state(hf_state, contents, None, None)


def test_code_of_a_tokenizer_is_neither_kept_nor_written(
    checkpoint: tuple[str, HuggingFaceModel], tmp_path: Path
) -> None:
    hf_state, _ = state_of(checkpoint)
    hf_state["tokenizer"]["evil"] = {"file_extension": ".py", "content": "raise SystemExit"}
    tokenizer = HuggingFaceModel.load_huggingface_tokenizer_from_saved_state(
        hf_state, tokenizer_save_dir=str(tmp_path)
    )
    assert len(tokenizer) == 11
    assert not list(tmp_path.glob("*.py"))


def test_files_outside_the_folder_are_refused(
    checkpoint: tuple[str, HuggingFaceModel], tmp_path: Path
) -> None:
    hf_state, _ = state_of(checkpoint)
    hf_state["tokenizer"]["../evil"] = {"file_extension": ".json", "content": {}}
    with pytest.raises(UntrustedCheckpointError, match="outside its folder"):
        HuggingFaceModel.load_huggingface_tokenizer_from_saved_state(
            hf_state, tokenizer_save_dir=str(tmp_path / "in")
        )


def test_trusting_code_is_refused(checkpoint: tuple[str, HuggingFaceModel]) -> None:
    with pytest.raises(ConfigError, match="never run"):
        HuggingFaceModel.hf_from_composer_checkpoint(checkpoint[0], trust_remote_code=True)


# Adapters.


def with_adapters(**keywords: Any) -> HuggingFaceModel:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True
    )
    return HuggingFaceModel(gpt2(), make_tokenizer(), peft_config=config, **keywords)


def test_adapters_alone_are_trained_and_saved(tmp_path: Path) -> None:
    model = with_adapters()
    before = copy.deepcopy(model.model.get_base_model().lm_head.weight)
    trained(tmp_path, model)
    assert torch.equal(model.model.get_base_model().lm_head.weight, before)
    saved = read_checkpoint(str(tmp_path / "ba3.pt"))["state"]["model"]
    assert saved
    assert all("lora_" in name for name in saved)
    again = with_adapters()
    trained(tmp_path / "again", again, load_path=str(tmp_path / "ba1.pt"))
    for left, right in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


def test_all_weights_can_be_saved_and_the_model_be_made_again(tmp_path: Path) -> None:
    model = with_adapters(should_save_peft_only=False)
    trained(tmp_path, model)
    again, _ = HuggingFaceModel.hf_from_composer_checkpoint(str(tmp_path / "ba3.pt"))
    ids = batch()["input_ids"]
    assert torch.equal(again(ids).logits, model.eval().model(ids).logits)


def test_adapters_alone_are_put_around_the_model_they_were_trained_from(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    model = HuggingFaceModel(base, make_tokenizer(), peft_config=config)
    trained(tmp_path, model)
    again, _ = HuggingFaceModel.hf_from_composer_checkpoint(str(tmp_path / "ba3.pt"))
    ids = batch()["input_ids"]
    expected = model.eval().model(ids).logits
    torch.testing.assert_close(again(ids).logits, expected)
    out = tmp_path / "out"
    write_huggingface_pretrained_from_composer_checkpoint(str(tmp_path / "ba3.pt"), out)
    assert json.loads((out / "adapter_config.json").read_text())["r"] == 2
    loaded = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "out"
    )
    torch.testing.assert_close(loaded.eval()(ids).logits, expected)


def test_adapters_without_their_model_are_told(tmp_path: Path) -> None:
    trained(tmp_path, with_adapters())
    with pytest.raises(CheckpointError, match="adapters only"):
        HuggingFaceModel.hf_from_composer_checkpoint(str(tmp_path / "ba3.pt"))


def test_other_kinds_of_adapters_are_refused() -> None:
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ConfigError, match="'PROMPT_TUNING'; LoRA"):
        HuggingFaceModel(gpt2(), peft_config=config)


def test_adapters_are_not_put_around_adapters() -> None:
    peft = pytest.importorskip("peft")
    model = with_adapters().model
    with pytest.raises(ConfigError, match="has adapters already"):
        HuggingFaceModel(model, peft_config=peft.LoraConfig(target_modules=["c_attn"]))
    assert HuggingFaceModel(model).using_peft
