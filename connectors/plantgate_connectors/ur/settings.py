"""What an operator can say about a Universal Robots robot; the docstrings are the documentation."""

import re
from enum import Enum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, model_validator

from plantgate.sdk import Settings
from plantgate_connectors.ur.dashboard import Question


def _number(written: object) -> object:
    return float(written) if isinstance(written, int) and not isinstance(written, bool) else written


Number = Annotated[float, BeforeValidator(_number)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=3600)]
Frequency = Annotated[float, BeforeValidator(_number), Field(ge=1, le=500)]
Port = Annotated[int, Field(ge=1, le=65_535)]
TagName = Annotated[str, Field(min_length=1, max_length=512)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]

_NUMBERED: Final = r"(?:2[4-9]|3[0-9]|4[0-7])"
_BIT: Final = r"(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])"
InputRegister = Annotated[str, Field(pattern=rf"^input_(?:(?:double|int)_register_{_NUMBERED}|bit_register_{_BIT})$")]
OutputRegister = Annotated[str, Field(pattern=rf"^output_(?:(?:double|int)_register_{_NUMBERED}|bit_register_{_BIT})$")]
InputInt = Annotated[str, Field(pattern=rf"^input_int_register_{_NUMBERED}$")]
OutputInt = Annotated[str, Field(pattern=rf"^output_int_register_{_NUMBERED}$")]
Limits = tuple[Number, Number]


class Shape(Enum):
    """What becomes of a vector."""

    ARRAY = "array"
    SPREAD = "spread"


class RemoteControl(Enum):
    """Whether a robot that a person has taken into local control is written to."""

    REQUIRED = "required"
    IGNORED = "ignored"


class Output(Settings):
    """A field of the robot that is read."""

    field: FieldName
    """Its name in the RTDE guide: `actual_TCP_pose`, `robot_mode`, `output_double_register_24`, `timestamp`."""
    tag: TagName
    """The tag's full name: `line3/robot/pose`."""
    shape: Shape = Shape.ARRAY
    """`array`: a vector is one value with several numbers. `spread`: each number is a tag of its own below `tag`:
    `/x /y /z /rx /ry /rz` for poses, speeds and forces of the tool, `/base /shoulder /elbow /wrist1 /wrist2 /wrist3`
    for joints, `/x /y /z` for vectors of three."""


class Dashboard(Settings):
    """What is asked of the dashboard server, each under the tag given here."""

    interval_seconds: Seconds = 1.0
    """How often."""
    robot_mode: TagName | None = None
    """`RUNNING`, `POWER_OFF` and so on, as text."""
    safety_status: TagName | None = None
    """`NORMAL`, `PROTECTIVE_STOP` and so on, as text."""
    program_state: TagName | None = None
    """`PLAYING mailbox.urp`, `STOPPED mailbox.urp`, as text."""
    loaded_program: TagName | None = None
    """Path of the loaded program as text; null when there is none."""
    remote_control: TagName | None = None
    """Whether the robot is in remote control."""

    @property
    def asked(self) -> tuple[tuple[Question, str], ...]:
        """What is asked, and its tag."""
        named = (
            (Question.ROBOT_MODE, self.robot_mode),
            (Question.SAFETY_STATUS, self.safety_status),
            (Question.PROGRAM_STATE, self.program_state),
            (Question.LOADED_PROGRAM, self.loaded_program),
            (Question.REMOTE_CONTROL, self.remote_control),
        )
        return tuple((question, tag) for question, tag in named if tag is not None)

    @model_validator(mode="after")
    def _some(self) -> "Dashboard":
        if not self.asked:
            raise ValueError("dashboard: no tag is named; name one, `safety_status` for example, or leave it out")
        return self


class Mailbox(Settings):
    """Registers by which a command is done once, in time, or not at all; the robot program keeps its side of it."""

    sequence: InputInt
    """Number of the command; the program takes the one after the last, and no other."""
    epoch: InputInt
    """Number of the session that sends; the program takes nothing from an earlier one."""
    until: InputInt
    """The program's clock after which the command is too late, milliseconds."""
    echo: OutputInt
    """The last number that the program took."""
    echo_epoch: OutputInt
    """The session that it listens to."""
    verdict: OutputInt
    """What became of it: 1 applied, 2 outside the program's limits, 3 too late; 0 since the program started."""
    clock: OutputInt
    """The program's clock: milliseconds while it runs."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is sent along with the values."""
        return (self.until, self.epoch, self.sequence)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the program answers by."""
        return (self.echo, self.echo_epoch, self.verdict, self.clock)


class Write(Settings):
    """A tag that can be written: registers that the robot program reads."""

    tag: TagName
    """The tag's full name: `line3/robot/offset`."""
    registers: Annotated[tuple[InputRegister, ...], Field(min_length=1, max_length=12)]
    """Where it goes, all in one data package. One register takes a number (or a truth value for a bit); several take
    text with as many numbers, `[0.5, -0.25, 0.01]`."""
    confirm: Annotated[tuple[OutputRegister, ...], Field(min_length=1, max_length=12)]
    """Registers in which the robot program shows what it has applied, in the same order; read back from there."""
    limits: tuple[Limits, ...] = ()
    """Lowest and highest for each register; anything else is refused before it is sent. The program has its own."""
    mailbox: Mailbox | None = None
    """Needed for whatever moves. Without it a value is confirmed when `confirm` shows it, and a package that is late
    is applied late."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields of its data package."""
        return self.registers + (self.mailbox.inputs if self.mailbox else ())

    @property
    def outputs(self) -> tuple[str, ...]:
        """What must be heard to know how it stands."""
        return self.confirm + (self.mailbox.outputs if self.mailbox else ())

    @model_validator(mode="after")
    def _fits(self) -> "Write":
        if len(self.confirm) != len(self.registers):
            raise ValueError(f"{self.tag}: {len(self.registers)} registers, {len(self.confirm)} to confirm them")
        for sent, shown in zip(self.registers, self.confirm, strict=True):
            if _kind(sent) != _kind(shown):
                raise ValueError(f"{self.tag}: {shown} cannot show what {sent} holds; take one of the same kind")
        if self.limits and len(self.limits) != len(self.registers):
            raise ValueError(f"{self.tag}: {len(self.registers)} registers, {len(self.limits)} limits; write one each")
        for low, high in self.limits:
            if low > high:
                raise ValueError(f"{self.tag}: limits [{low:g}, {high:g}] leave no value; the lowest comes first")
        for name in self.inputs + self.outputs:
            if (self.inputs + self.outputs).count(name) > 1:
                raise ValueError(f"{self.tag}: {name} is there twice")
        return self


class UrSettings(Settings):
    """A robot by its controller: e-Series, UR series and CB series from PolyScope 3.10 or 5.4."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Name or address of the controller."""
    rtde_port: Port = 30_004
    """Port of the Real-Time Data Exchange."""
    dashboard_port: Port = 29_999
    """Port of the dashboard server."""
    outputs: tuple[Output, ...] = ()
    """The fields to read; every data package gives a value of each."""
    frequency_hz: Frequency = 10.0
    """How often the controller sends them. Controllers of the CB series send 125 times a second at most."""
    dashboard: Dashboard | None = None
    """What to ask of the dashboard server besides."""
    writes: tuple[Write, ...] = ()
    """What can be written."""
    write_frequency_hz: Frequency = 125.0
    """How often the controller tells its state to the connection that writes: half such a period is what a
    confirmation waits on average, and a state older than two periods is waited for anew."""
    remote_control: RemoteControl = RemoteControl.REQUIRED
    """`required`: nothing is written unless the robot is in remote control (asked of the dashboard every half second).
    `ignored` for controllers without that switch (CB series)."""
    connect_seconds: Seconds = 5.0
    """How long connecting, and each answer before the exchange begins, may take."""
    silence_seconds: Seconds = 2.0
    """A controller that sends nothing for so long, and for three periods, is given up and connected to anew."""
    buffer_samples_max: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    """Samples read and not yet safe in the outbox. At this data packages are let go, and named in a gap record."""

    @model_validator(mode="after")
    def _whole(self) -> "UrSettings":
        if not (self.outputs or self.dashboard or self.writes):
            raise ValueError("nothing to read or write: name `outputs`, a `dashboard` or `writes`")
        asked = () if self.dashboard is None else self.dashboard.asked
        tags = [output.tag for output in self.outputs] + [tag for _, tag in asked]
        for name in tags:
            if tags.count(name) > 1:
                raise ValueError(f"tag {name!r} is there twice")
        fields = [output.field for output in self.outputs]
        for name in fields:
            if fields.count(name) > 1:
                raise ValueError(f"outputs: field {name!r} is there twice; one tag each")
        taken: dict[str, str] = {}
        for write in self.writes:
            for name in (write.tag, *write.inputs, *write.outputs):
                if name in taken:
                    raise ValueError(f"writes: {name!r} is in {write.tag!r} and in {taken[name]!r}; one write each")
                taken[name] = write.tag
        return self

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        found = ["RTDE and the dashboard have no login and no encryption: keep the controller on a network of its own"]
        found += [
            f"writes: {write.tag} has no mailbox; a package that is late is applied late, so nothing must move by it"
            for write in self.writes
            if write.mailbox is None
        ]
        if self.writes and self.remote_control is RemoteControl.IGNORED:
            found.append("remote_control: ignored lets the gateway write while a person has the robot in local control")
        return tuple(found)


def _kind(register: str) -> str:
    return re.split(r"_", register)[1]
