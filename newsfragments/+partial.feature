``run --good-enough 99.5%`` ends a request when that share of its lines is mapped, and ``answer R --partial`` gives the answer
over what is committed now; ``ANSWER.missing`` lists exactly which lines and bytes of which files are not covered.
