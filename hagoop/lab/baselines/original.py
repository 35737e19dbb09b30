"""The first HaGoop: experience makes jobs larger, and a deadline of five seconds ends them."""

from math import inf

from attrs import define, field

from hagoop.lab.baselines.tasks import Task, Tasks

PIECE_LINES = 50
MOST_PIECES = 100
DEADLINE_SECONDS = 5.0
AWAY_SECONDS = 3.0
"""Within so many seconds it can only be the same worker that comes back of those thrown out."""


@define(eq=False)
class Original(Tasks):
    """The scheduler of the original in Go.

    Known, and done here: the lines are cut into pieces of 50; a job is ``1 + min((life + pieces) / 2,
    100)`` of these, life being the seconds since its worker joined, pieces those that it has been given
    so far, done or not; a worker that has not answered within 5 s is thrown out and stays away, and its
    job is put behind all others, in pieces of 50 again; who comes back is nobody.

    Assumed: pieces are joined with their neighbours only (the original joined any of one file); a
    program is started once for a job (the original started one for each piece); a worker that was thrown
    out comes again with its next recorded session; a job is timed from when it was sent, one that
    was asked for in advance from when its worker comes to it.
    """

    review_seconds: float = 0.25
    _life: dict[int, float] = field(factory=dict)
    _pieces: dict[int, int] = field(factory=dict)
    _identities: dict[int, str] = field(factory=dict)
    _thrown_out: dict[str, float] = field(factory=dict)

    def joined(self, session: int, identity: str) -> None:
        super().joined(session, identity)
        self._life[session], self._pieces[session] = self.network.now(), 0
        self._identities[session] = identity

    def asked(self, session: int) -> None:
        thrown_out = self._thrown_out.get(self._identities[session], -inf)
        # The lab's machines come back by themselves.
        if self._life[session] - thrown_out > AWAY_SECONDS:
            super().asked(session)

    def closed(self, session: int, failed: bool) -> None:
        del self._life[session], self._pieces[session], self._identities[session]
        super().closed(session, failed)

    def cut(self, session: int) -> int:
        pieces = self._next_pieces(session)
        self._pieces[session] += pieces
        return pieces * PIECE_LINES

    def _next_pieces(self, session: int) -> int:
        life = int(self.network.now() - self._life[session])
        return 1 + min((life + self._pieces[session]) // 2, MOST_PIECES)

    def _next(self, session: int) -> Task | None:
        return self.fresh_one(session) or self._lost_piece(session)

    def _lost_piece(self, session: int) -> Task | None:
        """As much of a lost job as this worker would be given."""
        task = self.lost_one()
        size = self.cut(session) if task else 0
        if task is None or task.lines <= size:
            return task
        rest = Task(task.start + size, task.end, is_put_back=True)
        self.again.appendleft(rest)
        return Task(task.start, rest.start)

    def review(self) -> None:
        now = self.network.now()
        for each in list(self.attempts.values()):
            if not each.ahead and now - each.began > DEADLINE_SECONDS and each.id in self.attempts:
                self._thrown_out[self._identities[each.session]] = now
                self.network.close(each.session)
