"""Models as files that run without Composer."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
import torch

from composer.checkpoint import export as export_module
from composer.checkpoint.export import (
    ExportFormat,
    export_for_inference,
    export_with_logger,
    quantize_dynamic,
)
from composer.checkpoint.save_run import save_checkpoint
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.errors import CheckpointError, ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.storage.fsspec_store import FsspecObjectStore


def make_model(seed: int = 0) -> ComposerClassifier:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    )
    return ComposerClassifier(net, num_classes=3)


def make_batch(size: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 4), torch.zeros(size, dtype=torch.int64)


def outputs_of(model: torch.nn.Module, batch: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(batch)


def test_a_torch_program_takes_batches_of_any_size_and_needs_no_model(
    tmp_path: pathlib.Path,
) -> None:
    model = make_model()
    path = str(tmp_path / "model.pt2")
    export_for_inference(model, "torch_export", path, sample_input=(make_batch(), {}))
    program = torch.export.load(path).module()
    batch = make_batch(7)
    assert torch.allclose(program(batch), outputs_of(model, batch), atol=1e-6)


def test_onnx_gives_the_same_outputs_elsewhere(tmp_path: pathlib.Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = make_model()
    path = str(tmp_path / "model.onnx")
    export_for_inference(
        model,
        ExportFormat.ONNX,
        path,
        sample_input=(make_batch(), {}),
        input_names=["image", "target"],
        output_names=["score"],
    )
    session = runtime.InferenceSession(path)
    assert [each.name for each in session.get_outputs()] == ["score"]
    batch = make_batch(5)
    (found,) = session.run(None, {"image": batch[0].numpy(), "target": batch[1].numpy()})
    assert torch.allclose(torch.from_numpy(found), outputs_of(model, batch), atol=1e-5)


def test_safetensors_hold_the_weights(tmp_path: pathlib.Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model = make_model()
    path = str(tmp_path / "model.safetensors")
    export_for_inference(model, "safetensors", path)
    other = make_model(1)
    other.load_state_dict(safetensors.load_file(path))
    assert torch.equal(outputs_of(other, batch := make_batch()), outputs_of(model, batch))


def test_tied_weights_are_written_under_both_names(tmp_path: pathlib.Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    export_for_inference(model, "safetensors", str(tmp_path / "a.safetensors"))
    found = safetensors.load_file(str(tmp_path / "a.safetensors"))
    assert torch.equal(found["0.weight"], found["1.weight"])


def test_torchscript_still_works(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "model.ts")
    export_for_inference(make_model(), "torchscript", path, sample_input=(make_batch(), {}))
    assert os.path.getsize(path) > 0


def test_the_model_itself_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    model = make_model()
    model.train()
    model.logger = object()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_for_inference(
        model, "torch_export", str(tmp_path / "a.pt2"), sample_input=(make_batch(), {})
    )
    assert model.training
    assert model.logger is not None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weights_may_come_from_a_checkpoint(tmp_path: pathlib.Path) -> None:
    trained = make_model(1)
    state = State(trained, 1, "run", DeviceCPU())
    checkpoint = save_checkpoint(state, str(tmp_path / "ep1.pt"), weights_only=True)
    path = str(tmp_path / "a.pt2")
    export_for_inference(
        make_model(0),
        "torch_export",
        path,
        sample_input=(batch := make_batch(), {}),
        load_path=checkpoint,
        load_strict=True,
    )
    found = torch.export.load(path).module()(batch)
    assert torch.allclose(found, outputs_of(trained, batch), atol=1e-6)


def test_surgery_and_transforms_change_a_copy(tmp_path: pathlib.Path) -> None:
    model = make_model()

    def widen(copied: torch.nn.Module) -> None:
        copied.module.append(torch.nn.Linear(3, 5))

    def negate(copied: torch.nn.Module) -> torch.nn.Module:
        with torch.no_grad():
            copied.module[-1].weight.neg_()
        return copied

    path = str(tmp_path / "a.pt2")
    export_for_inference(
        model,
        "torch_export",
        path,
        sample_input=(make_batch(), {}),
        surgery_algs=widen,
        transforms=[negate],
    )
    assert torch.export.load(path).module()(make_batch()).shape == (2, 5)
    assert len(model.module) == 4


def test_weights_of_eight_bits_are_smaller(tmp_path: pathlib.Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(200, 200))
    sample = torch.randn(2, 200)
    for name, transforms in (("plain", []), ("small", [quantize_dynamic])):
        export_for_inference(
            model, "torchscript", str(tmp_path / name), sample_input=sample, transforms=transforms
        )
    assert (tmp_path / "small").stat().st_size < 0.5 * (tmp_path / "plain").stat().st_size


def test_a_file_that_differs_from_the_model_is_not_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = export_module.WRITERS["torch_export"]

    def write_something_else(model: Any, call: Any, path: str, options: Any) -> None:
        with torch.no_grad():
            model.module[0].weight.add_(1)
        write(model, call, path, options)
        with torch.no_grad():
            model.module[0].weight.sub_(1)

    monkeypatch.setitem(export_module.WRITERS, "torch_export", write_something_else)
    with pytest.raises(CheckpointError, match="differs from the model's by up to"):
        export_for_inference(
            make_model(), "torch_export", str(tmp_path / "a.pt2"), sample_input=(make_batch(), {})
        )
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_said_at_once(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="sample_input"):
        export_for_inference(make_model(), "onnx", str(tmp_path / "a.onnx"))
    with pytest.raises(ValueError, match="torch_export"):
        export_for_inference(make_model(), "pickle", str(tmp_path / "a"))


def test_a_store_gets_the_file(tmp_path: pathlib.Path) -> None:
    store = FsspecObjectStore(f"file://{tmp_path}/store")
    (tmp_path / "store").mkdir()
    export_for_inference(
        make_model(), "torch_export", "models/a.pt2", store, sample_input=(make_batch(), {})
    )
    assert (tmp_path / "store" / "models" / "a.pt2").stat().st_size > 0


def test_logger_destinations_that_keep_files_get_it() -> None:
    class Files(LoggerDestination):
        def __init__(self) -> None:
            self.sizes: dict[str, int] = {}

        def can_upload_files(self) -> bool:
            return True

        def upload_file(
            self,
            state: State,
            remote_file_name: str,
            file_path: pathlib.Path,
            *,
            overwrite: bool,
        ) -> None:
            self.sizes[remote_file_name] = file_path.stat().st_size

    files = Files()
    state = State(make_model(), 1, "run", DeviceCPU())
    export_with_logger(
        state.model,
        "torch_export",
        "{run_name}/a.pt2",
        Logger(state, [files]),
        sample_input=(make_batch(), {}),
    )
    assert files.sizes["run/a.pt2"] > 0
