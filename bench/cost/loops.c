/* The hot loops of the kernels, each in a function of its own: the kernels' code with the kernels'
 * flags, compiled to assembly only. loops.py takes the innermost loop of each function that takes the most elements a pass.
 * The name begins with what tells how many elements one pass of that loop takes: the vectors that it
 * loads or stores, the stack left out, and over how many arrays these spread. */
#include "kernels/elements.h"
#include "kernels/lanes.h"
#include "kernels/along.h"
#include "kernels/softmax_pages.h"

/* -- Along the row -- */

/* A constant, whole number of blocks, so that nothing but the hot loop is left. */
#define COUNT (1 << 20)

void loads1_row_max(const real *x, real lanes[VEC_WIDTH]);
void loads1_row_max(const real *x, real lanes[VEC_WIDTH]) { vec_store(lanes, run_max(x, COUNT)); }

MATH void row_exp_sum(const enum sum_term term, const real *x, real *store, size_t blocks, const struct row_lanes *row,
                      total *sums, struct sum_notes *notes)
{
    struct row_lanes constants = *row;
    struct sum_notes so_far = {veci_set(0), vec_set((real)-INFINITY)};
    constants.exp.shift = vec_set(0); /* as in along_exp */
    for (size_t b = 0; b < blocks; b++) {
        struct block_args a = {.x = x + b * BLOCK, .store = store + b * BLOCK, .row = &constants};
        sums[b] = fold8_total(block_sum(term, &a, BLOCK, term == SUM_EXP, &so_far));
    }
    *notes = so_far;
}

#define ROW_EXP_SUM(name, term)                                                                                  \
    void stores1_row_##name(const real *, real *, size_t, const struct row_lanes *, total *, struct sum_notes *); \
    void stores1_row_##name(const real *x, real *store, size_t blocks, const struct row_lanes *row, total *sums,    \
                            struct sum_notes *notes)                                                              \
    {                                                                                                               \
        row_exp_sum(term, x, store, blocks, row, sums, notes);                                                      \
    }
ROW_EXP_SUM(exp_sum, SUM_EXP)
ROW_EXP_SUM(exp_sum_but_max, SUM_EXP_BUT_MAX)

MATH void row_write(const enum write_term term, const real *x, real *out, const struct row_lanes *row)
{
    struct row_lanes constants = *row;
    constants.exp.shift = vec_set(0);
    struct row_operands from = {.x = {(void *)(uintptr_t)x, REAL_DTYPE, 1, 0.0}};
    struct row_view to = {out, REAL_DTYPE, 1, 0.0};
    along_write(term, &from, &to, COUNT, &constants, NULL);
}

#define ROW_WRITE(name, term)                                                              \
    void stores1_row_##name(const real *, real *, const struct row_lanes *);               \
    void stores1_row_##name(const real *x, real *out, const struct row_lanes *row)         \
    {                                                                                      \
        row_write(term, x, out, row);                                                      \
    }
ROW_WRITE(scaled, WRITE_SCALED)
ROW_WRITE(softmax, WRITE_SOFTMAX)
ROW_WRITE(log_softmax, WRITE_LOG_SOFTMAX)

/* -- Rows in the lanes -- */

#define LANES_OF(group, vectors)                                                                          \
    void loads1_##group##_max(struct lane_view, size_t, vec[GROUP]);                                      \
    void loads1_##group##_max(struct lane_view x, size_t classes, vec max[GROUP])                         \
    {                                                                                                     \
        vec own[GROUP];                                                                                   \
        lanes_max(x, classes, vectors, VEC_WIDTH, own);                                                   \
        for (int v = 0; v < vectors; v++) max[v] = own[v];                                                \
    }                                                                                                     \
    void stores1_##group##_scaled(const struct lane_args *, struct lane_view, size_t);                    \
    void stores1_##group##_scaled(const struct lane_args *from, struct lane_view out, size_t classes)     \
    {                                                                                                     \
        lanes_write(WRITE_SCALED, from, out, classes, vectors, VEC_WIDTH);                                \
    }
LANES_OF(lanes, 1)
LANES_OF(lanes_group, GROUP)

/* What it returns is no store, lest the way to that be taken for the loop. */
double stores1_lanes_exp_sum(const struct lane_args *, size_t);
double stores1_lanes_exp_sum(const struct lane_args *from, size_t classes)
{
    wide sum[GROUP];
    struct sum_notes notes[GROUP];
    double lanes[VEC_WIDTH];
    lanes_sum_narrow(SUM_EXP_BUT_MAX, from, classes, 1, VEC_WIDTH, sum, notes);
    wide_store(lanes, sum[0]);
    return lanes[0] + (double)veci_reduce_add(notes[0].ties);
}

/* -- Pages. Of their sums' loop, which stores more than exponentials, it can't be told how many elements it takes. -- */

#define PAGE_OF(name, term)                                                                                \
    void stores1_page_##name(struct page_view, struct page_view, size_t, size_t, const struct row_lanes *); \
    void stores1_page_##name(struct page_view x, struct page_view out, size_t classes, size_t rows,        \
                             const struct row_lanes *of)                                                   \
    {                                                                                                      \
        x.dtype = out.dtype = REAL_DTYPE;                                                                  \
        page_write(term, x, out, classes, rows, of, 0);                                                    \
    }
PAGE_OF(scaled, WRITE_SCALED)
PAGE_OF(softmax, WRITE_SOFTMAX)

/* -- Elements -- */

#define ELEMENTS_OF(name, kind, ...)                                                                \
    double stores1_##name(const real *, const real *, real *, double);                              \
    double stores1_##name(const real *x, const real *y, real *out, double scale)                    \
    {                                                                                               \
        (void)y, (void)scale;                                                                       \
        struct element_job job = {.in = x, .out = out, .count = COUNT, .keep = 1.0, __VA_ARGS__};   \
        element_loop(kind, &job, ABREAST);                                                          \
        return job.sum;                                                                             \
    }
ELEMENTS_OF(sigmoid, SIGMOID, .scale = 1.0)
ELEMENTS_OF(log_sigmoid, LOG_SIGMOID, .scale = 1.0)
ELEMENTS_OF(bce, BCE, .in2 = y, .want_sum = 1, .scale = scale)
ELEMENTS_OF(bce_with_logits, BCE_WITH_LOGITS, .in2 = y, .want_sum = 1, .scale = scale)
