A lease is a worker's whole share of what is left, up to a minute: a fifth to a third fewer commits, and requests end earlier on nearly all fleets.
