"""The command line of ``hagoop-request``, checked before anything is imported or sent."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from twisted.python.usage import Options, UsageError

from hagoop.check_options import Checking, CheckOptions, checking_of
from hagoop.common_options import STDOUT, CommonOptions, print_version, value_of
from hagoop.run_options import Running, RunOptions, running_of
from hagoop.step_options import add_steps, split_steps

COMMANDS = ("run", "list", "status", "wait", "answer", "cancel", "forget", "workers", "check")
HADOOP = {
    "-output": "--output",
    "-mapper": "--mapper",
    "-reducer": "--reducer",
    "-combiner": "--combiner",
    "-file": "--file",
    "-cmdenv": "--env",
    "-numReduceTasks": "--reduce-tasks",
}
"""Hadoop Streaming's flags and ours; ``-input``, ``-files`` and ``-D`` are read apart."""
HADOOP_SETTINGS = {
    "stream.num.map.output.key.fields": "--key-fields",
    "stream.map.output.field.separator": "--separator",
    "mapreduce.job.reduces": "--reduce-tasks",
    "mapred.reduce.tasks": "--reduce-tasks",
}
"""Hadoop's settings, each ``-D NAME=VALUE``, and our options."""


@frozen
class Following:
    """A command about requests that are there.

    :param request: an id; empty for the newest.
    :param partial: whether what is done by now is wanted of an answer.
    """

    command: str
    request: str
    output: str
    servers: tuple[str, ...]
    where: str
    force: bool
    json: bool
    quiet: bool
    partial: bool = False


Call = Running | Following | Checking


class _RequestOptions(CommonOptions):
    """``status``, ``wait``, ``cancel``, ``forget``, ``list``, ``workers``."""

    takes_request: ClassVar[bool] = True

    def postOptions(self) -> None:
        most = 1 if self.takes_request else 0
        if len(self.words) > most:
            raise UsageError(f"{self.words[most]!r} is one word too many")

    @property
    def request(self) -> str:
        """An id, or the newest."""
        return self.words[0] if self.words else ""


class _NoRequestOptions(_RequestOptions):
    takes_request: ClassVar[bool] = False


class _AnswerOptions(_RequestOptions):
    """``answer``."""

    optParameters: ClassVar[list[list[object]]] = [
        ["output", "o", STDOUT, "File for the answer; - is stdout"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["force", None, "Replace an existing answer"],
        ["partial", None, "If it still runs: the answer over what is done by now"],
    ]


class _AllOptions(Options):
    """``hagoop-request`` itself."""

    synopsis = "Usage: hagoop-request COMMAND ..."
    subCommands: ClassVar[list[tuple[str, None, type[Options], str]]] = [
        ("run", None, RunOptions, "Submit a request, wait, and fetch its answer"),
        ("check", None, CheckOptions, "Try programs on this machine, and say what would go wrong"),
        ("list", None, _NoRequestOptions, "All requests, newest first"),
        ("status", None, _RequestOptions, "One request"),
        ("wait", None, _RequestOptions, "Wait until a request has ended"),
        ("answer", None, _AnswerOptions, "Fetch an answer"),
        ("cancel", None, _RequestOptions, "Stop a request"),
        ("forget", None, _RequestOptions, "Drop a request and its answer"),
        ("workers", None, _NoRequestOptions, "The workers, and what they have earned"),
    ]

    def opt_version(self) -> None:
        """Print the version and leave."""
        print_version()


def parse(words: Sequence[str], folder: Path) -> Call:
    """What a command line asks for.

    :param folder: where relative paths begin.
    :raises UsageError: it cannot be understood; one sentence.
    :raises BadProgram: a program cannot be run as it was given.
    """
    words = _original_call(words, folder) or list(words)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise UsageError(
            f"'{words[0]}' is not a command; did you mean: hagoop-request run {words[0]} ..."
        )
    options = _AllOptions()
    first, *later = split_steps(_translate(words))
    options.parseOptions(first)
    # Twisted sets the second only where the first is given.
    command, given = options.subCommand, getattr(options, "subOptions", None)
    if isinstance(given, RunOptions):
        run = add_steps(running_of(given, folder), given, later, folder)
        return checking_of(given, run) if isinstance(given, CheckOptions) else run
    if not isinstance(given, _RequestOptions):
        raise UsageError(f"hagoop-request needs a command: {', '.join(COMMANDS)}")
    return _following(str(command), given)


def _original_call(words: Sequence[str], folder: Path) -> list[str]:
    """The original's ``HOST:PORT DIRECTORY ANSWER BINARY`` as a ``run``; empty for anything else."""
    has_option = any(each.startswith("-") and each != STDOUT for each in words)
    if len(words) != 4 or words[0] in COMMANDS or has_option:
        return []
    server, inputs, answer, binary = words
    # A host without a port could be a folder, or a command with a slip in it.
    is_host = ":" in server or (not (folder / server).exists() and (folder / binary).is_file())
    if not is_host:
        return []
    return ["run", f"--server={server}", f"--output={answer}", f"--binary={binary}", "--", inputs]


def _translate(words: Sequence[str]) -> list[str]:
    """Hadoop Streaming's flags as ours."""
    if not words or words[0] not in ("run", "check"):
        return list(words)
    made: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-input":
            made.append(value_of(word, rest))
        elif word == "-files":
            made += [part for each in value_of(word, rest).split(",") for part in ("--file", each)]
        elif word in ("-D", "-jobconf"):
            made.append(_setting(value_of(word, rest)))
        elif word.startswith("-D"):
            made.append(_setting(word.removeprefix("-D")))
        else:
            made.append(HADOOP.get(word, word))
    return made


def _setting(text: str) -> str:
    """One of Hadoop's settings as an option of ours."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"-D {text}: it is not of the form NAME=VALUE")
    if name not in HADOOP_SETTINGS:
        raise UsageError(f"-D {name}: it means nothing here; known are {', '.join(HADOOP_SETTINGS)}")
    return f"{HADOOP_SETTINGS[name]}={value}"


def _following(command: str, given: _RequestOptions) -> Following:
    return Following(
        command=command,
        request=given.request,
        output=given.get("output", STDOUT),
        servers=given.servers,
        where=given.where,
        force=bool(given.get("force")),
        json=bool(given["json"]),
        quiet=bool(given["quiet"]),
        partial=bool(given.get("partial")),
    )
