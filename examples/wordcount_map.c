/* Count words, in C: the mapper.  wordcount_reduce.c is the reducer, and the combiner too.
 *
 *     cc -O2 -o wordcount_map wordcount_map.c
 *     cc -O2 -o wordcount_reduce wordcount_reduce.c
 *     hagoop-request run BOOKS --output counts.txt \
 *         --mapper ./wordcount_map --combiner ./wordcount_reduce --reducer ./wordcount_reduce
 *
 * A word is a row of letters A to Z; it is printed in small letters, then TAB and 1.  No
 * line is kept, so lines and words may be of any length.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>

int main(void)
{
    int byte, within = 0;

    do {
        byte = getchar_unlocked();
        int letter = byte | 0x20;
        if (byte != EOF && letter >= 'a' && letter <= 'z') {
            putchar_unlocked(letter);
            within = 1;
        } else if (within) {
            putchar_unlocked('\t');
            putchar_unlocked('1');
            putchar_unlocked('\n');
            within = 0;
        }
    } while (byte != EOF);
    if (ferror(stdin) || fflush(stdout)) {
        perror("wordcount_map");
        return 1;
    }
    return 0;
}
