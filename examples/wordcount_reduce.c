/* Count words, in C: the reducer.  wordcount_map.c tells how both are built and run.
 *
 * Reads lines KEY TAB NUMBER in the order of their keys and prints the sum of each key.
 * Lines may be of any length and keys may hold any byte but TAB and newline.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static char *key;
static size_t key_size, key_room;
static long long sum;
static int any;

static void print_key(void)
{
    if (any) {
        fwrite(key, 1, key_size, stdout);
        printf("\t%lld\n", sum);
    }
}

static void keep_key(const char *line, size_t size)
{
    if (size > key_room || !key) {
        key_room = 2 * size + 64;
        key = realloc(key, key_room);
        if (!key) {
            perror("wordcount_reduce");
            exit(1);
        }
    }
    memcpy(key, line, size);
    key_size = size;
}

static void take(const char *line, size_t size)
{
    const char *tab = memchr(line, '\t', size);
    size_t length = tab ? (size_t)(tab - line) : size;

    if (!any || length != key_size || memcmp(key, line, length)) {
        print_key();
        keep_key(line, length);
        sum = 0;
        any = 1;
    }
    if (tab)
        sum += strtoll(tab + 1, NULL, 10);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;

    setvbuf(stdin, NULL, _IOFBF, 1 << 16);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    while ((size = getline(&line, &room, stdin)) >= 0) {
        if (size && line[size - 1] == '\n')
            line[--size] = '\0';
        take(line, (size_t)size);
    }
    print_key();
    if (ferror(stdin) || fflush(stdout) || ferror(stdout)) {
        perror("wordcount_reduce");
        return 1;
    }
    return 0;
}
