# Count words, in awk.
#
#     hagoop-request run BOOKS --output counts.txt \
#         --mapper 'awk -f wordcount.awk -v step=map' \
#         --combiner 'awk -f wordcount.awk -v step=reduce' \
#         --reducer 'awk -f wordcount.awk -v step=reduce'
#
# A word is a row of letters A to Z; it is counted in small letters.

BEGIN { FS = "\t" }

step == "map" {
    count = split($0, words, /[^A-Za-z]+/)
    for (i = 1; i <= count; i++)
        if (words[i] != "")
            print tolower(words[i]) "\t1"
}

# The empty strings keep awk from comparing words such as "nan" and "inf" as numbers.
step == "reduce" && NR > 1 && $1 "" != key "" {
    printf "%s\t%.0f\n", key, sum
    sum = 0
}

step == "reduce" {
    key = $1
    sum += $2
}

END {
    if (step == "reduce" && NR)
        printf "%s\t%.0f\n", key, sum
}
