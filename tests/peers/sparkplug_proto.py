"""Sparkplug B's payload for Google's protobuf library, so that what we write by hand is read by another's software.

The description is written out from the tables of the specification (3.0, 6.4), not copied from another's .proto file.
What neither side looks into is left out, and so unknown: parameters of templates, property sets in property sets.
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field: Final = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

_VALUES: Final = ("int:uint32", "long:uint64", "float:float", "double:double", "boolean:bool", "string:string")
MESSAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "Payload": ("timestamp=1:uint64", "*metrics=2:Metric", "seq=3:uint64", "uuid=4:string", "body=5:bytes"),
    "Metric": (
        "name=1:string",
        "alias=2:uint64",
        "timestamp=3:uint64",
        "datatype=4:uint32",
        "is_historical=5:bool",
        "is_transient=6:bool",
        "is_null=7:bool",
        "metadata=8:MetaData",
        "properties=9:PropertySet",
        "?int_value=10:uint32",
        "?long_value=11:uint64",
        "?float_value=12:float",
        "?double_value=13:double",
        "?boolean_value=14:bool",
        "?string_value=15:string",
        "?bytes_value=16:bytes",
        "?dataset_value=17:DataSet",
        "?template_value=18:Template",
    ),
    "MetaData": (
        "is_multi_part=1:bool",
        "content_type=2:string",
        "size=3:uint64",
        "seq=4:uint64",
        "file_name=5:string",
        "file_type=6:string",
        "md5=7:string",
        "description=8:string",
    ),
    "PropertySet": ("*keys=1:string", "*values=2:PropertyValue"),
    "PropertyValue": (
        "type=1:uint32",
        "is_null=2:bool",
        "?int_value=3:uint32",
        "?long_value=4:uint64",
        "?float_value=5:float",
        "?double_value=6:double",
        "?boolean_value=7:bool",
        "?string_value=8:string",
    ),
    "DataSet": ("num_of_columns=1:uint64", "*columns=2:string", "*types=3:uint32", "*rows=4:Row"),
    "Row": ("*elements=1:Cell",),
    "Cell": (
        "?int_value=1:uint32",
        "?long_value=2:uint64",
        "?float_value=3:float",
        "?double_value=4:double",
        "?boolean_value=5:bool",
        "?string_value=6:string",
    ),
    "Template": (
        "version=1:string",
        "*metrics=2:Metric",
        "template_ref=4:string",
        "is_definition=5:bool",
    ),
}
"""Fields as `name=number:type`; `*` repeats, `?` is one of the values of which there is one."""


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug.proto", package="sp", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for written in fields:
            head, kind = written.split(":")
            field_name, number = head.lstrip("*?").split("=")
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if head[0] == "*" else _Field.LABEL_OPTIONAL
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".sp.{kind}"
            if head[0] == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"sp.{name}")) for name in MESSAGES}


_CLASSES: Final = _build()
Payload: Final[Any] = _CLASSES["Payload"]
Metric: Final[Any] = _CLASSES["Metric"]
