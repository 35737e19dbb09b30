"""What surrounds a program and must not matter: clock, chance, hashes, names, locale."""

from attrs import evolve, frozen
from twisted.internet.task import deferLater

from hagoop.findings import Factor
from hagoop.purity import Lines
from hagoop.subjects import Effect, Subject
from hagoop.trying import PLAIN, Around

_LATER = "+34567890"
"""More than a year on, with another hour, minute and second."""
_STILL = Around(clock="2001-09-09 01:46:40")
_STILL_LATER = Around(clock="2003-11-12 13:24:51")


@frozen
class Varied:
    """What a program's output depends on besides its input.

    :param had_clock: whether it could be told another time.
    """

    factors: tuple[Factor, ...]
    effect: Effect
    had_clock: bool

    @property
    def is_steady(self) -> bool:
        """Whether two runs can be compared: Python's hashes can be held still."""
        return set(self.factors) <= {Factor.HASHES}


async def vary(subject: Subject) -> Varied:
    """Run a program with all of it changed at once and, if that matters, one by one."""
    has_clock = bool(subject.trier.library)
    output = await subject.again(Around(seed=1, clock=_LATER, number=2))
    if output is None and has_clock:
        # Not all programs can be told another time.
        has_clock = False
        output = await subject.again(Around(seed=1, number=2))
    if output is None:
        return Varied((Factor.UNKNOWN,), Effect.SEEN, has_clock)
    effect = await subject.effect(output)
    if effect is Effect.NONE:
        return Varied((), effect, has_clock)
    hidden = _without_place(subject, output)
    if hidden == _without_place(subject, subject.output):
        return Varied((Factor.PLACE,), effect, has_clock)
    return Varied(tuple(await _factors(subject, has_clock)), effect, has_clock)


async def _factors(subject: Subject, has_clock: bool) -> list[Factor]:
    """One thing at a time is changed, while the clock stands still."""
    still = _STILL if has_clock else PLAIN
    first = await _printed(subject, still)
    if first != await _printed(subject, still):
        return [Factor.CHANCE if has_clock else Factor.UNKNOWN]
    changes = [(Factor.HASHES, evolve(still, seed=1)), (Factor.NUMBERS, evolve(still, number=2))]
    if has_clock:
        changes.append((Factor.TIME, _STILL_LATER))
    found = [factor for factor, around in changes if await _printed(subject, around) != first]
    return found or [Factor.UNKNOWN]


async def _printed(subject: Subject, around: Around) -> list[bytes]:
    return _without_place(subject, await subject.again(around) or [])


def _without_place(subject: Subject, output: Lines) -> list[bytes]:
    return subject.settled([subject.trier.without_place(each) for each in output])


async def changes_later(subject: Subject, seconds: float) -> bool:
    """Whether a program prints something else so many seconds after it was run first."""
    clock = subject.trier.bench.reactor
    await deferLater(clock, max(0.0, subject.began + seconds - clock.seconds()))
    output = await subject.again()
    return output is not None and await subject.effect(output) is Effect.SEEN


async def other_locale(subject: Subject) -> list[bytes] | None:
    """What a program prints in the C locale, if that changes the answer."""
    if subject.trier.sets("LC_ALL"):
        return None
    output = await subject.again(Around(locale="C"))
    return None if output is None or await subject.effect(output) is not Effect.SEEN else output


async def depends_on_name(subject: Subject) -> bool:
    """Whether a mapper prints something else for a file of another name."""
    parts = [evolve(each, name=f"other/x{each.name.rpartition('/')[2]}") for each in subject.parts]
    output = await evolve(subject, parts=parts).again()
    return output is None or not subject.is_same(output)
