#!/bin/sh
# Sort lines by the number before their first TAB.
#
#     hagoop-request run NUMBERS --output sorted.txt --mapper './sort.sh map' --reducer './sort.sh reduce'
#
# Lines go to a reducer sorted by the bytes of their keys.  So the mapper puts a key before each line, its
# number in 20 digits, and the reducer takes it away.  Numbers are whole and not below zero; lines of one
# number stay in the order of the input.  To sort by the bytes before the first TAB is no work at all:
#
#     hagoop-request run NUMBERS --output bytes.txt --reducer cat

case $1 in
map)
    awk -F '\t' '{ print substr("00000000000000000000", length($1) + 1) $1 "\t" $0 }'
    ;;
reduce)
    cut -f 2-
    ;;
*)
    echo "sort.sh: say what to do: sort.sh map|reduce" >&2
    exit 2
    ;;
esac
