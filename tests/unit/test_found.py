"""How INPUTs become files, and what is said of those that cannot."""

import json
import os
import socket
from io import BytesIO
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hagoop.errors import BadMessage, NoSuchInput
from hagoop.found import below_roots, encode_line, read_manifest, sees, walk
from hagoop.jobs import Found


def tree(folder, *paths):
    """Files with their own path as text."""
    for each in paths:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_text(each)
    return folder


def names(found, below=""):
    """What the user calls them, relative."""
    return [os.path.relpath(each.name, below) if below else each.name for each in found]


def read_back(manifest):
    """The files that it names."""
    return list(read_manifest(BytesIO(manifest)))


def refusal(ask):
    """What is said."""
    with pytest.raises(NoSuchInput) as caught:
        ask()
    return str(caught.value)


def test_inputs_keep_the_order_given(tmp_path):
    """Files are read in the order of the command line, twice if named twice."""
    tree(tmp_path, "b", "a")
    paths = [tmp_path / "b", tmp_path / "a", tmp_path / "b"]
    assert names(walk(paths)) == [str(each) for each in paths]


def test_folder_is_sorted_by_whole_relative_path(tmp_path):
    """The slash is a byte like others: not folder by folder."""
    tree(tmp_path, "a/z", "a-b", "a.c", "a0", "B", "ä", "b/c/d")
    expected = ["B", "a-b", "a.c", "a/z", "a0", "b/c/d", "ä"]
    assert names(walk([tmp_path]), tmp_path) == expected
    assert expected == sorted(expected, key=os.fsencode)


def test_hidden_names_are_skipped_below_a_folder_only(tmp_path):
    """As Hadoop does; what is named itself is read."""
    tree(tmp_path, "a", ".hidden", "_SUCCESS", "_logs/x", ".git/config", "b/.c")
    assert names(walk([tmp_path]), tmp_path) == ["a"]
    asked = [tmp_path / "_SUCCESS", tmp_path / ".git"]
    assert names(walk(asked), tmp_path) == ["_SUCCESS", ".git/config"]


def test_empty_folder_has_no_files(tmp_path):
    """Nothing to read is no error."""
    assert list(walk([tmp_path])) == []


def test_empty_files_of_a_folder_are_left_out(tmp_path):
    """They have no lines, and a million of them would fill memories; one that is named itself stays."""
    tree(tmp_path, "a", "b/c")
    for each in ("empty", "b/empty"):
        (tmp_path / each).touch()
    assert names(walk([tmp_path]), tmp_path) == ["a", "b/c"]
    assert names(below_roots(".", [tmp_path])) == ["server:./a", "server:./b/c"]
    assert names(walk([tmp_path / "empty"]), tmp_path) == ["empty"]


def test_name_is_the_users_and_path_is_absolute(tmp_path, monkeypatch):
    """A relative INPUT stays relative for people, and absolute for machines."""
    monkeypatch.chdir(tree(tmp_path, "books/a"))
    (found,) = walk([Path("books")])
    assert (found.name, found.path) == ("books/a", str(tmp_path / "books" / "a"))
    assert found.size == len("books/a")


def test_links_are_followed(tmp_path):
    """A link to a file or a folder is what it leads to."""
    tree(tmp_path, "real/a", "inputs/b")
    (tmp_path / "inputs" / "c").symlink_to(tmp_path / "real" / "a")
    (tmp_path / "inputs" / "d").symlink_to(tmp_path / "real")
    assert names(walk([tmp_path / "inputs"]), tmp_path) == ["inputs/b", "inputs/c", "inputs/d/a"]


def test_strange_names_are_names(tmp_path):
    """Spaces, newlines, dashes and bytes that are no text."""
    strange = [b"-rf", b"a b", b"new\nline", b"\xff\xfe", b"x" * 255]
    for each in strange:
        (tmp_path / os.fsdecode(each)).write_bytes(b"x")
    found = list(walk([tmp_path]))
    assert [os.fsencode(os.path.basename(each.name)) for each in found] == sorted(strange)
    assert read_back(b"".join(map(encode_line, found))) == found
    assert sees(found)


def test_deep_folders_are_walked(tmp_path):
    """Deeper than anyone would."""
    deep = "/".join("d" * 300)
    tree(tmp_path, deep + "/file")
    assert names(walk([tmp_path]), tmp_path) == [deep + "/file"]


def test_loop_of_links_is_refused(tmp_path):
    """A folder that holds itself has no end."""
    tree(tmp_path, "a/b/c")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    said = refusal(lambda: list(walk([tmp_path / "a"])))
    assert said == f"'{tmp_path}/a/b/up' is a link to a folder that it is in; remove the link"


def test_what_is_not_there_is_refused(tmp_path):
    """One plain sentence each."""
    tree(tmp_path, "file")
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    for name, said in [
        ("none", f"'{tmp_path}/none' does not exist"),
        ("file/x", f"'{tmp_path}/file/x' does not exist"),
        ("broken", f"'{tmp_path}/broken' is a link to nothing"),
        ("self", f"'{tmp_path}/self' cannot be read: too many levels of symbolic links"),
        ("x" * 300, f"'{tmp_path}/{'x' * 300}' cannot be read: file name too long"),
    ]:
        assert refusal(lambda name=name: list(walk([tmp_path / name]))) == said
    assert refusal(lambda: list(walk([Path("a\0b")]))) == "'a\\x00b' cannot be the name of a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_refused(tmp_path):
    """Permissions are told as such."""
    tree(tmp_path, "secret").joinpath("secret").chmod(0)
    said = f"'{tmp_path}/secret' cannot be read: permission denied"
    assert refusal(lambda: list(walk([tmp_path]))) == said


def test_what_is_no_file_is_refused_by_name(tmp_path):
    """Pipes, sockets and devices have no lines to count, given or in a folder."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    hint = "use - and stdin for what a program prints"
    for path, kind in [(tmp_path / "pipe", "a pipe"), (tmp_path / "socket", "a socket")]:
        assert refusal(lambda path=path: list(walk([path]))) == f"'{path}' is {kind}, not a file; {hint}"
    said = refusal(lambda: list(walk([Path("/dev/null")])))
    assert said == f"'/dev/null' is a device, not a file; {hint}"
    assert "is a pipe, not a file" in refusal(lambda: list(walk([tmp_path])))


# What the server sees


def test_same_files_are_seen(tmp_path):
    """On one machine, client and server see the same."""
    assert sees(walk([tree(tmp_path, "a", "b")]))
    assert sees([])


@pytest.mark.parametrize(
    "change",
    [
        {"size": 7},
        {"mtime_ns": 1},
        {"device": 1},
        {"inode": 1},
        {"head": "0" * 64},
        {"head": ""},
        {"path": "/nowhere"},
        {"path": "/dev/null"},
        {"path": "/"},
    ],
    ids=str,
)
def test_other_files_are_not_seen(tmp_path, change):
    """One difference, and the file is uploaded."""
    (found,) = walk([tree(tmp_path, "a") / "a"])
    assert not sees([found, evolve(found, **change)])


def test_head_proves_that_the_client_can_read(tmp_path):
    """Everything that stat tells is not enough to have a file read."""
    (found,) = walk([tree(tmp_path, "a") / "a"])
    (tmp_path / "a").write_text("b")
    os.utime(tmp_path / "a", ns=(found.mtime_ns, found.mtime_ns))
    assert not sees([found])


# Manifests

TEXTS = st.binary(min_size=1).filter(lambda data: b"\0" not in data).map(os.fsdecode) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 1 << 59), st.integers(0, (1 << 64) - 1))))
def test_manifests_come_back_equal(rows):
    """Any names do, whatever bytes they are."""
    found = [
        Found(name, f"/{path}", size, number, number, number, "ab" * 32)
        for name, path, size, number in rows
    ]
    assert read_back(b"".join(map(encode_line, found))) == found


GOOD = {"name": "a", "path": "/a", "size": 1, "mtime_ns": 1, "device": 1, "inode": 1, "head": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "does not name exactly name, path, size, mtime_ns, device, inode, head"),
        (b'{"name": "a"}', "does not name exactly"),
        ({**GOOD, "more": 1}, "does not name exactly"),
        ({**GOOD, "size": -1}, "has a bad size"),
        ({**GOOD, "size": True}, "has a bad size"),
        ({**GOOD, "size": 1.5}, "has a bad size"),
        ({**GOOD, "size": 1 << 61}, "has a bad size"),
        ({**GOOD, "inode": 1 << 64}, "has a bad inode"),
        ({**GOOD, "mtime_ns": None}, "has a bad mtime_ns"),
        ({**GOOD, "path": "a"}, "has a bad path"),
        ({**GOOD, "path": "/a\0"}, "has a bad path"),
        ({**GOOD, "name": ""}, "has a bad name"),
        ({**GOOD, "name": "\ud800"}, "has a bad name"),
        ({**GOOD, "head": "xyz"}, "has a bad head"),
        (json.dumps(GOOD).replace('"size": 1', '"size": 1' + "0" * 70_000).encode(), "is no JSON"),
    ],
)
def test_bad_manifest_is_refused(line, said):
    """A stranger's manifest is checked to the last value."""
    good = json.dumps(GOOD).encode()
    bad = line if isinstance(line, bytes) else json.dumps(line).encode()
    with pytest.raises(BadMessage) as caught:
        read_back(good + b"\n" + bad + b"\n")
    assert str(caught.value).startswith(f"Line 2 of a manifest {said}")


# server:PATH


@pytest.fixture
def root(tmp_path):
    """An input root with something outside of it."""
    tree(tmp_path, "root/a", "root/sub/b", "outside/secret")
    return tmp_path / "root"


def test_server_path_is_found_below_a_root(root, tmp_path):
    """Relative to any root in turn, or absolute."""
    other = tree(tmp_path, "other/c").joinpath("other")
    assert names(below_roots("sub", [other, root])) == ["server:sub/b"]
    assert names(below_roots(f"{root}/a", [other, root])) == [f"server:{root}/a"]
    (found,) = below_roots("c", [root, other])
    assert found.path == str(other / "c")


def test_server_path_outside_is_refused(root):
    """Whether there is such a file or not."""
    for path in ("/etc/passwd", "../outside/secret", "/none", "sub/../../outside"):
        said = refusal(lambda path=path: list(below_roots(path, [root])))
        assert said == f"'server:{path}' is outside every --input-root ({root})"


def test_folder_beside_a_root_is_outside(root, tmp_path):
    """A name that begins like the root's is not below it."""
    tree(tmp_path, "root2/x")
    assert "is outside every" in refusal(lambda: list(below_roots(f"{tmp_path}/root2/x", [root])))


def test_server_path_without_roots_is_refused():
    """No root, no file of the server."""
    assert refusal(lambda: list(below_roots("a", []))) == (
        "'server:a' cannot be read: the server was started without --input-root, "
        "so server:PATH is not allowed"
    )


def test_missing_server_path_is_refused(root):
    """Told by the name that the user gave."""
    assert refusal(lambda: list(below_roots("none", [root]))) == "'server:none' does not exist"
    assert "cannot be the name of a file" in refusal(lambda: list(below_roots("a\0b", [root])))


@pytest.mark.parametrize("target", ["../outside", "../outside/secret"])
def test_link_out_of_the_root_is_refused(root, target):
    """Named itself or met on the way, for folders and for files."""
    (root / "link").symlink_to(target)
    for path, name in [("link", "link"), (".", "./link")]:
        said = refusal(lambda path=path: list(below_roots(path, [root])))
        assert said == f"'server:{name}' is outside every --input-root ({root})"


def test_link_within_the_root_is_followed_and_resolved(root):
    """What was checked is what is opened later, whatever becomes of the link."""
    (root / "link").symlink_to("sub/b")
    (found,) = below_roots("link", [root])
    assert (found.name, found.path) == ("server:link", str(root / "sub" / "b"))


def test_root_may_be_a_link(root, tmp_path):
    """The administrator's links are trusted."""
    (tmp_path / "alias").symlink_to(root)
    assert names(below_roots("sub", [tmp_path / "alias"])) == ["server:sub/b"]
