"""The error tree: whose fault it is, and the code by which it crosses the wire.

Catch the narrowest.  The text of an error is one plain sentence for people; what
programs need are attributes.
"""

from typing import ClassVar


class HaGoopError(Exception):
    """Any error that HaGoop raises on purpose."""

    code: ClassVar[str] = "HAGOOP"


class RequestError(HaGoopError):
    """The request is at fault: tell the client and stop."""

    code = "REQUEST"


class NoSuchInput(RequestError):
    """An INPUT is missing, unreadable or outside every input root."""

    code = "NO_SUCH_INPUT"


class BadProgram(RequestError):
    """A program cannot be run as it was given."""

    code = "BAD_PROGRAM"


class UnknownRequest(RequestError):
    """No request has this id, or none has been submitted yet."""

    code = "UNKNOWN_REQUEST"


class RequestFailed(RequestError):
    """The request ended without an answer."""

    code = "REQUEST_FAILED"


class TooManyAttempts(RequestFailed):
    """A program failed on the same lines as often as the request allows."""

    code = "TOO_MANY_ATTEMPTS"


class RequestCancelled(RequestError):
    """The request was cancelled."""

    code = "REQUEST_CANCELLED"


class SpoolFull(RequestError):
    """The server has no room for these bytes."""

    code = "SPOOL_FULL"


class QuotaMet(RequestError):
    """A client has as much at the server as its secret allows."""

    code = "QUOTA_MET"


class JobError(HaGoopError):
    """This attempt failed: count it and assign the range again."""

    code = "JOB"


class ProgramFailed(JobError):
    """The user's program ended badly.

    :param message: one sentence, such as ``it ended with exit status 1``.
    :param status: the exit status, if it exited.
    :param signal: the signal's number, if one ended it.
    :param stderr: head and tail of what it wrote to stderr.
    """

    code = "PROGRAM_FAILED"

    def __init__(
        self, message: str, status: int | None = None, signal: int | None = None, stderr: bytes = b""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.signal = signal
        self.stderr = stderr


class ProgramHung(ProgramFailed):
    """The program took and gave no line for longer than ``--timeout``."""

    code = "PROGRAM_HUNG"


class OutputTooLarge(ProgramFailed):
    """The program printed more than one job may."""

    code = "OUTPUT_TOO_LARGE"


class OutOfBounds(ProgramFailed):
    """The program used more processes, memory or disk than a worker gives it."""

    code = "OUT_OF_BOUNDS"


BLAMED_KINDS = frozenset(
    each.code for each in (ProgramFailed, ProgramHung, OutputTooLarge, OutOfBounds)
)
"""Failures that count against the program and its lines; all others cost only time."""


class WorkerUnfit(JobError):
    """This worker cannot run this program; nobody is to blame."""

    code = "WORKER_UNFIT"


class WorkerFull(JobError):
    """What an assignment needs is more than this worker stores at a time."""

    code = "WORKER_FULL"


class WorkerLost(JobError):
    """The worker's session ended."""

    code = "WORKER_LOST"


class PeerError(HaGoopError):
    """The peer broke the rules: drop it."""

    code = "PEER"


class VersionMismatch(PeerError):
    """The peer speaks another version of the protocol."""

    code = "VERSION_MISMATCH"


class NotJoined(PeerError):
    """A command came before ``Join``, or one that the peer's role may not use."""

    code = "NOT_JOINED"


class NotAdmitted(PeerError):
    """The peer's secret does not open the door."""

    code = "NOT_ADMITTED"


class BadMessage(PeerError):
    """A message does not have the form that the protocol gives it."""

    code = "BAD_MESSAGE"


class LimitExceeded(PeerError):
    """The peer passed a bound on bytes, calls or connections."""

    code = "LIMIT_EXCEEDED"


class TransferFailed(HaGoopError):
    """Bytes did not arrive, or arrived with another digest than announced."""

    code = "TRANSFER_FAILED"


class LinkBroke(TransferFailed):
    """A connection for bytes was not made, or broke: it may be tried again."""

    code = "LINK_BROKE"


class Damaged(TransferFailed):
    """Bytes that the server kept are gone, or are not those that it kept."""

    code = "DAMAGED"


class StateError(HaGoopError):
    """A state folder cannot be used: locked, damaged, newer or not writable."""

    code = "STATE"


class ServerUnreachable(HaGoopError):
    """No server answers, or what answers is none."""

    code = "SERVER_UNREACHABLE"


class FleetError(HaGoopError):
    """A fleet file does not hold a fleet: the sentence says where, and what is wrong."""

    code = "FLEET"


class LedgerError(HaGoopError):
    """A bug of ours: an invariant of the ledger does not hold."""

    code = "LEDGER"
