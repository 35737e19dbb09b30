/* Count words, in C: the reducer.  wordcount_map.c tells how both are built and run.
 *
 * Reads lines KEY TAB NUMBER in the order of their keys and prints the sum of each key.
 * Lines may be of any length and keys may hold any byte but TAB and newline.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *line = NULL, *key = NULL, *spare;
    size_t room = 0, key_room = 0, key_size = 0, spare_room;
    long long sum = 0;
    ssize_t got;

    do {
        got = getline(&line, &room, stdin);
        char *tab = got > 0 ? memchr(line, '\t', got) : NULL;
        size_t size = tab ? tab - line : got > 0 ? got - (line[got - 1] == '\n') : 0;
        if (got < 0 || !key || size != key_size || memcmp(key, line, size)) {
            if (key) {
                fwrite(key, 1, key_size, stdout);
                printf("\t%lld\n", sum);
            }
            spare = key, key = line, line = spare;
            spare_room = key_room, key_room = room, room = spare_room;
            key_size = size, sum = 0;
        }
        sum += tab ? atoll(tab + 1) : 0;
    } while (got > 0);
    if (ferror(stdin) || fflush(stdout)) {
        perror("wordcount_reduce");
        return 1;
    }
    return 0;
}
