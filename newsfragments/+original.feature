``--binary PATH`` and ``hagoop-request HOST:PORT DIRECTORY ANSWER BINARY`` run programs of the original interface.
