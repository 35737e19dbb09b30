"""Whether anybody was told of what was not on disk yet: the order of a server's calls of the system."""

import re
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen
from power import Act, Disk
from syscalls import Call

Box = dict[bytes, bytes]
DIGEST = re.compile(rb'digest": ?"([0-9a-f]{64})"')
PLACE = rb'"digest":"%s","end":\d+,"place":\{"offset":(\d+),"path":"([^"]+)","size":(\d+)\}'
ENDS = "Status", "Wait"
"""What tells a request's end has its answer's digest, and had been on disk before it was asked for."""
LOG = "journal.sqlite-wal"


@frozen
class Promise:
    """An answer that says something is on disk.

    :ivar asked: when its question had come; ``told``: when its sending began.
    :ivar word: what the row that it promises contains.
    """

    command: str
    asked: int
    told: int
    word: bytes


@define
class Talk:
    """Both directions of the connections on one descriptor; those that are not AMP have no boxes."""

    came: bytes = b""
    went: bytes = b""
    asked: dict[bytes, tuple[int, Box]] = field(factory=dict)

    def receive(self, call: Call) -> None:
        """Bytes that have come."""
        boxes, self.came = cut_boxes(self.came + call.data(1))
        for each in boxes:
            if b"_ask" in each:
                self.asked[each[b"_ask"]] = call.ended, each

    def send(self, call: Call) -> Iterator[tuple[int, Box, Box]]:
        """Bytes that go; the questions that they answer, and when these came."""
        boxes, self.went = cut_boxes(self.went + call.data(1)[: call.result])
        for each in boxes:
            if each.get(b"_answer") in self.asked:
                yield (*self.asked.pop(each[b"_answer"]), each)


def cut_boxes(data: bytes) -> tuple[list[Box], bytes]:
    """The whole boxes at the beginning, and what is left."""
    boxes, start, at, box = [], 0, 0, Box()
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        key, at = data[at + 2 : at + 2 + size], at + 2 + size
        if not size:
            boxes.append(box)
            start, box = at, {}
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        box[key], at = data[at + 2 : at + 2 + size], at + 2 + size
    return boxes, data[start:]


def promises(calls: Iterable[Call]) -> Iterator[Promise]:
    """What a server has promised to workers and clients."""
    talks: dict[int, Talk] = {}
    for each in calls:
        if each.name == "close":
            talks.pop(each.descriptor, None)
        elif each.name == "recvfrom" and each.result > 0:
            talks.setdefault(each.descriptor, Talk()).receive(each)
        elif each.name == "sendto" and each.result > 0:
            for asked, question, answer in talks.setdefault(each.descriptor, Talk()).send(each):
                command = question[b"_command"].decode()
                word = promised(command, question, answer)
                if word:
                    yield Promise(command, asked, each.begun, word)


def promised(command: str, question: Box, answer: Box) -> bytes:
    """What must be in a row if this was answered; empty where nothing is promised."""
    if command == "Submit":
        return question[b"key"]
    if command == "Commit" and answer[b"accepted"] == b"True":
        found = DIGEST.search(question[b"job"])
        return found[1] if found else b""
    if command in ENDS:
        found = DIGEST.search(b" ".join(answer.values()))
        return found[1] if found else b""
    return b""


def too_early(disk: Disk, calls: Iterable[Call]) -> Iterator[str]:
    """Promises that were sent before they were kept."""
    log = disk.named[LOG]
    rows = [each for each in disk.acts if each.place in log and each.kind == "write"]
    for each in promises(calls):
        since = 0 if each.command in ENDS else each.asked
        wrote = [row for row in rows if each.word in row.detail[1] and disk.call_of(row).ended > since]
        safe = [row for row in wrote if disk.safe_since(row) < each.told]
        if not safe:
            yield f"{each.command} at {each.told}: {len(wrote)} rows with {each.word!r}, none synced"
        elif each.command == "Commit":
            yield from bytes_too_late(disk, each, safe[0])


def bytes_too_late(disk: Disk, promise: Promise, row: Act) -> Iterator[str]:
    """Bytes that a row names and that were synced after it was written."""
    found = re.search(PLACE % promise.word, row.detail[1])
    if found is None:
        return
    offset, path, size = int(found[1]), found[2].decode(), int(found[3])
    for each in disk.acts:
        if each.place in disk.named[f"spool/{path}"] and each.kind == "write":
            overlaps = each.detail[0] < offset + size and offset < each.detail[0] + len(each.detail[1])
            if overlaps and disk.safe_since(each) > disk.call_of(row).begun:
                yield f"{promise.command} at {promise.told}: {path} was synced after its row was written"
