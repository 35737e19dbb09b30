"""Whether two processes are on one machine, where the system tells: on Linux."""

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def this_machine() -> str:
    """What only processes under this very kernel know, as long as it runs; empty if nobody tells.

    Two of them that find a file by the same device and inode see each other's writes at once, which
    machines that share a file system over a network need not.
    """
    with suppress(OSError):
        # A digest: the number itself is nobody's business.
        return hashlib.sha256(b"hagoop " + _BOOT_ID.read_bytes()).hexdigest()
    return ""


def is_this_machine(told: str | None) -> bool:
    """Whether a peer that calls its machine so is on this one."""
    return bool(told) and told == this_machine()
