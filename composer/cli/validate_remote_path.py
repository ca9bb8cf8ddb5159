"""``composer_validate_remote_path``: does a remote folder answer, and may we write there?"""

import argparse
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence

from composer.errors import ComposerError
from composer.storage.object_store import ObjectStore
from composer.storage.uri import parse_uri, store_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the words after the command; those of the process if ``None``.

    Returns:
        The exit status: 0 if the path can be used, 1 if not.
    """
    options = _parser().parse_args(argv)
    try:
        with store_of(options.remote_path) as store:
            prefix = parse_uri(options.remote_path)[2]
            names = store.list_objects(prefix)
            print(f"{options.remote_path}: {len(names)} object(s) below this path")
            if options.write:
                _try_to_write(store, prefix)
                print(f"{options.remote_path}: can be written and deleted")
    except ComposerError as error:
        print(f"{options.remote_path}: {error}", file=sys.stderr)
        return 1
    if not names and not options.write:
        print(f"{options.remote_path}: there is nothing", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "composer_validate_remote_path",
        description="Say whether there are objects below a remote path, and whether it can be "
        "written to. The exit status is 0 if so.",
    )
    parser.add_argument("remote_path", help="an address such as s3://bucket/run-1")
    parser.add_argument(
        "--write", action="store_true", help="try to store a small object there and delete it"
    )
    return parser


def _try_to_write(store: ObjectStore, prefix: str) -> None:
    name = f"{prefix.rstrip('/')}/.composer-test-{secrets.token_hex(6)}".lstrip("/")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test")
        with open(path, "wb") as file:
            file.write(b"test")
        store.upload_object(name, path)
    store.delete_object(name)


if __name__ == "__main__":
    sys.exit(main())
