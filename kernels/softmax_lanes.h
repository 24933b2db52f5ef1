/* Log-sum-exp, softmax, log-softmax and cross-entropy with the rows in the lanes: strided classes, and rows of few classes. See
 * softmax.h. */
#ifndef XENT_KERNELS_SOFTMAX_LANES_H
#define XENT_KERNELS_SOFTMAX_LANES_H

#include "lanes.h"
#include "rows.h"

/* The sums of rows of many classes: apart, so that what these loops need is not set up for few. */
static __attribute__((noinline)) void lanes_whole(const struct lane_args *a, size_t classes, int vectors, size_t lanes, wide sum[GROUP],
                                                  struct sum_notes notes[GROUP])
{
    if (lanes != VEC_WIDTH) lanes_sum(SUM_EXP, a, classes, 1, lanes, sum, notes);
    else lanes_sum(SUM_EXP, a, classes, vectors, VEC_WIDTH, sum, notes);
}

/* Those but for the maxima. kept: exponentials were, in a->x2. */
static __attribute__((noinline)) void lanes_others(const struct lane_args *a, int kept, size_t classes, int vectors, size_t lanes,
                                                   wide sum[GROUP], struct sum_notes notes[GROUP])
{
    if (lanes != VEC_WIDTH && kept) lanes_sum(SUM_KEPT_BUT_MAX, a, classes, 1, lanes, sum, notes);
    else if (lanes != VEC_WIDTH) lanes_sum(SUM_EXP_BUT_MAX, a, classes, 1, lanes, sum, notes);
    else if (kept && vectors == 1 && classes <= TILE_CLASSES) lanes_sum_narrow(SUM_KEPT_BUT_MAX, a, classes, 1, VEC_WIDTH, sum, notes);
    else if (kept) lanes_sum(SUM_KEPT_BUT_MAX, a, classes, vectors, VEC_WIDTH, sum, notes);
    else lanes_sum(SUM_EXP_BUT_MAX, a, classes, vectors, VEC_WIDTH, sum, notes);
}

/* Of a vector of rows, v, whose whole sums are given: the others' where they are needed, and what the state is made of. a: as for
 * the whole sums; x: the rows, if exponentials were kept in a->store. */
static __attribute__((noinline)) void lanes_choose(const struct row_job *job, struct row_pass *pass, size_t first, const struct lane_args *a,
                                                   const struct lane_view *x, int v, size_t lanes, wide whole)
{
    struct row_sums found[VEC_WIDTH];
    struct lane_args own = *a;
    total totals[VEC_WIDTH];
    real top[VEC_WIDTH];
    int left = 0;
    own.row += v;
    own.bins += v * VEC_WIDTH;
    own.x.data += v * own.x.vector_step;
    if (x) {
        own.x2 = (struct lane_view){a->store.data + v * a->store.vector_step, a->store.stride, 0};
        own.x = (struct lane_view){x->data + v * x->vector_step, x->stride, 0};
    }
    wide_store_total(totals, whole);
    vec_store(top, exp_scaled(own.row->max, own.row->exp));
    for (int w = 0; w < VEC_WIDTH; w++) {
        found[w] = (struct row_sums){.whole = totals[w], .others = totals[w]};
        if (job->sums) found[w].whole_bins = own.bins[w];
        left |= job->sums || !row_is_spread(totals[w], top[w], job->classes);
    }
    if (left) {
        wide sum[GROUP];
        struct sum_notes notes[GROUP];
        real nowhere[VEC_WIDTH];
        double ties[VEC_WIDTH];
        own.store = (struct lane_view){nowhere, 0, 0};
        lanes_others(&own, x != NULL, job->classes, 1, lanes, sum, notes);
        wide_store_total(totals, sum[0]);
        wide_store(ties, wide_from_int(notes[0].ties));
        for (int w = 0; w < VEC_WIDTH; w++) {
            found[w].others = totals[w];
            found[w].ties = ties[w];
            if (job->sums) found[w].others_bins = own.bins[w];
        }
    }
    for (int w = 0; w < VEC_WIDTH; w++) take_sums(job, pass, first + (size_t)(v * VEC_WIDTH + w), &found[w], top[w]);
}

/* Row i of a view. */
MATH real *lane_row(struct lane_view view, size_t i)
{
    return view.data + (ptrdiff_t)(i / VEC_WIDTH) * view.vector_step + i % VEC_WIDTH;
}

/* Up to so many classes, each is compared with the targets of a vector of rows at once: cheaper than one row after the other, whose gradients'
 * stores all that reads them again as vectors would wait for (2 classes 10 to 15 %, 10 classes 3 to 6 %). With eight lanes it does not pay. */
#define FEW_CLASSES (VEC_WIDTH == 16 ? 16 : 0)

/* The targets of a vector of rows, of which count exist; the others have none. */
MATH vec lanes_targets(const int64_t *target, size_t count)
{
    real lanes[VEC_WIDTH];
    if (count >= VEC_WIDTH)
        for (int w = 0; w < VEC_WIDTH; w++) lanes[w] = (real)target[w];
    else
        for (size_t w = 0; w < VEC_WIDTH; w++) lanes[w] = w < count ? (real)target[w] : (real)XENT_NO_TARGET;
    return vec_load(lanes);
}

MATH void lanes_target_logits(const struct row_job *job, struct row_pass *pass, size_t first, size_t count, struct lane_view x, const int vectors,
                              const size_t lanes)
{
    if (job->classes <= FEW_CLASSES) {
        vec target[GROUP], logit[GROUP], at = vec_set(0);
        UNROLL for (int v = 0; v < vectors; v++) {
            target[v] = lanes_targets(job->target + first + v * VEC_WIDTH, count - (size_t)(v * VEC_WIDTH));
            logit[v] = vec_set((real)-INFINITY);
        }
        for (size_t j = 0; j < job->classes; j++, at = vec_add(at, vec_set(1)), x.data += x.stride)
            UNROLL for (int v = 0; v < vectors; v++)
                logit[v] = vec_select(vec_equal(target[v], at), lanes_load(x, v * x.vector_step, lanes), logit[v]);
        UNROLL for (int v = 0; v < vectors; v++) vec_store(pass->target_logit + first + v * VEC_WIDTH, logit[v]);
        return;
    }
    for (size_t v = 0; v < count; v += VEC_WIDTH, x.data += x.vector_step)
        for (size_t i = v; i < count && i < v + VEC_WIDTH; i++) {
            int64_t y = job->target[first + i];
            pass->target_logit[first + i] = y >= 0 ? x.data[(ptrdiff_t)(i - v) + (ptrdiff_t)y * x.stride] : (real)-INFINITY;
        }
}

static void lanes_zero(struct lane_view view, size_t i, size_t classes)
{
    for (size_t j = 0; view.data && j < classes; j++) lane_row(view, i)[(ptrdiff_t)j * view.stride] = 0;
}

struct lane_outputs {
    struct lane_view out, out2; /* data NULL: not wanted */
};

/* The target's own gradient, and the zeros of ignored rows, over what was written to all. */
MATH void lanes_target_gradients(const struct row_job *job, const struct row_pass *pass, size_t first, size_t count,
                                 const struct lane_outputs *to, const int vectors, const size_t lanes)
{
    struct lane_view out = to->out;
    if (job->classes <= FEW_CLASSES && out.data) {
        vec target[GROUP], own[GROUP], at = vec_set(0);
        UNROLL for (int v = 0; v < vectors; v++) {
            target[v] = lanes_targets(job->target + first + v * VEC_WIDTH, count - (size_t)(v * VEC_WIDTH));
            own[v] = vec_load(pass->target_gradient + first + v * VEC_WIDTH);
        }
        for (size_t j = 0; j < job->classes; j++, at = vec_add(at, vec_set(1)), out.data += out.stride)
            UNROLL for (int v = 0; v < vectors; v++) {
                vec others = lanes_load(out, v * out.vector_step, lanes);
                lanes_store(out, v * out.vector_step, vec_select(vec_equal(target[v], at), own[v], others), lanes);
            }
    } else
        for (size_t v = 0; out.data && v < count; v += VEC_WIDTH, out.data += out.vector_step)
            for (size_t i = v; i < count && i < v + VEC_WIDTH; i++) {
                int64_t y = job->target[first + i];
                if (y >= 0) out.data[(ptrdiff_t)(i - v) + (ptrdiff_t)y * out.stride] = pass->target_gradient[first + i];
            }
    for (size_t i = 0; i < count && !job->all_have_targets; i++)
        if (job->target[first + i] == XENT_NO_TARGET) {
            lanes_zero(to->out, i, job->classes);
            lanes_zero(to->out2, i, job->classes);
        }
}

/* vectors whole vectors of rows from row first on, or one with the given number of lanes. out
 * may be x. */
MATH void softmax_lanes(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                        const struct lane_outputs *to, const int vectors, const size_t lanes, enum write_term write, int with_target)
{
    const int options = vectors == 1 && lanes == VEC_WIDTH && job->options;
    const size_t classes = job->classes;
    const int many = classes > SPREAD_CLASSES || job->sums; /* parts of rows may be of a longer one */
    const int keep = write == WRITE_SOFTMAX && to->out.data && !job->have_state && !job->options && (!many || to->out.data != x.data);
    /* options come with whole single vectors only: see rows_are_direct */
    int want_entropy = options && job->options->want_entropy, want_gap = options && wants_gap(job, with_target);
    real nowhere[VEC_WIDTH];
    struct row_lanes row[GROUP];
    struct row_target target = target_of(job);
    struct row_view weights = weights_of(job);
    struct bins bins[GROUP * VEC_WIDTH];
    struct lane_args a = {x, x2, &weights, {nowhere, 0, 0}, row, bins, &target};
    const size_t rows = job->rows - first < (size_t)vectors * lanes ? job->rows - first : (size_t)vectors * lanes;
    vec max[GROUP];
    wide sum[GROUP];
    struct sum_notes notes[GROUP];
    if (with_target) lanes_target_logits(job, pass, first, rows, x, vectors, lanes);
#define SLOT(v) (first + (size_t)(v) * VEC_WIDTH)
    if (keep) a.store = to->out;
    if (job->have_state || job->have_max)
        UNROLL for (int v = 0; v < vectors; v++) max[v] = vec_load_double(job->max + SLOT(v));
    else lanes_max(x, classes, vectors, lanes, max);
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v].exp = exp_row_of(max[v]);
        row[v].max = max[v];
        vec_store_double(job->max + SLOT(v), max[v]);
    }
    if (want_gap) {
        lanes_sum_any(SUM_GAP, &a, classes, sum);
        wide_store_total(pass->gap + first, sum[0]);
    }
    if (want_gap && x2.data) {
        lanes_sum_any(SUM_MASS, &a, classes, sum);
        wide_store_total(pass->mass + first, sum[0]);
    }
    if (want_entropy) {
        lanes_sum_any(SUM_ENTROPY, &a, classes, sum);
        wide_store_total(pass->entropy + first, sum[0]);
    }
    if (!job->have_state && !job->max_only && many) {
        lanes_whole(&a, classes, vectors, lanes, sum, notes);
        for (int v = 0; v < vectors; v++) lanes_choose(job, pass, first, &a, keep ? &x : NULL, v, lanes, sum[v]);
    } else if (!job->have_state && !job->max_only) {
        if (classes - 1 < TILE_CLASSES / (size_t)vectors) lanes_sum_narrow(SUM_EXP_BUT_MAX, &a, classes, vectors, lanes, sum, notes);
        else lanes_others(&a, 0, classes, vectors, lanes, sum, notes);
        UNROLL for (int v = 0; v < vectors; v++) {
            wide_store_total(pass->total + SLOT(v), sum[v]);
            wide_store(pass->ties + SLOT(v), wide_from_int(notes[v].ties));
        }
    }
    finish_rows(job, pass, first, (size_t)vectors * VEC_WIDTH, job->want_log || write == WRITE_LOG_SOFTMAX,
                to->out.data && write == WRITE_SOFTMAX, with_target);
    if (!to->out.data && !to->out2.data) return;
    UNROLL for (int v = 0; v < vectors; v++) {
        row[v].lift = vec_load(pass->lift + SLOT(v));
        row[v].factor = vec_load(pass->factor + SLOT(v));
        row[v].offset = vec_load(pass->offset + SLOT(v));
        row[v].top = vec_load(pass->top + SLOT(v));
        row[v].peak = vec_load(pass->peak + SLOT(v));
        row[v].amount = vec_load(pass->target_amount + SLOT(v));
    }
    if (options && to->out2.data) lanes_write(WRITE_TARGET_GRADIENT, &a, to->out2, classes, vectors, lanes);
    UNROLL for (int v = 0; v < vectors; v++) row[v].amount = vec_load(pass->amount + SLOT(v));
#undef SLOT
    if (keep) {
        a.x = a.store;
        vec lift = vec_set(1);
        UNROLL for (int v = 0; v < vectors; v++) lift = vec_min(row[v].lift, lift);
        if (mask_any(vec_less(lift, vec_set(1)))) lanes_write(WRITE_LIFTED, &a, to->out, classes, vectors, lanes);
        else lanes_write(WRITE_SCALED, &a, to->out, classes, vectors, lanes);
    } else if (to->out.data) {
        if (write == WRITE_LOG_SOFTMAX) lanes_write(WRITE_LOG_SOFTMAX, &a, to->out, classes, vectors, lanes);
        else if (options) lanes_write(WRITE_SOFTMAX_LESS, &a, to->out, classes, vectors, lanes);
        else lanes_write(WRITE_SOFTMAX_LIFTED, &a, to->out, classes, vectors, lanes);
    }
    if (with_target) lanes_target_gradients(job, pass, first, rows, to, vectors, lanes);
}

/* The sizes, of which each is compiled once. */
static void softmax_group(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                          const struct lane_outputs *to, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, x2, to, GROUP, VEC_WIDTH, write, with_target);
}

static void softmax_vector(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                           const struct lane_outputs *to, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, x2, to, 1, VEC_WIDTH, write, with_target);
}

static void softmax_partial(struct row_job *job, struct row_pass *pass, size_t first, struct lane_view x, struct lane_view x2,
                            const struct lane_outputs *to, size_t lanes, enum write_term write, int with_target)
{
    softmax_lanes(job, pass, first, x, x2, to, 1, lanes, write, with_target);
}

MATH struct lane_view positions_of(const struct row_tensor *tensor, size_t i)
{
    if (!tensor->data) return (struct lane_view){NULL, 0, 0};
    return (struct lane_view){(real *)tensor->data + tensor->row[i], tensor->class_stride, VEC_WIDTH};
}

/* Positions next to each other in memory, of this precision. */
static void softmax_direct(struct row_job *job, struct row_pass *pass, enum write_term write, int with_target)
{
    for (size_t i = 0, next; i < job->rows; i = next) {
        size_t left = job->rows - i;
        struct lane_view x = positions_of(&job->in, i), x2 = positions_of(&job->in2, i);
        struct lane_outputs to = {positions_of(&job->out, i), positions_of(&job->out2, i)};
        if (left >= GROUP * VEC_WIDTH) {
            next = i + GROUP * VEC_WIDTH;
            softmax_group(job, pass, i, x, x2, &to, write, with_target);
        } else if (left >= VEC_WIDTH) {
            next = i + VEC_WIDTH;
            softmax_vector(job, pass, i, x, x2, &to, write, with_target);
        } else {
            next = job->rows;
            softmax_partial(job, pass, i, x, x2, &to, left, write, with_target);
        }
    }
}

/* Rows anywhere, of at most TILE_CLASSES classes, through tiles: a vector of rows each. Returns
 * the number of rows taken, which is more than a vector's where their tiles take no more room. Apart, so that its tiles do
 * not stand on the stack of the ways along. */
static __attribute__((noinline)) size_t softmax_tiled(struct row_job *job, struct row_pass *pass, size_t first, enum write_term write,
                            int with_target)
{
    real tile[TILE_CLASSES * VEC_WIDTH], tile2[TILE_CLASSES * VEC_WIDTH], tile3[TILE_CLASSES * VEC_WIDTH];
    const size_t left = job->rows - first, size = job->classes * VEC_WIDTH;
    const int group = left >= GROUP * VEC_WIDTH && job->classes <= TILE_CLASSES / GROUP && !job->options;
    const size_t count = group ? GROUP * VEC_WIDTH : left < VEC_WIDTH ? left : VEC_WIDTH;
    struct lane_view none = {NULL, 0, 0}, x = {tile, VEC_WIDTH, (ptrdiff_t)size}, x2 = none;
    struct lane_outputs to = {job->out.data ? x : none, none};
    if (job->out2.data) to.out2 = (struct lane_view){tile3, VEC_WIDTH, VEC_WIDTH};
    for (size_t i = 0; i < count; i += VEC_WIDTH)
        tile_read(&job->in, first + i, group ? VEC_WIDTH : count, job->classes,
                  job->options ? job->options->softcap : 0.0, tile + i / VEC_WIDTH * size);
    if (job->in2.data) {
        tile_read(&job->in2, first, count, job->classes, 0.0, tile2);
        x2 = (struct lane_view){tile2, VEC_WIDTH, VEC_WIDTH};
    }
    if (group) softmax_group(job, pass, first, x, x2, &to, write, with_target);
    else softmax_vector(job, pass, first, x, x2, &to, write, with_target);
    for (size_t i = 0; job->out.data && i < count; i += VEC_WIDTH)
        tile_write(&job->out, first + i, group ? VEC_WIDTH : count, job->classes, tile + i / VEC_WIDTH * size);
    if (job->out2.data) tile_write(&job->out2, first, count, job->classes, tile3);
    return count;
}

/* Whether the lanes can take positions from where they lie. */
MATH int rows_are_direct(const struct row_job *job)
{
    const struct row_tensor *tensors[] = {&job->in, &job->in2, &job->out, &job->out2};
    if (!job->unit_rows || job->want_argmax || job->options) return 0;
    for (int t = 0; t < 4; t++)
        if (tensors[t]->data && tensors[t]->dtype != REAL_DTYPE) return 0;
    return 1;
}

#endif
