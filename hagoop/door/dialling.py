"""How peers reach a server: by an endpoint, or by a line, over TLS with the key that it names."""

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint

from hagoop.door.join_string import JoinString, is_join_string, parse_join_string
from hagoop.interfaces import IServerReactor

CONNECT_SECONDS = 10.0


def dial(reactor: IServerReactor, server: str) -> IStreamClientEndpoint:
    """The endpoint of a server; its connections know the line that led there."""
    if not is_join_string(server):
        plain: IStreamClientEndpoint = clientFromString(reactor, server)
        return plain
    line = parse_join_string(server)
    host = HostnameEndpoint(reactor, line.host, line.port, timeout=CONNECT_SECONDS)
    return over_tls(line, host)


def over_tls(line: JoinString, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
    """An endpoint whose connections speak only with the server that has the line's key."""
    # Most have no use for it, and OpenSSL takes its time to be imported.
    from hagoop.door.tls import pinned

    return pinned(line, endpoint)
