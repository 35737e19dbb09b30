``--lines N`` makes the numbers from 1 to N the input, for programs that need none.
