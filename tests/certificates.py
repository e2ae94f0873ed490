"""Certificates that sign themselves."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed(
    key: ec.EllipticCurvePrivateKey, *, begin: dt.datetime, end: dt.datetime, name: str = "localhost"
) -> bytes:
    """A certificate as PEM, for a name alone, that is its own authority."""
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate(folder: Path, *, days: float = 1) -> tuple[Path, Path]:
    """A certificate for the name localhost and its key, both as PEM files; negative days: it has ended."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(self_signed(key, begin=now - dt.timedelta(days=90), end=now + dt.timedelta(days=days)))
    files[1].write_bytes(private(key))
    return files
