/* Statuses, and the error struct of the caller's. */
#ifndef XENT_DISPATCH_ERROR_H
#define XENT_DISPATCH_ERROR_H

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

/* A caller's struct, of the size it states in its first member, into one of ours, which
 * holds the defaults. given NULL keeps these, and is an error if required. Sizes go from that of
 * the first release that had the struct (least) to that of ours: members that an older header
 * lacks keep their defaults. A member may not be added into a struct's padding. */
xent_status xent_read_struct(void *ours, size_t least, size_t size, const void *given, int required,
                             const char *argument, xent_error *error);

/* The defaults into a caller's struct of one of these sizes. */
xent_status xent_init_struct(void *theirs, size_t theirs_size, const void *defaults, size_t least, size_t size);

#endif
