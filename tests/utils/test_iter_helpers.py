"""One or many, mapped containers, and streams of chunks."""

import io
from typing import NamedTuple

import pytest

from composer.utils.iter_helpers import (
    IteratorFileStream,
    ensure_tuple,
    iterate_with_callback,
    map_collection,
)


class Pair(NamedTuple):
    first: int
    second: int


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ()),
        (3, (3,)),
        ("text", ("text",)),
        (b"bytes", (b"bytes",)),
        ([1, 2], (1, 2)),
        ((1, 2), (1, 2)),
        ({"a": 1, "b": 2}, (1, 2)),
        (range(2), (0, 1)),
        (0, (0,)),
    ],
)
def test_one_or_many_becomes_a_tuple(given, expected):
    assert ensure_tuple(given) == expected


def test_a_set_is_one_thing_because_it_has_no_order():
    assert ensure_tuple({1, 2}) == ({1, 2},)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 2], [10, 20]),
        ((1, 2), (10, 20)),
        ({"a": 1}, {"a": 10}),
        (5, 50),
        (None, None),
        (Pair(1, 2), Pair(10, 20)),
    ],
)
def test_mapping_keeps_the_kind_of_container(given, expected):
    mapped = map_collection(given, lambda value: value * 10)
    assert mapped == expected
    assert type(mapped) is type(expected)


def test_mapping_does_not_enter_the_items():
    assert map_collection([[1, 2], [3]], len) == [2, 1]


def test_progress_is_reported_before_the_first_chunk_and_after_each():
    seen = []
    chunks = list(iterate_with_callback([b"abc", b"de"], 5, lambda *now: seen.append(now)))
    assert chunks == [b"abc", b"de"]
    assert seen == [(0, 5), (3, 5), (5, 5)]


def test_chunks_pass_without_a_callback():
    assert list(iterate_with_callback([b"abc", b"de"], 5)) == [b"abc", b"de"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_stream_reads_across_chunks_of_any_length(size):
    stream = io.BufferedReader(IteratorFileStream(iter([b"ab", b"", b"cdef", b"g"])))
    parts = []
    while part := stream.read(size):
        parts.append(part)
    assert b"".join(parts) == b"abcdefg"
    assert all(len(part) == size for part in parts[:-1])


def test_a_stream_is_readable_and_ends():
    stream = IteratorFileStream(iter([b"x"]))
    assert stream.readable()
    assert stream.read() == b"x"
    assert stream.read() == b""
