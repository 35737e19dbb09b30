"""All lists that may lie beside an answer, fetched and put in their places with it."""

import sys
from collections.abc import Sequence

from attrs import frozen

from hagoop.answer_file import AnswerFile
from hagoop.bad_file import BadFile, how_many
from hagoop.client import Client
from hagoop.jobs import BadLine, Cover, Missing, RequestStatus
from hagoop.missing_file import MissingFile


@frozen
class Beside:
    """What an answer does not say itself: lines that were passed over, and what it does not cover."""

    bad: Sequence[BadLine] = ()
    missing: Sequence[Missing] = ()
    cover: Cover | None = None

    @classmethod
    async def fetch(cls, client: Client, status: RequestStatus) -> "Beside":
        """That of a request which has ended."""
        return cls(await client.bad_lines(status), await client.missing(status), status.cover)

    def keep(self, answer: AnswerFile) -> None:
        """Put it beside the answer; what is there of an older one, and may be replaced, goes."""
        BadFile(answer).keep(self.bad)
        MissingFile(answer).keep(self.cover, self.missing)

    def tell(self, answer: AnswerFile, *, as_json: bool) -> None:
        """Say on stderr what lies in no file."""
        BadFile(answer).tell(self.bad, as_json=as_json)
        MissingFile(answer).tell(self.cover, self.missing, as_json=as_json)

    def sum_up(self, answer: AnswerFile) -> None:
        """Say how much it is, and where it is."""
        target = BadFile(answer).target
        if self.bad:
            listed = f"; they are listed in {target}" if target is not None else ""
            print(f"{how_many(len(self.bad))}{listed}", file=sys.stderr)
        if self.cover is not None:
            print(MissingFile(answer).sentence(self.cover), file=sys.stderr)
