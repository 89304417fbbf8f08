"""Everything a vendor imports, and the only package a vendor imports."""

from plantgate.sdk.backoff import Backoff
from plantgate.sdk.clock import Clock, SystemClock, iso
from plantgate.sdk.command import Actuator, Command, NoticingActuator, Setpoint
from plantgate.sdk.connector import Accept, Sink, Source
from plantgate.sdk.context import Context
from plantgate.sdk.deadline import Deadline
from plantgate.sdk.errors import Exhausted, GatewayError, OutcomeUnknown, Rejected, Unavailable
from plantgate.sdk.frame import Camera, Frame, Model, Prediction
from plantgate.sdk.one_thread import OneThread
from plantgate.sdk.plugin import Bytes, Connector, ModelAdapter, Settings, Stability
from plantgate.sdk.quality import Severity, quality_name, severity
from plantgate.sdk.sample import Batch, Cursor, Finding, Gap, Sample, Scalar, Survey, Value
from plantgate.sdk.secret import Secret
from plantgate.sdk.standing import Log, Standing, State

__all__ = [
    "Accept",
    "Actuator",
    "Backoff",
    "Batch",
    "Bytes",
    "Camera",
    "Clock",
    "Command",
    "Connector",
    "Context",
    "Cursor",
    "Deadline",
    "Exhausted",
    "Finding",
    "Frame",
    "Gap",
    "GatewayError",
    "Log",
    "Model",
    "ModelAdapter",
    "NoticingActuator",
    "OneThread",
    "OutcomeUnknown",
    "Prediction",
    "Rejected",
    "Sample",
    "Scalar",
    "Secret",
    "Setpoint",
    "Settings",
    "Severity",
    "Sink",
    "Source",
    "Stability",
    "Standing",
    "State",
    "Survey",
    "SystemClock",
    "Unavailable",
    "Value",
    "iso",
    "quality_name",
    "severity",
]
