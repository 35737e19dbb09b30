#!/bin/sh
# Count words with the tools that every Unix has.
#
#     hagoop-request run BOOKS --output counts.txt --mapper './wordcount.sh map' \
#         --combiner './wordcount.sh reduce' --reducer './wordcount.sh reduce'
#
# A word is a row of letters A to Z.  The same as a plain pipe:
#
#     cat BOOKS/* | ./wordcount.sh map | LC_ALL=C sort | ./wordcount.sh reduce
#
# A mapper may as well be a pipeline that is typed in place, without any file:
#
#     --mapper "tr -cs A-Za-z '\n' | tr A-Z a-z | awk 'NF { print \$0 \"\t1\" }'"

# In other locales A-Z holds more than 26 letters.
export LC_ALL=C

case $1 in
map)
    tr -cs A-Za-z '\n' | tr A-Z a-z | awk 'NF { print $0 "\t1" }'
    ;;
reduce)
    # The empty strings keep awk from comparing words such as "nan" and "inf" as numbers.
    awk -F '\t' '
        NR > 1 && $1 "" != key "" { printf "%s\t%.0f\n", key, sum; sum = 0 }
        { key = $1; sum += $2 }
        END { if (NR) printf "%s\t%.0f\n", key, sum }
    '
    ;;
*)
    echo "wordcount.sh: say what to do: wordcount.sh map|reduce" >&2
    exit 2
    ;;
esac
