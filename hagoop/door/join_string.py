"""The one line that a worker or a client needs: ``hagoop1:HOST:PORT/SPKI-SHA256.ID.SECRET``.

It says where the server is, by which key it is known, and what opens its door.  No error repeats
what it was given: it may be a secret.
"""

import re

from attrs import field, frozen

KIND = "hagoop1"
DIGEST_LENGTH = 43
"""Characters of 32 bytes in base64url, without padding: the pin's and the secret's."""
NO_SECRET = "x" * DIGEST_LENGTH
"""Stands where a line needs none."""
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_ID = re.compile(r"[a-z][a-z0-9]{1,15}")
_BEGIN = re.compile(r"\s*['\"]?\s*hagoop[0-9]+:", re.IGNORECASE)
_MIDDLE = re.compile(r"/[A-Za-z0-9_-]{30,}\.[a-z0-9]{2,16}\.")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
_AGAIN = "copy it again, whole, or make a new one: hagoop-server invite"


@frozen
class JoinString:
    """A line, taken apart.

    :ivar pin: SHA-256 of the server's public key (SubjectPublicKeyInfo), in base64url.
    :ivar id: names the secret; it is no secret itself.
    """

    host: str
    port: int
    pin: str
    id: str
    secret: str = field(repr=False)

    @property
    def place(self) -> str:
        """``HOST:PORT``, which anybody may see."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{KIND}:{self.place}/{self.pin}.{self.id}.{self.secret}"


def is_join_string(text: str) -> bool:
    """Whether a text means to be such a line, sound or not."""
    return _BEGIN.match(text) is not None or _MIDDLE.search(text) is not None


def parse_join_string(text: str) -> JoinString:
    """Take a line apart.

    :raises ValueError: it is damaged; one sentence that does not repeat it.
    """
    text = text.strip().strip("'\"").strip()
    kind, colon, rest = text.partition(":")
    if not colon or kind != KIND:
        raise ValueError(_wrong_kind(kind if colon else ""))
    if re.search(r"\s", rest):
        raise ValueError(f"the line has a blank or a line break in its middle; {_AGAIN}")
    place, slash, words = rest.partition("/")
    if not slash:
        raise ValueError(f"the line ends before the '/' that follows HOST:PORT; {_AGAIN}")
    host, port = _host_and_port(place)
    return JoinString(host, port, *_words(words))


def public_part(text: str) -> str:
    """Servers as somebody named them, with nothing that is secret."""
    return ",".join(_public(each.strip()) for each in text.split(","))


def _public(text: str) -> str:
    if not is_join_string(text):
        return text
    # Also of a damaged line nothing is told that might be its secret.
    return _BEGIN.sub("", text).partition("/")[0]


def _wrong_kind(kind: str) -> str:
    if re.fullmatch(r"hagoop[0-9]+", kind):
        return f"the line is of another version ('{kind}:', not '{KIND}:'); install its hagoop here"
    return f"the line does not begin with '{KIND}:'; {_AGAIN}"


def _host_and_port(place: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", place)
    if found is None:
        raise ValueError(f"the line has no HOST:PORT or [IPV6]:PORT before its '/'; {_AGAIN}")
    bracketed, plain, port = found[1], found[2], int(found[3])
    sound = _IPV6.fullmatch(bracketed) if bracketed else _HOST.fullmatch(plain)
    if not sound or not 1 <= port <= 65535:
        raise ValueError(f"the line's HOST or PORT cannot be right; {_AGAIN}")
    return bracketed or plain, port


def _words(text: str) -> tuple[str, str, str]:
    words = text.split(".")
    if len(words) != 3:
        raise ValueError(f"the line has {len(words)} words after its '/', not KEY.ID.SECRET; {_AGAIN}")
    pin, id_, secret = words
    for name, word in (("key", pin), ("secret", secret)):
        if len(word) != DIGEST_LENGTH:
            raise ValueError(
                f"the line's {name} has {len(word)} characters, not {DIGEST_LENGTH}; {_AGAIN}"
            )
        if not _WORD.fullmatch(word):
            raise ValueError(f"the line's {name} has a character that none has; {_AGAIN}")
    if not _ID.fullmatch(id_):
        raise ValueError(f"the line has no sound ID between its key and its secret; {_AGAIN}")
    return pin, id_, secret
