"""A worker's double: speaks the protocol by itself, and says whatever it is told to say."""

import hashlib
import http.client
import json
import socket
from itertools import count
from typing import Any

from attrs import define, field
from cluster import Cluster
from proxy import Boxes
from twisted.protocols.amp import ANSWER, ASK, COMMAND, ERROR, Command

from hagoop import commands
from hagoop.jobs import Assignment, Finished

SECONDS = 30.0


class Refused(Exception):
    """The server answered with an error; its code is the first word."""


@define(eq=False)
class Double:
    """One connection that has joined as a worker."""

    cluster: Cluster
    name: str = "double"
    web_port: int = field(init=False)
    identity: str = field(init=False)
    _socket: socket.socket = field(init=False)
    _boxes: Boxes = field(factory=Boxes)
    _numbers: "count[int]" = field(factory=lambda: count(1))

    def __attrs_post_init__(self) -> None:
        where = self.cluster.host, self.cluster.commands
        self._socket = socket.create_connection(where, SECONDS)
        joined = self.call(
            commands.Join,
            version=commands.PROTOCOL_VERSION,
            role="worker",
            identity="",
            process=self.name,
            name=self.name,
            slots=1,
            held=(),
            secret_id="",
            secret="",
        )
        self.web_port, self.identity = joined["web_port"], joined["identity"]

    def call(self, command: type[Command], **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what the server asks meanwhile is not answered.

        :raises Refused: it was an error.
        """
        tag = b"%d" % next(self._numbers)
        box = command.makeArguments(arguments, None)
        box[COMMAND], box[ASK] = command.commandName, tag
        self._socket.sendall(box.serialize())
        while True:
            data = self._socket.recv(1 << 16)
            assert data, f"the server has closed the connection instead of an answer to {command}"
            for _, answer in self._boxes.feed(data):
                if answer.get(ERROR) == tag:
                    raise Refused(answer[b"_error_code"].decode())
                if answer.get(ANSWER) == tag:
                    answered: dict[str, Any] = command.parseResponse(answer, None)
                    return answered

    def ask(self) -> Assignment:
        """An assignment."""
        assignment: Assignment = self.call(commands.Ask, slot=0)["assignment"]
        return assignment

    def put(self, assignment: Assignment, data: bytes) -> str:
        """Send what a job has printed; its upload's name."""
        link = http.client.HTTPConnection(self.cluster.host, self.web_port, timeout=SECONDS)
        path, headers = f"/assignments/{assignment.id}", {"Authorization": f"Bearer {assignment.grant}"}
        link.request("PUT", path, data, headers)
        answer = link.getresponse()
        said = answer.read()
        link.close()
        assert answer.status == 200, said
        return str(json.loads(said)["upload"])

    def commit(self, job: Finished) -> bool:
        """Whether it counts."""
        return bool(self.call(commands.Commit, job=job)["accepted"])

    def close(self) -> None:
        """Go without a word."""
        self._socket.close()


def finished(assignment: Assignment, start: int, end: int, data: bytes, upload: str) -> Finished:
    """A job of it."""
    return Finished(
        id=assignment.id,
        request=assignment.request,
        phase=assignment.phase,
        round=assignment.round,
        start=start,
        end=end,
        upload=upload,
        digest=hashlib.sha256(data).hexdigest() if data else "",
        size=len(data),
        seconds=0.1,
    )

