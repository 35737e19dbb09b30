"""``hagoop-request check``: its options, those of ``run``, so that one line serves for both."""

from typing import ClassVar

from attrs import frozen
from twisted.python.usage import UsageError

from hagoop.found import ON_SERVER
from hagoop.run_options import Running, RunOptions


@frozen
class Checking:
    """``check``.

    :param run: what would be run.
    :param seed: of the chance by which the input is cut.
    """

    run: Running
    seed: int


class CheckOptions(RunOptions):
    """``check``."""

    before_program: ClassVar[str] = "check"
    synopsis = (
        "Usage: hagoop-request check INPUT... (--mapper CMD [--reducer CMD] | --binary PATH) [options]"
    )
    longdesc = (
        "Runs the programs on this machine on the first 1,000 lines of the INPUTs, whole and in pieces, "
        "and says what would make an answer wrong. The options are those of run; those that do not "
        "concern programs change nothing."
    )
    optParameters: ClassVar[list[list[object]]] = [
        ["seed", None, "1", "Cut the input in other places"],
    ]

    def postOptions(self) -> None:
        there = next((each for each in self.words if each.startswith(ON_SERVER)), None)
        if there:
            raise UsageError(f"check runs here and cannot read {there}: name a file of this machine")
        super().postOptions()


def checking_of(given: CheckOptions, run: Running) -> Checking:
    """What the options ask for.

    :param run: what they would ask for as those of ``run``.
    """
    return Checking(run, int(given.number("seed", int, 0)))
