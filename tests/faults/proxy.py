"""Bad links in user space, for which nobody must be root: between server and workers or clients.

A link is an address of this machine's loopback on which both ports of the server are forwarded, through
whatever weather there is.  Bytes are late, few at a time, many at once, held back for a while, lost
for good; connections are reset in the middle; and the answer to a command is swallowed once.
"""

import asyncio
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

from attrs import define, field, frozen

CHUNK_BYTES = 1 << 16
END_SECONDS = 20.0
UP, DOWN = "up", "down"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closed at once, with a reset."""


@frozen
class Weather:
    """What a link does to bytes.

    :param delay: seconds that they are on their way, and up to ``jitter`` more.
    :param piece: at most so many at a time; 0: as they come.
    :param gather: seconds for which they are collected, to be passed on together.
    :param rate: bytes a second; 0: any number.
    """

    delay: float = 0.0
    jitter: float = 0.0
    piece: int = 0
    gather: float = 0.0
    rate: float = 0.0


@define(eq=False)
class Boxes:
    """Takes a stream of AMP apart."""

    _left: bytes = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        """The boxes that are whole now, as they came and as what they hold."""
        self._left += data
        while (found := _first_box(self._left)) is not None:
            size, box = found
            raw, self._left = self._left[:size], self._left[size:]
            yield raw, box


def _first_box(data: bytes) -> tuple[int, dict[bytes, bytes]] | None:
    box: dict[bytes, bytes] = {}
    at, key = 0, None
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        if key is None and not size:
            return at + 2, box
        if at + 2 + size > len(data):
            return None
        word = data[at + 2 : at + 2 + size]
        at += 2 + size
        if key is None:
            key = word
        else:
            box[key], key = word, None
    return None


@define(eq=False)
class Wire:
    """One connection through a link, to one port of the server.

    :ivar mute: directions in which nothing passes any more, not even the end.
    """

    link: "Link"
    is_commands: bool
    writers: dict[str, asyncio.StreamWriter]
    mute: set[str] = field(factory=set)
    _boxes: dict[str, Boxes] = field(factory=lambda: {UP: Boxes(), DOWN: Boxes()})
    _doomed: set[bytes] = field(factory=set)
    _passed: Counter[str] = field(factory=Counter)

    async def pump(self, reader: asyncio.StreamReader, way: str) -> None:
        """Pass on what comes, in one direction."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        passing = asyncio.create_task(self._pass_on(late, way))
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                weather = self.link.weather
                due = time.monotonic() + weather.delay + random.random() * weather.jitter
                late.put_nowait((due, data))
        late.put_nowait((0.0, b""))
        with suppress(OSError):
            await passing

    async def _pass_on(self, late: "asyncio.Queue[tuple[float, bytes]]", way: str) -> None:
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if data and self.link.weather.gather:
                await asyncio.sleep(self.link.weather.gather)
                while not late.empty() and data:
                    more = late.get_nowait()[1]
                    if not more:
                        late.put_nowait((0.0, b""))
                        break
                    data += more
            await self.link.open_again.wait()
            if way in self.mute:
                continue
            if not data:
                self.writers[way].close()
                return
            await self._write(data, way)

    async def _write(self, data: bytes, way: str) -> None:
        if self.is_commands:
            data = b"".join(self._heard(data, way))
        else:
            data = self._until_cut(data, way)
        weather, writer = self.link.weather, self.writers[way]
        size = weather.piece or max(1, len(data))
        for at in range(0, len(data), size):
            part = data[at : at + size]
            writer.write(part)
            await writer.drain()
            if weather.piece or weather.rate:
                await asyncio.sleep(len(part) / weather.rate if weather.rate else 0)

    def _heard(self, data: bytes, way: str) -> Iterator[bytes]:
        """The boxes that pass; one that is to be swallowed ends the connection."""
        for raw, box in self._boxes[way].feed(data):
            command = box.get(b"_command", b"").decode()
            if command:
                self.link.commands[command] += 1
            if way == UP and self.link.swallows(command, on_its_way=True):
                self.reset()
            elif way == UP and self.link.swallows(command):
                self._doomed.add(box[b"_ask"])
            elif {box.get(b"_answer"), box.get(b"_error")} & self._doomed:
                self.reset()
            if self.writers[way].is_closing():
                return
            yield raw

    def _until_cut(self, data: bytes, way: str) -> bytes:
        before = self._passed[way]
        self._passed[way] += len(data)
        cut = self.link.cuts.get(way)
        if cut is None or self._passed[way] <= cut:
            return data
        del self.link.cuts[way]
        self.link.were_cut[way] += 1
        self.writers[way].write(data[: cut - before])
        self.mute.add(way)
        asyncio.get_running_loop().call_later(0.05, self.reset)
        return b""

    def reset(self) -> None:
        """Cut it, so that both sides know at once: a reset, and no end."""
        for each in self.writers.values():
            raw = each.get_extra_info("socket")
            if raw is not None and not each.is_closing():
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.transport.abort()


@define(eq=False)
class Link:
    """The way of one worker or client to the server.

    :ivar accepted: when each connection for commands was made.
    :ivar commands: how often each was sent.
    :ivar cuts: after how many bytes the next connection for bytes is reset, by direction.
    """

    proxy: "Proxy"
    host: str
    weather: Weather = field(factory=Weather)
    accepted: list[float] = field(factory=list)
    commands: Counter[str] = field(factory=Counter)
    cuts: dict[str, int] = field(factory=dict)
    were_cut: Counter[str] = field(factory=Counter)
    swallowed: Counter[str] = field(factory=Counter)
    wires: set[Wire] = field(factory=set)
    open_again: asyncio.Event = field(factory=asyncio.Event)
    _to_swallow: dict[str, bool] = field(factory=dict)
    _servers: list[asyncio.Server] = field(factory=list)

    # What tests do

    def swallow(self, *commands: str, on_its_way: bool = False) -> None:
        """Of each the next one is done, and its answer lost with the connection.

        :param on_its_way: it is lost itself, and never done.
        """
        self._to_swallow.update(dict.fromkeys(commands, on_its_way))

    def hold(self) -> None:
        """A partition: nothing passes until it heals; connections stay, as TCP has it."""
        self.proxy.run(self._open(is_open=False))

    def heal(self) -> None:
        """What was held back passes."""
        self.proxy.run(self._open(is_open=True))

    def mute(self, *ways: str) -> None:
        """Nothing passes any more on the connections that there are; nobody is told."""
        self.proxy.run(self._mute(ways or (UP, DOWN)))

    def reset(self) -> None:
        """Reset all connections."""
        self.proxy.run(self._reset())

    async def _open(self, *, is_open: bool) -> None:
        if is_open:
            self.open_again.set()
        else:
            self.open_again.clear()

    async def _mute(self, ways: tuple[str, ...]) -> None:
        for each in self.wires:
            each.mute.update(ways)

    async def _reset(self) -> None:
        for each in list(self.wires):
            each.reset()

    # What wires do

    def swallows(self, command: str, *, on_its_way: bool = False) -> bool:
        """Whether this one is to be swallowed, so or so: then it was the one."""
        if self._to_swallow.get(command) is not on_its_way:
            return False
        del self._to_swallow[command]
        self.swallowed[command] += 1
        return True

    async def listen(self, commands: int, web: int) -> None:
        """Forward these ports of the server."""
        self.open_again.set()
        for port in (commands, web):
            took = lambda reader, writer, port=port: self._forward(  # noqa: E731
                reader, writer, port, port == commands
            )
            self._servers.append(await asyncio.start_server(took, self.host, port))

    def deaf(self) -> None:
        """Nobody listens any more."""
        for each in self._servers:
            each.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, is_commands: bool
    ) -> None:
        if is_commands:
            self.accepted.append(time.monotonic())
        await self.open_again.wait()
        try:
            theirs, ours = await asyncio.open_connection(self.proxy.server, port)
        except OSError:
            writer.transport.abort()
            return
        for each in (writer, ours):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(self, is_commands, {UP: ours, DOWN: writer})
        self.wires.add(wire)
        try:
            await asyncio.gather(wire.pump(reader, UP), wire.pump(theirs, DOWN))
        finally:
            self.wires.discard(wire)
            for each in (writer, ours):
                each.close()


@define(eq=False)
class Proxy:
    """All links to one server, in a thread of their own."""

    server: str = "127.0.0.1"
    links: list[Link] = field(factory=list)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, act: Coroutine[Any, Any, None]) -> None:
        """Do something in the thread of the links."""
        asyncio.run_coroutine_threadsafe(act, self._loop).result(END_SECONDS)

    def add(self, commands: int, web: int) -> Link:
        """One more link, with an address of its own."""
        number = len(self.links) + 1
        link = Link(self, f"127.1.{1 + number // 250}.{1 + number % 250}")
        self.run(link.listen(commands, web))
        self.links.append(link)
        return link

    def close(self) -> None:
        """Cut and end everything."""
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_SECONDS)
        self._loop.close()

    async def _close(self) -> None:
        for each in self.links:
            each.deaf()
            for wire in list(each.wires):
                wire.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
