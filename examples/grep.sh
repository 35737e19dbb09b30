#!/bin/sh
# Find lines in many files at once, and print each with the name of its file in front.
#
#     hagoop-request run LOGS --output found.txt --mapper "./grep.sh -E 'error|fatal'"
#
# There is no reducer, so the lines found stay in the order of the input.  Without the names a mapper
# is grep itself, of which exit status 1 says only that it has found nothing:
#
#     hagoop-request run LOGS --output lines.txt --mapper "grep -a -E 'error|fatal'" --ok-status 0,1

# Without -a, one byte that is no text makes grep print "Binary file matches" and no line.
grep -a -H --label="$HAGOOP_INPUT_FILE" "$@"
status=$?
[ "$status" -eq 1 ] || exit "$status"
