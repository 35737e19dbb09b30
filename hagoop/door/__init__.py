"""The door: who may come in from the network, and the key by which the server is known."""
