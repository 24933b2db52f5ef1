/* xent: SIMD kernels for classification losses behind a runtime dispatcher.
 *
 * This header is the whole contract. Plain C11, also C++11.
 *
 * Conventions, for every function unless it says otherwise:
 *
 * Tensors. A tensor is described as DLPack and NumPy describe one (xent_tensor
 *   below). Shapes and strides count elements, never bytes. Inputs may have any
 *   strides, zero (broadcast) and negative ones included; an output may not have
 *   two elements at one address.
 *   Strides that interleave so that this can't be told simply are refused as well.
 * Aliasing. Each function says which output may lie exactly over which input (same address,
 *   same strides, same element type). Any other overlap of an output with another tensor is
 *   XENT_ERROR_OVERLAP. The scalars sum, divisor, mean and correct_count, and what the functions
 *   on row states and row sums are given, are not looked at: they must not lie in any tensor,
 *   state or other scalar of the call, but as said there.
 * Errors. Everything is checked before anything is written, and a call that
 *   fails has written nothing but the error; the one exception is named at
 *   xent_bce. The library prints nothing, allocates nothing, starts no thread,
 *   and leaves errno and the floating-point environment alone.
 * One answer. A row gives the same bits on every tier with a fused multiply-add
 *   (scalar, avx2, avx512, neon), in any layout, at any alignment, in any batch,
 *   at any place in it; a NaN is a NaN, whatever its bits. The sse2 tier has no
 *   fused multiply-add and has one answer of its own, within the same bounds.
 *   The promise holds within a release.
 * Subnormals. Results below the smallest normal number are kept, as IEEE 754 has
 *   them, on every tier. A host that has set FTZ or DAZ gets zeros there instead, may
 *   see another last place in results below 2^-100, and gets the same bits
 *   everywhere else. Other rounding modes than to nearest void
 *   the error bounds and the one answer.
 * Thread safety. Every function may be called from any thread at any time, the
 *   first call included; a call reads its arguments and writes its outputs, and
 *   nothing else.
 * ulp. Bounds are in units in the last place of the exact result, against the
 *   exact value of the formula at the given inputs. They are what all tests and searches among
 *   random rows stay within. A row's sum can do worse where a few terms, off the same way, meet in one of its lanes:
 *   searching through 10^6 rows of 50 to 256 classes that were made for it found, once in 10^5, rest, and a loss of less than 0.3,
 *   off by up to 2.9 ulp, and lse by 2.4.
 */
#ifndef XENT_XENT_H
#define XENT_XENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XENT_VERSION_MAJOR 0
#define XENT_VERSION_MINOR 1
#define XENT_VERSION_PATCH 0

#if defined(__GNUC__)
#define XENT_API __attribute__((visibility("default")))
#else
#define XENT_API
#endif

/* ---- Status and errors ------------------------------------------------- */

typedef enum xent_status {
    XENT_OK = 0,
    XENT_ERROR_NULL,        /* a required pointer is NULL */
    XENT_ERROR_STRUCT_SIZE, /* a struct's size member is not one this library knows */
    XENT_ERROR_DTYPE,       /* an element type that the argument can't have */
    XENT_ERROR_SHAPE,       /* shapes that don't fit together, or negative */
    XENT_ERROR_STRIDES,     /* strides that make an output overlap itself */
    XENT_ERROR_OVERLAP,     /* an output that overlaps another tensor */
    XENT_ERROR_OVERFLOW,    /* a size, or an address, that does not fit */
    XENT_ERROR_AXIS,        /* an axis the tensor does not have */
    XENT_ERROR_REDUCTION,   /* not a member of xent_reduction */
    XENT_ERROR_TARGET,      /* a class index outside [0, C) that is not ignore_index */
    XENT_ERROR_PROBABILITY, /* a probability outside [0, 1], or NaN */
    XENT_ERROR_VALUE,       /* an option outside its range */
    XENT_ERROR_TIER,        /* a tier that this CPU or this build does not have */
    XENT_ERROR_NON_FINITE   /* a loss that is not finite, where the caller asked to be told */
} xent_status;

/* What went wrong, for a caller who passes one; untouched by a call that succeeds. */
typedef struct xent_error {
    xent_status status;
    const char *argument; /* the argument's name, a string of the library's */
    int64_t row;          /* row (class index) or element (probability), counted in C
                             order over the tensor's shape without the class axis; else -1 */
    double value;         /* the value found there, or 0 */
    char message[232];    /* one English sentence, with the row and the value */
} xent_error;

/* A short English text for a status; never NULL, also for an unknown status. */
XENT_API const char *xent_status_string(xent_status status);

/* ---- Tensors ------------------------------------------------------------ */

typedef enum xent_dtype {
    XENT_F32 = 1, /* IEEE 754 binary32 */
    XENT_F64,     /* IEEE 754 binary64 */
    XENT_F16,     /* IEEE 754 binary16 */
    XENT_BF16,    /* the upper half of a binary32 */
    XENT_I64,
    XENT_I32,
    XENT_U8
} xent_dtype;

#define XENT_MAX_NDIM 8

typedef struct xent_tensor {
    void *data;             /* the first element; may be NULL if there is no element.
                               Inputs are only read through it. */
    xent_dtype dtype;
    int32_t ndim;           /* 0 (a scalar) to XENT_MAX_NDIM */
    const int64_t *shape;   /* [ndim]; may be NULL if ndim is 0 */
    const int64_t *strides; /* [ndim], in elements; NULL: C order, packed */
} xent_tensor;

/* Element types. Logits, and what takes their place (input, output, log_probabilities), are
 * f32, f64, f16 or bf16; an output of their shape (gradient, output) has their dtype. What
 * is called "f32 or the logits' dtype" may be either, whatever the other arguments are.
 *   Computed in: f64 for f64 logits, f32 for all others. 16-bit elements are widened and
 *   rounded (once, to nearest even) in registers.
 *   Values of a row (loss, lse, entropy, z_loss): f32 or the logits' dtype; f64 logits: f64.
 *   Weights, incoming gradients, probability targets: f32 or the logits' dtype.
 *   Class index targets: i64, i32 or u8.
 * Reduced losses (sum, divisor, mean) are doubles: never rounded to less. */

/* ---- Tiers -------------------------------------------------------------- */

/* What the dispatcher chooses between. XENT_TIER_AUTO: the best that this CPU runs,
 * or the one that the environment variable XENT_TIER names (read once, at the
 * first call of the process). */
typedef enum xent_tier {
    XENT_TIER_AUTO = 0,
    XENT_TIER_SCALAR,
    XENT_TIER_SSE2,
    XENT_TIER_AVX2,      /* AVX2 and FMA */
    XENT_TIER_AVX512,    /* AVX-512 F, VL, BW, DQ */
    XENT_TIER_NEON,
    XENT_TIER_NEON_SIMDE /* the NEON code through SIMDe, for tests on x86 */
} xent_tier;

#define XENT_TIER_COUNT 7 /* XENT_TIER_AUTO included */

typedef struct xent_info {
    xent_tier tier;         /* that XENT_TIER_AUTO stands for in this process */
    const char *tier_name;  /* "avx2" ... */
    const char *reason;     /* why this one, in English, XENT_TIER's fate included */
    unsigned built;         /* bit 1 << tier: this build has the tier */
    unsigned available;     /* bit 1 << tier: ... and this CPU can run it */
} xent_info;

/* Fills *info, of which the caller states the size. XENT_ERROR_NULL if info is NULL. */
XENT_API xent_status xent_get_info(xent_info *info, size_t size);

/* "scalar", "sse2", "avx2", "avx512", "neon", "neon-simde", "auto"; NULL if unknown. */
XENT_API const char *xent_tier_name(xent_tier tier);

/* How a call is carried out. NULL wherever one is taken: XENT_TIER_AUTO, on the caller's thread. */
typedef struct xent_execution {
    size_t size;    /* sizeof(xent_execution) */
    xent_tier tier; /* XENT_ERROR_TIER if this CPU can't run it */
    /* Threads that the host lends, see below; NULL: none. host is passed on, and may be NULL. */
    void (*parallel_for)(void *host, size_t tasks, void (*task)(void *context, size_t index), void *context);
    void *host;
} xent_execution;

/* Threads. The library starts none; where a call is given parallel_for, it may hand it its work, in
 * tasks, once. parallel_for has task(context, index) run exactly once for each index in [0, tasks), on
 * whatever threads, in whatever order, at once or one after the other, the caller's thread
 * included, and returns when all have ended and what they wrote can be seen by the caller.
 *   Results, errors and their rows included, are the same bits with any parallel_for, or none.
 *   A task is 32768 elements at least, which take ten microseconds and more, where a thread that sleeps
 *   takes ten to sixty to come: calls with fewer than twice as many do not ask for threads. Tasks are at most 256, each
 *   a span of rows (or, elementwise, of elements) next to each other; a row is never cut. What is
 *   done with row states alone (xent_row_state_merge and so on) and the check of targets stay on the
 *   caller's thread.
 *   A task calls nothing of the host's, takes no lock, and needs up to 256 KiB of stack. Calls may be made
 *   from inside another call's tasks' threads, by the host, if its parallel_for can be nested.
 * openmp.h and pthreads.h beside this header have one each, for OpenMP and for plain POSIX threads. */

/* ---- Options common to several functions -------------------------------- */

typedef enum xent_reduction {
    XENT_REDUCTION_MEAN = 0,
    XENT_REDUCTION_SUM,
    XENT_REDUCTION_NONE
} xent_reduction;

/* The class axis: PyTorch's default, 1, or 0 for a tensor of one dimension. Other
 * values count from the front (0 ...) or from the back (-1 ...). */
#define XENT_AXIS_DEFAULT INT32_MIN

/* The state of a row: max, and the sum of exp(x - max) over all elements but one
 * that attains the max, so that
 *   log-sum-exp = max + log1p(rest).
 * It does not depend on a target. Whoever saves it needs no second pass for the
 * backward call. No element: {-INFINITY, -1}. */
typedef struct xent_row_state {
    double max;  /* exactly an element of the row */
    double rest; /* within 1.5 ulp of the logits' type (2.9: see ulp above), whose subnormals' spacing is the least ulp */
} xent_row_state;

/* The sum of exp(x - max) over a part of a row, for a maximum that all parts of the row agreed
 * on before, in a form whose addition is exact: parts of a row that were cut at multiples of
 * XENT_ROW_BLOCK classes give the very state of the whole row, in whatever order they are merged
 * (up to 2^22 classes). Made of doubles, so that any transport can carry it. */
#define XENT_ROW_BLOCK 256
typedef struct xent_row_sum {
    double max;      /* of the whole row */
    double ties;     /* elements equal to it */
    double parts[5]; /* without these; of the library's own scale, which depends on the dtype */
    double whole[5]; /* with them */
    double classes;  /* of the part */
} xent_row_sum;

/* Every options struct begins with its own size, is set up by its init function to
 * PyTorch's defaults, and may be passed as NULL to mean just these. size, here and in
 * xent_execution and the outputs structs, is sizeof the struct in the caller's header: a caller
 * compiled against an older header keeps working, what it does not know having its default; a
 * larger struct than this header's is XENT_ERROR_STRUCT_SIZE. The init functions return this
 * or XENT_ERROR_NULL. */

/* ---- Log-sum-exp, softmax, log-softmax ----------------------------------- */

typedef struct xent_softmax_options {
    size_t size;
    const xent_execution *execution;
    int32_t axis;                       /* XENT_AXIS_DEFAULT */
    const xent_row_state *state;        /* saved row states in C order, or NULL: the forward
                                           reduction is not done again */
    const xent_tensor *output_gradient; /* log-sum-exp only: the incoming gradient, a scalar or
                                           one value a row; NULL: 1 */
    const double *max;                  /* log-sum-exp only: maxima of the whole rows, of which the
                                           logits are a part (none greater), or NULL; one a row */
} xent_softmax_options;

XENT_API xent_status xent_softmax_options_init(xent_softmax_options *options, size_t size);

/* What a call is to compute; NULL: not wanted. */
typedef struct xent_log_sum_exp_outputs {
    size_t size;                 /* sizeof(xent_log_sum_exp_outputs) */
    const xent_tensor *lse;      /* logits' shape without the class axis */
    const xent_tensor *gradient; /* logits' shape: g softmax(x); may be logits itself */
    xent_row_state *state;       /* one a row, in C order; may be options.state itself */
    double *max;                 /* one a row, in C order; may be options.max itself; alone: nothing else is
                                    computed */
    xent_row_sum *sum;           /* one a row, in C order */
} xent_log_sum_exp_outputs;

/* log sum_c exp(x_c) over the class axis.
 *
 * logits: any shape with a class axis (a 0-dim logits is a row of one class).
 * C = 0 is legal: -inf. All -inf: -inf; any +inf: +inf; NaN: NaN; the gradient of
 * such a row is NaN. Error: lse within 2 ulp of the larger of |max| and
 * log1p(rest); gradient within 4 ulp, at any C. */
XENT_API xent_status xent_log_sum_exp(const xent_tensor *logits, const xent_softmax_options *options,
                                      const xent_log_sum_exp_outputs *outputs, xent_error *error);

/* softmax: p_j = exp(x_j - lse), into output (logits' shape and dtype, may be logits
 * itself). A row with +inf, with NaN or of only -inf is NaN. Error: 4 ulp at any C.
 * options->output_gradient must be NULL. */
XENT_API xent_status xent_softmax(const xent_tensor *logits, const xent_softmax_options *options,
                                  const xent_tensor *output, xent_error *error);

/* Backward of softmax: gradient_j = p_j (g_j - sum_c p_c g_c), from the forward output
 * p and the incoming gradient g, all of one shape. gradient may be g or p itself.
 * Error: relative to the largest term. options: axis, execution. */
XENT_API xent_status xent_softmax_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                           const xent_softmax_options *options, const xent_tensor *gradient,
                                           xent_error *error);

/* log-softmax: x_j - lse, formed as -((max - x_j) + log1p(rest)), whose terms have one
 * sign. Otherwise as xent_softmax. Error: 2 ulp at any C. */
XENT_API xent_status xent_log_softmax(const xent_tensor *logits, const xent_softmax_options *options,
                                      const xent_tensor *output, xent_error *error);

/* Backward of log-softmax: gradient_j = g_j - exp(output_j) sum_c g_c. As
 * xent_softmax_backward. */
XENT_API xent_status xent_log_softmax_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                               const xent_softmax_options *options, const xent_tensor *gradient,
                                               xent_error *error);

/* ---- Cross-entropy and NLL ------------------------------------------------ */

typedef enum xent_divisor {
    XENT_DIVISOR_WEIGHTS = 0, /* the sum of w_y r over the rows that are not ignored; of r for
                                 probability targets */
    XENT_DIVISOR_ROWS,        /* their number */
    XENT_DIVISOR_GIVEN        /* options.divisor, for example of a whole batch of micro-batches */
} xent_divisor;

typedef struct xent_cross_entropy_options {
    size_t size;
    const xent_execution *execution;
    int32_t axis;                       /* XENT_AXIS_DEFAULT */
    xent_reduction reduction;           /* what the gradient is the gradient of; MEAN */
    int64_t ignore_index;               /* -100; compared before the range check */
    const xent_tensor *weight;          /* class weights w (C); NULL: ones */
    const xent_tensor *output_gradient; /* the incoming gradient: a scalar, or with
                                           XENT_REDUCTION_NONE also one value a row; NULL: 1 */
    const xent_row_state *state;        /* saved row states in C order, or NULL */
    double label_smoothing;             /* e in [0, 1]; 0 */
    /* Beyond PyTorch: */
    const xent_tensor *row_weight;      /* r, one a row, multiplies the row's loss; NULL: ones */
    xent_divisor divisor_kind;          /* what the mean divides by; XENT_DIVISOR_WEIGHTS */
    double divisor;                     /* of XENT_DIVISOR_GIVEN */
    int32_t empty_mean_is_zero;         /* mean of no row: NaN (0, as PyTorch), or 0 (1) */
    int32_t report_non_finite;          /* 1: a row whose loss is not finite (the first) is
                                           XENT_ERROR_NON_FINITE; all outputs are written */
    double z_loss;                      /* z: each row adds r z lse^2; 0 */
    double softcap;                     /* cap > 0: logits x become cap tanh(x / cap), but -inf stays; 0: none */
    double focal_gamma;                 /* gamma > 0: the loss becomes w_y (1 - p_y)^gamma log(1 / p_y); 0 */
    int64_t class_offset;               /* slices of a row, see below; 0 */
    int64_t class_count;                /* 0: logits hold all classes */
} xent_cross_entropy_options;

XENT_API xent_status xent_cross_entropy_options_init(xent_cross_entropy_options *options, size_t size);

/* What a call is to compute; NULL: not wanted. One pass serves all. */
typedef struct xent_cross_entropy_outputs {
    size_t size;                 /* sizeof(xent_cross_entropy_outputs) */
    const xent_tensor *loss;     /* one a row, unreduced */
    double *sum;                 /* of the row losses */
    double *divisor;             /* what the mean divides by */
    double *mean;                /* sum / divisor */
    const xent_tensor *gradient; /* logits' shape and dtype; may be logits itself, or
                                    probability targets, whatever else is wanted */
    /* Of cross-entropy only: */
    const xent_tensor *lse;      /* one a row */
    xent_row_state *state;       /* one a row, in C order; may be options.state itself */
    const xent_tensor *target_gradient; /* in probability targets, of their shape and dtype; may
                                            lie over no input */
    const xent_tensor *z_loss;   /* one a row: r z lse^2, a part of the loss */
    const xent_tensor *entropy;  /* one a row: of softmax(x), of no class 0 */
    const xent_tensor *argmax;   /* one a row, i64 or i32: the first of the greatest logits, or of the NaNs;
                                    -1 for ignored rows */
    const xent_tensor *correct;  /* one a row, u8: whether the target is the argmax */
    int64_t *correct_count;      /* rows where it is */
    const xent_tensor *target_logit; /* one a row: x_y, -inf if it is not here */
} xent_cross_entropy_outputs;

/* Cross-entropy: loss = w_y (lse - x_y), and its gradient w_y (p_j - [j = y]), times
 * 1 / divisor (MEAN), 1 (SUM) or the row's incoming gradient (NONE).
 *
 * logits: (C), (N, C) or (N, C, d1 ... dk), the class axis being 1, or 0 for (C), or
 *   options->axis. target: class indices of logits' shape without the class axis, or
 *   probabilities t of logits' shape; which of them, its dtype tells.
 * Index targets. One equal to ignore_index: loss 0, gradient 0, whatever the row holds; lse
 *   and state of such a row are {-inf, -1}'s. One outside [0, C): XENT_ERROR_TARGET with
 *   row and value. With label smoothing e:
 *     loss = (1 - e) w_y (lse - x_y) + (e / C) sum_c w_c (lse - x_c)
 *   where a term with the factor 0 is not formed at all.
 * Probability targets. t' = (1 - e) t + e / C, loss = sum_c w_c t'_c (lse - x_c). They are not
 *   checked, ignore_index does not apply, and the mean divides by the number of rows. The
 *   gradient in t is (1 - e) w_c (lse - x_c).
 * All rows ignored, or an empty batch: sum 0, mean NaN, gradient 0. Total weight 0
 *   otherwise: mean and gradient NaN. (As PyTorch.)
 * z-loss: added to the loss of a row that is not ignored, not weighted by class; in the mean it is
 *   divided by the number of such rows. Focal loss goes with index targets without smoothing.
 * The loss never vanishes: it is (max - x_y) + log1p(rest), and the target's gradient
 *   -rest / (1 + rest) where the target attains the max. Logits (20, 0), target 0: loss
 *   2.0611536e-9, gradient -2.0611536e-9.
 * Error (ulp of the type computed in): loss 2 ulp, gradient 4 ulp of the row's, before
 *   weight and reduction, which add one rounding (f64: one each); f64: 3 and 5. Terms of both signs (smoothing,
 *   probability targets, z-loss, focal loss): within 12 ulp of the largest, focal loss within
 *   8 + 4 gamma where that is more; softcap: the logits
 *   are within 3 ulp of the cap, and the rest follows. (An unweighted
 *   loss that overflows is inf, whatever the weight. Where scale / (1 + rest) is below 2^-78,
 *   scale being all that multiplies the gradient, an f32 gradient is within 2^-101 instead.)
 *   sum and divisor: the exact sum of the row losses, as doubles, rounded once, so that neither
 *   their order nor the number of rows matters.
 * Slices. Where each of several calls has some of the classes of every row, class_count is the
 *   number of all classes, class_offset that of the first one here, weight has class_count
 *   elements, and targets are checked against it. Such a call gives state, target_logit, and,
 *   with the merged states of all slices in options->state, the gradient; smoothing, probability
 *   targets, focal loss and the losses are not to be had of it (XENT_ERROR_VALUE):
 *   xent_row_state_finish gives these. */
XENT_API xent_status xent_cross_entropy(const xent_tensor *logits, const xent_tensor *target,
                                        const xent_cross_entropy_options *options,
                                        const xent_cross_entropy_outputs *outputs, xent_error *error);

/* NLL: loss = -w_y x_y of log-probabilities x, and its gradient: -w_y at the target, 0
 * elsewhere, times the reduction's factor. Everything else as xent_cross_entropy;
 * what its options and outputs have of cross-entropy's own must be left alone. gradient may be
 * log_probabilities itself. The loss is exact but for
 * the product's rounding. */
XENT_API xent_status xent_nll(const xent_tensor *log_probabilities, const xent_tensor *target,
                              const xent_cross_entropy_options *options,
                              const xent_cross_entropy_outputs *outputs, xent_error *error);

/* Merges row states, pair by pair: of slices a and b of the same rows into those of both. merged
 * may be a or b. The neutral state is {-INFINITY, -1}. Within 4 ulp of double of what the
 * states given stand for. XENT_ERROR_NULL. */
XENT_API xent_status xent_row_state_merge(size_t rows, const xent_row_state *a, const xent_row_state *b,
                                          xent_row_state *merged, const xent_execution *execution);

/* Log-sum-exp and unweighted loss (NULL: not wanted) of row states; target_logits: x_y of each row,
 * needed for the loss. Within 2 ulp of double. XENT_ERROR_NULL. */
XENT_API xent_status xent_row_state_finish(size_t rows, const xent_row_state *states, const double *target_logits,
                                           double *lse, double *loss, const xent_execution *execution);

/* Rows in parts, in two phases, with the bits of the whole row: each part's maxima by
 * xent_log_sum_exp's output max; their maximum given back as options.max for the output sum; these
 * merged; and finished to states. dtype: of the logits. merged may be a or b.
 * XENT_ERROR_NULL, XENT_ERROR_DTYPE; XENT_ERROR_VALUE with the row if the maxima differ. */
XENT_API xent_status xent_row_sum_merge(size_t rows, const xent_row_sum *a, const xent_row_sum *b,
                                        xent_row_sum *merged, xent_error *error);
XENT_API xent_status xent_row_sum_finish(size_t rows, xent_dtype dtype, const xent_row_sum *sums, xent_row_state *states,
                                         const xent_execution *execution);

/* ---- Sigmoid and log-sigmoid ---------------------------------------------- */

typedef struct xent_elementwise_options {
    size_t size;
    const xent_execution *execution;
} xent_elementwise_options;

XENT_API xent_status xent_elementwise_options_init(xent_elementwise_options *options, size_t size);

/* sigmoid: 1 / (1 + exp(-x)), any shape; output may be input itself. Error: 2.5 ulp. */
XENT_API xent_status xent_sigmoid(const xent_tensor *input, const xent_elementwise_options *options,
                                  const xent_tensor *output, xent_error *error);

/* Backward of sigmoid, from its output s and the incoming gradient g: g s (1 - s).
 * gradient may be s or g itself. Error: 3 ulp. */
XENT_API xent_status xent_sigmoid_backward(const xent_tensor *output, const xent_tensor *output_gradient,
                                           const xent_elementwise_options *options,
                                           const xent_tensor *gradient, xent_error *error);

/* log-sigmoid: min(x, 0) - log1p(exp(-|x|)). -inf: -inf; +inf: 0. output may be input
 * itself. Error: 2 ulp. */
XENT_API xent_status xent_log_sigmoid(const xent_tensor *input, const xent_elementwise_options *options,
                                      const xent_tensor *output, xent_error *error);

/* Backward of log-sigmoid, from its input x and the incoming gradient g: g sigmoid(-x).
 * gradient may be x or g itself. Error: 3 ulp. */
XENT_API xent_status xent_log_sigmoid_backward(const xent_tensor *input, const xent_tensor *output_gradient,
                                               const xent_elementwise_options *options,
                                               const xent_tensor *gradient, xent_error *error);

/* ---- Binary cross-entropy -------------------------------------------------- */

typedef struct xent_bce_options {
    size_t size;
    const xent_execution *execution;
    xent_reduction reduction;           /* what the gradients are the gradients of; MEAN */
    const xent_tensor *weight;          /* broadcasts onto the input; NULL: ones */
    const xent_tensor *pos_weight;      /* broadcasts onto the input; with logits only; NULL: ones */
    const xent_tensor *output_gradient; /* a scalar, or with XENT_REDUCTION_NONE also of the
                                           input's shape; NULL: 1 */
    /* Beyond PyTorch: */
    double label_smoothing;             /* e in [0, 1]: the target becomes (1 - e) y + e / 2; 0 */
    double focal_gamma;                 /* with logits: gamma > 0 makes the loss focal; 0 */
    double focal_alpha;                 /* of the focal loss, in [0, 1]; -1: none */
    xent_divisor divisor_kind;          /* WEIGHTS, as PyTorch, and ROWS: the number of elements; GIVEN: divisor */
    double divisor;
    int32_t empty_mean_is_zero;         /* mean of no element: NaN (0, as PyTorch), or 0 (1) */
    int32_t report_non_finite;          /* 1: an element whose loss is not finite (the first) is
                                           XENT_ERROR_NON_FINITE; all outputs are written */
} xent_bce_options;

XENT_API xent_status xent_bce_options_init(xent_bce_options *options, size_t size);

/* What a call is to compute; NULL: not wanted. */
typedef struct xent_bce_outputs {
    size_t size;                        /* sizeof(xent_bce_outputs) */
    const xent_tensor *loss;            /* one an element, unreduced */
    double *sum;                        /* of the losses */
    double *divisor;                    /* the number of elements, weights or not, or the given one */
    double *mean;                       /* sum / divisor; NaN if there is none */
    const xent_tensor *gradient;        /* in the input; may be the input itself, or the target */
    const xent_tensor *target_gradient; /* in the target; may be the target itself, if gradient is not */
} xent_bce_outputs;

/* Binary cross-entropy of probabilities:
 *   loss = -w (y max(log p, -100) + (1 - y) max(log1p(-p), -100)),
 *   gradient in p: w (p - y) / max((1 - p) p, 1e-12), in y: w (log1p(-p) - log p).
 *
 * input p and target y: one shape. p or y outside [0, 1], or NaN:
 * XENT_ERROR_PROBABILITY with the element (the first) and the value. This check runs in the
 * same pass as the computation, each block of 1024 elements before it is written: it is the one
 * error that can leave blocks of loss and gradients written, earlier ones, and with parallel_for
 * also later ones (sum, divisor and mean are not). Error: loss within 4 ulp of the larger of its terms, gradient in p
 * within 4 ulp, in y within 3 ulp of the larger of its terms. */
XENT_API xent_status xent_bce(const xent_tensor *input, const xent_tensor *target,
                              const xent_bce_options *options, const xent_bce_outputs *outputs,
                              xent_error *error);

/* Binary cross-entropy of logits, sp(x) = log(1 + exp(x)), s the sigmoid, P pos_weight:
 *   loss = w ((1 - y) sp(x) + P y sp(-x)),
 *   gradient in x: w ((1 - y) s(x) - P y s(-x)), in y: w (P sp(-x) - sp(x)).
 *
 * Focal loss: f (1 - p_t)^gamma ce, where ce is the loss above with P = 1 (pos_weight must be NULL),
 * p_t = y s(x) + (1 - y) s(-x), and f = w, with an alpha w (alpha y + (1 - alpha)(1 - y)).
 *
 * input x and target y: one shape; no range check on y. Nothing cancels and nothing
 * vanishes where y is 0 or 1: x = 20, y = 1 has loss and -gradient 2.0611536e-9. Error: loss
 * and gradients within 5 ulp of the larger of their terms; focal: 8 + 4 gamma.
 * (An unweighted loss that overflows is inf, whatever the weight.) */
XENT_API xent_status xent_bce_with_logits(const xent_tensor *input, const xent_tensor *target,
                                          const xent_bce_options *options, const xent_bce_outputs *outputs,
                                          xent_error *error);

#ifdef __cplusplus
}
#endif

#endif
