"""How long a phase will still take: as it went lately, so it will go.

Nobody knows who will come or go.  Scored on the recorded fleets (``docs/scheduling.rst``), what the
phase did in the last quarter of its time so far tells more than the speeds of who is connected.
"""

from attrs import define, field

LATELY = 0.25
"""The part of the time so far whose pace counts."""
END_SLOWER = 1.01
"""The end of a phase goes a little slower than what was before it."""
LIKELY_MOST = 1.25
"""Nine times of ten it takes at most so much longer than the middle guess."""
KNOWN_SHARE = 0.02
"""So much must be done before anything is said."""
SAMPLES = 64
"""How finely the time so far is remembered."""


@define
class Forecast:
    """What was committed by when, in weight; times are seconds."""

    _began: float | None = None
    _samples: list[tuple[float, int]] = field(factory=list)

    def is_due(self, now: float) -> bool:
        """Whether it is time to say again how much is done."""
        if self._began is None or not self._samples:
            return True
        return now - self._samples[-1][0] >= (now - self._began) / SAMPLES

    def committed(self, now: float, total: int) -> None:
        """So much is done by now, all in all."""
        self._began = now if self._began is None else self._began
        self._samples.append((now, total))
        if len(self._samples) > SAMPLES:
            since = self._since(now)
            self._samples = [each for each in self._samples if each[0] >= since - (now - since)]

    def seconds_left(self, left: int, now: float) -> tuple[float, float] | None:
        """The middle guess for weight that is ``left``, and the most in nine cases of ten."""
        if self._began is None or not self._samples:
            return None
        last, total = self._samples[-1]
        since = self._since(now)
        begun, before = next((each for each in self._samples if each[0] >= since), self._samples[-1])
        if total <= before or total < KNOWN_SHARE * (total + left):
            return None
        # What is committed since the last sample is not known, unless it is nothing for too long.
        lately = last if now - last < 2 * (now - self._began) / SAMPLES else now
        middle = END_SLOWER * left * (lately - begun) / (total - before)
        return middle, LIKELY_MOST * middle

    def _since(self, now: float) -> float:
        began = now if self._began is None else self._began
        return now - LATELY * (now - began)
