"""What a worker remembers of programs from request to request."""

from attrs import evolve

from hagoop.experience import JobSizer
from hagoop.jobs import Phase, Program
from hagoop.remembered import MOST_PROGRAMS, Remembered

COUNT = Program(mapper="count", reducer="add")


def ran(speed: float) -> JobSizer:
    """A sizer of a program that has run."""
    sizer = JobSizer()
    sizer.observe(int(10 * speed), 10.0)
    return sizer


def test_program_that_comes_again_is_not_tried_line_by_line() -> None:
    """The next request's sizer knows the speed, which the one before has measured."""
    known = Remembered()
    assert known.sizer(COUNT, Phase.MAP).next_job(1000, 10.0) == 1
    known.learn(COUNT, Phase.MAP, ran(100.0))
    known.learn(COUNT, Phase.MAP, ran(400.0))
    assert known.sizer(COUNT, Phase.MAP).next_job(1000, 10.0) == 400


def test_another_program_or_phase_is_unknown() -> None:
    """Another file of the same name is another program: its digest differs."""
    known = Remembered()
    known.learn(COUNT, Phase.MAP, ran(100.0))
    for program, phase in ((COUNT, Phase.REDUCE), (evolve(COUNT, mapper="count -x"), Phase.MAP)):
        assert known.sizer(program, phase).remembered is None


def test_reducer_that_nobody_knows_is_no_slower_than_a_part_of_its_combiner() -> None:
    """A sixteenth; what has been measured of itself counts before that, and after."""
    known = Remembered()
    for speed in (160.0, 16_000.0, 1600.0):
        known.combined(COUNT, speed)
    assert known.sizer(COUNT, Phase.REDUCE).next_job(5000, 10.0) == 1000
    assert known.sizer(COUNT, Phase.MAP).remembered is None
    known.learn(COUNT, Phase.REDUCE, ran(400.0))
    known.combined(COUNT, 16_000.0)
    assert known.sizer(COUNT, Phase.REDUCE).remembered == 400.0


def test_what_ended_no_job_says_nothing() -> None:
    """What was known before stays."""
    known = Remembered()
    known.learn(COUNT, Phase.MAP, ran(100.0))
    known.learn(COUNT, Phase.MAP, JobSizer())
    assert known.sizer(COUNT, Phase.MAP).remembered == 100.0


def test_programs_that_ran_last_are_remembered() -> None:
    """A program that runs again is kept, others make room."""
    known = Remembered()
    programs = [evolve(COUNT, mapper=f"count {number}") for number in range(MOST_PROGRAMS + 1)]
    for each in programs[:-1]:
        known.learn(each, Phase.MAP, ran(1.0))
    known.learn(programs[0], Phase.MAP, ran(2.0))
    known.learn(programs[-1], Phase.MAP, ran(1.0))
    assert known.sizer(programs[0], Phase.MAP).remembered == 2.0
    assert known.sizer(programs[1], Phase.MAP).remembered is None
    for each in programs:
        known.combined(each, 16.0)
    assert known.sizer(programs[0], Phase.REDUCE).remembered is None
    assert known.sizer(programs[1], Phase.REDUCE).remembered == 1.0
