Beyond loopback the server makes a key and two secrets, and others join by one pasted line over TLS 1.3; ``hagoop-server invite``,
``secrets`` and ``revoke`` manage who may. Clients see only their own requests.
