"""The operator's certificates as an `ssl.SSLContext`."""

import ssl

from plantgate.sdk import Unavailable
from plantgate_connectors.kafka.settings import Tls


def tls_context(tls: Tls, connection: str) -> ssl.SSLContext:
    """TLS 1.2 or later, the broker's chain always checked, its name unless told otherwise.

    Reads the files anew for each session, so that renewed certificates count. Raises `Unavailable` naming the file.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"{connection}: cannot use ca_file {tls.ca_file}: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_server_name
    if tls.certificate_file is not None:
        password = "" if tls.key_password is None else tls.key_password.reveal()
        try:
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=lambda: password)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(
                f"{connection}: cannot use certificate_file {tls.certificate_file} with key_file {tls.key_file}: "
                f"{_why(error)}"
            ) from error
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error} (is it PEM, and is the password right?)"
    return error.strerror or str(error)
