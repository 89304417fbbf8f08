"""Opens the way to a device: TCP, TLS or a serial line, all with an asyncio transport at the end."""

import asyncio
import ssl
from dataclasses import dataclass

from plantgate.sdk import Unavailable
from plantgate_connectors.modbus.described import Tls
from plantgate_connectors.modbus.serial_port import SerialPort, SerialTransport
from plantgate_connectors.tls import client_context


@dataclass(frozen=True, slots=True)
class Remote:
    """A host and port."""

    host: str
    port: int
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Address = Remote | SerialPort


async def dial(address: Address, protocol: asyncio.Protocol, seconds: float) -> None:
    """Connect `protocol`. Raises `Unavailable` with the reason in words, within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            loop = asyncio.get_running_loop()
            if isinstance(address, SerialPort):
                SerialTransport(loop, address, protocol)
            elif address.tls is not None:
                await loop.create_connection(
                    lambda: protocol,
                    address.host,
                    address.port,
                    ssl=client_context(address.tls, str(address), check_server_name=address.tls.check_server_name),
                    server_hostname=address.host,
                )
            else:
                await loop.create_connection(lambda: protocol, address.host, address.port)
    except TimeoutError as error:
        raise Unavailable(f"no connection to {address} within {seconds:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"{address} shows a certificate we do not trust: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unavailable(f"no encrypted connection to {address}: {error.reason or error}") from error
    except UnicodeError as error:
        raise Unavailable(f"{address} is no host name: {error}") from error
    except OSError as error:
        raise Unavailable(f"{address} cannot be reached: {error.strerror or error}") from error
