"""From a text file to documents, and from text to tokens and back."""

from pathlib import Path


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
