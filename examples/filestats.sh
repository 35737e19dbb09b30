#!/bin/sh
# Count lines, words and bytes of each file.
#
#     hagoop-request run BOOKS --output stats.txt --map-whole --mapper ./filestats.sh
#
# With --map-whole one run of the mapper gets all lines of a file; without it each run would count those that
# it happens to get.  A file without lines is no work for anybody, and is not told.

LC_ALL=C awk -v OFS='\t' '
    { words += NF; bytes += length($0) + 1 }
    END { print ENVIRON["HAGOOP_INPUT_FILE"], NR, words + 0, bytes }
'
