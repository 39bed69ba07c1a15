"""A certificate for servers that only play to be servers."""

import datetime as dt
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    path = Path(tempfile.mkdtemp(prefix="petrel-sink-")) / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    return Certificate(str(path))
