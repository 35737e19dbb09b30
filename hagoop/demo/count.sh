#!/bin/sh
# Count words; a word is a row of letters A to Z.
#
#     count.sh map < TEXT | LC_ALL=C sort -s -t TAB -k1,1 | count.sh reduce
#
# With LINES_A_SECOND in its environment, map takes its time: so that many workers on one machine are
# as slow as on many.

# In other locales A-Z holds more than 26 letters.
export LC_ALL=C

pace() {
    if [ "${LINES_A_SECOND:-0}" -gt 0 ]; then
        awk -v lines=$((LINES_A_SECOND / 20 + 1)) '
            { print }
            NR % lines == 0 { fflush(); system("sleep 0.05") }
        '
    else
        cat
    fi
}

case $1 in
map)
    pace | tr -cs A-Za-z '\n' | tr A-Z a-z | awk 'NF { print $0 "\t1" }'
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
    echo "count.sh: say what to do: count.sh map|reduce" >&2
    exit 2
    ;;
esac
