"""Links that go mute: between worker and server, whose bytes stop to arrive, and neither is told.

A link is an address of this machine's loopback on which both ports of the server are forwarded.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from attrs import define, field

CHUNK_BYTES = 1 << 16
END_SECONDS = 10.0


@define(eq=False)
class Wire:
    """One connection through a link.

    :ivar mute: nothing passes any more, not even the end.
    """

    writers: "tuple[asyncio.StreamWriter, asyncio.StreamWriter]"
    mute: bool = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, in one direction."""
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.mute:
                    continue
                writer.write(data)
                await writer.drain()
        # Of a mute wire each side has to find out by itself.
        if not self.mute:
            writer.close()

    def close(self) -> None:
        """Cut it, so that both sides know."""
        for each in self.writers:
            each.transport.abort()


@define(eq=False)
class Link:
    """The way of one worker to the server."""

    switchboard: "Switchboard"
    host: str
    wires: set[Wire] = field(factory=set)
    servers: list[asyncio.Server] = field(factory=list)

    def mute(self) -> None:
        """Nothing more passes on the connections that there are; new ones are well."""
        self.switchboard.run(self._mute())

    async def _mute(self) -> None:
        for each in self.wires:
            each.mute = True

    def close(self) -> None:
        """Cut all connections."""
        self.switchboard.run(self._close())

    async def _close(self) -> None:
        for each in list(self.wires):
            each.close()

    async def listen(self, ports: tuple[int, ...]) -> None:
        """Forward these ports of the server."""
        for port in ports:
            took = lambda reader, writer, port=port: self._forward(reader, writer, port)  # noqa: E731
            self.servers.append(await asyncio.start_server(took, self.host, port))

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        try:
            theirs, ours = await asyncio.open_connection(self.switchboard.server, port)
        except OSError:
            writer.transport.abort()
            return
        wire = Wire((writer, ours))
        self.wires.add(wire)
        try:
            await asyncio.gather(wire.pump(reader, ours), wire.pump(theirs, writer))
        finally:
            wire.close()
            self.wires.discard(wire)


@define(eq=False)
class Switchboard:
    """All links to one server, in a thread of their own."""

    server: str
    links: list[Link] = field(factory=list)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, act: Coroutine[Any, Any, None]) -> None:
        """Do something in the thread of the links."""
        asyncio.run_coroutine_threadsafe(act, self._loop).result(END_SECONDS)

    def add(self, *ports: int) -> Link:
        """One more link, with an address of its own."""
        number = len(self.links) + 1
        link = Link(self, f"127.0.{1 + number // 250}.{1 + number % 250}")
        self.run(link.listen(ports))
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
            for server in each.servers:
                server.close()
            for wire in list(each.wires):
                wire.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
