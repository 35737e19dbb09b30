"""What one client may have at the server: requests that run, bytes that are kept."""

from collections.abc import Iterable

from attrs import define, field
from twisted.logger import Logger

from hagoop.docket import Docket
from hagoop.door.doors import Door
from hagoop.errors import QuotaMet
from hagoop.intake import Intake
from hagoop.jobs import State

log = Logger()
FREE_UP = "wait until some have ended, or forget some: hagoop-request forget"


@define(eq=False)
class Quotas:
    """Bounds each client's secret; where none is asked for there are none."""

    docket: Docket
    door: Door
    intake: Intake
    _bringing: dict[str, set[str]] = field(factory=dict)

    def check_running(self, owner: str | None) -> None:
        """Raise ``QuotaMet`` if a client has as many requests running as it may."""
        secret = self.door.secret(owner) if owner is not None else None
        if owner is None or secret is None:
            return
        running = sum(each.state is State.RUNNING for each in self.docket.owned(owner))
        if running + self.docket.keys.under_way(owner) >= secret.running:
            raise QuotaMet(
                f"{secret.running} requests of this client run, as many as its secret {owner} allows; "
                "wait until one has ended, or cancel one: hagoop-request cancel"
            )

    def most_bytes(self, owner: str) -> int:
        """How much may be kept for a client: what its secret says, else half of what there is."""
        secret = self.door.secret(owner)
        said = secret.spool_bytes if secret is not None else None
        most: int = self.docket.spool.most_bytes
        return most // 2 if said is None else said

    def check_room(self, owner: str | None, size: int) -> int | None:
        """The bytes that a client may still bring; None: any number.

        :param size: of what it is about to bring; -1: not known.
        :raises QuotaMet: they are fewer.
        """
        if owner is None:
            return None
        kept = self._kept_bytes(owner) + self._brings(owner)
        most = self.most_bytes(owner)
        if kept + max(size, 1) > most:
            raise QuotaMet(
                f"{max(size, 1)} bytes more are too many: {kept} of the {most} that the secret {owner} "
                f"allows are kept; {FREE_UP}"
            )
        return most - kept

    def _kept_bytes(self, owner: str) -> int:
        """How much the spool keeps for an owner's requests."""
        docket = self.docket
        found = [docket.data[each.id] for each in docket.owned(owner) if each.id in docket.data]
        shelves = {shelf for each in found for shelf in (each.answer_shelf, each.runs_shelf)}
        programs = {file.digest: file.size for each in found for file in each.submission.program.files}
        return sum(docket.spool.size_of(each) for each in shelves) + sum(programs.values())

    def _brings(self, owner: str) -> int:
        return sum(self.intake.size_of(each) for each in self._bringing.get(owner, ()))

    def bring(self, owner: str | None, name: str) -> None:
        """A client is about to upload something."""
        if owner is not None:
            self._bringing.setdefault(owner, set()).add(name)

    def brought(self, owner: str | None, names: Iterable[str]) -> None:
        """These uploads are a request's now, or nobody's."""
        left = self._bringing.get(owner or "", set())
        left.difference_update(names)
        if not left:
            self._bringing.pop(owner or "", None)

    def enforce(self) -> None:
        """Fail what runs of a client for whom too much is kept: what its programs print counts too."""
        running = [each for each in self.docket.ledger.requests.values() if each.state is State.RUNNING]
        for owner in {self.docket.owners[each.id] for each in running} - {""}:
            kept, most = self._kept_bytes(owner), self.most_bytes(owner)
            if kept > most:
                request = next(each for each in self.docket.owned(owner) if each.state is State.RUNNING)
                log.info("{request} passes the quota of {owner}", request=request.id, owner=owner)
                self.docket.fail(
                    request.id,
                    f"what is kept for this client, {kept} bytes, is more than the {most} that its "
                    f"secret {owner} allows; {FREE_UP}",
                )
