"""The server's key and its self-signed certificate, and the pin by which peers know it."""

import hashlib
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hagoop.disk import why
from hagoop.door.book_file import write_private
from hagoop.errors import StateError

VALID_DAYS = 100 * 365
"""Peers look at the key alone; a date could only end what works."""
NAME = "HaGoop server"


@frozen
class Identity:
    """What a server proves itself with, as PEM."""

    key: bytes = field(repr=False)
    certificate: bytes

    @property
    def pin(self) -> str:
        """SHA-256 of the public key."""
        return pin_of(x509.load_pem_x509_certificate(self.certificate))


def pin_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's public key (SubjectPublicKeyInfo), in base64url."""
    return _pin(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _pin(public_key: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(public_key).digest()).rstrip(b"=").decode()


def make_identity() -> Identity:
    """A new key, and a certificate that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    # A clock may be behind.
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=VALID_DAYS))
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(pem, certificate.public_bytes(Encoding.PEM))


def keep_identity(folder: Path) -> Identity:
    """The key and certificate in a folder; made, mode 0600, if there are none.

    :raises StateError: they cannot be read or written, or do not belong together.
    """
    path = folder / "server.pem"
    if not path.exists():
        made = make_identity()
        write_private(path, made.key + made.certificate)
    return _read(path)


def _read(path: Path) -> Identity:
    try:
        pem = path.read_bytes()
        at = pem.index(b"-----BEGIN CERTIFICATE-----")
        found = Identity(pem[:at], pem[at:])
        key = load_pem_private_key(found.key, None)
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if _pin(spki) != found.pin:
            raise ValueError("its key and its certificate do not belong together")
    except (OSError, ValueError) as problem:
        raise StateError(
            f"'{path}' cannot be used ({why(problem)}); restore it, or remove it and invite all anew"
        ) from problem
    return found
