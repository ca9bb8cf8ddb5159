"""Models of transformers in checkpoints: what is kept to make one again, and how that is done.

A checkpoint holds the configuration, the name of the model's class and the tokenizer's files, all
as plain values. Nothing of it is run: classes are looked up in transformers itself, code that a
tokenizer brings along is never written out, and models of other packages are made from a class
that the caller gives.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from composer.checkpoint.load_run import read_checkpoint
from composer.errors import CheckpointError, ConfigError, UntrustedCheckpointError
from composer.storage.files import get_file
from composer.utils.import_helpers import import_extra, import_object

__all__ = [
    "config_from_saved",
    "describe",
    "describe_tokenizer",
    "model_from_saved",
    "read_huggingface_state",
    "tokenizer_from_saved",
    "write_pretrained",
    "write_tokenizer_files",
]

_KEY = "huggingface"
_PREFIX = "model."
# What a tokenizer's file may be, and how its content is kept.
_TEXT = (".txt", ".jinja", ".bpe", ".merges")
_CODE = ".py"


def describe(
    model: Any, tokenizer_files: Mapping[str, Any], peft_config: Any = None
) -> dict[str, Any]:
    """Return what a checkpoint keeps to make model and tokenizer again.

    Args:
        model: the model of transformers, without adapters around it.
        tokenizer_files: what :func:`describe_tokenizer` returned.
        peft_config: the configuration of its adapters, or ``None``.
    """
    cls = type(model)
    described: dict[str, Any] = {
        "config": {
            "file_extension": ".json",
            "content": json.loads(model.config.to_json_string(use_diff=False)),
            "class": f"{cls.__module__}.{cls.__name__}",
        }
    }
    if peft_config is not None:
        with tempfile.TemporaryDirectory() as folder:
            peft_config.save_pretrained(folder)
            content = json.loads(Path(folder, "adapter_config.json").read_text("utf-8"))
        described["peft_config"] = {"file_extension": ".json", "content": content}
    return {"model": described, "tokenizer": dict(tokenizer_files)}


def describe_tokenizer(tokenizer: Any) -> dict[str, dict[str, Any]]:
    """Return a tokenizer's files: name -> ending and content.

    Args:
        tokenizer: the tokenizer; ``None`` has no files.
    """
    if tokenizer is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {
            str(path.relative_to(folder).with_suffix("")): {
                "file_extension": path.suffix,
                "content": _read(path),
            }
            for path in paths
            if path.suffix != _CODE
        }


def _read(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"))
    if path.suffix in _TEXT:
        return path.read_text("utf-8").split("\n")
    return {"base64": base64.b64encode(path.read_bytes()).decode()}


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(content), "utf-8")
    elif isinstance(content, list):
        path.write_text("\n".join(content), "utf-8")
    elif isinstance(content, Mapping) and "base64" in content:
        path.write_bytes(base64.b64decode(content["base64"]))
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(str(content), "utf-8")


def write_tokenizer_files(hf_state: Mapping[str, Any], folder: str | os.PathLike[str]) -> bool:
    """Write a tokenizer's files into a folder, from which transformers can load it.

    Args:
        hf_state: what :func:`describe` returned.
        folder: the folder; it is made.

    Returns:
        Whether there are any.

    Raises:
        RuntimeError: a file's name leads out of the folder.
    """
    files: Mapping[str, Mapping[str, Any]] = hf_state.get("tokenizer") or {}
    root = Path(folder).resolve()
    for name, file in files.items():
        path = (root / f"{name}{file['file_extension']}").resolve()
        if not path.is_relative_to(root):
            raise UntrustedCheckpointError(
                f"the checkpoint's tokenizer has a file {name!r}, which lies outside its folder; "
                "the checkpoint has been tampered with"
            )
        # Code that a tokenizer brings along is never written, so it cannot be run.
        if file["file_extension"] != _CODE:
            _write(path, file["content"])
    return bool(files)


def read_huggingface_state(
    checkpoint_path: str, local_checkpoint_save_location: str | os.PathLike[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what a checkpoint says of a model of transformers, and its weights.

    Args:
        checkpoint_path: the checkpoint, here or at an address such as ``s3://bucket/name``.
        local_checkpoint_save_location: where to keep a copy; a temporary place if ``None``.

    Returns:
        What :func:`describe` returned, and the weights under the names of the model itself.

    Raises:
        RuntimeError: the checkpoint is of no such model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint_path
        if local_checkpoint_save_location is not None or "://" in checkpoint_path:
            path = os.fspath(local_checkpoint_save_location or Path(folder, "checkpoint.pt"))
            get_file(checkpoint_path, path)
        state = read_checkpoint(path)["state"]
    hf_state = (state.get("integrations") or {}).get(_KEY)
    if hf_state is None:
        raise CheckpointError(
            f"{checkpoint_path!r} was not written with a HuggingFaceModel: it does not say how to "
            "make its model again"
        )
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in state["model"].items()
        if name.startswith(_PREFIX)
    }
    return hf_state, weights


def config_from_saved(hf_state: Mapping[str, Any], changes: Mapping[str, Any] | None) -> Any:
    """Make the configuration again.

    Args:
        hf_state: what :func:`describe` returned.
        changes: entries to replace.

    Raises:
        ConfigError: an entry that the configuration does not have.
        RuntimeError: a kind of model that transformers does not have itself.
    """
    transformers = import_extra("transformers", "hf")
    content = dict(hf_state["model"]["config"]["content"])
    for name, value in (changes or {}).items():
        if name not in content:
            raise ConfigError(
                f"model_config_kwargs has {name!r}, which the configuration does not; it has "
                f"{sorted(content)}"
            )
        content[name] = value
    kind = content.get("model_type")
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if kind not in known:
        raise CheckpointError(
            f"the checkpoint's model is of the kind {kind!r}, which transformers does not have "
            "itself; code from a checkpoint is not run. Make the model in your program and load "
            "the checkpoint into it"
        )
    return known[kind].from_dict(content)


def model_from_saved(
    hf_state: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    model_class: Any,
    changes: Mapping[str, Any] | None,
) -> Any:
    """Make the model again, with its weights.

    Args:
        hf_state: what :func:`describe` returned.
        weights: weights under the names of the model itself.
        model_class: a model class, an auto class such as ``AutoModelForCausalLM``, or the full
            name of one; the checkpoint's class if ``None``.
        changes: entries of the configuration to replace.

    Raises:
        RuntimeError: the class or the weights do not fit.
    """
    cls = _model_class(hf_state, model_class)
    config = config_from_saved(hf_state, changes)
    peft_state = hf_state["model"].get("peft_config")
    if peft_state is None:
        model = cls.from_config(config) if hasattr(cls, "_model_mapping") else cls(config)
    else:
        model = _with_adapters(cls, config, peft_state["content"], weights)
    _load(model, weights, only_adapters=peft_state is not None)
    return model.eval()


def _model_class(hf_state: Mapping[str, Any], given: Any) -> Any:
    if isinstance(given, str):
        return import_object(":".join(given.rsplit(".", 1)))
    if given is not None:
        return given
    saved: str = hf_state["model"]["config"]["class"]
    if not saved.startswith("transformers."):
        raise UntrustedCheckpointError(
            f"the checkpoint's model is a {saved!r}, which is no class of transformers and is not "
            "imported because a file says so; give model_instantiation_class"
        )
    cls = import_object(":".join(saved.rsplit(".", 1)))
    base = import_extra("transformers", "hf").PreTrainedModel
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UntrustedCheckpointError(f"the checkpoint's model class {saved!r} is no model")
    return cls


def _with_adapters(
    cls: Any, config: Any, peft_content: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> Any:
    """Make a model with its adapters; base weights come from where adapters say, if not saved."""
    peft = import_extra("peft", "hf")
    has_base = any("lora_" not in name for name in weights)
    source = peft_content.get("base_model_name_or_path")
    if has_base:
        base = cls.from_config(config) if hasattr(cls, "_model_mapping") else cls(config)
    elif source:
        base = cls.from_pretrained(source)
    else:
        raise CheckpointError(
            "the checkpoint has the weights of adapters only and does not say from which model "
            "they were trained; load it into a HuggingFaceModel made with that model and the same "
            "peft_config"
        )
    return peft.get_peft_model(base, peft.LoraConfig(**_lora_arguments(peft, peft_content)))


def _lora_arguments(peft: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    known = peft.LoraConfig.__dataclass_fields__
    return {name: value for name, value in content.items() if name in known}


def _load(model: nn.Module, weights: Mapping[str, Tensor], only_adapters: bool) -> None:
    missing, unexpected = model.load_state_dict(dict(weights), strict=False)
    # Tied weights are saved under one of their names.
    own = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(own[name]) for name in weights if name in own}
    lost = [
        name
        for name in missing
        if id(own.get(name)) not in loaded and not (only_adapters and "lora_" not in name)
    ]
    if lost or unexpected:
        raise CheckpointError(
            f"the checkpoint's weights do not fit {type(model).__name__}: not in the checkpoint "
            f"{lost[:5]}, only there {list(unexpected)[:5]}"
        )


def tokenizer_from_saved(
    hf_state: Mapping[str, Any], folder: str | os.PathLike[str] | None = None
) -> Any:
    """Make the tokenizer again.

    Args:
        hf_state: what :func:`describe` returned.
        folder: where to write its files; a temporary place if ``None``.

    Returns:
        The tokenizer; ``None`` if the checkpoint has none.
    """
    transformers = import_extra("transformers", "hf")
    with tempfile.TemporaryDirectory() as temporary:
        place = os.fspath(folder) if folder is not None else temporary
        if not write_tokenizer_files(hf_state, place):
            return None
        return transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)


def write_pretrained(
    hf_state: Mapping[str, Any], weights: Mapping[str, Tensor], folder: str | os.PathLike[str]
) -> None:
    """Write a folder that ``from_pretrained`` of transformers reads.

    Args:
        hf_state: what :func:`describe` returned.
        weights: weights under the names of the model itself.
        folder: the folder; it is made.
    """
    safetensors = import_extra("safetensors.torch", "hf")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    peft_state = hf_state["model"].get("peft_config")
    if peft_state is None:
        _write(root / "config.json", hf_state["model"]["config"]["content"])
        name = "model.safetensors"
    else:
        _write(root / "adapter_config.json", peft_state["content"])
        name = "adapter_model.safetensors"
        weights = {_adapter_name(key): value for key, value in weights.items() if "lora_" in key}
    safetensors.save_file(_once_each(weights), root / name, metadata={"format": "pt"})
    write_tokenizer_files(hf_state, root)


def _adapter_name(name: str) -> str:
    """Return the name under which peft keeps a weight: without that of the adapter."""
    return name.replace(".default.", ".")


def _once_each(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out further names of tied weights; transformers ties them again."""
    seen: set[tuple[Any, ...]] = set()
    kept: dict[str, Tensor] = {}
    for name, value in weights.items():
        place = (value.data_ptr(), value.stride(), value.shape)
        if place not in seen:
            seen.add(place)
            kept[name] = value.contiguous()
    return kept
