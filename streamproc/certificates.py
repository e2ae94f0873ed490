"""When certificates end: bytes of PEM in, times out. Pure; no key is looked at, no signature is checked.

Python's `ssl` shows the dates of certificates of authorities alone in public, so the two lines of ASN.1 that hold them
are read here. References: RFC 7468 (PEM), RFC 5280 section 4.1.2.5 (validity), X.690 (DER).
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime

from streamproc.errors import SettingError

_PEM = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----\s*(.*?)\s*-----END (?:TRUSTED |X509 )?CERTIFICATE-----", re.DOTALL
)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
_PIVOT_YEAR = 50  # of two-digit years, RFC 5280: below it 20xx, from it on 19xx


def certificate_ends(pem: bytes) -> list[float]:
    """When each certificate of a PEM file ends, in the order of the file, seconds since 1970; keys are passed over.

    Raises:
        SettingError: It holds no certificate, or one that cannot be read.
    """
    found = _PEM.findall(pem)
    if not found:
        raise SettingError("it holds no certificate in PEM form")
    try:
        return [_end_of(binascii.a2b_base64(body)) for body in found]
    except (ValueError, IndexError) as error:
        raise SettingError(f"it holds a certificate that cannot be read ({error})") from None


def _end_of(der: bytes) -> float:
    """`notAfter` of a certificate in DER."""
    _, certificate, _ = _value(der, 0)
    _, signed, _ = _value(certificate, 0)
    at = 0
    if signed[0] == _VERSION:
        _, _, at = _value(signed, at)
    for _ in ("serial number", "signature algorithm", "issuer"):
        _, _, at = _value(signed, at)
    tag, validity, _ = _value(signed, at)
    if tag != _SEQUENCE:
        raise ValueError("no validity where it has to stand")
    _, _, after_begin = _value(validity, 0)
    tag, text, _ = _value(validity, after_begin)
    return _moment(tag, text.decode("ascii"))


def _value(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag and content of the value at a place, and the place after it."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(der[at : at + count], "big"), at + count
    if at + length > len(der):
        raise ValueError("it is cut short")
    return tag, der[at : at + length], at + length


def _moment(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        century = "20" if int(text[:2]) < _PIVOT_YEAR else "19"
        text = century + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time where it has to stand")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
