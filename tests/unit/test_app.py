"""The base class for programs in Python."""

import sys
from io import BytesIO, TextIOWrapper

import pytest

from hagoop.app import MapReduce


class Words(MapReduce):
    def map(self, line):
        self.count("words", "lines")
        for word in line.split(" "):
            yield word, 1

    def reduce(self, key, values):
        yield key, sum(map(int, values))

    combine = reduce


class Given(MapReduce):
    """Prints one pair for each line, whatever the line."""

    pairs: tuple = ()

    def map(self, line):
        return self.pairs


@pytest.fixture
def run(monkeypatch):
    """Runs a program on bytes as if from a shell."""

    def make(app: type[MapReduce], what: str, data: bytes = b"\n") -> tuple[bytes, str]:
        out, err = BytesIO(), BytesIO()
        streams = [TextIOWrapper(each, write_through=True) for each in (BytesIO(data), out, err)]
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, stream)
        app.main([what])
        return out.getvalue(), err.getvalue().decode()

    return make


def pairs_of(*pairs: tuple[object, object]) -> type[MapReduce]:
    return type("One", (Given,), {"pairs": pairs})


def test_map_prints_keys_and_values(run):
    """Joined by a TAB, one pair a line, in order; counters at the end."""
    assert run(Words, "map", b"b a\na\n") == (b"b\t1\na\t1\na\t1\n", "reporter:counter:words,lines,2\n")


def test_reduce_gets_adjacent_equal_keys(run):
    """A line without TAB is a key with an empty value."""
    assert run(Words, "reduce", b"a\t1\na\t2\nb\t3\n")[0] == b"a\t3\nb\t3\n"
    assert run(Words, "combine", b"a\t1\na\t2\n")[0] == b"a\t3\n"


def test_lines_of_a_file_are_taken_as_the_original_interface_has_it(tmp_path, capfdbinary):
    """From a byte on, so many, no more; a key ends at a comma and a blank, and none may hold one."""
    (tmp_path / "text").write_bytes(b"not this\nb a\na\xff\nnor this\n")
    (tmp_path / "pairs").write_bytes(b"a,b, 1\na,b, 2\nb, 3")
    Words.main(["map", str(tmp_path / "text"), "7", "9", "9"])
    assert capfdbinary.readouterr().out == b"b, 1\na, 1\na\xff, 1\n"
    Words.main(["reduce", str(tmp_path / "pairs"), "0", "3", "0"])
    assert capfdbinary.readouterr().out == b"a,b, 3\nb, 3\n"
    with pytest.raises(ValueError, match="a key may hold no ', ' and no newline: 'a, b'"):
        pairs_of(("a, b", 1)).main(["map", str(tmp_path / "pairs"), "0", "3", "0"])


def test_any_bytes_pass(run):
    """Invalid UTF-8, NUL, CR and odd line separators are text; the last newline may be missing."""
    odd = b"\xff\xfe\0\r\r\x0b\x0c\x1c\xc2\x85\xe2\x80\xa8 x"

    class Same(MapReduce):
        def map(self, line):
            yield line, None

        def reduce(self, key, values):
            for value in values:
                yield key, value

    assert run(Same, "map", odd + b"\n\n" + odd)[0] == odd + b"\n\n" + odd + b"\n"
    assert run(Same, "reduce", odd + b"\ta\tb\r\n" + odd)[0] == odd + b"\ta\tb\r\n" + odd + b"\t\n"


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("size", [1, 8190, 8191, 8192, 8193, 20_000])
def test_lines_of_any_length_pass(run, size, end):
    """However they lie in what is read at once, and a character may be cut in two by it."""

    class Same(MapReduce):
        def map(self, line):
            yield line, None

    data = ("x" * size + "\n\n" + "\u20ac" * size + "\n" + "y" * size).encode()
    assert run(Same, "map", data + end.encode())[0] == data + b"\n"


def test_values_need_not_be_read(run):
    """A reducer may stop early, and may give nothing."""

    class First(MapReduce):
        def reduce(self, key, values):
            if key != "b":
                yield key, next(values)

    assert run(First, "reduce", b"a\t1\na\t2\nb\t1\nc\t5\nc\t6\n")[0] == b"a\t1\nc\t5\n"


def test_map_may_return_anything_with_pairs_or_nothing(run):
    """A list, or None where a line gives nothing."""

    class Long(MapReduce):
        def map(self, line):
            return [(line, len(line))] if len(line) > 1 else None

    assert run(Long, "map", b"a\nab\n")[0] == b"ab\t2\n"


def test_keys_and_values_are_printed_as_str(run):
    """None as a value leaves the key alone; bytes are text."""
    app = pairs_of((1, 2.5), ("a", None), (b"\xff", b"\xfe"), ("", ""), ("k", "v\tw"))
    assert run(app, "map")[0] == b"1\t2.5\na\n\xff\t\xfe\n\t\nk\tv\tw\n"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("a\tb", 1), r"a key may hold no TAB and no newline: 'a\\tb'"),
        (("a\nb", 1), r"a key may hold no TAB and no newline: 'a\\nb'"),
        (("a", "b\nc"), r"a value may hold no newline: 'b\\nc', of key 'a'"),
        (("a\n", None), r"a key may hold no TAB and no newline: 'a\\n'"),
    ],
)
def test_lines_cannot_be_broken(run, pair, said):
    """What would read back as something else is refused."""
    with pytest.raises(ValueError, match=f"^{said}$"):
        run(pairs_of(("before", 1), pair), "map")


def test_much_output_is_written_in_batches(run):
    """Nothing is lost or doubled between them."""

    class Many(MapReduce):
        def map(self, line):
            for number in range(100_000):
                yield number, "x"

    assert run(Many, "map")[0] == b"".join(b"%d\tx\n" % number for number in range(100_000))


def test_counters_are_summed(run):
    """One line for each, however often they are counted; status is told at once."""

    class Telling(MapReduce):
        def map(self, line):
            self.status("at\nwork")
            self.count("g", "n", 5)
            self.count("g", "n", -2)
            self.count("g", "m")

    assert run(Telling, "map")[1] == (
        "reporter:status:at work\nreporter:counter:g,n,3\nreporter:counter:g,m,1\n"
    )


@pytest.mark.parametrize("name", ["a,b", "a\nb"])
def test_names_of_counters_are_checked(name):
    """What the worker could not read is refused."""
    with pytest.raises(ValueError, match="a counter's name may hold no comma and no newline"):
        MapReduce().count("group", name)


@pytest.mark.parametrize("words", [[], ["sort"], ["map", "x"], ["map", "f", "0", "x", "0"], ["combine"]])
def test_wrong_use_says_what_there_is(words, monkeypatch, capsys):
    """One sentence and status 2; what the class lacks is not offered."""

    class Two(MapReduce):
        def map(self, line): ...

        def reduce(self, key, values): ...

    monkeypatch.setattr(sys, "argv", ["/x/count.py", *words])
    with pytest.raises(SystemExit) as caught:
        Two.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "count.py: say what to do: count.py map|reduce\n"
