"""From a text file to rows of tokens: vocabulary, documents, and how documents fill rows."""

from pathlib import Path

import torch
from torch.utils.data import Dataset

IGNORED = -100
"""The label of a place where no token counts."""


class Characters:
    """Each character that occurs in a text is a token."""

    def __init__(self, text):
        self.characters = sorted(set(text))
        self._number = {character: i for i, character in enumerate(self.characters)}

    def __len__(self):
        return len(self.characters)

    def encode(self, text):
        """Return the numbers of a text's characters."""
        return [self._number[character] for character in text]

    def decode(self, ids):
        """Return the text of numbers."""
        return "".join(self.characters[i] for i in ids)


class Bytes:
    """Each byte of the text's UTF-8 form is a token: any text can be written, in any language."""

    def __len__(self):
        return 256

    def encode(self, text):
        """Return the bytes of a text."""
        return list(text.encode("utf-8"))

    def decode(self, ids):
        """Return the text of bytes; what is no text is marked."""
        return bytes(ids).decode("utf-8", errors="replace")


class FromFolder:
    """A tokenizer of the transformers library, from its folder."""

    def __init__(self, folder):
        from transformers import AutoTokenizer

        if not Path(folder).is_dir():
            raise ValueError(f"{folder!r} is neither 'char' nor 'byte' nor a tokenizer's folder")
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def __len__(self):
        return len(self._tokenizer)

    def encode(self, text):
        """Return the tokens of a text, without any that mark its ends."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids):
        """Return the text of tokens."""
        return self._tokenizer.decode(ids)


def make_tokenizer(kind, text):
    """Return the tokenizer: ``"char"``, ``"byte"``, or that of a folder."""
    if kind == "char":
        return Characters(text)
    return Bytes() if kind == "byte" else FromFolder(kind)


def read_documents(path, separator):
    """Return a text file's documents, each with the separator that ends it, in two lists.

    The second is of the last tenth of the text, for validation.
    """
    text = Path(path).read_text(encoding="utf-8")
    border = len(text) * 9 // 10
    parts = [_documents(part, separator) for part in (text[:border], text[border:])]
    if not all(parts):
        raise ValueError(f"{path} has too little text: a tenth of it is kept for validation")
    return parts


def _documents(text, separator):
    pieces = text.split(separator) if separator else [text]
    return [piece + separator for piece in pieces if piece.strip()]


def cut(documents, tokenizer, context):
    """Return the documents as tokens, in pieces that fit into a row.

    A piece has one token more than a row: each token but its first is a label once.
    """
    pieces = []
    for document in documents:
        ids = torch.tensor(tokenizer.encode(document))
        pieces += [ids[i : i + context + 1] for i in range(0, len(ids) - 1, context)]
    if not pieces:
        raise ValueError("no document has two tokens, and nothing can be predicted from one")
    return pieces


class Rows(Dataset):
    """Rows of documents, each row of the same length.

    Args:
        pieces: what `cut` returned.
        context: tokens of a row.
        packed: whether a row holds as many documents as fit; else one, and padding after it.
    """

    def __init__(self, pieces, context, packed=True):
        filled = _fill(pieces, context) if packed else [[piece] for piece in pieces]
        self.input_ids = torch.zeros(len(filled), context, dtype=torch.long)
        self.labels = torch.full((len(filled), context), IGNORED)
        # Padding is a document of its own. Where documents have rows of their own, it comes last
        # and needs no mask.
        self.document_ids = torch.full((len(filled), context), -1) if packed else None
        for row, own in enumerate(filled):
            start = 0
            for number, piece in enumerate(own):
                place = slice(start, start + len(piece) - 1)
                self.input_ids[row, place], self.labels[row, place] = piece[:-1], piece[1:]
                if packed:
                    self.document_ids[row, place] = number
                start = place.stop

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, row):
        batch = {"input_ids": self.input_ids[row], "labels": self.labels[row]}
        return (
            batch if self.document_ids is None else batch | {"document_ids": self.document_ids[row]}
        )


def _fill(pieces, context):
    """Share pieces out to rows: into each the longest that still fit, until none does."""
    by_length = {}
    for piece in pieces:
        by_length.setdefault(len(piece) - 1, []).append(piece)
    rows = []
    while by_length:
        row, room = [], context
        while lengths := [length for length in by_length if length <= room]:
            longest = max(lengths)
            row.append(by_length[longest].pop())
            room -= longest
            if not by_length[longest]:
                del by_length[longest]
        rows.append(row)
    return rows
