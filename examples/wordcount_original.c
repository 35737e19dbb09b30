/* Count words, in C, by the interface of the first HaGoop.
 *
 *     cc -O2 -o wordcount_original wordcount_original.c
 *     hagoop-request run BOOKS --output counts.txt --binary ./wordcount_original
 *
 * Called as "map FILE START END OFFSET" or "reduce FILE START END OFFSET" it goes to byte OFFSET
 * of FILE and takes END - START lines, of any length.  Map prints "WORD, 1" for each word, a row
 * of letters A to Z in small letters; reduce prints the sum of each KEY of lines "KEY, NUMBER".
 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *key; /* with the ", " after it; a line without any is a key of its own */
static size_t key_size;
static long long sum;

static void map(const char *line, size_t size)
{
    int within = 0;

    for (size_t i = 0; i <= size; i++) {
        int letter = i < size ? (unsigned char)line[i] | 0x20 : 0;
        if (letter >= 'a' && letter <= 'z') {
            putchar(letter);
            within = 1;
        } else if (within) {
            fputs(", 1\n", stdout);
            within = 0;
        }
    }
}

static void end_key(void)
{
    if (key) {
        fwrite(key, 1, key_size, stdout);
        printf("%lld\n", sum);
    }
}

static void reduce(const char *line, size_t size)
{
    size_t length = 2;

    while (length < size && memcmp(line + length - 2, ", ", 2))
        length++;
    length = length < size ? length : size;
    if (!key || length != key_size || memcmp(key, line, length)) {
        end_key();
        if (!(key = realloc(key, length + 1)))
            abort();
        memcpy(key, line, length);
        key_size = length;
        sum = 0;
    }
    sum += strtoll(line + length, NULL, 10);
}

int main(int count, char **words)
{
    void (*take)(const char *, size_t) = count == 6 && strcmp(words[1], "reduce") ? map : reduce;
    FILE *file = count == 6 ? fopen(words[2], "rb") : NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;

    if (!file || fseeko(file, (off_t)strtoll(words[5], NULL, 10), SEEK_SET)) {
        fputs("usage: wordcount_original map|reduce FILE START END OFFSET\n", stderr);
        return 2;
    }
    for (long long left = strtoll(words[4], NULL, 10) - strtoll(words[3], NULL, 10);
         left > 0 && (size = getline(&line, &room, file)) >= 0; left--)
        take(line, (size_t)size - (line[size - 1] == '\n'));
    end_key();
    return ferror(file) || fflush(stdout) || ferror(stdout);
}
