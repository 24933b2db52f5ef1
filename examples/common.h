/* What the examples share: reports of errors, a CSV reader, a random generator, and
 * the closing lines of a training run.
 *
 * Nothing here or in the trainers depends on the machine: random numbers are
 * integers scaled by powers of two, sums run in the order they are written in, and
 * of libm only sqrt is called, which IEEE 754 defines to the last bit. One thing is
 * left to the build: -ffp-contract=off, for a compiler may otherwise fuse a * b + c
 * on machines that can, and round once where others round twice. (The pragma of C11
 * that says the same is unknown to gcc.) */
#ifndef XENT_EXAMPLES_COMMON_H
#define XENT_EXAMPLES_COMMON_H

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xent/xent.h>

/* The folder of the CSV files; the build names it by its full path. */
#ifndef XENT_EXAMPLE_DATA
#define XENT_EXAMPLE_DATA "examples/data"
#endif

/* ---- Errors ------------------------------------------------------------ */

/* Says what is wrong, as printf would, and ends the program. */
static inline _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* Ends the program unless the call went well. error is what the call was given to
 * fill, or NULL for a call that takes none. */
static inline void check(xent_status status, const xent_error *error)
{
    if (status == XENT_OK)
        return;
    if (error != NULL)
        fail("xent: %s: %s", xent_status_string(status), error->message);
    fail("xent: %s", xent_status_string(status));
}

/* Zeroed memory for `count` elements, or the end of the program. */
static inline void *allocate(size_t count, size_t element_size)
{
    void *memory = calloc(count, element_size);
    if (memory == NULL)
        fail("out of memory");
    return memory;
}

/* ---- CSV files --------------------------------------------------------- */

/* The numbers of a CSV file, row after row. */
struct table {
    float *values; /* [rows][columns]; the caller frees it */
    size_t rows;
    size_t columns;
};

/* The numbers of one line, which must be exactly `columns`, separated by commas. */
static inline void read_csv_line(float *values, size_t columns, const char *line,
                                 const char *path, size_t line_number)
{
    const char *position = line;
    for (size_t column = 0; column < columns; column++) {
        char *end;
        values[column] = strtof(position, &end);
        if (end == position || !isfinite(values[column]))
            fail("%s, line %zu, column %zu: not a number", path, line_number, column + 1);
        position = end;
        if (column + 1 < columns) {
            if (*position != ',')
                fail("%s, line %zu: %zu columns where %zu are expected", path, line_number,
                     column + 1, columns);
            position++;
        }
    }
    if (position[strspn(position, "\r\n")] != '\0')
        fail("%s, line %zu: more than %zu columns", path, line_number, columns);
}

/* Reads a whole file of numbers, after `header_lines` lines that are passed over.
 * A file that can't be read or holds anything else ends the program. */
static inline struct table read_csv(const char *path, size_t columns, size_t header_lines)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail("cannot open %s: %s", path, strerror(errno));

    struct table table = {.columns = columns};
    size_t capacity = 0;
    size_t line_number = 0;
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL) {
        line_number++;
        if (strlen(line) + 1 == sizeof line)
            fail("%s, line %zu: too long", path, line_number);
        if (line_number <= header_lines)
            continue;
        if (table.rows == capacity) {
            capacity = capacity == 0 ? 256 : 2 * capacity;
            table.values = realloc(table.values, capacity * columns * sizeof *table.values);
            if (table.values == NULL)
                fail("out of memory");
        }
        read_csv_line(table.values + table.rows * columns, columns, line, path, line_number);
        table.rows++;
    }
    if (ferror(file))
        fail("cannot read %s: %s", path, strerror(errno));
    fclose(file);
    if (table.rows == 0)
        fail("%s: no rows", path);
    return table;
}

/* ---- Random numbers ---------------------------------------------------- */

/* 32 random bits: splitmix64 (Steele, Lea and Flood, 2014). The state is any number,
 * the seed. */
static inline uint32_t random_u32(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((mixed ^ (mixed >> 31)) >> 32);
}

/* Uniform in [-1, 1), in steps of 2^-23: every step on the way is exact. */
static inline float random_uniform(uint64_t *state)
{
    return (float)((int32_t)(random_u32(state) >> 8) - (INT32_C(1) << 23)) * 0x1p-23f;
}

/* Puts the indices 0 ... count - 1 in a random order (Fisher and Yates). */
static inline void shuffle(size_t *order, size_t count, uint64_t *state)
{
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count; i > 1; i--) {
        size_t other = random_u32(state) % i;
        size_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

/* ---- The closing lines -------------------------------------------------- */

/* FNV-1a, 64 bits, over the weights' bits. Each float is taken from its lowest byte
 * up, however the machine stores it. */
static inline uint64_t hash_floats(const float *values, size_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ (bits >> shift & 0xff)) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* Which of the library's tiers runs here, and why that one. */
static inline void print_tier(void)
{
    xent_info info;
    check(xent_get_info(&info, sizeof info), NULL);
    printf("tier %s (%s)\n", info.tier_name, info.reason);
}

/* The last two lines of a training run. The last is the same on every tier with a
 * fused multiply-add, and so on every machine that has one. */
static inline void print_result(double loss, const float *weights, size_t count)
{
    print_tier();
    printf("final loss %a weights %016llx\n", loss,
           (unsigned long long)hash_floats(weights, count));
}

#endif
