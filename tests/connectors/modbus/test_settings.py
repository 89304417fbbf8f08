"""What an operator may write, and the sentence for what not."""

import json
from pathlib import Path
from typing import Any

import pytest

from plantgate_connectors.modbus import Modbus, ModbusSettings
from plantgate_connectors.modbus.registers import Order, Table, Type
from tests.connectors.modbus.given import device, settings, tag

TAG = {"tag": "t", "address": 0}


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            {"tags": [{**TAG, "type": "float32"}, {"tag": "u", "address": 1}]},
            "'u' at holding 1 overlaps 't' at holding 0 to 1",
        ),
        ({"tags": [TAG, {**TAG, "address": 5}]}, "tag 't' is already given"),
        ({"tags": [{**TAG, "type": "bool"}]}, "needs `bit`"),
        ({"tags": [{**TAG, "table": "coil", "type": "int16"}]}, "table coil holds single bits"),
        ({"tags": [{**TAG, "table": "coil", "bit": 1}]}, "`bit` and `bits` are for registers"),
        ({"tags": [{**TAG, "type": "string"}]}, "needs `length`"),
        ({"tags": [{**TAG, "length": 4}]}, "`length` is for type string"),
        ({"tags": [{**TAG, "scale": 0}]}, "scale 0"),
        ({"tags": [{**TAG, "bit": 3, "scale": 2}]}, "cannot be scaled"),
        ({"tags": [{**TAG, "type": "float32", "bits": [0, 3]}]}, "bits are taken from uint16"),
        ({"tags": [{**TAG, "bits": [7, 4]}]}, "not within 0 to 15"),
        ({"tags": [{**TAG, "bit": 20}]}, "not within 0 to 15"),
        ({"tags": [{**TAG, "bit": 2, "bits": [2, 3]}]}, "write one of them"),
        ({"tags": []}, "nothing to read"),
    ],
)
def test_a_tag_that_cannot_be_is_refused_with_a_sentence(written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(devices=[{"name": "d", **written}])


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"framing": "rtu"}, "needs `serial`"),
        ({"serial": {"port": "/dev/ttyS0"}}, "`serial` is for framing: rtu"),
        ({"framing": "tls"}, "come together"),
        ({"framing": "rtu_over_tcp", "devices": [{"name": "d", "unit": 0, "tags": [TAG]}]}, "unit 0 is everyone"),
        ({"devices": [{"name": "d", "tags": [TAG]}, {"name": "d", "unit": 2, "tags": [TAG]}]}, "two are called 'd'"),
        ({"devices": [{"name": "a"}, {"name": "b"}], "tags": [TAG]}, "need {device} in their name"),
        ({"host": None}, "has no host"),
        ({"first_address": 1}, "they count from 1"),
        ({"time": {"address": 0, "type": "uint64"}}, "overlaps"),
        ({"devices": []}, "at least 1"),
    ],
)
def test_a_connection_that_cannot_be_is_refused_with_a_sentence(written: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(**written)


def test_the_connections_tags_are_every_devices_with_its_name_in_them() -> None:
    found = settings(
        tags=[{"tag": "{device}/t", "address": 1}], first_address=1, devices=[{"name": "a"}, {"name": "b"}]
    )
    assert [(field.tag, field.address) for device in found.devices for field in device.fields] == [
        ("a/t", 0),
        ("b/t", 0),
    ]


def test_the_same_registers_may_have_two_names() -> None:
    tags = [tag("word", 3), tag("bit", 3, bit=2), tag("number", 3, type="int16")]
    assert len(settings(devices=[device("d", 1, *tags)]).devices[0].fields) == 3


def test_a_tag_file_says_the_same_as_tags(tmp_path: Path) -> None:
    (tmp_path / "press.csv").write_text(
        "tag,address,table,type,order,bit,bits,scale,offset,length\n"
        "# a comment\n"
        "{device}/speed,10,input,float32,CDAB,,,,,\n"
        "{device}/run,4,coil,,,,,,,\n"
        "{device}/state,5,,,,,4-7,,,\n"
        "{device}/alarm,6,,,,3,,,,\n"
        "{device}/temp,7,,int16,,,,0.1,-5,\n"
        "{device}/name,20,,string,,,,,,8\n"
    )
    written = {"host": "plc", "tags_file": "press.csv", "devices": [{"name": "p1"}, {"name": "p2", "unit": 2}]}
    found = ModbusSettings.model_validate_json(json.dumps(written), context={"folder": tmp_path})
    fields = found.devices[1].fields
    assert [field.tag for field in fields] == ["p2/speed", "p2/run", "p2/state", "p2/alarm", "p2/temp", "p2/name"]
    speed, run, state, alarm, temp, name = fields
    assert (speed.table, speed.type, speed.order, speed.where) == (Table.INPUT, Type.FLOAT32, Order.CDAB, "press.csv:3")
    assert (run.table, run.type) == (Table.COIL, Type.BOOL)
    assert (state.bits, alarm.bits, alarm.type) == ((4, 7), (3, 3), Type.BOOL)
    assert (temp.scale, temp.offset, name.length) == (0.1, -5, 8)
    before = found.tags_files_sha256
    (tmp_path / "press.csv").write_text("tag,address\n{device}/speed,11\n")
    again = ModbusSettings.model_validate_json(json.dumps(written), context={"folder": tmp_path})
    assert again.tags_files_sha256 != before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tag\nx\n", "press.csv:1: no column 'address'"),
        ("tag,address,colour\n", "unknown column 'colour'"),
        ("tag,address\nx\n", "press.csv:2: 1 cells, but 2 columns"),
        ("tag,address\nx,ten\n", "'ten' is not a whole number"),
        ("tag,address,type\nx,1,float\n", "type 'float' is none of bool, int16"),
        ("tag,address,scale\nx,1,1_0\n", "scale '1_0' is not a number"),
        ("tag,address,bits\nx,1,4\n", "write 4-7"),
        ("tag,address,type\nx,65535,int32\n", "takes 2 registers"),
        ('tag,address\n"x,1\n', "not CSV"),
    ],
)
def test_a_fault_in_a_tag_file_is_told_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "press.csv").write_text(text)
    written = {"host": "plc", "devices": [{"name": "d", "tags_file": str(tmp_path / "press.csv")}]}
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        ModbusSettings.model_validate_json(json.dumps(written))


def test_an_open_network_and_timing_that_costs_polls_are_remarked_on() -> None:
    said = Modbus.remarks(settings(timeout_ms=5000))
    assert any("anyone on the network" in each for each in said)
    assert any("one missed answer costs more than ten polls" in each for each in said)
