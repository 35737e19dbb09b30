When two workers give different output for the same lines, the request's status and the client's last words say that its
program is not deterministic, with both digests.
