"""The body of a file-stream post: rows, console lines and the end of a run.

Nothing is trusted: members of the wrong type are refused with a reason, unknown members are
ignored.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.protocol.shapes import as_list, as_object

HISTORY: Final = "wandb-history.jsonl"
EVENTS: Final = "wandb-events.jsonl"
SUMMARY: Final = "wandb-summary.json"
OUTPUT: Final = "output.log"

_MAX_OFFSET: Final = 2**40


@dataclass(slots=True)
class Lines:
    """Consecutive lines of one stream.

    Attributes:
        offset: line number of the first.
        content: the lines, without line ends.
    """

    offset: int
    content: list[str]


@dataclass(slots=True)
class Post:
    """What one post says.

    Attributes:
        streams: lines by stream name; only the streams this server keeps.
        uploaded: names of run files whose upload is finished.
        is_complete: the run has ended.
        exit_code: the process's exit code, if the run has ended.
        is_preempting: the process is about to be taken away.
    """

    streams: dict[str, Lines] = field(default_factory=dict[str, Lines])
    uploaded: list[str] = field(default_factory=list[str])
    is_complete: bool = False
    exit_code: int = 0
    is_preempting: bool = False


def parse(body: bytes) -> Post:
    """Read the body of a post.

    Raises:
        BadRequestError: not a JSON object, or a member has the wrong type.
    """
    try:
        value = jsontext.loads(body or b"{}")
    except ValueError as error:
        raise BadRequestError(f"the file stream's body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError("the file stream's body must be a JSON object.")
    return _post(as_object(value))


def _post(value: dict[str, Any]) -> Post:
    files: Any = value.get("files") or {}
    uploaded: Any = value.get("uploaded") or []
    if not isinstance(files, dict) or not isinstance(uploaded, list):
        raise BadRequestError("'files' must be an object and 'uploaded' a list.")
    post = Post(
        uploaded=[each for each in as_list(uploaded) if isinstance(each, str)],
        is_complete=value.get("complete") is True,
        is_preempting=value.get("preempting") is True,
    )
    code = value.get("exitcode")
    if isinstance(code, int) and -(2**31) <= code < 2**31:
        post.exit_code = int(code)
    for name in (HISTORY, EVENTS, SUMMARY, OUTPUT):
        if name in files:
            post.streams[name] = _lines(name, as_object(files)[name])
    return post


def _lines(name: str, value: Any) -> Lines:
    if not isinstance(value, dict):
        raise BadRequestError(f"{name!r} must be an object with 'offset' and 'content'.")
    members = as_object(value)
    offset: Any = members.get("offset", 0)
    content: Any = members.get("content") or []
    if type(offset) is not int or not 0 <= offset < _MAX_OFFSET:
        raise BadRequestError(
            f"the offset of {name!r} must be a line number from 0 to {_MAX_OFFSET}."
        )
    if not isinstance(content, list) or set(map(type, as_list(content))) - {str}:
        raise BadRequestError(f"the content of {name!r} must be a list of lines.")
    return Lines(offset, as_list(content))
