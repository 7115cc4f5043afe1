"""Files of certificate authorities: PEM, as people have them, and the truststore that Java wants.

Pure but for reading and writing files. Does not belong here: who trusts whom.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Truststore(NamedTuple):
    """A file of trusted certificates for Java, in the format PKCS #12."""

    path: Path
    password: str


def check_certificates(file: str) -> None:
    """Reads a PEM file of certificates.

    Raises:
        ValueError: it cannot be read, or holds no certificate.
    """
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(Path(file).read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("must be a PEM file with at least one certificate") from None


@contextmanager
def truststore(file: str) -> Iterator[Truststore]:
    """A truststore with the certificates of a PEM file, readable by this user alone, and removed afterwards.

    Args:
        file: The PEM file.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    certificates = x509.load_pem_x509_certificates(Path(file).read_bytes())
    entries = [pkcs12.PKCS12Certificate(each, f"authority-{n}".encode()) for n, each in enumerate(certificates)]
    password = secrets.token_hex()  # Java does not read the certificates of a file without one
    content = pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(password.encode()))
    with tempfile.TemporaryDirectory(prefix="dataco-truststore-") as folder:
        path = Path(folder) / "authorities.p12"
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield Truststore(path, password)
