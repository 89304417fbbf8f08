"""Writes every message with its time of arrival to a file, undecoded.

Each record: arrival in ns (u64), length (u32), payload. Decoding waits until the run is over, off the clock.
"""

import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

HEAD = struct.Struct("<QI")


def read(file: Path) -> Iterator[tuple[int, bytes]]:
    """Arrival and payload of each message."""
    content = file.read_bytes()
    at = 0
    while at + HEAD.size <= len(content):
        arrived, size = HEAD.unpack_from(content, at)
        at += HEAD.size
        yield arrived, content[at : at + size]
        at += size


def main(host: str, port: int, topic: str, file: Path) -> None:
    """Until killed."""
    with file.open("wb", buffering=0) as out:

        def on_connect(client: mqtt.Client, *_: Any) -> None:
            client.subscribe(topic, qos=1)

        def on_subscribe(*_: Any) -> None:
            print("subscribed", flush=True)

        def on_message(_: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
            out.write(HEAD.pack(time.time_ns(), len(message.payload)) + message.payload)

        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        client.connect(host, port)
        client.loop_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
