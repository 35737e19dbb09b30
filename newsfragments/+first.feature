The first version: ``hagoop-server``, ``hagoop-worker`` and ``hagoop-request`` run MapReduce programs on machines that come and go.
