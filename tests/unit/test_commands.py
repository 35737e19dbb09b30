"""Every AMP command: well formed, all errors declared, and what it carries arrives as it was."""

import inspect
from itertools import combinations
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.protocols import amp

from hagoop import commands, errors, jobs
from hagoop.commands import CLIENT_TO_SERVER, SERVER_TO_WORKER, WIRE_ERRORS, WORKER_TO_SERVER
from hagoop.errors import BadMessage, HaGoopError

ALL = sorted({*WORKER_TO_SERVER, *SERVER_TO_WORKER, *CLIENT_TO_SERVER}, key=lambda each: each.__name__)
KNOWN = {"arguments", "response", "errors", "commandName", "reverseErrors", "allErrors"}
"""What we write in a command, and what AMP adds; it ignores all else, typing errors too."""

NOT_ON_THE_WIRE = {
    errors.LinkBroke: "travels as the kind of a Failure",
    errors.ProgramFailed: "travels as the kind of a Failure",
    errors.ProgramHung: "travels as the kind of a Failure",
    errors.OutputTooLarge: "travels as the kind of a Failure",
    errors.OutOfBounds: "travels as the kind of a Failure",
    errors.WorkerFull: "travels as the kind of a Failure",
    errors.ServerUnreachable: "is raised by who finds no server to tell it",
    errors.FleetError: "is raised by who reads a fleet file, and has no server",
    errors.LedgerError: "is a bug of the server, and crosses as HaGoopError",
}

ID, REQUEST = jobs.AssignmentId("1-7"), jobs.RequestId("r1")
NAME = b"caf\xe9".decode("utf-8", "surrogateescape")
PROGRAM = jobs.Program(
    "map", "reduce", "sum", (jobs.Shipped("map", "d1", 9, True),), (("KEY", "value"),), (0, 1), 1.5, 2
)
STATUS = jobs.RequestStatus(
    REQUEST,
    jobs.State.RUNNING,
    "a label",
    1.5,
    jobs.Phase.MERGE,
    0.25,
    9,
    False,
    1,
    2,
    3,
    None,
    counters=(jobs.Counter("group", "name", -5),),
    cover=jobs.Cover(2, 5, 9, 50, 90),
    partial_of="r1",
)
WORKER = jobs.WorkerStatus(jobs.WorkerId("w"), "lab1", 1.0, 2, 3, 4, 5.5, 6.0, "idle")
VALUES: dict[bytes, Any] = {
    b"assignment": jobs.Assignment(
        ID, REQUEST, jobs.Phase.MAP, 0, 3, 9, 6, 0.5, 1, PROGRAM, "grant", 1 << 32
    ),
    b"held": (jobs.Held(ID, REQUEST, jobs.Phase.REDUCE, 0, 1, 9, 3),),
    b"knows": (jobs.RequestId("r1"), jobs.RequestId("r2")),
    b"kept": (None, jobs.Kept(ID, "grant")),
    b"seen": (jobs.Seen(ID, 5, 100, 0), jobs.Seen(ID, 6, 1, 2)),
    b"job": jobs.Finished(ID, REQUEST, jobs.Phase.MAP, 0, 3, 5, "1", "d", 9, 1.0, 0.5, status="so far"),
    b"failure": jobs.Failure(ID, 3, 5, "PROGRAM_FAILED", "it ended with exit status 1", 0.5, "oh\n"),
    b"unbegun": (ID,),
    b"stops": (jobs.Stop(ID, 7),),
    b"seconds": 1.5,
    b"submission": jobs.Submission(PROGRAM, (jobs.Source("server", NAME),), "a label"),
    b"requests": (STATUS, STATUS),
    b"status": STATUS,
    b"workers": (WORKER,),
    b"parts": (
        jobs.Missing(jobs.Piece(NAME, 3, 5, 1, 20, 9)),
        jobs.Missing(None, jobs.Keys("\xff\n", None)),
    ),
    b"lines": (jobs.BadLine(9, NAME, 5, 70, "it ended with exit status 1", "oh"),),
}
"""One value for each argument that is more than a number or a text."""


def example(name: bytes, argument: amp.Argument) -> Any:
    if isinstance(argument, commands.Value):
        return VALUES[name]
    plain: dict[type[amp.Argument], Any] = {
        amp.Integer: -1,
        amp.Unicode: "Kühe\n",
        amp.Boolean: True,
        amp.Float: 0.25,
    }
    return plain[type(argument)]


def examples(fields: list[tuple[bytes, amp.Argument]]) -> dict[str, Any]:
    return {name.decode(): example(name, argument) for name, argument in fields}


def subclasses(cls: type[HaGoopError]) -> set[type[HaGoopError]]:
    """Those in ``hagoop/errors.py``; others come and go within one file."""
    found = {each for each in vars(errors).values() if inspect.isclass(each)}
    return {each for each in found if issubclass(each, cls)}


def crossed(error: Exception) -> Exception:
    """What a caller of ``Status`` gets when the responder raises ``error``."""

    class Responder(amp.AMP):
        @commands.Status.responder
        def status(self, request: str) -> dict[str, object]:
            """Fail."""
            raise error

    asking, answering = amp.AMP(), Responder()
    ways = StringTransport(), StringTransport()
    asking.makeConnection(ways[0])
    answering.makeConnection(ways[1])
    told: Deferred[Any] = asking.callRemote(commands.Status, request="r1")
    found: list[Exception] = []
    told.addErrback(lambda reason: found.append(reason.value))  # type: ignore[call-overload]
    answering.dataReceived(ways[0].value())
    asking.dataReceived(ways[1].value())
    return found[0]


def test_every_command_belongs_to_a_direction() -> None:
    """What is defined is used by someone."""
    defined = {
        each
        for each in vars(commands).values()
        if inspect.isclass(each) and issubclass(each, commands.Command) and each is not commands.Command
    }
    assert defined == set(ALL)


@pytest.mark.parametrize("command", ALL)
def test_command_has_known_attributes_only(command: type[commands.Command]) -> None:
    """AMP does not notice ``reponse``."""
    written = {name for name in vars(command) if not name.startswith("__")}
    assert written <= KNOWN
    assert {"arguments", "response"} <= written


@pytest.mark.parametrize("command", ALL)
def test_command_declares_every_wire_error(command: type[commands.Command]) -> None:
    """An error that is not declared would close the connection; and their order is kept."""
    made = vars(command)
    assert list(made["allErrors"].items()) == list(WIRE_ERRORS.items())
    assert made["reverseErrors"] == {code: each for each, code in WIRE_ERRORS.items()}


@pytest.mark.parametrize("command", ALL)
def test_command_has_a_name_of_its_own(command: type[commands.Command]) -> None:
    """The name on the wire is that of the class, and the docstring says who sends it or when."""
    assert command.commandName == command.__name__.encode()
    assert command.__doc__


@pytest.mark.parametrize("command", ALL)
def test_arguments_cross_the_wire_unchanged(command: type[commands.Command]) -> None:
    """Through a box and back."""
    sent = examples(command.arguments)
    proto = amp.AMP()
    assert command.parseArguments(command.makeArguments(dict(sent), proto), proto) == sent


@pytest.mark.parametrize("command", ALL)
def test_answer_crosses_the_wire_unchanged(command: type[commands.Command]) -> None:
    """Through a box and back."""
    sent = examples(command.response)
    proto = amp.AMP()
    assert command.parseResponse(command.makeResponse(dict(sent), proto), proto) == sent


def test_malformed_argument_is_a_bad_message() -> None:
    """What a peer sends in place of a value is checked before anybody sees it."""
    with pytest.raises(BadMessage, match="has something else where a Counter should be"):
        commands.Value(jobs.Counter).fromString(b"[1]")


def test_narrowest_error_comes_first() -> None:
    """AMP takes the first class that fits."""
    wrong = [(one, two) for one, two in combinations(WIRE_ERRORS, 2) if issubclass(two, one)]
    assert wrong == []


def test_codes_are_those_of_the_classes_and_differ() -> None:
    """A code stands for one class."""
    assert all(code == each.code.encode() for each, code in WIRE_ERRORS.items())  # type: ignore[attr-defined]
    every = subclasses(HaGoopError)
    assert len({each.code for each in every}) == len(every)


def test_every_error_crosses_the_wire_or_has_a_reason_not_to() -> None:
    """A new error is in one of the two lists."""
    assert subclasses(HaGoopError) == {*WIRE_ERRORS, *NOT_ON_THE_WIRE}
    assert not set(WIRE_ERRORS) & set(NOT_ON_THE_WIRE)


@pytest.mark.parametrize("cls", WIRE_ERRORS)
def test_wire_error_arrives_as_itself(cls: type[Exception]) -> None:
    """With its class and its sentence."""
    found = crossed(cls("no such file: 'Kühe'"))
    assert type(found) is cls
    assert str(found) == "no such file: 'Kühe'"


@pytest.mark.parametrize("cls", NOT_ON_THE_WIRE)
def test_other_error_arrives_as_its_base(cls: type[HaGoopError]) -> None:
    """The connection stays open, and whose fault it is stays known."""
    found = crossed(cls("oh"))
    assert type(found) in (errors.JobError, errors.TransferFailed, errors.HaGoopError)
    assert isinstance(cls("oh"), type(found))
    assert str(found) == "oh"


def test_program_failure_keeps_how_it_ended() -> None:
    """Who tells it needs attributes, not text."""
    error = errors.ProgramFailed("it was ended by a signal", signal=9, stderr=b"oh")
    assert (error.status, error.signal, error.stderr) == (None, 9, b"oh")
    assert str(error) == "it was ended by a signal"
