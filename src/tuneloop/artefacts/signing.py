"""Signatures under a key of the environment: a shared secret, or an Ed25519 key as PEM.

TUNELOOP_SIGNING_KEY    signs: any text of 16 characters and more (HMAC-SHA-256), or the PEM of an
                        Ed25519 private key (needs the package `cryptography`)
TUNELOOP_VERIFY_KEY     checks what an Ed25519 key signed, on machines that may not sign: its PEM
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tuneloop.errors import DecisionError

SIGN, VERIFY = "TUNELOOP_SIGNING_KEY", "TUNELOOP_VERIFY_KEY"
MIN_CHARS = 16
Checked = Literal["valid", "invalid", "unsigned", "unchecked"]
"""`unchecked`: it is signed, and the key to check it with is not here."""


class Signature(BaseModel):
    """A signature; `key` is the beginning of a digest of the key, so that people know which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["hmac-sha256", "ed25519"]
    key: str
    value: str


def must_be_signed() -> bool:
    """Return whether this machine signs, so that a word without a signature is nobody's."""
    return bool(os.environ.get(SIGN))


def sign(data: bytes) -> Signature | None:
    """Return a signature under the key of the environment, or None where there is none.

    Raises:
        DecisionError: if the key cannot sign.
    """
    secret = os.environ.get(SIGN)
    if not secret:
        return None
    if _is_pem(secret):
        private = _load(secret, private=True)
        public = private.public_key()
        value = private.sign(data).hex()
        return Signature(algorithm="ed25519", key=_public_id(public), value=value)
    if len(secret) < MIN_CHARS:
        raise DecisionError(
            f"{SIGN} has fewer than {MIN_CHARS} characters",
            where="environment",
            hint="openssl rand -hex 32",
        )
    return Signature(algorithm="hmac-sha256", key=_secret_id(secret), value=_mac(secret, data))


def check(data: bytes, signature: Signature | None) -> Checked:
    """Return whether a signature is of these bytes, as far as the keys at hand can tell."""
    if signature is None:
        return "unsigned"
    secret, public_pem = os.environ.get(SIGN, ""), os.environ.get(VERIFY, "")
    if signature.algorithm == "hmac-sha256":
        if not secret or _is_pem(secret):
            return "unchecked"
        return "valid" if hmac.compare_digest(_mac(secret, data), signature.value) else "invalid"
    if _is_pem(public_pem):
        public = _load(public_pem, private=False)
    elif _is_pem(secret):
        public = _load(secret, private=True).public_key()
    else:
        return "unchecked"
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(bytes.fromhex(signature.value), data)
    except (InvalidSignature, ValueError):
        return "invalid"
    return "valid"


def _is_pem(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN")


def _mac(secret: str, data: bytes) -> str:
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def _secret_id(secret: str) -> str:
    # One block of a keyed hash: tells keys apart without helping to guess one.
    return _mac(secret, b"tuneloop key id")[:12]


def _public_id(public: Any) -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:12]


def _load(pem: str, *, private: bool) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise DecisionError(
            "an Ed25519 key needs the package cryptography",
            where="environment",
            hint="pip install cryptography, or use a shared secret",
        ) from error
    data = pem.encode()
    try:
        if private:
            key: Any = serialization.load_pem_private_key(data, password=None)
        else:
            key = serialization.load_pem_public_key(data)
        key.public_bytes_raw if not private else key.private_bytes_raw  # noqa: B018
    except (ValueError, TypeError, AttributeError) as error:
        raise DecisionError("the PEM holds no Ed25519 key", where="environment") from error
    return key
