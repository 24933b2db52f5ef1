/* Ways to lay out rows of classes in memory.
 *
 * Tests think of a matrix, rows by classes, in C order. A layout says of which tensor
 * that matrix is the content: its shape, where its class axis is, and the strides of
 * what is read and of what is written. */
#ifndef XENT_TESTS_LAYOUT_H
#define XENT_TESTS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xent/xent.h>

/* The shape, d being a divisor of N. */
enum form {
    FORM_MATRIX,       /* (N, C) */
    FORM_CLASSES_FIRST, /* (C, N), axis 0 */
    FORM_INNER,        /* (1, C, N) */
    FORM_SPLIT,        /* (N/d, C, d) */
    FORM_CLASSES_LAST  /* (N/d, d, C), axis -1 */
};

enum spacing {
    PACKED,     /* C order */
    PADDED,     /* C order, five elements more between rows */
    ODD,        /* every third element, seven more between rows */
    REVERSED,   /* all strides negative */
    TRANSPOSED, /* Fortran order */
};

enum in_place {
    APART,
    OVER_FIRST, /* the output over the input */
    OVER_SECOND /* a backward function's gradient over its second input */
};

struct layout {
    const char *name;
    enum form form;
    enum spacing input, output;
    int shift; /* elements that every tensor begins off a page's border */
    enum in_place in_place;
};

/* By number, for tests that need a certain one. */
enum {
    CONTIGUOUS,
    MISALIGNED,
    PADDED_ROWS,
    ODD_STRIDES,
    PADDED_TO_ODD,
    ODD_TO_CONTIGUOUS,
    NEGATIVE_INPUT,
    NEGATIVE,
    FORTRAN_ORDER,
    AXIS_0,
    INNER,
    SPLIT,
    SPLIT_PADDED,
    AXIS_LAST,
    IN_PLACE,
    IN_PLACE_SECOND,
    IN_PLACE_SPLIT,
    IN_PLACE_ODD,
    LAYOUT_COUNT
};

extern const struct layout layouts[LAYOUT_COUNT];

/* A tensor's shape and strides, over a block of span elements. */
struct arrangement {
    int32_t ndim;
    int32_t axis; /* of the classes, or -1: one element a row */
    int64_t shape[XENT_MAX_NDIM];
    int64_t strides[XENT_MAX_NDIM];
    int64_t first; /* where in the block the first element is */
    int64_t span;
};

struct arrangement arrange_matrix(const struct layout *layout, enum spacing spacing, int64_t rows,
                                  int64_t classes);

/* One element a row: the matrix's shape without the class axis. */
struct arrangement arrange_rows(const struct layout *layout, enum spacing spacing, int64_t rows);

/* One element a class: a vector. */
struct arrangement arrange_vector(enum spacing spacing, int64_t count);

struct arrangement arrange_scalar(void);

/* Where in the block class 0 of a row is. The next class is class_stride on. */
int64_t row_begin(const struct arrangement *arrangement, int64_t row);
int64_t class_stride(const struct arrangement *arrangement);

/* Whether the tensor's elements, in C order, are not those of the matrix: then a sum over
 * elements, rather than rows, adds them in another order. */
bool layout_reorders(const struct layout *layout);

/* What options.axis is to be. */
int32_t layout_axis(const struct layout *layout);

#endif
