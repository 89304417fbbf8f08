"""Bytes to packages and packages to values, whatever the bytes are."""

import struct

import pytest

from plantgate_connectors.ur.frames import Frames, Kind, Malformed, package
from plantgate_connectors.ur.recipe import answered
from tests.fuzz.ur_oracle import judge, spoilt
from tests.peers.ur_fields import FORMATS, parts

EXAMPLES = {
    "BOOL": True,
    "UINT8": 255,
    "UINT32": 2**32 - 1,
    "UINT64": 2**64 - 1,
    "INT32": -(2**31),
    "DOUBLE": -0.0,
    "VECTOR3D": (1.0, float("inf"), -3.0),
    "VECTOR6D": (1.0, 2.0, 3.0, 4.0, 5.0, 1e-310),
    "VECTOR6INT32": (1, -2, 3, -4, 5, -(2**31)),
    "VECTOR6UINT32": (1, 2, 3, 4, 5, 2**32 - 1),
}


def test_every_type_is_read_as_it_is_written() -> None:
    names, values = list(EXAMPLES), list(EXAMPLES.values())
    recipe = answered(names, b"\7" + ",".join(names).encode())
    packed = struct.pack(
        ">B" + "".join(FORMATS[name] for name in names),
        7,
        *(part for name, value in EXAMPLES.items() for part in parts(value, name)),
    )
    assert recipe.unpack(packed) == values
    assert set(FORMATS) == set(EXAMPLES)


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0U",
        b"\0\2V",
        b"\0\4X\1",
        b"\xff\xffU",
        b"\xff\xffM",
        b"\0\5V\1\1",
        b"\0\3v",
        b"\0\4U\1",
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=repr,
)
def test_a_header_that_no_package_can_have_is_refused_without_waiting_for_what_it_promises(sent: bytes) -> None:
    frames = Frames()
    frames.data_bytes = 9
    with pytest.raises(Malformed):
        list(frames.feed(sent))


def test_the_longest_text_a_controller_can_send_is_taken() -> None:
    text = bytes((255,)) + b"m" * 255 + bytes((255,)) + b"s" * 255 + b"\3"
    assert list(Frames().feed(package(Kind.TEXT, text))) == [(Kind.TEXT, text)]


@pytest.mark.parametrize("types", ["", "DOUBLE", "DOUBLE,DOUBLE,DOUBLE", "DOUBLE,VECTOR9D", "DOUBLE,\xff", "DOUBLE,"])
def test_types_that_do_not_fit_the_fields_are_refused(types: str) -> None:
    with pytest.raises(Malformed):
        answered(["a", "b"], b"\1" + types.encode("latin-1"))


def test_a_data_package_of_another_recipe_or_length_is_refused() -> None:
    recipe = answered(["a"], b"\1INT32")
    for payload in (b"\2\0\0\0\1", b"\1\0\0\0", b"\1\0\0\0\1\0", b""):
        with pytest.raises(Malformed):
            recipe.unpack(payload)


def test_whatever_the_bytes_are_they_are_packages_or_refused() -> None:
    words: dict[str, int] = {}
    for stream in spoilt(5000, seed=2026):
        word = judge(stream)
        words[word] = words.get(word, 0) + 1
    assert {"malformed packages", "packages packages", "malformed malformed"} <= set(words), words
