"""What the parts of a vector are called when each becomes a tag of its own."""

from typing import Final

from plantgate_connectors.ur.recipe import is_vector

_POINT: Final = ("x", "y", "z")
_POSE: Final = (*_POINT, "rx", "ry", "rz")
"""Position in metres and rotation vector in radians; for forces newtons and newton metres, for speeds a second."""
_JOINTS: Final = ("base", "shoulder", "elbow", "wrist1", "wrist2", "wrist3")
_INERTIA: Final = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
_OF_THE_TOOL: Final = ("TCP_", "tcp_offset", "wrench", "force_torque")


def parts(field: str, type_name: str) -> tuple[str, ...]:
    """A word for each part; none for a field that has no parts."""
    if not is_vector(type_name):
        return ()
    if type_name == "VECTOR3D":
        return _POINT
    if field == "payload_inertia":
        return _INERTIA
    return _POSE if any(word in field for word in _OF_THE_TOOL) else _JOINTS
