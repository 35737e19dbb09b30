/* Count words, in C: the mapper.  wordcount_reduce.c is the reducer, and the combiner too.
 *
 *     cc -O2 -o wordcount_map wordcount_map.c
 *     cc -O2 -o wordcount_reduce wordcount_reduce.c
 *     hagoop-request run BOOKS --output counts.txt \
 *         --mapper ./wordcount_map --combiner ./wordcount_reduce --reducer ./wordcount_reduce
 *
 * The same as a plain pipe:
 *
 *     ./wordcount_map < BOOK | LC_ALL=C sort -s -t "$(printf '\t')" -k1,1 | ./wordcount_reduce
 *
 * A word is a row of letters A to Z; it is printed in small letters, then TAB and 1.  No
 * line is kept, so lines and words may be of any length.
 */
#include <stdio.h>
#include <stdlib.h>

static char input[1 << 16], output[1 << 16];
static size_t filled;

static void flush(void)
{
    if (fwrite(output, 1, filled, stdout) != filled) {
        perror("wordcount_map");
        exit(1);
    }
    filled = 0;
}

static void put(char byte)
{
    if (filled == sizeof output)
        flush();
    output[filled++] = byte;
}

static void end_word(int *within)
{
    if (*within) {
        put('\t');
        put('1');
        put('\n');
    }
    *within = 0;
}

int main(void)
{
    size_t count;
    int within = 0;

    while ((count = fread(input, 1, sizeof input, stdin)) > 0)
        for (size_t i = 0; i < count; i++) {
            unsigned char letter = (unsigned char)input[i] | 0x20;
            if (letter >= 'a' && letter <= 'z') {
                put((char)letter);
                within = 1;
            } else {
                end_word(&within);
            }
        }
    end_word(&within);
    flush();
    if (ferror(stdin) || fflush(stdout)) {
        perror("wordcount_map");
        return 1;
    }
    return 0;
}
