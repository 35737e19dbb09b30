"""The demonstration's workers: each a process of its own on this machine."""

import os
from collections.abc import Iterator

from attrs import define

from hagoop.demo.kinds import Kind
from hagoop.demo.plan import Cast
from hagoop.local import LocalCluster, in_own_session
from hagoop.survived import Survived


@define(eq=False, kw_only=True)
class Crew(LocalCluster):
    """A server, and workers of all kinds.  The good ones are the worker that users run."""

    cast: Cast
    workers: int = 0

    def crew(self, server: str) -> Iterator[tuple[str, list[str]]]:
        """Name and command line of each worker."""
        for name, kind in self.cast.names.items():
            if kind is Kind.GOOD:
                yield name, self.worker(server, name)
            else:
                yield name, self._unruly(server, name, kind)

    def _unruly(self, server: str, name: str, kind: Kind) -> list[str]:
        words = ["--server", server, "--kind", kind, "--name", name, "--state", str(self.folder)]
        words += ["--chance", str(self.cast.chance), "--seed", self.cast.seed]
        words += ["--parent", str(os.getpid())]
        return [*in_own_session("hagoop.demo.unruly"), *words]

    @property
    def survived(self) -> Survived:
        """What the server has been put through."""
        return self._service.survived if self._service is not None else Survived()
