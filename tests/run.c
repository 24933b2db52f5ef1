#include "run.h"

#include <stdlib.h>
#include <string.h>

/* ---- Tensors in memory ------------------------------------------------------- */

static size_t element_size(xent_dtype dtype)
{
    return dtype == XENT_F64 || dtype == XENT_I64 ? 8 : 4;
}

/* Takes memory for the tensor; blocks are kept from run to run. */
static void place(struct run *run, struct placed *placed, xent_dtype dtype)
{
    static struct guarded blocks[2 * MAX_TENSORS];
    const size_t size = element_size(dtype);
    const int slot = run->inputs + run->outputs;
    assert_true(slot < 2 * MAX_TENSORS);
    placed->guarded = &blocks[slot];
    placed->bytes = (size_t)placed->at.span * size;
    unsigned char *block = guarded_block(placed->guarded, placed->bytes,
                                         (size_t)run->layout->shift * size, run->placement);
    placed->tensor = (xent_tensor){
        .data = block + (size_t)placed->at.first * size,
        .dtype = dtype,
        .ndim = placed->at.ndim,
        .shape = placed->at.shape,
        .strides = placed->at.strides,
    };
}

static unsigned char *block_of(const struct placed *placed)
{
    return (unsigned char *)placed->tensor.data -
           (size_t)placed->at.first * element_size(placed->tensor.dtype);
}

/* ---- Inputs ---------------------------------------------------------------------- */

static struct placed *new_input(struct run *run, const char *name, struct arrangement at,
                                int64_t rows, int64_t classes, xent_dtype dtype)
{
    struct placed *placed = &run->input[run->inputs];
    *placed = (struct placed){.name = name, .at = at, .rows = rows, .classes = classes};
    place(run, placed, dtype);
    run->inputs++;
    return placed;
}

static void write_floats(struct placed *placed, const float *values)
{
    placed->floats = values;
    const int64_t stride = class_stride(&placed->at);
    for (int64_t row = 0; row < placed->rows && placed->classes > 0; row++) {
        float *to = (float *)(void *)block_of(placed) + row_begin(&placed->at, row);
        const float *from = values + row * placed->classes;
        for (int64_t c = 0; c < placed->classes; c++) {
            to[c * stride] = from[c];
        }
    }
}

/* A matrix of inputs, rows by classes. */
const xent_tensor *matrix(struct run *run, const char *name, const float *values)
{
    if (values == NULL) {
        return NULL;
    }
    const struct problem *p = run->problem;
    struct placed *placed =
        new_input(run, name, arrange_matrix(run->layout, run->layout->input, p->rows, p->classes),
                  p->rows, p->classes, XENT_F32);
    write_floats(placed, values);
    return &placed->tensor;
}

/* Class weights. */
const xent_tensor *vector(struct run *run, const char *name, const float *values)
{
    if (values == NULL) {
        return NULL;
    }
    const int64_t classes = run->problem->classes;
    struct placed *placed = new_input(run, name, arrange_vector(run->layout->input, classes), 1,
                                      classes, XENT_F32);
    write_floats(placed, values);
    return &placed->tensor;
}

/* The incoming gradient of a loss: none, a scalar, or one a row (or an element). */
const xent_tensor *incoming(struct run *run, bool by_element)
{
    const struct problem *p = run->problem;
    if (p->incoming == INCOMING_NONE) {
        return NULL;
    }
    if (p->incoming == INCOMING_FULL && by_element) {
        return matrix(run, "output_gradient", p->g);
    }
    const bool scalar = p->incoming == INCOMING_SCALAR;
    const struct arrangement at =
        scalar ? arrange_scalar() : arrange_rows(run->layout, run->layout->input, p->rows);
    struct placed *placed =
        new_input(run, "output_gradient", at, scalar ? 1 : p->rows, 1, XENT_F32);
    write_floats(placed, p->g);
    return &placed->tensor;
}

const xent_tensor *indices(struct run *run)
{
    const struct problem *p = run->problem;
    struct placed *placed =
        new_input(run, "target", arrange_rows(run->layout, run->layout->input, p->rows), p->rows,
                  1, p->y_int32 ? XENT_I32 : XENT_I64);
    placed->indices = p->y;
    for (int64_t row = 0; row < p->rows; row++) {
        void *data = block_of(placed);
        if (p->y_int32) {
            ((int32_t *)data)[row_begin(&placed->at, row)] = (int32_t)p->y[row];
        } else {
            ((int64_t *)data)[row_begin(&placed->at, row)] = p->y[row];
        }
    }
    return &placed->tensor;
}

/* Saved states between guard pages, like everything else. */
const xent_row_state *saved(struct run *run)
{
    if (run->problem->state == NULL) {
        return NULL;
    }
    const int64_t rows = run->problem->rows;
    struct placed *placed =
        new_input(run, "state", arrange_vector(PACKED, 2 * rows), 0, 0, XENT_F64);
    memcpy(block_of(placed), run->problem->state, placed->bytes);
    return (const xent_row_state *)(const void *)block_of(placed);
}

static void assert_input_unchanged(const struct run *run, const struct placed *placed)
{
    for (int i = 0; i < run->outputs; i++) {
        if (run->output[i].over == placed) {
            return;
        }
    }
    const void *block = block_of(placed);
    const int64_t stride = class_stride(&placed->at);
    bool same = placed->tensor.dtype != XENT_F64 ||
                memcmp(block, run->problem->state, placed->bytes) == 0;
    for (int64_t row = 0; row < placed->rows && placed->classes > 0; row++) {
        const int64_t begin = row_begin(&placed->at, row);
        for (int64_t c = 0; c < placed->classes; c++) {
            const int64_t at = begin + c * stride, from = row * placed->classes + c;
            same &= placed->floats == NULL ||
                    check_same(((const float *)block)[at], placed->floats[from]);
            same &= placed->tensor.dtype != XENT_I32 ||
                    ((const int32_t *)block)[at] == (int32_t)placed->indices[from];
            same &= placed->tensor.dtype != XENT_I64 ||
                    ((const int64_t *)block)[at] == placed->indices[from];
        }
    }
    if (!same) {
        print_run(run->problem, run->layout, run->execution.tier);
        fail_msg("the input %s was written to", placed->name);
    }
}

/* ---- Outputs ---------------------------------------------------------------------- */

static bool wanted(const struct run *run, const char *name)
{
    return run->problem->only == NULL || strcmp(run->problem->only, name) == 0;
}

static struct placed *new_output(struct run *run, const char *name, struct arrangement at,
                                 int64_t rows, int64_t classes, xent_dtype dtype)
{
    struct placed *placed = &run->output[run->outputs];
    *placed = (struct placed){.name = name, .at = at, .rows = rows, .classes = classes};
    place(run, placed, dtype);
    run->outputs++;
    return placed;
}

/* A matrix of outputs; over the given input, if the layout is in place. */
const xent_tensor *matrix_out(struct run *run, const char *name, int first, int second)
{
    if (!wanted(run, name)) {
        return NULL;
    }
    const struct problem *p = run->problem;
    const int over = run->layout->in_place == OVER_FIRST    ? first
                     : run->layout->in_place == OVER_SECOND ? second
                                                            : -1;
    struct placed *placed =
        new_output(run, name, arrange_matrix(run->layout, run->layout->output, p->rows, p->classes),
                   p->rows, p->classes, XENT_F32);
    if (over >= 0) {
        placed->over = &run->input[over];
        placed->at = placed->over->at;
        placed->tensor = placed->over->tensor;
        placed->guarded = placed->over->guarded;
        placed->bytes = placed->over->bytes;
    }
    return &placed->tensor;
}

const xent_tensor *rows_out(struct run *run, const char *name)
{
    if (!wanted(run, name)) {
        return NULL;
    }
    const int64_t rows = run->problem->rows;
    return &new_output(run, name, arrange_rows(run->layout, run->layout->output, rows), rows, 1,
                       XENT_F32)
                ->tensor;
}

double *double_out(struct run *run, const char *name)
{
    if (!wanted(run, name)) {
        return NULL;
    }
    return new_output(run, name, arrange_scalar(), 1, 1, XENT_F64)->tensor.data;
}

/* The row states: two outputs, max and rest. */
xent_row_state *state_out(struct run *run)
{
    if (!wanted(run, "state")) {
        return NULL;
    }
    return new_output(run, "state", arrange_vector(PACKED, 2 * run->problem->rows),
                      run->problem->rows, 2, XENT_F64)
        ->tensor.data;
}

/* Reads the output's elements, and puts the pattern back where they were: then nothing
 * else may be left. */
static void read_output(struct run *run, struct placed *placed)
{
    const bool is_state = strcmp(placed->name, "state") == 0;
    const bool is_double = placed->tensor.dtype == XENT_F64;
    struct output output = {placed->name, is_double, placed->rows, placed->classes, NULL};
    output.values = malloc(sizeof(double) * (size_t)(placed->rows * placed->classes + 1));
    assert_non_null(output.values);
    const int64_t stride = class_stride(&placed->at);
    unsigned char *block = block_of(placed);
    for (int64_t row = 0; row < placed->rows && placed->classes > 0; row++) {
        int64_t at = is_state ? 2 * row : row_begin(&placed->at, row);
        for (int64_t c = 0; c < placed->classes; c++, at += stride) {
            double *to = &output.values[row * placed->classes + c];
            if (is_double) {
                *to = ((double *)(void *)block)[at];
                guarded_fill(block + 8 * at, 8);
            } else {
                *to = (double)((float *)(void *)block)[at];
                guarded_fill(block + 4 * at, 4);
            }
        }
    }
    if (!guarded_untouched(placed->guarded, block, placed->bytes)) {
        print_run(run->problem, run->layout, run->execution.tier);
        fail_msg("%s: bytes were written that are no elements of it", placed->name);
    }
    assert_true(run->results.count < MAX_OUTPUTS);
    run->results.outputs[run->results.count++] = output;
}

void finish_run(struct run *run)
{
    for (int i = 0; i < run->inputs; i++) {
        assert_input_unchanged(run, &run->input[i]);
    }
    for (int i = 0; i < run->outputs && run->results.status == XENT_OK; i++) {
        read_output(run, &run->output[i]);
    }
}
