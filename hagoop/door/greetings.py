"""What is at the other end, from the first that it says: for those who went to the wrong door."""

AGAIN = "Ask for its line again: hagoop-server invite"


def what_speaks(data: bytes) -> str:
    """What a peer that does not speak AMP seems to speak, as the reason of a log line."""
    if data.startswith((b"\x16\x03", b"\x15\x03")):
        return "it speaks TLS, and this port does not; its line is of another server or start"
    if data.startswith(b"HTTP/"):
        return "it is a web port"
    if data.startswith(b"SSH-"):
        return "it speaks SSH, not HaGoop's protocol"
    if data[:1].isalpha():
        return "it speaks HTTP or the like, not HaGoop's protocol; bytes are on the web port"
    return "it does not speak HaGoop's protocol"


def trouble_of(problem: BaseException) -> str:
    """What TLS found wrong, in OpenSSL's words; of anything else its own."""
    told = [str(each[-1]) for each in problem.args[0]] if _is_of_tls(problem) else [str(problem)]
    return told[-1] if told and told[-1] else "the handshake broke"


def _is_of_tls(problem: BaseException) -> bool:
    # Not by its class: OpenSSL takes its time to be imported, and most have no use for it.
    listed = bool(problem.args) and isinstance(problem.args[0], list)
    return listed and type(problem).__module__.startswith("OpenSSL")


def not_the_server(place: str, trouble: str) -> str:
    """For a peer that did not find the server of its line."""
    if "verify failed" in trouble:
        return (
            f"{place} has not the key that the line names: it is another server, or somebody stands "
            f"between; it was told nothing. {AGAIN}"
        )
    return (
        f"{place} does not speak TLS as the server of the line does: it is something else, or was "
        f"started with --insecure. {AGAIN}"
    )


def not_a_peer(trouble: str) -> str:
    """For the server's log, of a peer with which no TLS came about."""
    if trouble == "http request":
        return "it speaks HTTP without TLS; this is HaGoop's, give it the line of hagoop-server invite"
    if "alert" in trouble:
        return (
            f"it wants another server's key ({trouble}); its line is old, make one: hagoop-server invite"
        )
    return f"it does not speak TLS 1.3 ({trouble}); give it the line of hagoop-server invite"
