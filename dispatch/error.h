/* Statuses, and the error struct of the caller's. */
#ifndef XENT_DISPATCH_ERROR_H
#define XENT_DISPATCH_ERROR_H

#include <string.h>

#include "xent/xent.h"

/* Fills *error, if there is one, and returns the status. The message is
 * "<argument>: <formatted text>". */
xent_status xent_fail(xent_error *error, xent_status status, const char *argument, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a row or an element, and the value found there. */
xent_status xent_fail_at(xent_error *error, xent_status status, const char *argument, int64_t row, double value,
                         const char *format, ...) __attribute__((format(printf, 6, 7)));

/* An error ends the function that meets it. */
#define TRY(call)                          \
    do {                                   \
        xent_status try_status = (call);   \
        if (try_status) return try_status; \
    } while (0)

/* A caller's struct, which states its size in its first member: from that of the first release that
 * had the struct (least) to that of ours. given NULL is an error if required. */
xent_status xent_check_odd_struct(const void *given, size_t least, size_t size, int required, const char *argument,
                                  xent_error *error);
static inline size_t xent_struct_size(const void *given)
{
    size_t size;
    memcpy(&size, given, sizeof size);
    return size;
}
static inline xent_status xent_check_struct(const void *given, size_t least, size_t size, int required,
                                            const char *argument, xent_error *error)
{
    if (given && xent_struct_size(given) == size) return XENT_OK;
    return xent_check_odd_struct(given, least, size, required, argument, error);
}

/* What a checked struct says: given itself; ours, filled in, where it is of an older header, members
 * that this lacks having their defaults; the defaults, where it is NULL. A member may not be
 * added into a struct's padding. */
static inline const void *xent_read_struct(void *ours, const void *given, const void *defaults, size_t size)
{
    if (!given) return defaults;
    if (xent_struct_size(given) == size) return given;
    memcpy(ours, defaults, size);
    return memcpy(ours, given, xent_struct_size(given));
}

/* The defaults into a caller's struct of one of these sizes. */
xent_status xent_init_struct(void *theirs, size_t theirs_size, const void *defaults, size_t least, size_t size);

#endif
