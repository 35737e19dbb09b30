``--then``: several steps in one request; each reads what the one before has printed, without leaving the server.
