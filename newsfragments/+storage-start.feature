A server that starts with 100,000 committed jobs needs a third of the time, and 215 MiB where it needed 300.
