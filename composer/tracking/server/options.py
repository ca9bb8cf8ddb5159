"""How a server is set up; checked when made."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from composer.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Settings of a tracker's server.

    Attributes:
        folder: where everything is kept.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        public_url: the address as others see it, e.g. ``https://ml.example.org/track`` behind a
            proxy.
        allowed_hosts: further host names to answer to.
        require_key: ask for a key even from this machine.
        watch: folders with runs written offline, read while they are written.
        crash_after_s: seconds of silence after which a running run counts as crashed.
        max_body_bytes: largest GraphQL or file-stream body, after decompression.
        max_file_bytes: largest file.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    require_key: bool = False
    watch: tuple[Path, ...] = ()
    crash_after_s: float = 300.0
    max_body_bytes: int = 64 << 20
    max_file_bytes: int = 1 << 40

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: a setting cannot work.
        """
        if not 0 <= self.port < 65536:
            raise ConfigError(
                f"port={self.port!r} is not a port. Use 1 to 65535, or 0 for a free one."
            )
        if self.public_url is not None and not self.public_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"public_url={self.public_url!r} must start with http:// or https://."
            )
        if self.crash_after_s <= 0:
            raise ConfigError(
                f"crash_after_s={self.crash_after_s!r} must be a positive number of seconds."
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def prefix(self) -> str:
        """The path under which a proxy publishes the server: ``""`` or ``/track``."""
        if self.public_url is None:
            return ""
        path = self.public_url.split("://", 1)[1].partition("/")[2].rstrip("/")
        return f"/{path}" if path else ""
