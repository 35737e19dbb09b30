#!/bin/sh
# Print the 100 most frequent words and how often each is there, the most frequent first.
#
#     hagoop-request run BOOKS --output top.txt --reduce-whole --reducer ./top.sh \
#         --mapper './wordcount.sh map' --combiner './wordcount.sh reduce'
#
# Which words these are is known only when all have been counted: with --reduce-whole one run of the reducer
# gets all of them.  wordcount.sh travels because the mapper names it.

export LC_ALL=C
./wordcount.sh reduce | sort -t "$(printf '\t')" -k 2,2nr -k 1,1 | head -n 100
