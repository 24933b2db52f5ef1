/* What the dispatcher hands to a kernel: validated, folded to rows or to runs of
 * elements, and small enough to live on the stack. Nothing here depends on a tier, nor on the
 * precision a kernel computes in. */
#ifndef XENT_KERNELS_JOB_H
#define XENT_KERNELS_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "list.h"
#include "xent/xent.h"

/* Rows of a job. Also the block in which row losses are summed (dispatch/reduce.c). */
#define XENT_ROWS 64
/* With room for a whole vector from any row on. */
#define XENT_ROW_SLOTS (XENT_ROWS + 16)

/* Up to XENT_ROWS rows of a tensor with a class axis: row i's class j is element
 * row[i] + j * class_stride of data. */
struct row_tensor {
    void *data; /* NULL: no such tensor */
    xent_dtype dtype;
    ptrdiff_t class_stride;
    ptrdiff_t row[XENT_ROWS];
};

/* One value for each row of a job, with XENT_ROW_SLOTS of room, or one for all. */
struct row_values {
    const double *each; /* NULL: all */
    double all;
};

static inline double row_value(const struct row_values *values, size_t i)
{
    return values->each ? values->each[i] : values->all;
}

/* In row_job.target. */
enum {
    XENT_NO_TARGET = -1,    /* the row is ignored */
    XENT_TARGET_ABSENT = -2 /* the target is not among these classes, or is a distribution */
};

/* What goes beyond weighted cross-entropy of an index target; the same for all rows. */
struct row_options {
    double keep, spread;     /* label smoothing: the target is keep [j = y] or keep t_j, + spread */
    const void *weight;      /* class weights in the terms that sum over classes; NULL: ones */
    xent_dtype weight_dtype;
    ptrdiff_t weight_stride;
    double weight_sum;       /* of all classes */
    double z_loss, z_ratio;  /* the coefficient, and what its gradient is scaled by beside scale */
    double softcap;          /* 0: none */
    double focal_gamma;      /* 0: none */
    int want_entropy;
};

struct row_job {
    size_t rows, classes;
    /* Rows follow each other at distance 1 in every tensor: positions fill the lanes. */
    int unit_rows;
    /* The tensors outgrow the caches by far, on a CPU where it pays to fetch logits ahead, and to write past the caches. */
    int large;
    struct row_tensor in;   /* logits; log-probabilities (nll); the forward output (backward) */
    struct row_tensor in2;  /* the incoming gradient (backward kernels); probability targets */
    struct row_tensor out;  /* gradient or output */
    struct row_tensor out2; /* gradient in the probability targets */
    int want_log;           /* lse or loss is wanted */
    int want_argmax;
    int have_state;         /* max and rest are given, not to be computed */
    int have_max, max_only; /* max alone is given; is all that is wanted */
    xent_row_sum *sums;     /* of the job's rows; NULL: not wanted */
    const struct row_options *options; /* NULL: none of these */
    const int64_t *target;
    int all_have_targets; /* among these classes */
    struct row_values weight;     /* of the target's class; all: 1 */
    struct row_values row_weight; /* multiplies the row's loss; all: 1 */
    struct row_values scale;      /* multiplies the gradient: row_weight, reduction, incoming gradient */
    double max[XENT_ROW_SLOTS];   /* row state, in or out */
    double rest[XENT_ROW_SLOTS];
    /* Out. loss is without z_loss. */
    double lse[XENT_ROW_SLOTS], loss[XENT_ROW_SLOTS], z_loss[XENT_ROW_SLOTS], entropy[XENT_ROW_SLOTS];
    double target_logit[XENT_ROW_SLOTS];
    int64_t argmax[XENT_ROWS];
};

/* Positions next to each other, of strided classes, up to a page of each class, for the three steps of softmax_pages.h: the states of all rows;
 * what follows for some of them, which a row job is of; and what is written of all. rows: at least XENT_PAGE_ROWS_LEAST, a vector's
 * width on any tier. */
#define XENT_PAGE_BYTES 4096
#define XENT_PAGE_ROWS_LEAST 16
/* Pages are far apart where so many bytes are between the first class and the last. */
#define XENT_PAGE_FAR (8 << 20)
static inline int xent_pages_are_far(size_t classes, ptrdiff_t stride, size_t item)
{
    return classes * (size_t)(stride < 0 ? -stride : stride) * item >= XENT_PAGE_FAR;
}
#define XENT_PAGE_ROWS (XENT_PAGE_BYTES / sizeof(float)) /* f64: half of them */
union page_reals {
    float f32[XENT_PAGE_BYTES / sizeof(float)];
    double f64[XENT_PAGE_BYTES / sizeof(double)];
};
struct page_job {
    size_t rows, classes;
    xent_dtype dtype; /* of both */
    const void *in;   /* the first row's first class */
    void *out;        /* likewise; NULL: not wanted */
    ptrdiff_t in_stride, out_stride;
    int large;        /* the tensors outgrow the caches */
    int near_by;      /* on this CPU a page that is read on its own costs little, however far apart they are */
    int log;          /* log-softmax */
    int with_target;
    double max[XENT_PAGE_ROWS], rest[XENT_PAGE_ROWS];
    /* From step to step. */
    int kept; /* exp_scaled is in out */
    int64_t target[XENT_PAGE_ROWS];
    union page_reals lift, factor, offset, top, peak, target_gradient; /* see struct row_pass */
};

/* Elements of a job, and the block in which element losses are summed. */
#define XENT_ELEMENTS 1024

/* Up to XENT_ELEMENTS elements, contiguous in every array; all arrays are of the precision the
 * kernel computes in. */
struct element_job {
    size_t count;
    const void *in;  /* input; the forward output (sigmoid_backward) */
    const void *in2; /* target, or the incoming gradient (backward kernels) */
    const void *weight, *pos_weight, *in_scale; /* NULL: ones. in_scale multiplies the gradients */
    double scale;    /* multiplies the gradients as well */
    double keep, spread;             /* label smoothing: the target is keep y + spread */
    double focal_gamma, focal_alpha; /* gamma 0: none; alpha below 0: none */
    void *out;       /* output, or gradient; NULL: not wanted */
    void *out2;      /* gradient in the target; NULL: not wanted */
    void *loss;      /* NULL: not wanted */
    int want_sum;
    double sum;       /* out: of the losses */
    ptrdiff_t invalid; /* out (bce): first element with a probability outside [0,1], or -1;
                          nothing is written then */
};

/* Row states, to be merged or finished (in the table of doubles), or closed (in that of the logits). */
struct state_job {
    size_t count;
    const xent_row_state *a, *b; /* merge: both; finish: a */
    xent_row_state *merged;
    const double *target_logit;  /* finish: NULL if there are none */
    double *lse, *loss;          /* finish: NULL if not wanted */
    const xent_row_sum *sums;    /* close: to states in merged */
};

/* count elements between a tensor, from data on, a stride apart, and packed ones of the
 * precision the kernels compute in. */
struct storage_job {
    void *data;
    xent_dtype dtype;
    ptrdiff_t stride;
    size_t count;
    void *packed;
};

/* The table of a tier and a precision: one kernel for each line of the list. */
struct xent_kernels {
#define X(name, job) void (*name)(struct job *);
    XENT_KERNELS(X)
#undef X
    void (*page_states)(struct page_job *);
    void (*page_finish)(struct page_job *, size_t first, struct row_job *); /* the job's rows are those from first on; their states are given */
    void (*page_write)(struct page_job *);
    void (*read)(const struct storage_job *);
    void (*write)(const struct storage_job *);
    void (*merge)(const struct state_job *);
    void (*finish)(const struct state_job *);
    void (*close)(const struct state_job *);
};

#endif
