"""Where the root key comes from: a file, a setting, HashiCorp Vault or OpenBao (transit), AWS KMS (design §3, attack C5).

Vault and KMS never give their own key away. The root key is made once, wrapped there, and kept wrapped in a file here; at each
start it is unwrapped through them, and lives in this process's memory alone:

    transit   POST <address>/v1/<mount>/decrypt/<key>  {"ciphertext": "vault:v1:…"}  →  {"data": {"plaintext": base64}}
    KMS       Decrypt(CiphertextBlob, KeyId, EncryptionContext = {"service": "tacit"})  →  32 bytes

Invariants
- Every way to fail is `Sealed` with one of the rules below; what was found, sent or answered is never repeated.
- Vault is spoken to over https (http to this machine alone), without redirects, without proxies of the environment; a call ends
  within `PATIENCE` seconds between two signs of life, and a reply beyond 64 KiB is none.
- Nothing is written anywhere, and no library of a vendor is imported unless its source is chosen.

Sources: the transit API of Vault 1.x and OpenBao 2.x (the same), AWS KMS API 2014-11-01.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from app.crypto.aead import KEY_BYTES
from app.crypto.root_key import parse_root_key, read_root_key_file
from app.errors import Fault, Sealed

MISSING: Final = "root-key-missing"  # nothing is there to begin with
UNUSABLE: Final = "root-key-unusable"  # what is there is no root key, or others may read it
UNREACHABLE: Final = "root-key-unreachable"  # Vault or KMS does not answer; time may mend it
REFUSED: Final = "root-key-refused"  # Vault or KMS answers, and says no

PATIENCE: Final = 5.0
_MOST_REPLY: Final = 64 * 1024
_MOST_WRAPPED: Final = 16 * 1024
_HERE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_UNREACHED: Final = "The service that unwraps the root key does not answer; it is asked again."
_NO: Final = "What unwraps the root key refuses to: look at its address, the token or role, the key's name and the wrapped file."


class KeySource(Protocol):
    """Anything that knows the root key."""

    def read(self) -> bytes:
        """Return its 32 bytes, or raise `Sealed` with the rule that says why not."""
        ...


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A root key that stands in the environment, in base64."""

    text: Callable[[], str] = field(repr=False)

    def read(self) -> bytes:
        """Return the 32 bytes."""
        with _as(UNUSABLE):
            return parse_root_key(self.text())


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A root key in a file of mode 0600, in base64."""

    path: Path

    def read(self) -> bytes:
        """Return the 32 bytes."""
        if not self.path.exists():
            raise _sealed(MISSING, f"There is no root key at {self.path}: run `python -m app init`, or set TACIT_ROOT_KEY.")
        with _as(UNUSABLE):
            return read_root_key_file(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitKey:
    """A root key that Vault or OpenBao unwraps: `vault write transit/encrypt/tacit plaintext=<base64>` made the file."""

    address: str
    token: Callable[[], str] = field(repr=False)
    wrapped: Path
    mount: str = "transit"
    key: str = "tacit"
    authorities: Path | None = None  # certificates to trust; the system's without

    def read(self) -> bytes:
        """Ask for the plaintext of what the file holds."""
        import httpx2

        url = f"{_https(self.address)}/v1/{quote(self.mount)}/decrypt/{quote(self.key, safe='')}"
        ciphertext = _wrapped(self.wrapped).decode("latin-1").strip()
        try:
            verify = httpx2.create_ssl_context(verify=str(self.authorities)) if self.authorities else True
            with (
                httpx2.Client(trust_env=False, timeout=PATIENCE, verify=verify) as client,
                client.stream("POST", url, headers={"X-Vault-Token": self.token()}, json={"ciphertext": ciphertext}) as reply,
            ):
                status, body = reply.status_code, _capped(reply)
        except (httpx2.HTTPError, OSError):
            raise _sealed(UNREACHABLE, _UNREACHED) from None
        if status in {400, 403, 404}:
            raise _sealed(REFUSED, _NO)
        if status != 200:  # noqa: PLR2004  503: Vault itself is sealed; 429, 5xx: later
            raise _sealed(UNREACHABLE, _UNREACHED)
        with _as(UNUSABLE):
            return parse_root_key(_plaintext(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """A root key that AWS KMS unwraps: `aws kms generate-data-key --key-spec AES_256` made the file's blob."""

    key_id: str
    wrapped: Path
    region: str | None = None
    endpoint: str | None = None

    def read(self) -> bytes:
        """Ask for the plaintext of what the file holds; who asks, boto3 finds out in its own way (role, environment, profile)."""
        try:
            import boto3
            from botocore import exceptions
            from botocore.config import Config
        except ImportError:
            raise _sealed(UNUSABLE, "AWS KMS needs boto3: install the extra `aws` of Tacit.") from None
        blob = _decoded(_wrapped(self.wrapped))
        patience = Config(connect_timeout=PATIENCE, read_timeout=PATIENCE, retries={"total_max_attempts": 1})
        try:
            client = boto3.client("kms", region_name=self.region, endpoint_url=self.endpoint, config=patience)
            reply = client.decrypt(CiphertextBlob=blob, KeyId=self.key_id, EncryptionContext={"service": "tacit"})
        except exceptions.ClientError as error:
            later = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500  # noqa: PLR2004
            raise _sealed(UNREACHABLE, _UNREACHED) if later else _sealed(REFUSED, _NO) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError, OSError):
            raise _sealed(UNREACHABLE, _UNREACHED) from None
        except exceptions.BotoCoreError:  # no credentials, no region, a name that is none
            raise _sealed(REFUSED, _NO) from None
        plain = bytes(reply["Plaintext"])
        if len(plain) != KEY_BYTES:
            raise _sealed(UNUSABLE, "What AWS KMS unwrapped is no root key: make one with --key-spec AES_256.")
        return plain


class _as:  # noqa: N801  reads as a word of the sentence
    """Name the rule of a `Sealed` that says none."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Sealed) and not error.faults:
            raise _sealed(self._rule, error.detail) from None


def _sealed(rule: str, detail: str) -> Sealed:
    return Sealed(detail, faults=[Fault(rule)])


def _https(address: str) -> str:
    parts = urlsplit(address)
    plain_here = parts.scheme == "http" and parts.hostname in _HERE
    if not (parts.scheme == "https" or plain_here) or not parts.hostname or parts.query or parts.fragment:
        raise _sealed(REFUSED, "The address of Vault begins with https://; http is for this machine alone.")
    return address.rstrip("/")


def _wrapped(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_WRAPPED)
    except OSError:
        raise _sealed(MISSING, f"There is no wrapped root key at {path}: docs/operations.md says how it is made.") from None
    if not content.strip():
        raise _sealed(UNUSABLE, "The file of the wrapped root key is empty.")
    return content


def _decoded(content: bytes) -> bytes:
    """Return a blob that was kept as it is, or in base64 as the command line prints it."""
    try:
        return base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError):
        return content


def _capped(reply: Any) -> bytes:
    body = b""
    for piece in reply.iter_bytes():
        body += piece
        if len(body) > _MOST_REPLY:
            return b""
    return body


def _plaintext(body: bytes) -> str:
    try:
        return str(json.loads(body)["data"]["plaintext"])
    except (ValueError, TypeError, KeyError):
        return ""
