"""The fields that our UR twin has, and how their values lie in a data package; nothing here is the connector's."""

import re
from typing import Any, TypeAlias

Vector: TypeAlias = tuple[float, ...] | tuple[int, ...]

FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "UINT64": "Q",
    "INT32": "i",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}
TYPES = {
    "timestamp": "DOUBLE",
    "target_q": "VECTOR6D",
    "actual_q": "VECTOR6D",
    "actual_qd": "VECTOR6D",
    "actual_current": "VECTOR6D",
    "joint_temperatures": "VECTOR6D",
    "joint_mode": "VECTOR6INT32",
    "actual_TCP_pose": "VECTOR6D",
    "target_TCP_pose": "VECTOR6D",
    "actual_TCP_speed": "VECTOR6D",
    "actual_TCP_force": "VECTOR6D",
    "actual_tool_accelerometer": "VECTOR3D",
    "payload": "DOUBLE",
    "payload_cog": "VECTOR3D",
    "payload_inertia": "VECTOR6D",
    "robot_mode": "INT32",
    "safety_mode": "INT32",
    "safety_status": "INT32",
    "robot_status_bits": "UINT32",
    "safety_status_bits": "UINT32",
    "runtime_state": "UINT32",
    "speed_scaling": "DOUBLE",
    "target_speed_fraction": "DOUBLE",
    "actual_digital_input_bits": "UINT64",
    "actual_digital_output_bits": "UINT64",
    "tool_output_mode": "UINT8",
}
INPUT_TYPES = {
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8",
    "configurable_digital_output_mask": "UINT8",
    "configurable_digital_output": "UINT8",
    "tool_digital_output_mask": "UINT8",
    "tool_digital_output": "UINT8",
    "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8",
    "standard_analog_output_0": "DOUBLE",
    "standard_analog_output_1": "DOUBLE",
}
_REGISTER = re.compile(r"(input|output)_(double|int|bit)_register_(\d{1,3})")
_REGISTER_TYPES = {"double": ("DOUBLE", 48), "int": ("INT32", 48), "bit": ("BOOL", 128)}


def type_of(name: str, *, sent: bool) -> str:
    """As the controller would answer, but for fields that somebody holds. `sent`: to the controller."""
    if (found := _REGISTER.fullmatch(name)) is not None:
        kind, count = _REGISTER_TYPES[found[2]]
        fits = int(found[3]) < count and not (sent and found[1] == "output")
        return kind if fits else "NOT_FOUND"
    return (INPUT_TYPES if sent else TYPES).get(name, "NOT_FOUND")


def parts(value: bool | int | float | Vector, kind: str) -> list[Any]:
    """As they stand in a package; a vector that was never set is zeros."""
    if kind.startswith("VECTOR"):
        count = int(kind[6])
        return [*value] if isinstance(value, tuple) else [value] * count
    return [value]
