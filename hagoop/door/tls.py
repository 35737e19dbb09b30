"""TLS 1.3 from the first byte: a server with its key, peers that look at nothing but that key."""

from typing import cast

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from hagoop.door.certificate import Identity, pin_of
from hagoop.door.join_string import JoinString


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerSide:
    """Makes the server's ends."""

    identity: Identity
    _context: SSL.Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._context = _context(SSL.TLS_SERVER_METHOD)
        certificate = x509.load_pem_x509_certificate(self.identity.certificate)
        self._context.use_certificate(certificate)
        key = load_pem_private_key(self.identity.key, None)
        # Ours; the types say that it could be of a kind that OpenSSL does not sign with.
        self._context.use_privatekey(cast(EllipticCurvePrivateKey, key))

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection's end."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class PinnedSide:
    """Makes ends that go on only with the server whose key has the line's pin.

    OpenSSL asks ``_is_it`` while hands are shaken; what is written before that waits until it has
    said yes, and is thrown away if it does not.
    """

    line: JoinString
    _context: SSL.Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._context = _context(SSL.TLS_CLIENT_METHOD)
        self._context.set_verify(SSL.VERIFY_PEER, self._is_it)

    def _is_it(
        self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """The key of the server itself, signed by nobody else; names and dates do not matter."""
        return depth == 0 and pin_of(shown.to_cryptography()) == self.line.pin

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection's end, which knows its line."""
        tlsProtocol.line = self.line  # type: ignore[attr-defined]
        return SSL.Connection(self._context, None)


def pinned(line: JoinString, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
    """An endpoint whose connections speak only with the server that has the line's key."""
    wrapped: IStreamClientEndpoint = wrapClientTLS(PinnedSide(line), endpoint)
    return wrapped


def behind_tls(identity: Identity, factory: IProtocolFactory) -> IProtocolFactory:
    """A factory whose protocols are spoken with over TLS."""
    wrapped: IProtocolFactory = TLSMemoryBIOFactory(ServerSide(identity), False, factory)
    return wrapped
