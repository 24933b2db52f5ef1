#include "layout.h"

const struct layout layouts[LAYOUT_COUNT] = {
    [CONTIGUOUS] = {"contiguous", FORM_MATRIX, PACKED, PACKED, 0, APART},
    [MISALIGNED] = {"misaligned by one", FORM_MATRIX, PACKED, PACKED, 1, APART},
    [PADDED_ROWS] = {"padded rows", FORM_MATRIX, PADDED, PADDED, 0, APART},
    [ODD_STRIDES] = {"odd strides", FORM_MATRIX, ODD, ODD, 0, APART},
    [PADDED_TO_ODD] = {"padded input, odd output", FORM_MATRIX, PADDED, ODD, 2, APART},
    [ODD_TO_CONTIGUOUS] = {"odd input, contiguous output", FORM_MATRIX, ODD, PACKED, 3, APART},
    [NEGATIVE_INPUT] = {"negative input strides", FORM_MATRIX, REVERSED, PACKED, 0, APART},
    [NEGATIVE] = {"negative strides", FORM_MATRIX, REVERSED, REVERSED, 1, APART},
    [FORTRAN_ORDER] = {"transposed", FORM_MATRIX, TRANSPOSED, TRANSPOSED, 0, APART},
    [AXIS_0] = {"(C, N), axis 0", FORM_CLASSES_FIRST, PACKED, PACKED, 0, APART},
    [INNER] = {"(1, C, N)", FORM_INNER, PACKED, PACKED, 1, APART},
    [SPLIT] = {"(N/d, C, d)", FORM_SPLIT, PACKED, PACKED, 0, APART},
    [SPLIT_PADDED] = {"(N/d, C, d), padded", FORM_SPLIT, PADDED, PADDED, 3, APART},
    [AXIS_LAST] = {"(N/d, d, C), axis -1", FORM_CLASSES_LAST, PACKED, PACKED, 0, APART},
    [IN_PLACE] = {"in place", FORM_MATRIX, PACKED, PACKED, 0, OVER_FIRST},
    [IN_PLACE_SECOND] = {"in place, over the second input", FORM_MATRIX, PACKED, PACKED, 0, OVER_SECOND},
    [IN_PLACE_SPLIT] = {"in place, (N/d, C, d)", FORM_SPLIT, PACKED, PACKED, 1, OVER_FIRST},
    [IN_PLACE_ODD] = {"in place, odd strides", FORM_MATRIX, ODD, ODD, 0, OVER_FIRST},
};

/* A d that divides rows, and is neither 1 nor rows where there is such a one. */
static int64_t inner_positions(int64_t rows)
{
    for (int64_t positions = rows / 2; positions > 1; positions--) {
        if (rows % positions == 0) {
            return positions;
        }
    }
    return rows > 0 ? rows : 1;
}

static void append(struct arrangement *arrangement, int64_t extent)
{
    arrangement->shape[arrangement->ndim++] = extent;
}

static void append_classes(struct arrangement *arrangement, int64_t classes)
{
    if (classes >= 0) {
        arrangement->axis = arrangement->ndim;
        append(arrangement, classes);
    }
}

/* classes < 0: without the class axis. */
static struct arrangement shape_of(enum form form, int64_t rows, int64_t classes)
{
    struct arrangement a = {.ndim = 0, .axis = -1};
    const int64_t positions = inner_positions(rows);
    switch (form) {
    case FORM_MATRIX:
        append(&a, rows);
        append_classes(&a, classes);
        break;
    case FORM_CLASSES_FIRST:
        append_classes(&a, classes);
        append(&a, rows);
        break;
    case FORM_INNER:
        append(&a, 1);
        append_classes(&a, classes);
        append(&a, rows);
        break;
    case FORM_SPLIT:
        append(&a, rows / positions);
        append_classes(&a, classes);
        append(&a, positions);
        break;
    case FORM_CLASSES_LAST:
        append(&a, rows / positions);
        append(&a, positions);
        append_classes(&a, classes);
        break;
    }
    return a;
}

static void space(struct arrangement *a, enum spacing spacing)
{
    int64_t stride = spacing == ODD ? 3 : 1;
    a->span = 1;
    for (int32_t i = 0; i < a->ndim; i++) {
        const int32_t dim = spacing == TRANSPOSED ? i : a->ndim - 1 - i;
        const int64_t extent = a->shape[dim];
        a->strides[dim] = spacing == REVERSED ? -stride : stride;
        if (extent == 0) {
            a->span = 0;
        } else if (a->span > 0) {
            a->span += stride * (extent - 1);
        }
        stride *= extent > 0 ? extent : 1;
        stride += spacing == ODD ? 7 : spacing == PADDED && i == 0 ? 5 : 0;
    }
    a->first = spacing == REVERSED && a->span > 0 ? a->span - 1 : 0;
}

struct arrangement arrange_matrix(const struct layout *layout, enum spacing spacing, int64_t rows,
                                  int64_t classes)
{
    struct arrangement a = shape_of(layout->form, rows, classes);
    space(&a, spacing);
    return a;
}

struct arrangement arrange_rows(const struct layout *layout, enum spacing spacing, int64_t rows)
{
    struct arrangement a = shape_of(layout->form, rows, -1);
    space(&a, spacing);
    return a;
}

struct arrangement arrange_vector(enum spacing spacing, int64_t count)
{
    struct arrangement a = {.ndim = 0, .axis = 0};
    append(&a, count);
    space(&a, spacing);
    return a;
}

struct arrangement arrange_scalar(void)
{
    return (struct arrangement){.ndim = 0, .axis = -1, .span = 1};
}

int64_t row_begin(const struct arrangement *a, int64_t row)
{
    int64_t place = a->first;
    for (int32_t dim = a->ndim - 1; dim >= 0; dim--) {
        if (dim != a->axis) {
            place += row % a->shape[dim] * a->strides[dim];
            row /= a->shape[dim];
        }
    }
    return place;
}

int64_t class_stride(const struct arrangement *a)
{
    return a->axis >= 0 ? a->strides[a->axis] : 0;
}

int32_t layout_axis(const struct layout *layout)
{
    switch (layout->form) {
    case FORM_CLASSES_FIRST:
        return 0;
    case FORM_CLASSES_LAST:
        return -1;
    default:
        return XENT_AXIS_DEFAULT;
    }
}

bool layout_reorders(const struct layout *layout)
{
    return layout->form != FORM_MATRIX && layout->form != FORM_CLASSES_LAST;
}
