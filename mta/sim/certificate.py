"""A certificate for servers that only play to be servers."""

import datetime as dt
import tempfile
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Certificate:
    """A listener's TLS settings."""

    tls_certificate: str
    tls_password: str = ""
    tls_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    tls_ciphers: str = ""
    tls_ca_file: str = ""


@cache
def self_signed(name: str = "mx.provider.example") -> Certificate:
    """A self-signed certificate and its key in one PEM file that only we can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), days=30)
    return _kept(builder.sign(key, hashes.SHA256()), key)


class Authority:
    """Somebody whom those who have `path` among their authorities trust."""

    def __init__(self, name: str = "Authority of a test") -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        self._own = (
            _builder(name, name, public, days=30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.path = Path(_kept(self._own, None).tls_certificate)

    def issue(self, name: str, *, days: int = 30) -> Certificate:
        """A certificate for the host of that name or address; below zero it is out of date."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            subject: x509.GeneralName = x509.IPAddress(ip_address(name))
        except ValueError:
            subject = x509.DNSName(name)
        issued = (
            _builder(name, self._name, key.public_key(), days=days)
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return _kept(issued, key)


def _builder(
    name: str, issuer: str, public: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _kept(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> Certificate:
    """A certificate in a PEM file, with its key if that is given."""
    path = Path(tempfile.mkdtemp(prefix="petrel-sink-")) / "certificate.pem"
    octets = certificate.public_bytes(serialization.Encoding.PEM)
    if key is not None:
        octets += key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    path.write_bytes(octets)
    path.chmod(0o600)
    return Certificate(str(path))
