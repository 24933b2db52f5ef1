/* Log-sum-exp, softmax, log-softmax and cross-entropy of positions next to each other, whose classes are strided: up to a page of each
 * class at a time (struct page_job), in three steps, between which the rows go through the dispatcher as ever.
 *
 * Where classes are as far apart as pages are, a page costs 0.2 us on a Zen 4, however little of it is read: 64 positions of 32000 classes
 * took 1.8 ns a logit, 1024 take 0.5. So the rows' sums, maxima and bins lie in memory (struct page_room), and go
 * through the classes together.
 *
 * The sums are of the very tree of along.h, whose leaves, the virtual lanes of a block, are completed one after the
 * other, of eight classes each, 32 apart, and in such an order that each is added to what came just before. Four classes at a time: of eight, whose
 * exponentials are kept, the cache would lose some, for those of the same lane as a rule share its sets. */
#ifndef XENT_KERNELS_SOFTMAX_PAGES_H
#define XENT_KERNELS_SOFTMAX_PAGES_H

#include "along.h"
#include "rows.h"

/* doubles: one a row, where wide may be two. */
#ifdef XENT_REAL_F64
#define PAGE_REALS(reals) (reals).f64
typedef vec doubles;
#define doubles_set vec_set
#define doubles_add vec_add
#define doubles_sub vec_sub
#define doubles_mul vec_mul
#define doubles_div vec_div
#define doubles_store vec_store
#define doubles_from_vec(a) (a)
#else
#define PAGE_REALS(reals) (reals).f32
typedef wide doubles;
#define doubles_set wide_set
#define doubles_add wide_add
#define doubles_sub wide_sub
#define doubles_mul wide_mul
#define doubles_div wide_div
#define doubles_store wide_store
#define doubles_from_vec wide_from_vec
#endif

#define PAGE_VECTORS (XENT_PAGE_BYTES / sizeof(real) / VEC_WIDTH)
#define LEVELS 5 /* of the tree: LANES is 2^5 */

struct page_tree {
    vec half; /* of a leaf */
    wide level[LEVELS + 1]; /* what is complete of a block; in the last all of it */
    doubles bin[BINS];
};

/* A vector of rows, without its sums. */
struct page_rows {
    struct exp_row exp;
    vec max;
    veci ties;
    doubles shifter; /* of the bins of a sum without the maxima */
};

/* Of a page, or of half of one, whose sums with and without the maxima are taken at once: those without then lie in the second half. */
struct page_room {
    int large; /* of the job */
    int far;   /* likewise */
    struct page_rows of[PAGE_VECTORS];
    struct page_tree sum[PAGE_VECTORS];
};

/* Positions of a tensor: position i's class j is element i + j * stride. */
struct page_view {
    void *data;
    xent_dtype dtype;
    ptrdiff_t stride;
};

/* From class j of row i on, and then only each step-th class. */
MATH struct page_view page_part(struct page_view v, ptrdiff_t j, size_t i, ptrdiff_t step)
{
    v.data = (char *)v.data + (j * v.stride + (ptrdiff_t)i) * (ptrdiff_t)dtype_size(v.dtype);
    v.stride *= step;
    return v;
}
MATH void *page_class(struct page_view v, ptrdiff_t j) { return page_part(v, j, 0, 1).data; }
MATH vec page_load(struct page_view v, ptrdiff_t j) { return packed_load(page_class(v, j), v.dtype, 0); }

/* Where vector v begins. The last one may overlap the one before. */
MATH size_t page_at(size_t v, size_t rows) { return (v + 1) * VEC_WIDTH <= rows ? v * VEC_WIDTH : rows - VEC_WIDTH; }
MATH size_t page_vectors(size_t rows) { return (rows + VEC_WIDTH - 1) / VEC_WIDTH; }

/* -- Sums -- */

/* A block's sums into the bins of a vector of rows: bins_add, without its way out, behind which it would add zeros. */
MATH void page_bin(struct page_tree *tree, const doubles shifter)
{
#ifdef XENT_REAL_F64
    const doubles sums[] = {tree->level[LEVELS].high, tree->level[LEVELS].low};
#else
    const doubles sums[] = {tree->level[LEVELS]};
#endif
    UNROLL for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        doubles sum = sums[i], shift = shifter;
        UNROLL for (int b = 0; b < BINS - 1; b++) {
            doubles part = doubles_sub(doubles_add(sum, shift), shift);
            tree->bin[b] = doubles_add(tree->bin[b], part);
            sum = doubles_sub(sum, part);
            shift = doubles_mul(shift, doubles_set(0x1p-39));
        }
        tree->bin[BINS - 1] = doubles_add(tree->bin[BINS - 1], sum);
    }
}

/* Adds a leaf, the next one, to what came before. */
MATH void page_add(struct page_tree *tree, unsigned leaf, vec value)
{
    wide sum = wide_from_vec(value);
    int level = 0;
    for (; leaf >> level & 1; level++) sum = wide_add_finite(tree->level[level], sum);
    tree->level[level] = sum;
}

/* The sum of half a leaf, as tree_sum has it. */
MATH vec page_half(const vec term[HALF]) { return vec_add(vec_add(term[0], term[1]), vec_add(term[2], term[3])); }

/* Adds half a leaf to the other, and that to those before it once it is complete. */
MATH void page_add_half(struct page_tree *tree, const int second, const int last, unsigned leaf, vec value)
{
    if (second) value = vec_add(tree->half, value);
    if (last) page_add(tree, leaf, value);
    else tree->half = value;
}

/* All, by a guess at the maxima, which are noted; all but the maxima, which are counted; both; and both of rows of which some are shifted. */
enum page_term { PAGE_WHOLE, PAGE_OTHERS, PAGE_BOTH, PAGE_BOTH_SHIFTED };

/* count steps, up to four, of a leaf for a vector of rows. x, keep: at the rows' class of the first, and what is from one step to the next. */
MATH void page_steps(const enum page_term term, struct page_view x, struct page_view keep, const int second, const size_t count, const int last,
                     unsigned leaf, struct page_rows *of, struct page_tree *whole, struct page_tree *without)
{
    vec all[HALF], others[HALF], max = of->max;
    veci ties = of->ties;
    struct exp_row exp = of->exp;
    if (term != PAGE_BOTH_SHIFTED) exp.shift = vec_set(0);
    UNROLL for (size_t s = 0; s < HALF; s++) {
        all[s] = others[s] = vec_set(0);
        if (s >= count) continue;
        vec in = page_load(x, (ptrdiff_t)s);
        all[s] = exp_scaled(in, exp);
        if (keep.data) vec_store(page_class(keep, (ptrdiff_t)s), all[s]);
        if (term == PAGE_WHOLE) max = vec_max(in, max);
        else {
            mask is_max = vec_equal(in, max);
            ties = veci_count(ties, is_max);
            others[s] = vec_zero_where(is_max, all[s]);
        }
    }
    if (term == PAGE_WHOLE) of->max = max;
    else of->ties = ties;
    if (term != PAGE_OTHERS) page_add_half(whole, second, last, leaf, page_half(all));
    if (term != PAGE_WHOLE) page_add_half(without, second, last, leaf, page_half(others));
}

/* The lanes with their bits in reverse: those 16 apart one after the other. */
MATH size_t page_leaf(unsigned leaf)
{
    return (leaf & 1) << 4 | (leaf & 2) << 2 | (leaf & 4) | (leaf & 8) >> 2 | (leaf >> 4 & 1);
}

/* Whether a vector is a cache line. */
#define PAGE_LINES (sizeof(real) * VEC_WIDTH == 64)

/* Whether a page's classes are so far apart that nothing that is kept of them would stay in a cache. Where vectors are less than a cache line, that is worth
 * being kept nevertheless, unless there is little of it in each page: of whole pages, what is written past the caches takes them 1.4 to 2 times as long (Zen 3; up
 * to half a page 0.7 times). */
MATH int page_is_far(const struct page_job *job)
{
    const size_t item = dtype_size(job->dtype);
    const int keeps = !PAGE_LINES && job->out && job->dtype == REAL_DTYPE && job->rows * item > XENT_PAGE_BYTES / 2;
    return !keeps && xent_pages_are_far(job->classes, job->in_stride, item);
}

/* Whether a page costs little nevertheless. Not for vectors of less than a line: with AVX2 cross-entropy 4096x1000 takes 7 % more then. */
MATH int page_is_near_by(const struct page_job *job) { return PAGE_LINES && job->near_by; }

/* Blocks of so many bytes at most are fetched in the order of memory, while the one before is gone through: log-sum-exp 256x128256 28 % on a
 * Zen 4. So are, in large jobs, the places where exponentials are kept, and beyond the last class, where the next image is as a rule (64 images of 64x1000:
 * 30 %). Of others that are far apart the next half of a leaf is fetched: 1024x32000 25 %, 1000x32000 39 %. */
#define FETCH_BYTES (256 * 1024)

/* keep: where exp_scaled goes; data NULL: nowhere. */
MATH void page_sum(const enum page_term term, struct page_view x, struct page_view keep, size_t classes, size_t rows, struct page_room *room)
{
    struct page_rows *const of = room->of;
    struct page_tree *const whole = room->sum, *const without = term < PAGE_BOTH ? room->sum : room->sum + PAGE_VECTORS / 2;
    const size_t vectors = page_vectors(rows);
    const int by_block = rows * BLOCK * dtype_size(x.dtype) <= FETCH_BYTES, fetches = by_block || room->far;
    const int fetches_kept = keep.data && by_block && room->large;
    for (size_t v = 0; v < vectors; v++) {
        if (term == PAGE_WHOLE) of[v].max = vec_set((real)-INFINITY);
        else of[v].ties = veci_set(0);
        for (int b = 0; b < BINS; b++) whole[v].bin[b] = without[v].bin[b] = doubles_set(0.0);
    }
    for (size_t first = 0; first < classes; first += BLOCK) {
        const size_t count = block_count(classes, first);
        const int fetch_next = fetches && (first + 2 * BLOCK <= classes || (by_block && room->large));
        for (unsigned leaf = 0; leaf < LANES; leaf++) {
            const size_t lane = page_leaf(leaf), steps = lane < count ? (count - lane + LANES - 1) / LANES : 0;
            for (size_t v = 0; !steps && v < vectors; v++) {
                if (term != PAGE_OTHERS) page_add(&whole[v], leaf, vec_set(0));
                if (term != PAGE_WHOLE) page_add(&without[v], leaf, vec_set(0));
            }
            for (size_t s = 0; s < steps; s += HALF) {
                const ptrdiff_t at = (ptrdiff_t)(first + lane + s * LANES);
                const struct page_view from = page_part(x, at, 0, LANES), to = keep.data ? page_part(keep, at, 0, LANES) : keep;
                const size_t soon = by_block ? BLOCK + leaf * STEPS + s : s ? page_leaf(leaf + 1) : lane + HALF * LANES;
                const struct page_view next = page_part(x, (ptrdiff_t)(first + soon), 0, by_block ? 1 : LANES);
                const struct page_view next_kept = fetches_kept ? page_part(keep, (ptrdiff_t)(first + soon), 0, 1) : keep;
#define STEPS_OF(second, count, last)                                                                                 \
    for (size_t v = 0; v < vectors; v++) {                                                                            \
        const size_t i = page_at(v, rows);                                                                            \
        if (fetch_next)                                                                                               \
            UNROLL for (ptrdiff_t k = 0; k < HALF; k++) __builtin_prefetch(page_part(next, k, i, 1).data, 0, 2);      \
        if (keep.data && fetches_kept)                                                                                \
            UNROLL for (ptrdiff_t k = 0; k < HALF; k++) __builtin_prefetch(page_part(next_kept, k, i, 1).data, 1, 2); \
        page_steps(term, page_part(from, 0, i, 1), keep.data ? page_part(to, 0, i, 1) : keep, second, count,            \
                   last, leaf, &of[v], &whole[v], &without[v]);                                                       \
    }
                const size_t some = steps - s < HALF ? steps - s : HALF;
                if (steps == STEPS && !s) { STEPS_OF(0, HALF, 0) }
                else if (steps == STEPS) { STEPS_OF(1, HALF, 1) }
                else if (steps == HALF) { STEPS_OF(0, HALF, 1) } /* up to 128 classes: 5 to 12 % of 4096x100 */
                else if (steps == HALF - 1) { STEPS_OF(0, HALF - 1, 1) }
                else { STEPS_OF(s != 0, some, s + HALF >= steps) }
#undef STEPS_OF
            }
        }
        for (size_t v = 0; classes > BLOCK && v < vectors; v++) {
            if (term != PAGE_OTHERS) page_bin(&whole[v], doubles_set(BINS_WHOLE_SHIFTER));
            if (term != PAGE_WHOLE) page_bin(&without[v], of[v].shifter);
        }
    }
}

#define PAGE_SUM(name, term, type, keeps)                                                                                  \
    static __attribute__((noinline)) void name(struct page_view x, struct page_view keep, size_t classes, size_t rows,    \
                                               struct page_room *room)                                                    \
    {                                                                                                                     \
        x.dtype = type;                                                                                                   \
        keep.dtype = REAL_DTYPE;                                                                                          \
        if (!(keeps)) keep.data = NULL;                                                                                   \
        page_sum(term, x, keep, classes, rows, room);                                                                     \
    }
PAGE_SUM(page_others, PAGE_OTHERS, x.dtype, 0)
PAGE_SUM(page_both_shifted, PAGE_BOTH_SHIFTED, x.dtype, 0)

/* The two that are worth code of their own for what they read, and for keeping. */
#define PAGE_SUMS(name, term)                                                                                         \
    PAGE_SUM(name##_real, term, REAL_DTYPE, 0)                                                                        \
    PAGE_SUM(name##_kept, term, REAL_DTYPE, 1)                                                                        \
    PAGE_SUM(name##_half, term, x.dtype == XENT_BF16 ? XENT_BF16 : XENT_F16, 0)                                       \
    MATH void name(struct page_view x, struct page_view out, const int keep, size_t classes, size_t rows, struct page_room *room) \
    {                                                                                                                 \
        if (keep) name##_kept(x, out, classes, rows, room);                                                           \
        else if (dtype_is_half(x.dtype)) name##_half(x, out, classes, rows, room);                                    \
        else name##_real(x, out, classes, rows, room);                                                                \
    }
PAGE_SUMS(page_whole, PAGE_WHOLE)
PAGE_SUMS(page_both, PAGE_BOTH)
#undef PAGE_SUMS
#undef PAGE_SUM

/* Row maxima, NaN passed over. */
MATH void page_max_of(struct page_view x, size_t classes, size_t rows, struct page_rows *of)
{
    const size_t vectors = page_vectors(rows);
    for (size_t v = 0; v < vectors; v++) of[v].max = vec_set((real)-INFINITY);
    for (size_t j = 0, count; j < classes; j += count) {
        count = classes - j < 4 ? classes - j : 4;
        for (size_t v = 0; v < vectors; v++) {
            const struct page_view at = page_part(x, (ptrdiff_t)j, page_at(v, rows), 1);
            vec max = of[v].max;
            if (count == 4)
                UNROLL for (ptrdiff_t k = 0; k < 4; k++) max = vec_max(page_load(at, k), max);
            else
                for (ptrdiff_t k = 0; k < (ptrdiff_t)count; k++) max = vec_max(page_load(at, k), max);
            of[v].max = max;
        }
    }
}

static __attribute__((noinline)) void page_max_real(struct page_view x, size_t classes, size_t rows, struct page_rows *of)
{
    x.dtype = REAL_DTYPE;
    page_max_of(x, classes, rows, of);
}
static __attribute__((noinline)) void page_max_any(struct page_view x, size_t classes, size_t rows, struct page_rows *of)
{
    page_max_of(x, classes, rows, of);
}

/* The constants of guesses at the maxima, from the first classes. */
MATH void page_guess(struct page_view x, size_t rows, struct page_rows *of)
{
    for (size_t v = 0; v < page_vectors(rows); v++) {
        const struct page_view at = page_part(x, 0, page_at(v, rows), 1);
        vec max = page_load(at, 0);
        for (ptrdiff_t j = 1; j < 4; j++) max = vec_max(page_load(at, j), max);
        of[v].exp = exp_row_of(exp_row_rest(max));
    }
}

/* What follows from the maxima. */
struct page_found {
    int guessed; /* all guesses were right */
    int shifted; /* some rows are */
};

MATH struct page_found page_take_maxima(size_t rows, const int guess, struct page_rows *of)
{
    struct page_found found = {guess, 0};
    for (size_t v = 0; v < page_vectors(rows); v++) {
        vec unused, max = vec_add(of[v].max, vec_set(0)); /* a zero maximum is +0 */
        struct exp_row exp = exp_row_of(max);
        found.guessed = found.guessed && exp_row_same(exp, of[v].exp);
        found.shifted |= mask_any(vec_less(vec_set(0), vec_abs(exp.shift)));
        of[v].exp = exp;
        of[v].max = max;
        of[v].shifter = doubles_div(doubles_set(bins_shifter(1)), doubles_from_vec(exp_row_unit(max, exp, &unused)));
    }
    return found;
}

MATH void page_totals(const struct page_tree *of, size_t classes, total totals[VEC_WIDTH])
{
    double part[BINS][VEC_WIDTH];
    wide_store_total(totals, of->level[LEVELS]);
    if (classes <= BLOCK) return;
    for (int b = 0; b < BINS; b++) doubles_store(part[b], of->bin[b]);
    for (int w = 0; w < VEC_WIDTH; w++) {
        struct bins bins;
        for (int b = 0; b < BINS; b++) bins.part[b] = part[b][w];
        totals[w] = bins_total(&bins);
    }
}

/* The sums of row w of a vector, which is not shifted, and strided as it is. Apart, for its room. */
static __attribute__((noinline)) struct row_sums page_row(struct page_view x, size_t classes, const struct page_rows *of, size_t w)
{
    real chunks[CHUNKS][VEC_WIDTH], magic[VEC_WIDTH], floor[VEC_WIDTH], max[VEC_WIDTH];
    double shifter[VEC_WIDTH];
    total sums[STRETCH_BLOCKS];
    vec_store(magic, of->exp.magic);
    vec_store(floor, of->exp.floor);
    vec_store(max, of->max);
    doubles_store(shifter, of->shifter);
    const struct row_lanes row = {.exp = {vec_set(0), vec_set(magic[w]), vec_set(floor[w])}, .max = vec_set(max[w])};
    const struct row_view view = {x.data, x.dtype, x.stride, 0.0, 0};
    return along_exp_sum(&view, (struct kept){NULL, 0}, classes, &row, max[w], shifter[w], chunks, sums);
}

/* Classes from which on few rows of logits that nobody has trained yet are not spread, so that guesses pay, and, of pages that are far apart, hardly
 * any; and of how many rows one may be summed again on its own, rather than all of them: in pages that are far apart its classes take 0.2 us each on a Zen 4
 * (none may), 10 ns on a Zen 3 (log-sum-exp 1024x4000 0.6 times as long, 1024x8000 0.5); and where they are near by (an Emerald Rapids: log-sum-exp 1024x4000
 * 0.53 times as long, cross-entropy 0.72, 4096x1000 0.8 and 0.87). */
#define GUESS_CLASSES 512
#define GUESS_CLASSES_FAR (PAGE_LINES ? 4096 : 2048)
#define ALONE_OF 8
#define ALONE_OF_FAR (PAGE_LINES ? 2 * XENT_PAGE_ROWS : 64)
#define ALONE_OF_NEAR_BY 16

/* Whether exponentials are kept in the output: if they stay in a cache there, or take long, with four lanes. */
MATH int page_keeps(const struct page_job *job, int far)
{
    return job->out && job->out != job->in && !job->log && job->dtype == REAL_DTYPE && (!far || VEC_WIDTH <= 4);
}

MATH struct page_view page_in(const struct page_job *job, size_t first)
{
    return page_part((struct page_view){(void *)(uintptr_t)job->in, job->dtype, job->in_stride}, 0, first, 1);
}
MATH struct page_view page_out(const struct page_job *job, size_t first)
{
    const struct page_view out = {job->out, job->dtype, job->out_stride};
    return job->out ? page_part(out, 0, first, 1) : out;
}

/* The states of a vector of rows, from their sums. others, ties: of rows that are not spread. */
MATH void page_state(struct page_job *job, size_t at, const struct page_rows *of, const total whole[VEC_WIDTH], const total others[VEC_WIDTH],
                     const double ties[VEC_WIDTH])
{
    real top[VEC_WIDTH];
    total totals[VEC_WIDTH];
    double equal[VEC_WIDTH];
    vec_store(top, exp_scaled(of->max, of->exp));
    for (int w = 0; w < VEC_WIDTH; w++) {
        const int spread = row_is_spread(whole[w], top[w], job->classes);
        totals[w] = spread ? total_less(whole[w], top[w]) : others[w];
        equal[w] = spread ? 1.0 : ties[w];
    }
    vec_store_double(job->max + at, of->max);
    wide_store(job->rest + at, state_rest(wide_load_total(totals), wide_load(equal), row_inverse(of->max, of->exp)));
}

/* The states of the rows by guesses at their maxima. Returns whether these were right; if not, nothing is done. */
static __attribute__((noinline)) int page_guessed_states(struct page_job *job)
{
    struct page_room room;
    total whole[PAGE_VECTORS][VEC_WIDTH], others[VEC_WIDTH] = {0};
    double ties[VEC_WIDTH] = {0};
    uint8_t alone[PAGE_VECTORS][VEC_WIDTH]; /* rows that are not spread */
    const size_t rows = job->rows, classes = job->classes, vectors = page_vectors(rows);
    const struct page_view x = page_in(job, 0), out = page_out(job, 0);
    const int far = page_is_far(job), keep = page_keeps(job, far);
    const size_t alone_of = !far ? ALONE_OF : page_is_near_by(job) ? ALONE_OF_NEAR_BY : ALONE_OF_FAR;
    size_t left = 0;
    room.large = job->large;
    room.far = far;
    page_guess(x, rows, room.of);
    page_whole(x, out, keep, classes, rows, &room);
    const struct page_found found = page_take_maxima(rows, 1, room.of);
    if (!found.guessed || found.shifted) return 0;
    for (size_t v = 0; v < vectors; v++) {
        real top[VEC_WIDTH];
        vec_store(top, exp_scaled(room.of[v].max, room.of[v].exp));
        page_totals(&room.sum[v], classes, whole[v]);
        for (int w = 0; w < VEC_WIDTH; w++) left += alone[v][w] = !row_is_spread(whole[v][w], top[w], classes);
    }
    const int one_by_one = left <= rows / alone_of;
    if (left && !one_by_one) page_others(x, out, classes, rows, &room);
    for (size_t v = 0; v < vectors; v++) {
        const size_t at = page_at(v, rows);
        if (left && !one_by_one) {
            page_totals(&room.sum[v], classes, others);
            wide_store(ties, wide_from_int(room.of[v].ties));
        }
        for (size_t w = 0; one_by_one && w < VEC_WIDTH; w++) {
            if (!alone[v][w]) continue;
            struct row_sums row = page_row(page_part(x, 0, at + w, 1), classes, &room.of[v], w);
            others[w] = row.others;
            ties[w] = row.ties;
        }
        page_state(job, at, &room.of[v], whole[v], others, ties);
    }
    job->kept = keep;
    return 1;
}

/* The states of at most half a page of them, by their maxima. Returns whether exponentials are kept. */
static __attribute__((noinline)) int page_known_states(struct page_job *job, size_t first, size_t rows)
{
    struct page_room room;
    const size_t classes = job->classes;
    const struct page_view x = page_in(job, first), out = page_out(job, first);
    const int far = page_is_far(job), keep = page_keeps(job, far);
    room.large = job->large;
    room.far = far;
    (x.dtype == REAL_DTYPE ? page_max_real : page_max_any)(x, classes, rows, room.of);
    const int shifted = page_take_maxima(rows, 0, room.of).shifted;
    if (shifted) page_both_shifted(x, out, classes, rows, &room);
    else page_both(x, out, keep, classes, rows, &room);
    for (size_t v = 0; v < page_vectors(rows); v++) {
        total whole[VEC_WIDTH], others[VEC_WIDTH];
        double ties[VEC_WIDTH];
        page_totals(&room.sum[v], classes, whole);
        page_totals(&room.sum[PAGE_VECTORS / 2 + v], classes, others);
        wide_store(ties, wide_from_int(room.of[v].ties));
        page_state(job, first + page_at(v, rows), &room.of[v], whole, others, ties);
    }
    return keep && !shifted;
}

static void kernel_page_states(struct page_job *job)
{
    const int guess = job->classes >= (page_is_far(job) && !page_is_near_by(job) ? GUESS_CLASSES_FAR : GUESS_CLASSES);
    const size_t rows = job->rows, most = PAGE_VECTORS / 2 * VEC_WIDTH, half = page_vectors(rows) / 2 * VEC_WIDTH;
    if (guess && page_guessed_states(job)) return;
    job->kept = page_known_states(job, 0, rows <= most ? rows : half);
    if (rows > most) job->kept &= page_known_states(job, half, rows - half);
}

/* -- What follows from the states, for some of the rows -- */

/* Of the rows from first on, of which row is a job whose states are given. */
static void kernel_page_finish(struct page_job *job, size_t first, struct row_job *row)
{
    struct row_pass pass;
    const size_t slots = row->rows + VEC_WIDTH;
    const int softmax = job->out && !job->log;
    memset(pass.target_logit, 0, slots * sizeof *pass.target_logit);
    if (job->with_target) load_target_logits(row, &pass, 0, row->rows);
    finish_rows(row, &pass, 0, row->rows, row->want_log || job->log, softmax, job->with_target);
#define KEEP(name) memcpy(PAGE_REALS(job->name) + first, pass.name, row->rows * sizeof(real))
    if (softmax) {
        KEEP(lift);
        KEEP(factor);
        KEEP(top);
        KEEP(peak);
    } else if (job->out) KEEP(offset);
    if (softmax && job->with_target) {
        KEEP(target_gradient);
        memcpy(job->target + first, row->target, row->rows * sizeof *row->target);
    }
#undef KEEP
    if (job->with_target && !row->all_have_targets) ignore_rows(row);
}

/* -- Writing -- */

/* Classes that are written of a vector of rows before the next one's constants are loaded. Past the caches, a class at a time, where vectors are less
 * than a cache line: four half lines of as many pages wait for their other halves at a cost (Zen 3: 1.1 to 1.8 times as long). */
#define WRITE_CLASSES 4
#define STREAM_CLASSES (PAGE_LINES ? WRITE_CLASSES : 1)

MATH void page_write_classes(const enum write_term term, const vec in[WRITE_CLASSES], size_t count, struct page_view out, const struct row_lanes *row,
                             const int stream)
{
    struct row_lanes own = *row;
    if (term == WRITE_SOFTMAX) own.exp.shift = vec_set(0);
    for (size_t k = 0; k < count; k++) {
        vec value = write_value(term, in[k], in[k], in[k], &own, NULL);
        if (stream) vec_stream(page_class(out, (ptrdiff_t)k), value);
        else packed_store(page_class(out, (ptrdiff_t)k), out.dtype, 0, value);
    }
}

/* Where outputs go past the caches, logits of no more than half a page are fetched so many bytes ahead: 256x128256 26 %, 512x32000 18 %. Whole pages
 * would take 11 % longer. */
#define WRITE_AHEAD 16384

/* out may be x. */
MATH void page_write(const enum write_term term, struct page_view x, struct page_view out, size_t classes, size_t rows, const struct row_lanes *of,
                     const int stream)
{
    const size_t last = page_vectors(rows) - 1, end = page_at(last, rows), bytes = rows * dtype_size(x.dtype);
    const size_t step = stream ? STREAM_CLASSES : WRITE_CLASSES;
    const ptrdiff_t ahead = stream && bytes <= XENT_PAGE_BYTES / 2 ? (ptrdiff_t)(WRITE_AHEAD / bytes) : 0;
    for (size_t j = 0, count; j < classes; j += count) {
        vec in[WRITE_CLASSES], in_end[WRITE_CLASSES];
        const struct page_view from = page_part(x, (ptrdiff_t)j, 0, 1), to = page_part(out, (ptrdiff_t)j, 0, 1);
        count = classes - j < step ? classes - j : step;
#define LOAD(into, i, k) into[k] = page_load(page_part(from, 0, i, 1), (ptrdiff_t)(k))
#define WRITE(values, i, v, n) page_write_classes(term, values, n, page_part(to, 0, i, 1), &of[v], stream)
        for (size_t k = 0; k < count; k++) LOAD(in_end, end, k); /* before what it overlaps is written */
        for (size_t v = 0; v < last; v++)
            if (count == step) {
                UNROLL for (size_t k = 0; k < step; k++) {
                    LOAD(in, v * VEC_WIDTH, k);
                    if (stream && ahead) __builtin_prefetch(page_part(from, (ptrdiff_t)k + ahead, v * VEC_WIDTH, 1).data, 0, 2);
                }
                WRITE(in, v * VEC_WIDTH, v, step);
            } else {
                for (size_t k = 0; k < count; k++) LOAD(in, v * VEC_WIDTH, k);
                WRITE(in, v * VEC_WIDTH, v, count);
            }
        WRITE(in_end, end, last, count);
#undef WRITE
#undef LOAD
    }
}

#define PAGE_WRITE(name, term, from, into, stream)                                                                         \
    static __attribute__((noinline)) void name(struct page_view x, struct page_view out, size_t classes, size_t rows,      \
                                               const struct row_lanes *of)                                                 \
    {                                                                                                                      \
        x.dtype = from;                                                                                                    \
        out.dtype = into;                                                                                                  \
        page_write(term, x, out, classes, rows, of, stream);                                                               \
    }
PAGE_WRITE(page_write_scaled, WRITE_SCALED, REAL_DTYPE, REAL_DTYPE, 0)
PAGE_WRITE(page_write_softmax_real, WRITE_SOFTMAX, REAL_DTYPE, REAL_DTYPE, 0)
PAGE_WRITE(page_stream_softmax, WRITE_SOFTMAX, REAL_DTYPE, REAL_DTYPE, 1)
PAGE_WRITE(page_write_log_softmax_real, WRITE_LOG_SOFTMAX, REAL_DTYPE, REAL_DTYPE, 0)
PAGE_WRITE(page_stream_log_softmax, WRITE_LOG_SOFTMAX, REAL_DTYPE, REAL_DTYPE, 1)
PAGE_WRITE(page_write_softmax_bf16, WRITE_SOFTMAX, XENT_BF16, XENT_BF16, 0)
PAGE_WRITE(page_write_softmax_f16, WRITE_SOFTMAX, XENT_F16, XENT_F16, 0)
PAGE_WRITE(page_write_log_softmax_any, WRITE_LOG_SOFTMAX, x.dtype, out.dtype, 0)
PAGE_WRITE(page_write_lifted, WRITE_SOFTMAX_LIFTED, x.dtype, out.dtype, 0)
#undef PAGE_WRITE

MATH void page_write_softmax(struct page_view x, struct page_view out, const int stream, size_t classes, size_t rows, const struct row_lanes *of)
{
    if (stream) page_stream_softmax(x, out, classes, rows, of);
    else if (!dtype_is_half(x.dtype)) page_write_softmax_real(x, out, classes, rows, of);
    else if (x.dtype == XENT_BF16) page_write_softmax_bf16(x, out, classes, rows, of);
    else page_write_softmax_f16(x, out, classes, rows, of);
}
MATH void page_write_log_softmax(struct page_view x, struct page_view out, const int stream, size_t classes, size_t rows,
                                 const struct row_lanes *of)
{
    if (stream) page_stream_log_softmax(x, out, classes, rows, of);
    else if (x.dtype == REAL_DTYPE) page_write_log_softmax_real(x, out, classes, rows, of);
    else page_write_log_softmax_any(x, out, classes, rows, of);
}

/* Zeros for those rows of which row has a 1. */
static __attribute__((noinline)) void page_zero(struct page_view out, size_t classes, size_t rows, const real *row)
{
    for (size_t j = 0; j < classes; j++)
        for (size_t v = 0; v < page_vectors(rows); v++) {
            const struct page_view at = page_part(out, (ptrdiff_t)j, page_at(v, rows), 1);
            const mask zero = vec_equal(vec_load(row + page_at(v, rows)), vec_set(1));
            if (mask_any(zero)) packed_store(at.data, at.dtype, 0, vec_zero_where(zero, page_load(at, 0)));
        }
}

/* The constants of a vector of rows from row i on. */
MATH struct row_lanes page_row_lanes(const struct page_job *job, size_t i)
{
    struct row_lanes row = {.max = vec_load_double(job->max + i)};
    if (job->log) {
        row.offset = vec_load(PAGE_REALS(job->offset) + i);
        return row;
    }
    row.exp = exp_row_of(row.max);
    row.lift = vec_load(PAGE_REALS(job->lift) + i);
    row.factor = vec_load(PAGE_REALS(job->factor) + i);
    row.top = vec_load(PAGE_REALS(job->top) + i);
    row.peak = vec_load(PAGE_REALS(job->peak) + i);
    return row;
}

static void kernel_page_write(struct page_job *job)
{
    struct row_lanes of[PAGE_VECTORS];
    const size_t rows = job->rows, classes = job->classes;
    const struct page_view x = page_in(job, 0), out = page_out(job, 0);
    const int aligned = ((uintptr_t)out.data | (uintptr_t)out.stride * sizeof(real) | rows * sizeof(real)) % 64 == 0;
    const int stream = VEC_WIDTH > 1 && aligned && job->dtype == REAL_DTYPE && page_is_far(job);
    real zero[PAGE_VECTORS * VEC_WIDTH];
    int plain = 1; /* no row is shifted or lifted */
    int zeros = 0;
    for (size_t i = 0; job->with_target && i < rows; i++) {
        /* An ignored row: what is finite times 0. */
        const int ignored = job->target[i] == XENT_NO_TARGET, finite = fabs(job->max[i]) < INFINITY && job->rest[i] < INFINITY;
        if (ignored) PAGE_REALS(job->factor)[i] = PAGE_REALS(job->peak)[i] = 0;
        zero[i] = ignored && !finite;
        zeros |= ignored && !finite;
    }
    for (size_t v = 0; v < page_vectors(rows); v++) {
        of[v] = page_row_lanes(job, page_at(v, rows));
        if (job->log) continue;
        plain = plain && !mask_any(vec_less(of[v].lift, vec_set(1))) && !mask_any(vec_less(vec_set(0), vec_abs(of[v].exp.shift)));
    }
    if (job->log) page_write_log_softmax(x, out, stream, classes, rows, of);
    else if (!plain) page_write_lifted(x, out, classes, rows, of);
    else if (job->kept) page_write_scaled(out, out, classes, rows, of);
    else page_write_softmax(x, out, stream, classes, rows, of);
    if (stream) stream_end();
    for (size_t i = 0; job->with_target && i < rows; i++)
        if (job->target[i] >= 0)
            write_one(out.data, out.dtype, (ptrdiff_t)i + (ptrdiff_t)job->target[i] * out.stride, PAGE_REALS(job->target_gradient)[i]);
    if (zeros) page_zero(out, classes, rows, zero);
}

#endif
