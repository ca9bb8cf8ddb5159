"""Addresses handed to clients, which prove by themselves what they allow.

Clients send no key when they put or get a file, so each such address carries signed claims: what
may be done with which thing, and until when.
"""

import base64
import hashlib
import hmac
import time
from typing import Any, Final
from urllib.parse import quote

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import ForbiddenError

UPLOAD_LASTS_S: Final = 7 * 24 * 3600
DOWNLOAD_LASTS_S: Final = 24 * 3600


class Urls:
    """Makes and checks addresses.

    Attributes:
        base: scheme, host and path prefix as the client sees them, without a slash at the end.
    """

    def __init__(self, base: str, secret: bytes) -> None:
        self.base = base
        self._secret = secret

    def upload(self, kind: str, number: int, path: str) -> str:
        """Where to put a file of a run (``run``), artifact (``artifact``) or a ``manifest``."""
        return (
            f"{self.base}/upload/{self._sign({'k': kind, 'n': number, 'p': path}, UPLOAD_LASTS_S)}"
        )

    def download(self, sha256: str, name: str) -> str:
        """Where to get contents, under a file's name."""
        token = self._sign({"k": "blob", "s": sha256}, DOWNLOAD_LASTS_S)
        return f"{self.base}/download/{token}/{quote(name.rsplit('/', 1)[-1] or 'file', safe='')}"

    def parquet(self, run_id: int, version: str) -> str:
        """Where to get a run's rows as Parquet."""
        token = self._sign({"k": "parquet", "n": run_id, "v": version}, DOWNLOAD_LASTS_S)
        return f"{self.base}/download/{token}/history.parquet"

    def session(self, user_id: int, lasts_s: int) -> str:
        """A token that stands for a user's key in a browser's cookie."""
        return self._sign({"k": "session", "n": user_id}, lasts_s)

    def _sign(self, claims: dict[str, Any], lasts_s: int) -> str:
        text = jsontext.dumps({**claims, "e": int(time.time()) + lasts_s}).encode()
        body = base64.urlsafe_b64encode(text).rstrip(b"=")
        return f"{body.decode()}.{self._mac(body)}"

    def _mac(self, body: bytes) -> str:
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()

    def check(self, token: str, kinds: tuple[str, ...]) -> dict[str, Any]:
        """The claims of a token.

        Raises:
            ForbiddenError: forged, too old, or for something else.
        """
        body, _, mac = token.partition(".")
        raw = body.encode("utf-8", "replace")
        if not hmac.compare_digest(self._mac(raw).encode(), mac.encode("utf-8", "replace")):
            raise ForbiddenError("this address was not made by this server.")
        claims: dict[str, Any] = jsontext.loads(
            base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
        )
        if claims["e"] < time.time():
            raise ForbiddenError("this address has expired; ask for a new one.")
        if claims["k"] not in kinds:
            raise ForbiddenError("this address is for something else.")
        return claims
