What a combiner prints in order is not sorted again, and lines of programs that count are told at half the cost.
