"""Documents of any length as windows of one length, each token with its document and position.

A model that trains on packed windows must not look from one document into another: hand it
``position_ids``, which begin anew with each document (Hugging Face models take the borders from
them), or a mask made from ``document_ids``. Labels that would be predicted from another document
are -100, as those of padding are.

Packing is decided when the data set is made, and a window is read by its index, so a loader over
it resumes at once in the middle of an epoch, shuffles windows, and shares them out among ranks as
over any other data set. The Trainer weighs microbatches and ranks by their labels that count, so
windows with much padding do not count for more than they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from composer.core.data_spec import IGNORED_LABEL
from composer.data.packing import Packing, plan_packing
from composer.errors import DataError

__all__ = ["PackedDocuments", "document_mask", "pack_documents"]

Document = Any
"""Token ids: a list, a one-dimensional array or tensor, or a mapping that has them as
``input_ids``."""


class PackedDocuments(Dataset[dict[str, Tensor]]):
    """A data set of windows that hold whole documents.

    Each window is a mapping of int64 tensors of shape (length,):

    * ``input_ids``: the documents' tokens, one document after the other, then padding;
    * ``labels``: the same tokens, with -100 for the first of each document and for padding, as
      models want them that shift labels themselves. With ``shift_labels`` the label of a position
      is the token that follows there, and -100 at the end of a document and for padding;
    * ``position_ids``: 0, 1, 2, ... anew with each document;
    * ``document_ids``: 1, 2, 3, ... for the window's documents, and 0 for padding.

    There is no ``attention_mask``: with one, Hugging Face models do not look for borders in
    ``position_ids``. Only documents longer than a window are cut.

    Args:
        documents: token ids, by index: a list or a data set of documents, each a list, an array or
            a tensor of token ids, or a mapping that has them as ``input_ids``.
        length: tokens of a window, at least 2.
        pad_id: the token that stands where no document does.
        shift_labels: whether labels are shifted here, for models that do not do so themselves.
        lengths: tokens of each document. Without it every document is read once to find out.
        lookahead: documents that are packed together; see :func:`plan_packing`.
        seed: shuffles documents before they are packed; the same on all ranks. ``None`` does not.

    Attributes:
        packing: which documents lie in which window.

    Raises:
        ValueError: an argument is out of range, no document has a token, or ``lengths`` are not
            those of the documents (some of that is found only when a window is read).

    Example:
        >>> packed = PackedDocuments([[5, 6, 7], [8, 9]], length=6, seed=None)
        >>> packed[0]["labels"].tolist()
        [-100, 6, 7, -100, 9, -100]
        >>> packed[0]["position_ids"].tolist()
        [0, 1, 2, 0, 1, 0]

    Source:
        Best-fit packing of Ding et al. 2024 (arXiv:2404.10830), with documents kept apart as in
        Krell et al. 2021 (arXiv:2107.02027).
    """

    def __init__(
        self,
        documents: Sequence[Document] | Dataset[Document],
        length: int,
        *,
        pad_id: int = 0,
        shift_labels: bool = False,
        lengths: Sequence[int] | NDArray[np.int64] | None = None,
        lookahead: int = 4096,
        seed: int | None = 0,
    ) -> None:
        self.documents: Any = documents
        self.pad_id = pad_id
        self.shift_labels = shift_labels
        if lengths is None:
            # By number: a data set need not stop when it is iterated over.
            count = len(self.documents)
            lengths = [len(_tokens(self.documents[index])) for index in range(count)]
        elif len(lengths) != len(self.documents):
            raise DataError(
                f"{len(lengths)} lengths for {len(self.documents)} documents: give one for each"
            )
        self._sizes = np.asarray(lengths, dtype=np.int64)
        self.packing: Packing = plan_packing(self._sizes, length, lookahead, seed)
        self._places = np.arange(length)

    def __len__(self) -> int:
        return len(self.packing)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a window.

        Raises:
            IndexError: there is no such window.
            ValueError: a document is not as long as it was said to be.
        """
        plan, window = self.packing, int(index)
        if not 0 <= window < len(plan):
            raise IndexError(f"window {index} is not from 0 to {len(plan) - 1}")
        filled = _Window(self._places, self.pad_id, self.shift_labels)
        for number, start, stop in plan.pieces(window):
            tokens = _tokens(self.documents[number])
            if len(tokens) != self._sizes[number]:
                raise DataError(
                    f"document {number} has {len(tokens)} tokens and was packed as one of "
                    f"{self._sizes[number]}: give the right lengths, and documents that are the "
                    "same whenever they are read"
                )
            filled.add(tokens, start, stop)
        return filled.tensors()


def pack_documents(
    documents: Sequence[Document],
    length: int,
    pad_id: int = 0,
    shift_labels: bool = False,
) -> dict[str, Tensor]:
    """Pack the documents of one batch; made to be a loader's ``collate_fn``.

    It suits documents that come as a stream. How many windows a batch has depends on what is in it;
    where documents can be read by index, :class:`PackedDocuments` wastes less and has batches of
    one size.

    Args:
        documents: token ids, each a list, an array, a tensor, or a mapping with ``input_ids``.
        length: tokens of a window, at least 2.
        pad_id: the token that stands where no document does.
        shift_labels: whether labels are shifted here.

    Returns:
        What :class:`PackedDocuments` gives for a window, stacked: shape (windows, length).

    Raises:
        ValueError: an argument is out of range, or no document has a token.

    Example:
        >>> batch = pack_documents([[5, 6, 7], [8, 9], [1]], length=4)
        >>> batch["input_ids"].tolist()
        [[5, 6, 7, 1], [8, 9, 0, 0]]
    """
    packed = PackedDocuments(documents, length, pad_id=pad_id, shift_labels=shift_labels, seed=None)
    windows = [packed[index] for index in range(len(packed))]
    return {name: torch.stack([window[name] for window in windows]) for name in windows[0]}


def document_mask(document_ids: Tensor) -> Tensor:
    """Return which positions may look at which: earlier ones of the same document.

    Args:
        document_ids: the document of each position, shape (N, L).

    Returns:
        Booleans of shape (N, 1, L, L), true where position ``[..., i, :]`` may look, as
        ``torch.nn.functional.scaled_dot_product_attention`` takes them. Padding looks at padding,
        so that no position looks at nothing.

    Example:
        >>> document_mask(torch.tensor([[1, 1, 2]]))[0, 0].int().tolist()
        [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    is_same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return is_same.tril()


class _Window:
    """One window while it is filled.

    Args:
        places: 0, 1, 2, ... for each of its positions.
        pad_id: the token that stands where no document does.
        shift_labels: whether labels are shifted here.
    """

    def __init__(self, places: NDArray[np.int64], pad_id: int, shift_labels: bool) -> None:
        self._places = places
        # Not np.full, which takes several times as long.
        length = len(places)
        self._ids = np.empty(length, dtype=np.int64)
        self._ids.fill(pad_id)
        self._labels = np.empty(length, dtype=np.int64)
        self._labels.fill(IGNORED_LABEL)
        self._positions = np.empty(length, dtype=np.int64)
        self._documents = np.zeros(length, dtype=np.int64)
        self._shift_labels = shift_labels
        self._end = 0
        self._count = 0

    def add(self, tokens: Any, start: int, stop: int) -> None:
        """Put a piece of a document behind what is there."""
        size, begin, end = stop - start, self._end, self._end + stop - start
        # One token more, where there is one: what follows a piece is known if its document goes on.
        piece = np.asarray(tokens[start : stop + 1], dtype=np.int64)
        self._count += 1
        self._ids[begin:end] = piece[:size]
        self._documents[begin:end] = self._count
        self._positions[begin:end] = self._places[:size]
        if self._shift_labels:
            self._labels[begin : begin + len(piece) - 1] = piece[1:]
        else:
            self._labels[begin + 1 : end] = piece[1:size]
        self._end = end

    def tensors(self) -> dict[str, Tensor]:
        """Return the window."""
        self._positions[self._end :] = self._places[: len(self._places) - self._end]
        return {
            "input_ids": torch.from_numpy(self._ids),
            "labels": torch.from_numpy(self._labels),
            "position_ids": torch.from_numpy(self._positions),
            "document_ids": torch.from_numpy(self._documents),
        }


def _tokens(document: Document) -> Any:
    """Return a document's token ids, as something that can be cut."""
    if isinstance(document, Mapping):
        document = cast("Mapping[str, Any]", document)
        if "input_ids" not in document:
            raise DataError(f"a document without 'input_ids'; it has {sorted(document)}")
        document = document["input_ids"]
    if isinstance(document, str):
        raise DataError(f"a document of text, {document[:20]!r}: turn it into token ids first")
    if getattr(document, "ndim", 1) != 1:
        raise DataError(f"token ids of shape {tuple(document.shape)}: a document has one dimension")
    return document
