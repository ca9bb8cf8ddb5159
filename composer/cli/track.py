"""``composer track``: a tracking server on this machine, and what can be done with its folder."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

DEFAULT_FOLDER = "~/.local/share/composer/tracker"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a ``composer track`` command.

    Args:
        argv: the words after ``composer track``.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="composer track", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_serve(commands)
    return parser


def _add_folder(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("COMPOSER_TRACKER_FOLDER", DEFAULT_FOLDER)
    parser.add_argument(
        "--folder", type=lambda text: Path(text).expanduser(), default=Path(default).expanduser(),
        help="where everything is kept (default: %(default)s)",
    )  # fmt: skip


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("serve", help="start the server")
    _add_folder(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    parser.add_argument("--public-url", help="address as others see it, with its path, behind a proxy")
    parser.add_argument("--allowed-host", action="append", default=[], help="a further host name to answer to")
    parser.add_argument("--require-key", action="store_true", help="ask for a key even from this machine")
    parser.add_argument("--watch", action="append", type=Path, default=[], help="a folder of runs written offline")
    parser.add_argument("--crash-after", type=float, default=300.0, help="seconds of silence that mean a crash")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from composer.tracking.server.options import ServerOptions
    from composer.tracking.server.serve import serve

    options = ServerOptions(
        folder=arguments.folder, host=arguments.host, port=arguments.port, public_url=arguments.public_url,
        allowed_hosts=tuple(arguments.allowed_host), require_key=arguments.require_key,
        watch=tuple(arguments.watch), crash_after_s=arguments.crash_after,
    )  # fmt: skip
    serve(options, _announce)
    return 0


def _announce(address: str, key: str | None, needs_key: bool) -> None:
    print(f"Composer tracker: {address}")
    print("Point wandb at it:")
    shown = key or "YOUR_KEY"
    print(f"  export WANDB_BASE_URL={address} WANDB_API_KEY={shown}", flush=True)
    if needs_key:
        print("The page asks for the key as well.", flush=True)
