``hagoop-request`` starts a fifth faster: OpenSSL is loaded only where a server is reached over TLS.
