"""The whole product in one process and in virtual time, from one seed.

Real are the server with its journal in SQLite, its spool, its web endpoint and its scheduler; the
workers, down to the pipes that feed programs; and the commands of ``hagoop-request``.  Each machine has
a reactor of its own (``reactor``), on one clock (``clock``).

Not real are

- the network (``network``): links in memory, without TLS.  Systems probe links as ``tuning.py`` tells
  them to;
- programs and ``sort`` (``processes``): functions that read real pipes and write real files;
- threads: what blocks is done in one go, at a later moment; so is the journal's writing;
- the disk in part (``disk``): files are real and in memory; when power fails, what was not synced is
  lost or torn.  SQLite's own files are torn where its last transaction went.  Its checkpoints are not;
- time, chance and secrets: of the world (``seams``).

A world (``world``) runs a scenario (``scenario``), and then takes stock (``stock``).
"""
