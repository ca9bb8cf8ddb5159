"""The small GPT of the examples: its parts do what their text says, and its program runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "gpt"
if not EXAMPLE.exists():
    pytest.skip("only the package is here, not its examples", allow_module_level=True)

TEXT = "the cat sat.\n\nwho sat?\n\nthe cat.\n\nand then the dog came in and sat down too.\n\n" * 12


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    torch.manual_seed(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, "utf-8")
    return path


def small_model(**changes: Any) -> Any:
    from model import GPT, Config

    model = GPT(
        Config(**{"vocabulary": 11, "context": 16, "width": 16, "depth": 2, "heads": 2} | changes)
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def documents() -> torch.Tensor:
    return torch.tensor([[0] * 5 + [1] * 7 + [-1] * 4, [0] * 16])


def test_at_the_start_each_block_is_the_identity_and_all_tokens_are_alike() -> None:
    from model import GPT, Config

    scores = GPT(Config(11, 16, 16, 2, 2))({"input_ids": torch.randint(11, (2, 16))})
    assert torch.equal(scores, torch.zeros(2, 16, 11))


def test_a_token_sees_none_that_comes_later() -> None:
    model, ids = small_model(), torch.randint(11, (1, 16))
    changed = ids.clone()
    changed[0, 9] = (ids[0, 9] + 1) % 11
    before, after = model({"input_ids": ids}), model({"input_ids": changed})
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_documents_of_a_row_are_as_if_they_were_alone() -> None:
    model, ids = small_model(), torch.randint(11, (2, 16))
    together = model({"input_ids": ids, "document_ids": documents()})
    alone = model({"input_ids": ids[:1, 5:12]})
    torch.testing.assert_close(together[:1, 5:12], alone, atol=1e-5, rtol=1e-4)


def test_both_ways_to_attend_are_the_same() -> None:
    from model import _flex_within, attention_within

    query, key, value = torch.randn(3, 2, 2, 16, 8)
    plain = attention_within(documents(), 16, query.device)
    # Not compiled, which is for GPUs.
    flex = _flex_within(documents(), 16, query.device, attend=flex_attention)
    with pytest.warns(UserWarning, match="without torch.compile"):
        found = flex(query, key, value)
    torch.testing.assert_close(found, plain(query, key, value))


def test_a_tied_head_has_the_weights_of_the_embedding() -> None:
    model = small_model(tied=True)
    assert model.head.weight is model.embedding.weight


def test_sizes_that_cannot_work_are_refused() -> None:
    from model import Config

    with pytest.raises(ValueError, match="must be a multiple of"):
        Config(vocabulary=11, width=18, heads=4)
    with pytest.raises(ValueError, match="longer than the context"):
        small_model()({"input_ids": torch.zeros(1, 17, dtype=torch.long)})


@pytest.mark.parametrize("packed", [True, False])
def test_rows_hold_every_token_that_follows_another_once(packed: bool, file: Path) -> None:
    from train import load, make_rows

    documents = load(file, "byte").training
    rows = make_rows(documents, 32, packed)
    counted = sum(int((row["labels"] != -100).sum()) for row in rows)
    assert counted == sum(len(document) - 1 for document in documents)
    assert (len(rows) < 0.7 * len(documents)) == packed
    assert packed or all(row["document_ids"].max() == 1 for row in rows)


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_tokens_become_the_text_again(kind: str) -> None:
    from tokens import make_tokenizer

    text = "naïve café"
    tokenizer = make_tokenizer(kind, text)
    ids = tokenizer.encode(text)
    assert max(ids) < len(tokenizer)
    assert tokenizer.decode(ids) == text


def test_a_tokenizer_of_transformers_comes_from_its_folder(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the tokenizer is one of its own")
    transformers = pytest.importorskip("transformers", reason="it reads the folder")
    from tokens import make_tokenizer

    words = {word: i for i, word in enumerate(["?", "the", "cat", "sat"])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(tmp_path)
    tokenizer = make_tokenizer(str(tmp_path), "")
    assert tokenizer.encode("the cat sat") == [1, 2, 3]
    assert len(tokenizer) == 4


def test_what_is_no_tokenizer_is_named() -> None:
    from tokens import make_tokenizer

    with pytest.raises(ValueError, match="'chars' is neither 'char' nor 'byte'"):
        make_tokenizer("chars", "")


def test_a_file_without_text_is_refused(tmp_path: Path) -> None:
    from tokens import read_documents

    (tmp_path / "empty.txt").write_text(" \n", "utf-8")
    with pytest.raises(ValueError, match="too little text"):
        read_documents(tmp_path / "empty.txt", "\n\n")


@pytest.mark.parametrize("without", [[], ["muon", "wsd", "fused", "packing"]], ids=["all", "none"])
def test_the_program_trains_and_writes(without: list[str], file: Path) -> None:
    command = [
        sys.executable, EXAMPLE / "train.py", file, "--context", "32", "--width", "16",
        "--depth", "1", "--heads", "2", "--duration", "20ba", "--rows", "4", "--length", "10",
    ]  # fmt: skip
    done = subprocess.run(
        [*command, "--without", *without] if without else command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nats a token" in done.stdout
