``--skip-bad-lines N`` passes over up to N lines on which the mapper fails or hangs, or which no worker survives; ``ANSWER.bad``
lists them with file, line number, offset and the program's last words, and the answer covers all others.
