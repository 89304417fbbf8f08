"""What was written and has not arrived is forgotten at once, and a connection that is closed already is no trouble."""

import asyncio
import socket
import struct

from plantgate_connectors.leaving import drop_unsent


def test_the_system_forgets_what_the_other_end_has_not_taken_also_where_it_is_closed_already() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, *listening.getsockname()
            )
            raw = transport.get_extra_info("socket")
            drop_unsent(transport)
            assert struct.unpack("ii", raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)
            transport.abort()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert raw.fileno() < 0
            drop_unsent(transport)

    asyncio.run(main())
