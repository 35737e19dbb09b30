"""What a server's workers have put it through, counted: for people who want to see that it held."""

from attrs import define


@define
class Survived:
    """Counts since the server's start.

    :ivar deaths: workers that were gone without notice.
    :ivar hangs: workers that did nothing for too long.
    :ivar copies: ranges leased once more beside a holder that was not waited for.
    :ivar late: jobs that were done when somebody else had done them.
    :ivar lines: of map, that were done for nothing: in hand at a death, or done late.
    """

    deaths: int = 0
    hangs: int = 0
    copies: int = 0
    late: int = 0
    lines: int = 0

    def worker_died(self, lines: int) -> None:
        """With so many lines in hand."""
        self.deaths += 1
        self.lines += lines

    def job_came_late(self, lines: int) -> None:
        """It did not count."""
        self.late += 1
        self.lines += lines
