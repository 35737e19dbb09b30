Owners bound what programs use (``--memory``, ``--disk``, 512 processes), and programs run in a PID namespace
where the machine allows it: whatever they start ends with them, and with a worker that is killed.
