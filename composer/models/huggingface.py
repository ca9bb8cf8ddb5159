"""Models of the transformers library, trained with Composer.

:class:`HuggingFaceModel` wraps a model and its tokenizer. Checkpoints of it hold what is needed to
make both again, without running code from the file.
"""

from __future__ import annotations

import copy
import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.core.data_spec import IGNORED_LABEL
from composer.errors import ConfigError, DataError
from composer.models._hf_generate import continuations, generate_from_batch
from composer.models._hf_save import (
    describe,
    describe_tokenizer,
    model_from_saved,
    read_huggingface_state,
    tokenizer_from_saved,
    write_pretrained,
)
from composer.models.base import ComposerModel
from composer.utils.import_helpers import import_extra

if TYPE_CHECKING:
    from torchmetrics import Metric

__all__ = ["HuggingFaceModel", "write_huggingface_pretrained_from_composer_checkpoint"]

log = logging.getLogger(__name__)

_ADAPTER_PARTS = ("lora_", ".modules_to_save.")


class HuggingFaceModel(ComposerModel):
    """A model of transformers as a :class:`ComposerModel`.

    Batches are mappings, such as a tokenizer makes; the model gets those entries that its forward
    pass takes, and computes the loss where there are ``labels``. Nothing in a batch is changed.

    Args:
        model: the model, or one with LoRA adapters that ``peft`` has put around it.
        tokenizer: its tokenizer; needed to generate text, and kept in checkpoints.
        use_logits: whether metrics get the logits in place of all outputs.
        metrics: metrics for training.
        eval_metrics: metrics for evaluation; copies of ``metrics`` if ``None``.
        shift_labels: whether metrics compare each logit with the *next* label, as the loss of
            causal models does; by default for causal language models.
        allow_embedding_resizing: whether the model's embeddings may grow to the tokenizer's size.
        peft_config: LoRA adapters to put around the model, which alone are then trained.
        should_save_peft_only: whether checkpoints hold the adapters' weights alone.

    Attributes:
        model: the model.
        tokenizer: the tokenizer.

    Raises:
        ImportError: transformers, or peft where it is needed, is not installed.
        ValueError: the tokenizer has more tokens than the model, or adapters of another kind.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        use_logits: bool = False,
        metrics: Sequence[Metric] | None = None,
        eval_metrics: Sequence[Metric] | None = None,
        shift_labels: bool | None = None,
        allow_embedding_resizing: bool = False,
        peft_config: Any = None,
        should_save_peft_only: bool = True,
    ) -> None:
        import_extra("transformers", "hf")
        super().__init__()
        _fit_to_tokenizer(model, tokenizer, allow_embedding_resizing)
        if peft_config is not None:
            model = _add_adapters(model, peft_config)
        self.model = model
        self.tokenizer = tokenizer
        self._described: tuple[Any, dict[str, Any]] | None = None
        self.use_logits = use_logits
        self.should_save_peft_only = should_save_peft_only
        is_causal = _is_causal(self._inner)
        self.shift_labels = is_causal if shift_labels is None else shift_labels
        if shift_labels is False and is_causal:
            log.warning(
                "shift_labels=False: %s shifts labels inside its loss, metrics will not",
                type(self._inner).__name__,
            )
        names = inspect.signature(self._inner.forward).parameters
        self.model_forward_args = frozenset(names) - {"kwargs"}
        # Set this way they are no submodules: what is done to the model must leave them alone.
        given = _by_class_name(metrics)
        object.__setattr__(self, "train_metrics", given)
        chosen = copy.deepcopy(given) if eval_metrics is None else _by_class_name(eval_metrics)
        object.__setattr__(self, "val_metrics", chosen)

    @property
    def _inner(self) -> Any:
        """The model itself, without adapters around it."""
        return self.model.get_base_model() if self.using_peft else self.model

    @property
    def using_peft(self) -> bool:
        """Whether the model has adapters."""
        return hasattr(self.model, "peft_config") and hasattr(self.model, "get_base_model")

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self._inner.config

    # Training and evaluation.

    def forward(self, batch: Mapping[str, Any]) -> Any:
        """Compute the model's outputs.

        Args:
            batch: entries by name; those the model does not take are left out. In packed documents
                (with ``document_ids``) the model finds the borders by ``position_ids``.

        Raises:
            ValueError: not a mapping, or packed documents that the model cannot keep apart.
        """
        if not isinstance(batch, Mapping):
            raise DataError(
                f"{type(self._inner).__name__} takes batches that are mappings of its arguments, "
                f"such as {{'input_ids': ..., 'labels': ...}}, got a {type(batch).__name__}"
            )
        given = {name: value for name, value in batch.items() if name in self.model_forward_args}
        if "document_ids" in batch:
            self._keep_documents_apart(given)
        return self.model(**given)

    def _keep_documents_apart(self, given: dict[str, Any]) -> None:
        """Let the model look for borders, which it does without a mask and a cache only."""
        if "position_ids" not in given or "attention_mask" in given:
            raise DataError(
                f"{type(self._inner).__name__} would look from one packed document into another: "
                "it finds their borders by 'position_ids', which it must take and the batch have, "
                f"in batches without 'attention_mask'; it got {sorted(given)}"
            )
        if "use_cache" in self.model_forward_args:
            given["use_cache"] = False

    def loss(self, outputs: Any, batch: Mapping[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Return the loss that the model has computed.

        Args:
            outputs: what :meth:`forward` returned.
            batch: the batch it was given.
            args: not used.
            kwargs: not used.

        Raises:
            ValueError: there is none, because the batch has no labels.
        """
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs[0]
        if not isinstance(loss, Tensor) or ("labels" not in batch and loss.ndim > 0):
            raise DataError(
                f"{type(self._inner).__name__} computed no loss: the batch has no 'labels', only "
                f"{sorted(batch)}. Let the collator add them"
            )
        return loss

    def eval_forward(self, batch: Mapping[str, Any], outputs: Any | None = None) -> Any:
        """Compute what metrics are updated with.

        Args:
            batch: the batch. With ``batch['mode'] == 'generate'`` the answer is text.
            outputs: outputs for the batch, if they are known.

        Returns:
            The outputs; with ``use_logits`` the logits, without a last dimension of size 1.
        """
        if batch.get("mode") == "generate":
            return generate_from_batch(self, batch)
        if outputs is None:
            outputs = self(self._without_labels(batch) if self.use_logits else batch)
        if not self.use_logits:
            return outputs
        logits = _logits(outputs)
        if logits.ndim == 2 and logits.shape[1] == 1:
            return logits.squeeze(1)
        return logits

    def _without_labels(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a batch for which no loss is computed."""
        if "labels" not in batch:
            return batch
        kept = {name: value for name, value in batch.items() if name != "labels"}
        if self.config.is_encoder_decoder and "decoder_input_ids" not in batch:
            # The decoder reads the labels, and must be given them in one way or the other.
            make = self._inner.prepare_decoder_input_ids_from_labels
            kept["decoder_input_ids"] = make(labels=batch["labels"])
        return kept

    def update_metric(self, batch: Mapping[str, Any], outputs: Any, metric: Metric) -> Any:
        """Add a batch to a metric.

        Args:
            batch: the batch; its labels are shifted by one where ``shift_labels`` says so.
            outputs: what :meth:`eval_forward` returned.
            metric: the metric. One with an attribute ``needs_batch`` gets the batch too.
        """
        labels = batch.get("labels")
        if labels is not None and self.shift_labels and batch.get("mode") != "generate":
            labels = _shifted(labels)
        if getattr(metric, "needs_batch", False):
            return metric.update(batch=batch, outputs=outputs, labels=labels)
        return metric.update(outputs, labels)

    def get_metrics(self, is_train: bool = False) -> dict[str, Metric]:
        """Return the metrics by class name.

        Args:
            is_train: True for the training metrics, False for the evaluation metrics.
        """
        metrics: dict[str, Metric] = getattr(self, "train_metrics" if is_train else "val_metrics")
        device = next((p.device for p in self.parameters() if p.device.type != "meta"), None)
        return {name: m if device is None else m.to(device) for name, m in metrics.items()}

    def generate(self, input_ids: Tensor, **kwargs: Any) -> Tensor:
        """Write text.

        Args:
            input_ids: tokens of the prompts, shape (N, L), padded on the left.
            kwargs: arguments of transformers' ``generate``.

        Returns:
            Tokens of prompts and text, shape (N, L + new).
        """
        return self.model.generate(input_ids=input_ids, **kwargs)

    def generate_text(
        self, prompts: Sequence[str], batch_size: int | None = None, **kwargs: Any
    ) -> list[str]:
        """Write text after prompts, which needs the tokenizer.

        Args:
            prompts: the prompts.
            batch_size: how many at a time; all if ``None``.
            kwargs: arguments of transformers' ``generate``.

        Returns:
            What was written after each prompt.
        """
        return continuations(self, prompts, batch_size, **kwargs)

    # Checkpoints.

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the weights; those of the adapters alone where only they are saved."""
        weights = super().state_dict(*args, **kwargs)
        if not (self.using_peft and self.should_save_peft_only):
            return weights
        return {name: value for name, value in weights.items() if _is_adapter(name)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over weights; adapters may come without the model they stand around.

        Args:
            state_dict: what :meth:`state_dict` returned.
            strict: whether other names are refused.
            assign: whether tensors are taken over instead of copied.

        Returns:
            Names that are missing and names that are not known.
        """
        if not (self.using_peft and self.should_save_peft_only):
            return super().load_state_dict(state_dict, strict, assign)
        known = super().load_state_dict(state_dict, strict=False, assign=assign)
        known.missing_keys[:] = [name for name in known.missing_keys if _is_adapter(name)]
        if strict and (known.missing_keys or known.unexpected_keys):
            raise RuntimeError(
                f"weights of adapters do not fit: missing {known.missing_keys[:5]}, not known "
                f"{known.unexpected_keys[:5]}"
            )
        return known

    def get_metadata(self) -> dict[str, Any]:
        """Return what a checkpoint keeps to make the model and its tokenizer again."""
        peft_config = self.model.peft_config[self.model.active_adapter] if self.using_peft else None
        return describe(self._inner, self._describe_tokenizer(), peft_config)

    def _describe_tokenizer(self) -> dict[str, Any]:
        # Tokenizers are large and hardly ever change, so not every checkpoint writes them anew.
        tokenizer = self.tokenizer
        now = tokenizer and (
            id(tokenizer),
            len(tokenizer),
            tokenizer.special_tokens_map,
            tokenizer.padding_side,
            tokenizer.chat_template,
        )
        if self._described is None or self._described[0] != now:
            self._described = (copy.deepcopy(now), describe_tokenizer(tokenizer))
        return self._described[1]

    def checkpoint_integrations(self) -> dict[str, Any]:
        """Return :meth:`get_metadata` under the name by which checkpoints keep it."""
        return {"huggingface": self.get_metadata()}

    @staticmethod
    def hf_from_composer_checkpoint(
        checkpoint_path: str,
        model_instantiation_class: Any = None,
        model_config_kwargs: dict[str, Any] | None = None,
        local_checkpoint_save_location: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
    ) -> tuple[Any, Any]:
        """Make the model and the tokenizer of a checkpoint again; no code from it is run.

        Args:
            checkpoint_path: the checkpoint, here or at an address such as ``s3://bucket/name``.
            model_instantiation_class: the class of the model, an auto class, or the full name of
                one; that of the checkpoint if ``None``, which must be one of transformers' own.
            model_config_kwargs: entries of the configuration to replace.
            local_checkpoint_save_location: where to keep a copy of the checkpoint.
            trust_remote_code: must stay false: code from a checkpoint is never run.

        Returns:
            The model, in evaluation mode, and the tokenizer, or ``None`` if there is none.

        Raises:
            RuntimeError: the checkpoint is of no such model, or of one that would need its code.
            ValueError: ``trust_remote_code``, or an entry the configuration does not have.
        """
        _refuse_code(trust_remote_code)
        hf_state, weights = read_huggingface_state(checkpoint_path, local_checkpoint_save_location)
        model = model_from_saved(hf_state, weights, model_instantiation_class, model_config_kwargs)
        return model, tokenizer_from_saved(hf_state)

    @staticmethod
    def load_huggingface_model_from_saved_state(
        hf_state: dict[str, Any],
        loaded_state_dict: dict[str, Any],
        model_instantiation_class: Any,
        model_config_kwargs: dict[str, Any] | None,
    ) -> Any:
        """Make a model from what a checkpoint holds.

        Args:
            hf_state: what :meth:`get_metadata` returned.
            loaded_state_dict: the contents of the checkpoint.
            model_instantiation_class: see :meth:`hf_from_composer_checkpoint`.
            model_config_kwargs: see :meth:`hf_from_composer_checkpoint`.
        """
        weights: dict[str, Any] = loaded_state_dict["state"]["model"]
        own = {name.removeprefix("model."): value for name, value in weights.items()}
        return model_from_saved(hf_state, own, model_instantiation_class, model_config_kwargs)

    @staticmethod
    def load_huggingface_tokenizer_from_saved_state(
        hf_state: dict[str, Any],
        trust_remote_code: bool = False,
        tokenizer_save_dir: str | None = None,
    ) -> Any:
        """Make a tokenizer from what a checkpoint holds.

        Args:
            hf_state: what :meth:`get_metadata` returned.
            trust_remote_code: must stay false: code from a checkpoint is never run.
            tokenizer_save_dir: where to write its files; a temporary place if ``None``.

        Returns:
            The tokenizer, or ``None`` if there is none.
        """
        _refuse_code(trust_remote_code)
        return tokenizer_from_saved(hf_state, tokenizer_save_dir)


def write_huggingface_pretrained_from_composer_checkpoint(
    checkpoint_path: str,
    output_folder: str | os.PathLike[str],
    local_checkpoint_save_location: str | os.PathLike[str] | None = None,
) -> None:
    """Write a folder that ``from_pretrained`` of transformers (or peft) reads.

    Args:
        checkpoint_path: the checkpoint, here or at an address such as ``s3://bucket/name``.
        output_folder: the folder; it is made.
        local_checkpoint_save_location: where to keep a copy of the checkpoint.

    Raises:
        RuntimeError: the checkpoint is of no model of transformers.
    """
    hf_state, weights = read_huggingface_state(checkpoint_path, local_checkpoint_save_location)
    write_pretrained(hf_state, weights, output_folder)


def _fit_to_tokenizer(model: Any, tokenizer: Any, may_resize: bool) -> None:
    if tokenizer is None:
        log.warning("no tokenizer was given: text cannot be generated, nor the tokenizer saved")
        return
    size, needed = getattr(model.config, "vocab_size", None), len(tokenizer)
    if size is None or needed <= size:
        return
    if not may_resize:
        raise ConfigError(
            f"the tokenizer has {needed} tokens and the model {size}; use the model's tokenizer, "
            "or allow_embedding_resizing=True to let the embeddings grow"
        )
    log.warning("the embeddings grow from %d to %d tokens", size, needed)
    model.resize_token_embeddings(needed)


def _add_adapters(model: Any, peft_config: Any) -> Any:
    peft = import_extra("peft", "hf")
    kind = getattr(peft_config.peft_type, "value", peft_config.peft_type)
    if kind != "LORA":
        raise ConfigError(f"peft_config is of the kind {kind!r}; LoRA adapters are supported")
    if isinstance(model, peft.PeftModel):
        raise ConfigError("the model has adapters already; leave peft_config out")
    return peft.get_peft_model(model, peft_config)


def _is_causal(model: Any) -> bool:
    names = import_extra("transformers", "hf").models.auto.modeling_auto
    known = names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    return any(each.__name__ in known for each in type(model).__mro__)


def _is_adapter(name: str) -> bool:
    return any(part in name for part in _ADAPTER_PARTS)


def _logits(outputs: Any) -> Tensor:
    if isinstance(outputs, Mapping):
        return outputs["logits"]
    # In a tuple the loss comes first, if there is one.
    return next(output for output in outputs if output.ndim > 0)


def _shifted(labels: Tensor) -> Tensor:
    """Return labels moved to the left by one; the last has none."""
    last = torch.full_like(labels[:, :1], IGNORED_LABEL)
    return torch.cat([labels[:, 1:], last], dim=1)


def _by_class_name(metrics: Sequence[Metric] | None) -> dict[str, Metric]:
    return {type(metric).__name__: metric for metric in metrics or ()}


def _refuse_code(trust_remote_code: bool) -> None:
    if trust_remote_code:
        raise ConfigError(
            "trust_remote_code=True is not supported: code from a checkpoint is never run. Make "
            "the tokenizer or model in your program, and give model_instantiation_class"
        )
