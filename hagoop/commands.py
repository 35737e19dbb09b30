"""Every AMP command, in both directions, with all the errors that it may answer.

The state diagrams are in ``docs/protocol.rst``.  An error that a responder does not declare would close
the connection with all other calls on it, so every command declares all of them.
"""

from typing import Any, ClassVar, TypeVar

from twisted.protocols import amp

from hagoop import errors, jobs, wire

PROTOCOL_VERSION = 3
MOST_SLOTS = 4096
COMMITS_IN_FLIGHT = 4
"""How many commits of an assignment a worker may send before the first is answered."""
DELIVERED_WORKS = 2
"""While an assignment is worked on, so many before it are still delivered: as many as there are jobs in
preparation within one."""
WORKS_PER_SLOT = DELIVERED_WORKS + 1
T = TypeVar("T")

WIRE_ERRORS: dict[type[Exception], bytes] = {
    each: each.code.encode()
    for each in (
        errors.NoSuchInput,
        errors.BadProgram,
        errors.UnknownRequest,
        errors.TooManyAttempts,
        errors.RequestFailed,
        errors.RequestCancelled,
        errors.SpoolFull,
        errors.QuotaMet,
        errors.WorkerUnfit,
        errors.WorkerLost,
        errors.VersionMismatch,
        errors.NotJoined,
        errors.NotAdmitted,
        errors.BadMessage,
        errors.LimitExceeded,
        errors.Damaged,
        errors.TransferFailed,
        errors.StateError,
        # Last: AMP takes the first that fits, and these are the bases of the others.
        errors.RequestError,
        errors.JobError,
        errors.PeerError,
        errors.HaGoopError,
    )
}


class Value(amp.Argument):
    """An argument that is a frozen value, or a tuple of them, as JSON."""

    def __init__(self, cls: Any, optional: bool = False) -> None:
        super().__init__(optional=optional)
        self._cls = cls

    def toString(self, inObject: Any) -> bytes:
        """Encode it."""
        return wire.encode(inObject)

    def fromString(self, inString: bytes) -> Any:
        """Decode and check it; raises ``BadMessage``."""
        return wire.decode(self._cls, inString)


class Command(amp.Command):
    """What all commands share."""

    errors: ClassVar[dict[type[Exception], bytes]] = WIRE_ERRORS

    # ``Any`` and the names are AMP's: it calls these, and lets out whatever values lead to.

    @classmethod
    def parseArguments(cls, box: amp.AmpBox, protocol: Any) -> dict[str, Any]:
        """The arguments; a box that has not their form ends the connection, after a word."""
        try:
            arguments: dict[str, Any] = super().parseArguments(box, protocol)
        except (KeyError, TypeError, ValueError, errors.BadMessage) as error:
            raise amp.RemoteAmpError(
                errors.BadMessage.code.encode(), _malformed(cls, error), fatal=True
            ) from error
        return arguments

    @classmethod
    def parseResponse(cls, box: amp.AmpBox, protocol: Any) -> dict[str, Any]:
        """The answer; raises ``BadMessage`` where it has not its form."""
        try:
            answer: dict[str, Any] = super().parseResponse(box, protocol)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.BadMessage(_malformed(cls, error)) from error
        return answer


def _malformed(command: type[Command], error: Exception) -> str:
    if isinstance(error, errors.BadMessage):
        return str(error)
    name = command.__name__
    return f"{name} lacks {error}" if isinstance(error, KeyError) else f"{name} has a wrong value"


class Join(Command):
    """First of all: who is there, in which role, speaking which version.

    ``process`` is drawn anew by each process, so that a worker that comes back is told from a clone.
    ``secret_id`` and ``secret`` open the door of a server beyond this machine; the answer's ``token`` is
    the secret with which a worker comes back.  ``insecure``: the server is open to anybody.
    ``way``: seconds that a round trip took a worker last, if it knows.  ``machine``: the server's, for a
    worker that may be on the same.
    """

    arguments: ClassVar = [
        (b"version", amp.Integer()),
        (b"role", amp.Unicode()),
        (b"identity", amp.Unicode()),
        (b"process", amp.Unicode()),
        (b"name", amp.Unicode()),
        (b"slots", amp.Integer()),
        (b"held", Value(tuple[jobs.Held, ...])),
        # Optional, so that a peer of the first version learns that there is another.
        (b"secret_id", amp.Unicode(optional=True)),
        (b"secret", amp.Unicode(optional=True)),
        (b"knows", Value(tuple[jobs.RequestId, ...], optional=True)),
        (b"way", amp.Float(optional=True)),
    ]
    response: ClassVar = [
        (b"identity", amp.Unicode()),
        (b"web_port", amp.Integer()),
        (b"beat_seconds", amp.Float()),
        (b"kept", Value(tuple[jobs.Kept | None, ...])),
        (b"token", amp.Unicode()),
        (b"insecure", amp.Boolean()),
        (b"machine", amp.Unicode(optional=True)),
    ]


class Ask(Command):
    """Worker: this slot wants an assignment; answered when there is one.  ``way``: as in ``Beat``."""

    arguments: ClassVar = [(b"slot", amp.Integer()), (b"way", amp.Float(optional=True))]
    response: ClassVar = [(b"assignment", Value(jobs.Assignment))]


class Beat(Command):
    """Worker: the jobs in hand and how far they are.

    ``way`` is how many seconds a round trip takes, by the answers to its Beats.
    """

    arguments: ClassVar = [
        (b"seen", Value(tuple[jobs.Seen, ...])),
        (b"way", amp.Float(optional=True)),
    ]
    response: ClassVar = [(b"beat_seconds", amp.Float())]


class Commit(Command):
    """Worker: a job is finished and its bytes are there.

    ``front`` is where the assignment's front is now, -1 when the assignment is gone;
    ``commit_seconds`` is how long its next jobs should take.
    """

    arguments: ClassVar = [(b"job", Value(jobs.Finished))]
    response: ClassVar = [
        (b"accepted", amp.Boolean()),
        (b"front", amp.Integer()),
        (b"commit_seconds", amp.Float()),
    ]


class Fail(Command):
    """Worker: a job failed here; the assignment is given back."""

    arguments: ClassVar = [(b"failure", Value(jobs.Failure))]
    response: ClassVar[list[Any]] = []


class Leaving(Command):
    """Worker: nothing new, please; ``unbegun``, and what lies behind the ``stops``, is given back.

    With ``seconds`` it works on for so long, on what fits into them.  ``why`` is for people.
    """

    arguments: ClassVar = [
        (b"unbegun", Value(tuple[jobs.AssignmentId, ...])),
        (b"stops", Value(tuple[jobs.Stop, ...])),
        (b"seconds", Value(float, optional=True)),
        (b"why", amp.Unicode(optional=True)),
    ]
    response: ClassVar[list[Any]] = []


class Back(Command):
    """Worker: I am not leaving after all, or have rested: work is welcome again."""

    arguments: ClassVar[list[Any]] = []
    response: ClassVar[list[Any]] = []


class Cancel(Command):
    """Server: end that program within five seconds and drop the assignment."""

    arguments: ClassVar = [(b"assignment", amp.Unicode()), (b"reason", amp.Unicode())]
    response: ClassVar[list[Any]] = []


class TakeBack(Command):
    """Server: please end at ``end``; the answer is the end that is kept, at or after it."""

    arguments: ClassVar = [(b"assignment", amp.Unicode()), (b"end", amp.Integer())]
    response: ClassVar = [(b"end", amp.Integer())]


class Forget(Command):
    """Server: the request is over."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar[list[Any]] = []


class Upload(Command):
    """Client: may I send these bytes?  A program is named by its digest and may be there already.

    ``size`` is -1 when it is not known before.
    """

    arguments: ClassVar = [(b"digest", amp.Unicode()), (b"size", amp.Integer())]
    response: ClassVar = [
        (b"have", amp.Boolean()),
        (b"name", amp.Unicode()),
        (b"grant", amp.Unicode()),
    ]


class Survey(Command):
    """Client: do you see the files of this uploaded manifest yourself?"""

    arguments: ClassVar = [(b"manifest", amp.Unicode())]
    response: ClassVar = [(b"seen", amp.Boolean())]


class Submit(Command):
    """Client: run this.  The same key twice is one request."""

    arguments: ClassVar = [(b"key", amp.Unicode()), (b"submission", Value(jobs.Submission))]
    response: ClassVar = [(b"request", amp.Unicode())]


class List(Command):
    """Client: requests, newest first, from the ``skip``-th on."""

    arguments: ClassVar = [(b"skip", amp.Integer())]
    response: ClassVar = [(b"requests", Value(tuple[jobs.RequestStatus, ...]))]


class Status(Command):
    """Client: one request now; without an id the newest."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar = [(b"status", Value(jobs.RequestStatus))]


class Wait(Command):
    """Client: one request when it has ended."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar = [(b"status", Value(jobs.RequestStatus))]


class Answer(Command):
    """Client: what opens the answer's bytes."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar = [(b"grant", amp.Unicode())]


class BadLines(Command):
    """Client: the lines of the input that were passed over, in its order, from the ``skip``-th on."""

    arguments: ClassVar = [(b"request", amp.Unicode()), (b"skip", amp.Integer())]
    response: ClassVar = [(b"lines", Value(tuple[jobs.BadLine, ...]))]


class Partial(Command):
    """Client: which request answers for what one has committed by now?  The same key twice is one."""

    arguments: ClassVar = [(b"key", amp.Unicode()), (b"request", amp.Unicode())]
    response: ClassVar = [(b"request", amp.Unicode())]


class MissingParts(Command):
    """Client: what an answer does not cover, in the order of the input, from the ``skip``-th on."""

    arguments: ClassVar = [(b"request", amp.Unicode()), (b"skip", amp.Integer())]
    response: ClassVar = [(b"parts", Value(tuple[jobs.Missing, ...]))]


class CancelRequest(Command):
    """Client: stop a request."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar = [(b"status", Value(jobs.RequestStatus))]


class ForgetRequest(Command):
    """Client: drop a request that has ended, and its answer."""

    arguments: ClassVar = [(b"request", amp.Unicode())]
    response: ClassVar = [(b"request", amp.Unicode())]


class Workers(Command):
    """Client: the workers, from the ``skip``-th on."""

    arguments: ClassVar = [(b"skip", amp.Integer())]
    response: ClassVar = [(b"workers", Value(tuple[jobs.WorkerStatus, ...]))]


WORKER_TO_SERVER: tuple[type[Command], ...] = (Join, Ask, Beat, Commit, Fail, Leaving, Back)
SERVER_TO_WORKER: tuple[type[Command], ...] = (Cancel, TakeBack, Forget)
CLIENT_TO_SERVER: tuple[type[Command], ...] = (
    Join,
    Upload,
    Survey,
    Submit,
    List,
    Status,
    Wait,
    Answer,
    BadLines,
    Partial,
    MissingParts,
    CancelRequest,
    ForgetRequest,
    Workers,
)
