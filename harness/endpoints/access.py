"""How a server is reached: where it is, which key opens it, how many calls at once, how long to wait."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

import pydantic

from harness.errors import UserError
from harness.jobs import Declaration

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Manner(Declaration):
    """How a server with OpenAI's HTTP interface is asked, wherever it is. None of it changes an answer or enters a key.

    Errors never repeat what was given for `api_key_env`: secrets are put there by mistake.
    """

    api_key_env: str | None = None
    """Name of the environment variable that holds the key; None for a server that wants none."""
    concurrency: int = pydantic.Field(16, ge=1)
    """Calls at once. A call that must wait keeps its place, so that the rate falls when the server asks for it."""
    timeout: float = pydantic.Field(300.0, gt=0)
    """Seconds until a call without its whole reply is given up and made again."""
    patience: float | None = pydantic.Field(None, gt=0)
    """Seconds without any reply after which the work ends, to be gone on with later; None waits for ever."""

    @pydantic.field_validator("api_key_env")
    @classmethod
    def _variable_name(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise UserError(
                "api_key_env is no name of a variable", "export the key, and write api_key_env: OPENAI_API_KEY"
            )
        return value

    def key_for(self, server: str) -> str | None:
        """The key from the environment. Raises UserError, without a word of it, where there is none to be used."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise UserError(
                f"{server} wants a key, and {self.api_key_env} is not set", f"export {self.api_key_env}=..."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UserError(f"the key in {self.api_key_env} holds characters that no key has", "export it again")
        return key


class ServerAccess(Manner):
    """How a server is reached: where it is, and in what manner.

    Errors never repeat what was given for `base_url`: secrets are put there by mistake.
    """

    base_url: str
    """Up to the part before `/chat/completions`: `https://api.openai.com/v1`, `http://localhost:8000/v1`."""

    @pydantic.field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value.strip())
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port)
        except ValueError:
            raise UserError("base_url is no address", "write base_url: http://localhost:8000/v1") from None
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise UserError(
                "base_url holds more than an address",
                "put the key into an environment variable, its name in api_key_env",
            )
        if not usable:
            raise UserError("base_url is no http address", "write base_url: http://localhost:8000/v1")
        return value.strip().rstrip("/").removesuffix("/chat/completions")

    @property
    def place(self) -> str:
        """Host, port and path: `localhost:8000/v1`."""
        return self.base_url.partition("://")[2]

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, where no proxy leads."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def read_key(self) -> str | None:
        """The key from the environment. Raises UserError, without a word of it, where there is none to be used."""
        return self.key_for(self.place)
