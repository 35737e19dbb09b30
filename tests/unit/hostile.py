"""What strangers may send: boxes and requests that are almost right, by a grammar, and damaged ones."""

from collections.abc import Iterator
from random import Random

COMMANDS = (
    b"Join Ask Beat Commit Fail Leaving Back Cancel TakeBack Forget Upload Survey Submit List Status"
    b" Wait Answer BadLines Partial MissingParts CancelRequest ForgetRequest Workers StartTLS Nonsense"
    b" __class__"
).split()
KEYS = (
    b"_ask _answer _error _error_code _error_description _command version role identity process"
    b" name slots held secret_id secret slot seen job failure unbegun stops seconds why digest size"
    b" manifest key submission skip request assignment reason end kept token insecure beat_seconds"
).split()
VALUES = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"2",
    b"9" * 65_535,
    b"1e999",
    b"NaN",
    b"worker",
    b"client",
    b"r1",
    b"\xff\xfe",
    b"\0" * 300,
    b"[]",
    b"{}",
    b"null",
    b"[" * 30_000,
    b'[{"id":"1-1","job_end":1,"taken":0,"bytes_out":0}]',
    b'{"id":"1-1","request":"r1","phase":"map","round":0,"start":0,"end":5,"upload":"1","digest":"d",'
    b'"size":-9,"seconds":1e999}',
    b'{"program":{"mapper":"cat","reducer":null},"sources":[{"kind":"upload","name":"u1"}],"label":"x"}',
    b'{"program":{"mapper":7},"sources":[[]]}',
    b"True",
    b"../../etc/passwd",
)
JOIN = {
    b"_command": b"Join",
    b"_ask": b"1",
    b"version": b"3",
    b"role": b"client",
    b"identity": b"",
    b"process": b"p",
    b"name": b"n",
    b"slots": b"1",
    b"held": b"[]",
}
METHODS = b"GET PUT POST HEAD DELETE OPTIONS PATCH TRACE CONNECT get __class__ P\xffT".split()
PATHS = (
    b"/ /uploads/u1 /uploads/ /programs/0 /assignments/1-1 /answers/r1 /answers/../.. /%00 /%ff%fe //// "
    b"* http://x/answers/r1 /answers/r1?a=%zz /nothing"
).split()
HEADERS = (
    b"Authorization: Bearer word",
    b"Authorization: Bearer \xff\xfe",
    b"Authorization: Basic eDp5",
    b"Content-Length: 5",
    b"Content-Length: -5",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: nonsense",
    b"Content-Type: application/x-www-form-urlencoded",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: multipart/form-data",
    b"Range: bytes=99999999999999999-",
    b"Range: bytes=-1",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
    b"Cookie: " + b"a=b;" * 100,
    b"no colon",
    b": empty",
    b"X" * 20_000 + b": long",
)
BODIES = (b"", b"12345", b"5\r\n12345\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"--x\r\n\r\n", b"a=b&c=%zz")


def box(values: dict[bytes, bytes]) -> bytes:
    """A box as AMP has it."""
    strings = [each for pair in values.items() for each in pair]
    return b"".join(len(each).to_bytes(2, "big") + each for each in strings) + b"\0\0"


def damaged(data: bytes, chance: Random) -> bytes:
    """The same with bytes changed, lost, doubled."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        made[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    return bytes(made)


def boxes(chance: Random, secret: dict[bytes, bytes]) -> Iterator[bytes]:
    """What one connection sends: often it joins first, with a secret or without."""
    if chance.random() < 0.6:
        yield box({**JOIN, b"role": chance.choice([b"client", b"worker"]), **secret})
    for _ in range(chance.randint(1, 4)):
        values = {b"_command": chance.choice(COMMANDS), b"_ask": chance.choice((b"2", b"2", b""))}
        for _ in range(chance.randint(0, 7)):
            values[chance.choice(KEYS)] = chance.choice(VALUES)
        for name in chance.sample(sorted(values), chance.choice((0, 0, 1))):
            del values[name]
        data = box(values)
        yield damaged(data, chance) if chance.random() < 0.3 else data


def http(chance: Random) -> bytes:
    """One request, or what looks like one."""
    line = b"%b %b %b" % (
        chance.choice(METHODS),
        chance.choice(PATHS),
        chance.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9", b"")),
    )
    headers = chance.sample(HEADERS, chance.randint(0, 4))
    data = b"\r\n".join([line, *headers, b"", chance.choice(BODIES)])
    return damaged(data, chance) if chance.random() < 0.3 else data
