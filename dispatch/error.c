#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *xent_status_string(xent_status status)
{
    switch (status) {
    case XENT_OK: return "success";
    case XENT_ERROR_NULL: return "a required pointer is NULL";
    case XENT_ERROR_STRUCT_SIZE: return "a struct's size member is not one this library knows";
    case XENT_ERROR_DTYPE: return "an element type that the argument can't have";
    case XENT_ERROR_SHAPE: return "shapes that don't fit together";
    case XENT_ERROR_STRIDES: return "strides that may make an output overlap itself";
    case XENT_ERROR_OVERLAP: return "an output that overlaps another tensor";
    case XENT_ERROR_OVERFLOW: return "a size or an address that does not fit";
    case XENT_ERROR_AXIS: return "an axis that the tensor does not have";
    case XENT_ERROR_REDUCTION: return "an unknown reduction";
    case XENT_ERROR_TARGET: return "a target outside the classes";
    case XENT_ERROR_PROBABILITY: return "a probability outside [0, 1]";
    case XENT_ERROR_VALUE: return "an option outside its range";
    case XENT_ERROR_TIER: return "a tier that can't run here";
    case XENT_ERROR_NON_FINITE: return "a loss that is not finite";
    }
    return "an unknown status";
}

static xent_status fail(xent_error *error, xent_status status, const char *argument, int64_t row, double value,
                        const char *format, va_list list)
{
    if (!error) return status;
    int saved_errno = errno; /* which printf may set */
    error->status = status;
    error->argument = argument;
    error->row = row;
    error->value = value;
    int used = snprintf(error->message, sizeof error->message, "%s: ", argument);
    if (used > 0 && (size_t)used < sizeof error->message)
        vsnprintf(error->message + used, sizeof error->message - (size_t)used, format, list);
    errno = saved_errno;
    return status;
}

xent_status xent_fail(xent_error *error, xent_status status, const char *argument, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fail(error, status, argument, -1, 0.0, format, list);
    va_end(list);
    return status;
}

xent_status xent_fail_at(xent_error *error, xent_status status, const char *argument, int64_t row, double value,
                         const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fail(error, status, argument, row, value, format, list);
    va_end(list);
    return status;
}

xent_status xent_check_odd_struct(const void *given, size_t least, size_t size, int required, const char *argument,
                                  xent_error *error)
{
    if (!given) return required ? xent_fail(error, XENT_ERROR_NULL, argument, "is NULL") : XENT_OK;
    size_t theirs = xent_struct_size(given);
    if (theirs < least || theirs > size)
        return xent_fail(error, XENT_ERROR_STRUCT_SIZE, argument, "size is %zu, %zu to %zu expected", theirs, least, size);
    return XENT_OK;
}

xent_status xent_init_struct(void *theirs, size_t theirs_size, const void *defaults, size_t least, size_t size)
{
    if (!theirs) return XENT_ERROR_NULL;
    if (theirs_size < least || theirs_size > size) return XENT_ERROR_STRUCT_SIZE;
    memcpy(theirs, defaults, theirs_size);
    memcpy(theirs, &theirs_size, sizeof theirs_size);
    return XENT_OK;
}
