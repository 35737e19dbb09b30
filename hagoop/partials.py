"""Partial answers: what a request has committed so far, brought to an end as a request of its own.

While a step maps, the lines that are committed are taken as its whole input, and workers do with what
they gave whatever comes after; the request from which it is taken goes on beside it.  While the last
phase runs, the parts of its answer that are committed are taken.  In between all that is missing is work
that any answer takes, so the answer of the request itself is the one to wait for.
"""

from attrs import define, evolve
from twisted.internet.task import deferLater

from hagoop.docket import Docket
from hagoop.jobs import Missing, Phase, RequestId
from hagoop.missing import cover_of, later_without, missing_keys, missing_lines
from hagoop.progress import Progress
from hagoop.requests import Request
from hagoop.submit_keys import Named
from hagoop.taken import Taken

COUNT_SECONDS = 0.2
"""How often one looks whether all lines are counted: before that nobody can say what is missing."""


@define(eq=False)
class Partials:
    """Makes them."""

    docket: Docket

    async def of(self, key: str, request: RequestId) -> RequestId:
        """The request whose answer covers what another has committed now; perhaps that one itself.

        :param key: the same key again is the same request.
        :raises RequestError: what is missing cannot be named: the input has changed.
        """
        named = self.docket.owners[request], f"partial {key}"
        return await self.docket.keys.once(named, lambda: self._of(named, request))

    async def _of(self, named: Named, request: RequestId) -> RequestId:
        account, data = self.docket.ledger.requests[request], self.docket.data[request]
        progress = await self._counted(account)
        if progress is None or account.partial_of is not None:
            return request
        taken = Taken.now(account, data, progress)
        if not taken.ranges or not (progress.phase is Phase.MAP or data.is_answer(progress.phase)):
            return request
        # From now on nothing of it may go.
        data.borrowers += 1
        try:
            return await self.docket.take_up(named, await self._told(taken))
        except BaseException:
            await self.docket.give_back(data)
            raise

    async def _counted(self, account: Request) -> Progress | None:
        """The phase that runs, once it is known how many positions it has."""
        while account.progress is not None and not account.progress.whole:
            await deferLater(self.docket.clock, COUNT_SECONDS)
        return account.progress

    async def _told(self, taken: Taken) -> Taken:
        """The same, with what is missing of it as it is told to users."""
        if taken.phase is not Phase.MAP:
            return _without(taken, missing_keys(taken.lender.cells, taken.ranges))
        inputs = taken.lender.inputs
        found: list[tuple[Missing, ...]] = []
        await self.docket.in_thread(lambda: found.append(missing_lines(inputs, taken.ranges)))
        if taken.step:
            return _without(taken, found[0])
        return evolve(taken, missing=found[0], cover=cover_of(inputs, found[0]))


def _without(taken: Taken, missing: tuple[Missing, ...]) -> Taken:
    """The same without something that came of the input."""
    cover = later_without(taken.cover, missing)
    return evolve(taken, missing=(*taken.missing, *missing), cover=cover)
