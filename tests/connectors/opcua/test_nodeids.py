"""Node ids are read as the standard writes them, and stay true when a server reorders its namespaces."""

import uuid

import pytest

from plantgate_connectors.opcua import nodeids

NAMESPACES = ["http://opcfoundation.org/UA/", "urn:own", "urn:press", "urn:odd;name%"]


@pytest.mark.parametrize(
    ("text", "kind", "identifier"),
    [
        ("nsu=urn:press;s=Temp", "s", "Temp"),
        ("nsu=urn:press;s=a;b=c", "s", "a;b=c"),
        ("nsu=urn:press;i=4294967295", "i", 4294967295),
        (
            "nsu=urn:press;g=09087e75-8e5e-499b-954f-f2a9603db28a",
            "g",
            uuid.UUID("09087e75-8e5e-499b-954f-f2a9603db28a"),
        ),
        ("nsu=urn:press;b=M/RbKBsRVkePCePcx24oRA==", "b", bytes.fromhex("33f45b281b1156478f09e3dcc76e2844")),
    ],
)
def test_every_kind_is_read_and_written_back(text: str, kind: str, identifier: object) -> None:
    address = nodeids.parse(text)
    assert (address.kind, address.identifier, str(address), address.stable) == (kind, identifier, text, True)
    node = address.resolve(NAMESPACES)
    assert node is not None
    assert (node.NamespaceIndex, node.Identifier) == (2, identifier)
    assert nodeids.of(node, NAMESPACES) == address


def test_a_namespace_uri_with_reserved_marks_is_escaped() -> None:
    address = nodeids.parse("nsu=urn:odd%3Bname%25;s=x")
    assert address.namespace == "urn:odd;name%"
    assert str(address) == "nsu=urn:odd%3Bname%25;s=x"
    node = address.resolve(NAMESPACES)
    assert node is not None
    assert node.NamespaceIndex == 3


def test_an_address_finds_its_node_after_the_namespaces_were_reordered() -> None:
    address = nodeids.parse("nsu=urn:press;s=Temp")
    before, after = address.resolve(NAMESPACES), address.resolve(["http://opcfoundation.org/UA/", "urn:press"])
    assert before is not None
    assert after is not None
    assert (before.NamespaceIndex, after.NamespaceIndex) == (2, 1)
    assert address.resolve(["http://opcfoundation.org/UA/"]) is None


def test_a_namespace_by_number_works_and_is_known_to_be_unstable() -> None:
    assert not nodeids.parse("ns=2;s=Temp").stable
    assert nodeids.parse("i=2258").stable
    assert nodeids.parse("nsu=http://opcfoundation.org/UA/;i=2258") == nodeids.parse("i=2258")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Temp", "write it as nsu="),
        ("ns=two;s=x", "write it as nsu="),
        ("ns=70000;s=x", "write it as nsu="),
        ("nsu=urn:press", "write it as nsu="),
        ("nsu=;s=x", "write it as nsu="),
        ("s=", "write it as nsu="),
        ("i=-1", "whole number"),
        ("i=4294967296", "whole number"),
        ("i=٣", "whole number"),
        ("b=***", "base64"),
        ("g=xyz", "badly formed"),
        ("svr=1;i=5", "another server"),
        ("s=" + "x" * 4097, "4096"),
    ],
)
def test_what_is_no_node_id_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        nodeids.parse(text)
