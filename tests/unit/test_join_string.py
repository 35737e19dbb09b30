"""The one line that a worker or a client needs: taken apart, and what is said of one that is damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.door.hiding import without_line
from hagoop.door.join_string import (
    JoinString,
    is_join_string,
    parse_join_string,
    public_part,
)
from hagoop.options import client_endpoint_string, client_endpoint_strings, is_loopback

PIN = "1yDNeuG33RkX0A_2pbhdzssCRz4Vq6EU6ueHFPISIJE"
SECRET = "LyJqjCNdj17BHMYc3bqJAZfua24nEf4B8NmVnyqxi-E"
LINE = f"hagoop1:lab1.school:9470/{PIN}.w5a0a82.{SECRET}"

words = st.text("abcXYZ019_-", min_size=43, max_size=43)
lines = st.builds(
    JoinString,
    st.sampled_from(["lab1", "10.0.0.5", "fe80::1", "::1", "fe80::1%eth0", "a.b-c.example"]),
    st.integers(1, 65535),
    words,
    st.from_regex(r"[wc][0-9a-f]{6}", fullmatch=True),
    words,
)


@given(lines)
def test_line_is_written_and_read_again(line: JoinString) -> None:
    """Whatever is in it; quotes and blanks around it do no harm."""
    assert parse_join_string(str(line)) == line
    assert parse_join_string(f" '{line}'\n") == line
    assert client_endpoint_string(str(line)) == str(line)
    assert is_loopback(str(line)) is (line.host == "::1")


@given(lines, st.data())
def test_damage_is_told_without_the_secret(line: JoinString, data: st.DataObject) -> None:
    """What is cut off anywhere is one sentence, which does not repeat what may be secret."""
    text = str(line)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match=r"^the line") as caught:
        parse_join_string(text[:cut])
    assert line.secret not in str(caught.value)
    assert line.pin not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the line does not begin with 'hagoop1:'; copy it again, whole, or make a new"),
        (LINE.removeprefix("hagoop1:"), "the line does not begin with 'hagoop1:'"),
        (
            LINE.replace("1:", "2:", 1),
            "the line is of another version ('hagoop2:', not 'hagoop1:')",
        ),
        (
            LINE.replace("w5", "w\n5"),
            "the line has a blank or a line break in its middle; copy it",
        ),
        ("hagoop1:lab1:9470", "the line ends before the '/' that follows HOST:PORT"),
        (LINE.replace(":9470", ""), "the line has no HOST:PORT or [IPV6]:PORT before its '/'"),
        (LINE.replace("9470", "0"), "the line's HOST or PORT cannot be right"),
        (LINE.replace("lab1.school", "-x"), "the line's HOST or PORT cannot be right"),
        (LINE.replace("lab1.school", "[x]"), "the line's HOST or PORT cannot be right"),
        (LINE.replace(".w5a0a82", ""), "the line has 2 words after its '/', not KEY.ID.SECRET"),
        (LINE.replace(PIN, PIN[1:]), "the line's key has 42 characters, not 43"),
        (LINE.replace(PIN, PIN[1:] + "+"), "the line's key has a character that none has"),
        (LINE[:-1], "the line's secret has 42 characters, not 43"),
        (LINE.replace("w5a0a82", "W!"), "the line has no sound ID between its key and its secret"),
    ],
)
def test_each_damage_has_its_sentence(line: str, said: str) -> None:
    """What is wrong, and what to do."""
    with pytest.raises(ValueError, match=r"^the line") as caught:
        parse_join_string(line)
    assert str(caught.value).startswith(said)


def test_secret_is_shown_nowhere() -> None:
    """Not by ``repr``, not in what is told of servers, not in an error about a line without its head."""
    line = parse_join_string(LINE)
    assert SECRET not in repr(line)
    assert line.place == "lab1.school:9470"
    assert public_part(f"{LINE}, other:1") == "lab1.school:9470,other:1"
    assert public_part(LINE[:30]) == "lab1.school:9470"
    assert client_endpoint_strings(f"{LINE},other") == (LINE, "tcp:other:9470")
    for damaged in (LINE.partition(":")[2], LINE.replace("hagoop", "hagop")):
        with pytest.raises(ValueError, match=r"the line does not begin") as caught:
            client_endpoint_string(damaged)
        assert SECRET not in str(caught.value)


def test_line_is_told_from_an_address() -> None:
    """By its first word."""
    assert is_join_string(LINE)
    assert is_join_string(f"'{LINE}'")
    assert not is_join_string("hagoop1")
    assert not is_join_string("lab1:9470")


def test_line_is_taken_off_the_command_line() -> None:
    """Both ways of writing it; other servers stay, and so do other words."""
    for words in (["x", "--server", LINE, "-n"], ["x", "--server=lab1", f"--server={LINE}", "-n"]):
        assert without_line(words) == (["x", "-n"], LINE)
    for words in (["x", "--server", "lab1"], [f"--server={LINE}", "--server=lab1"], ["--server"], []):
        assert without_line(words) == (words, "")
