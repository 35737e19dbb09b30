"""What a request of the original interface must equal: its plain pipe."""

import subprocess
from pathlib import Path

from cluster import PROGRAM_ENV, lines_of


def run_binary(binary: Path, what: str, data: bytes, file: Path) -> bytes:
    """One run over all lines; nothing is run on nothing."""
    if not data:
        return b""
    file.write_bytes(data)
    words = [binary, what, file, "0", str(data.count(b"\n")), "0"]
    ran = subprocess.run(words, env=PROGRAM_ENV, stdout=subprocess.PIPE, check=True, timeout=60)
    return lines_of([ran.stdout])


def sort(data: bytes) -> bytes:
    return subprocess.run(
        ["sort"], input=data, env={**PROGRAM_ENV, "LC_ALL": "C"}, stdout=subprocess.PIPE, check=True
    ).stdout


def oracle(files: list[bytes], binary: Path, scratch: Path) -> bytes:
    """``lines(I) | BINARY map | LC_ALL=C sort | BINARY reduce | LC_ALL=C sort``."""
    mapped = run_binary(binary, "map", lines_of(files), scratch)
    reduced = run_binary(binary, "reduce", sort(mapped), scratch)
    scratch.unlink(missing_ok=True)
    return sort(reduced)
