"""What a check says: what, how one sees it, what helps."""

import pytest

from hagoop import findings
from hagoop.findings import (
    COMBINER,
    MAPPER,
    ORIGINAL_MAP,
    REDUCER,
    Factor,
    Finding,
    combines_wrongly,
    impure,
    missing_names,
    needs_numeric_order,
    nothing_found,
    remarks,
    shown,
    unsteady,
)
from hagoop.purity import Part, Printed


def lines(text: str) -> list[bytes]:
    """Words as lines."""
    return [each.encode() + b"\n" for each in text.split()]


def printed(whole: str, *pieces: str) -> Printed:
    return Printed(lines(whole), [lines(each) for each in pieces])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            impure(REDUCER, printed("9", "2", "3", "4"), 9, made_up=False, sorts=False),
            "reducer: 3 lines for 9 keys in pieces, 1 line whole: it keeps totals across keys; "
            "add --reduce-whole",
        ),
        (
            impure(MAPPER, printed("1:a 2:b", "1:a", "1:b"), 2, made_up=False, sorts=False),
            "mapper: its line 2 is '1:b' in pieces, '2:b' whole: what it prints for a line depends "
            "on the lines before it: their number, a sum so far, the one before; add --map-whole, "
            "which runs it once for each file",
        ),
        (
            impure(MAPPER, printed("9", "4", "5"), 1000, made_up=False, sorts=True),
            "mapper: 2 lines for 1,000 lines in pieces, 1 line whole: it keeps totals across lines; "
            "let the reducer do that, or add --map-whole, which runs it once for each file",
        ),
        (
            impure(MAPPER, printed("9", "4", "5"), 3, made_up=True, sorts=True),
            "note: mapper: 2 lines for 3 lines in pieces, 1 line whole: it keeps totals across "
            "lines; the reducer makes up for it here",
        ),
        (
            impure(MAPPER, printed("a b", "b", "a"), 2, made_up=False, sorts=True),
            "mapper: its line 1 is 'b' in pieces, 'a' whole: it keeps its lines and puts them in an "
            "order at its end, as sort does; what a reducer reads is sorted by key anyway; leave the "
            "sorting out",
        ),
        (
            impure(MAPPER, printed("a b n=2", "a n=1", "b n=1"), 2, made_up=False, sorts=True),
            "mapper: 4 lines for 2 lines in pieces, 3 lines whole: it prints a line of its own, such "
            "as a total, at the end of each run; let the reducer do that, or add --map-whole, which "
            "runs it once for each file",
        ),
        (
            impure(MAPPER, printed("a", "a", "b"), 2, made_up=False, sorts=True),
            "mapper: 2 lines for 2 lines in pieces, 1 line whole: it takes only the first of its "
            "input, as head does; add --map-whole, which runs it once for each file",
        ),
        (
            impure(
                REDUCER,
                Printed(lines("a b c"), [lines("a"), lines("c")], frozenset({b"a"}), frozenset({b"b"})),
                4,
                made_up=False,
                sorts=False,
            ),
            "reducer: 2 lines for 4 keys in pieces, 3 lines whole: it never prints the last key of a "
            "run; print it when the input ends, too",
        ),
        (
            findings.failed(REDUCER, "3 lines of its sorted input", "it ended with exit status 1", ""),
            "reducer failed on 3 lines of its sorted input: it ended with exit status 1",
        ),
        (
            findings.failed(MAPPER, "line 1 of a", "it ended with exit status 1", "x\n no\n\n", "do"),
            "mapper failed on line 1 of a: it ended with exit status 1; it said: no; do",
        ),
    ],
)
def test_sentence_tells_what_is_seen_what_it_means_and_what_helps(found, said):
    """In this order."""
    assert str(found) == said


@pytest.mark.parametrize("factor", Factor)
def test_each_factor_has_its_sentence(factor):
    """Which says whether the answer is right all the same."""
    assert str(unsteady(MAPPER, factor, False)).startswith("mapper: ")
    assert str(unsteady(MAPPER, factor, True)).startswith("note: mapper: ")
    assert str(unsteady(MAPPER, factor, True)).endswith("; the reducer makes up for it here")


@pytest.mark.parametrize(
    ("role", "part", "said"),
    [
        (MAPPER, Part("a", lines("x"), start=4), "line 5 of a"),
        (ORIGINAL_MAP, Part("a", lines("x y"), start=4), "lines 5-6 of a"),
        (COMBINER, Part("", lines("x y")), "2 lines of its sorted input"),
    ],
)
def test_place_is_told(role, part, said):
    """By the numbers of lines in their file; behind the sort they have none."""
    assert findings.place(role, part) == said


@pytest.mark.parametrize(
    ("given", "out", "keyed", "said"),
    [
        ([b"a\n"], [], True, ["note: mapper: it printed nothing for 1 line"]),
        ([b"a\n"], [b"a\n", b"a\t1 2\n"], True, []),
        ([b"a\n"], [b"a 1\n"], False, []),
        (
            [b"a\n"],
            [b"a 1\n"],
            True,
            ["note: mapper: none of its lines have a TAB, such as 'a 1', so all of"],
        ),
        (
            [b"a\n"],
            [b"a 1\n", b"b\t2\n"],
            True,
            ["note: mapper: not all of its lines have a TAB, such as"],
        ),
        ([b"a\r\n"], [b"a\r\n"], False, ["note: mapper: the input's lines end in CR LF, and what it"]),
        ([b"a\n"], [b"a\r\n"], False, ["mapper: it ends its lines in CR LF: CR becomes a part of the"]),
    ],
)
def test_what_strikes_the_eye_is_remarked(given, out, keyed, said):
    """In what the program printed for the whole."""
    found = [str(each) for each in remarks(MAPPER, given, out, keyed)]
    assert [each[: len(one)] for each, one in zip(found, said, strict=True)] == said


def test_numbers_as_keys_are_sorted_as_bytes():
    """Which is told where keys are numbers in another order, or the program says that it misses one."""
    told = "keys are sorted as bytes, not as numbers, '10' before '9': pad them with zeros if it needs"
    assert needs_numeric_order([b"10", b"9"], "").startswith(told)
    assert needs_numeric_order([b"1", b"2"], "") == ""
    assert needs_numeric_order([], "") == ""
    assert needs_numeric_order([b"a"], "join: -:2: is not sorted: a").startswith(
        "keys are sorted as bytes, as"
    )


@pytest.mark.parametrize(
    ("log", "names"),
    [
        ("cat: words.txt: No such file or directory", ["words.txt"]),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'lib/a b'", ["lib/a b"]),
        ("ModuleNotFoundError: No module named 'lib.words'", ["lib/words.py"]),
        ("awk: cannot open prog.awk (No such file or directory)", ["prog.awk"]),
        ('awk: cannot open "w.txt" (No such file or directory)', ["w.txt"]),
        ('Can\'t open perl script "a.pl": No such file or directory', ["a.pl"]),
        ("sh: 1: ./run.sh: not found", ["./run.sh"]),
        ("all is well", []),
    ],
)
def test_names_of_missing_files_are_read(log, names):
    """As the usual programs say them."""
    assert missing_names(log) == names


def test_file_is_shipped_under_its_name():
    """One from elsewhere under its base name."""
    assert findings.ship("lib/a").endswith("ship it with --file lib/a")
    assert findings.ship("../lib/a").endswith("ship it with --file ../lib/a, and call it a")


def test_combiner_is_told_what_it_did():
    """By the answers with it and without it, or by how the reducer failed."""
    answers = lines("a:2"), lines("a:1")
    out = [b"a\t1\n"]
    assert "with it line 1 of the answer is 'a:1', without it 'a:2': what it prints must do" in str(
        combines_wrongly(out, b"", answers, "")
    )
    assert "it printed 'b'" in str(combines_wrongly([*out, b"b\n"], b"b\n", answers, ""))
    assert "with it line 1 of the answer is missing, without it 'a:2': it prints nothing" in str(
        combines_wrongly([], b"", (lines("a:2"), []), "")
    )
    assert "combiner: the reducer fails on what it prints: it died: " in str(
        combines_wrongly(out, b"", (lines("a"), []), "it died")
    )


def test_other_sentences_say_what_to_do():
    """Each has its advice."""
    assert "--env LC_ALL=C" in str(findings.by_locale(MAPPER, lines("a"), lines("b")))
    assert "without --combine-files" in str(findings.by_name(MAPPER, combines=False))
    assert "leave out --combine-files" in str(findings.by_name(MAPPER, combines=True))
    assert "go to byte OFFSET" in str(findings.ignores_offset(ORIGINAL_MAP))
    assert "map.py: it writes to /tmp/x, " in str(findings.writes_outside("map.py", "/tmp/x"))
    assert "ship it with --file /data/x, and call it x" in str(
        findings.reads_outside("mapper", "/data/x")
    )
    assert 'ENVIRON["HAGOOP_INPUT_FILE"]' in str(findings.has_no_filename(MAPPER))
    assert "after 5 s" in str(findings.too_slow(MAPPER, "line 1 of a", 5.0))
    assert str(Finding("x", is_note=True)) == "note: x"


def test_nothing_found_says_what_was_tried():
    """And on how much."""
    said = nothing_found(["mapper", "combiner", "reducer"], 1000, 2, ["again", "in pieces"])
    assert said == (
        "Nothing found: mapper, combiner and reducer gave the same for 1,000 lines of 2 files whole, "
        "again, in pieces"
    )
    assert nothing_found(["map"], 1, 1, []) == "Nothing found: map gave the same for 1 line whole"


def test_lines_are_shown_short_and_whole():
    """Whatever their bytes are."""
    assert shown(b"a\tb\n") == r"'a\tb'"
    assert shown(b"\xff\n") == r"'\xff'"
    assert shown(b"x" * 61) == f"'{'x' * 60}...'"
    assert shown(b"") == "missing"
    assert shown(b"\n") == "''"
