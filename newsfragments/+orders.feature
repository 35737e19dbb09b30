``--key-fields N``, ``--separator C`` and ``--secondary-sort``: keys of several fields, other separators, and
values that arrive sorted; Hadoop's ``-D stream.num.map.output.key.fields`` and its separator are understood.
