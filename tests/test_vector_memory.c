/* The words that move lanes from and to memory as they are: each puts every element in its lane,
 * and touches nothing beyond. Memory lies between two guard pages, right after one and right
 * before the other. */
#include "vector_check.h"

static void test_load(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++) {
        real *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p), out[VEC_WIDTH];
        for (size_t k = 0; k < VEC_WIDTH; k++) p[k] = element(k);
        vec_store(out, vec_load(p));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("vec_load", lane, out[lane], element((size_t)lane));

        double *q = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *q), wide_out[VEC_WIDTH];
        for (size_t k = 0; k < VEC_WIDTH; k++) q[k] = 0x1p-40 + (double)k;
        wide_store(wide_out, wide_load(q));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_double("wide_load", lane, wide_out[lane], 0x1p-40 + lane);
    }
    guarded_free(g);
}

static void test_store(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    real lanes[VEC_WIDTH];
    double wide_lanes[VEC_WIDTH];
    for (size_t k = 0; k < VEC_WIDTH; k++) {
        lanes[k] = element(k);
        wide_lanes[k] = 0x1p-40 + (double)k;
    }
    for (int place = 0; place < PLACES; place++) {
        real *p = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *p);
        vec_store(p, vec_load(lanes));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_real("vec_store", lane, p[lane], lanes[lane]);

        double *q = guarded_place(g, (enum place)place, VEC_WIDTH, sizeof *q);
        wide_store(q, wide_load(wide_lanes));
        for (int lane = 0; lane < VEC_WIDTH; lane++) expect_double("wide_store", lane, q[lane], wide_lanes[lane]);
    }
    guarded_free(g);
}

static NOT_FOLDED void load_partial(const real *p, size_t n, const real *fill, real *out)
{
    vec_store(out, vec_load_partial(p, n, vec_load(fill)));
}
static NOT_FOLDED void store_partial(real *p, const real *lanes, size_t n)
{
    vec_store_partial(p, vec_load(lanes), n);
}

static NOT_FOLDED void stream(real *p, const real *lanes)
{
    vec_stream(p, vec_load(lanes));
    stream_end();
}

static void test_stream(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    real lanes[VEC_WIDTH], *page = (real *)(void *)g.begin;
    size_t page_reals = g.page / sizeof *lanes;
    for (size_t k = 0; k < VEC_WIDTH; k++) lanes[k] = element(k);
    for (size_t at = 0; at + VEC_WIDTH <= page_reals; at += VEC_WIDTH) {
        for (size_t k = 0; k < page_reals; k++) page[k] = -7;
        stream(page + at, lanes);
        for (size_t k = 0; k < page_reals; k++)
            expect_real("vec_stream", (int)(k - at), page[k], k >= at && k < at + VEC_WIDTH ? lanes[k - at] : -7);
    }
    guarded_free(g);
}

static void test_load_partial(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (size_t n = 0; n <= VEC_WIDTH; n++)
            for (int nan_place = -1; nan_place < VEC_WIDTH; nan_place++) { /* in the fill, or in memory */
                real *p = guarded_place(g, (enum place)place, n, sizeof *p), fill[VEC_WIDTH], out[VEC_WIDTH];
                for (size_t k = 0; k < VEC_WIDTH; k++) fill[k] = (int)k == nan_place ? (real)NAN : -element(k);
                for (size_t k = 0; k < n; k++) p[k] = (int)k == nan_place ? (real)NAN : element(k);
                load_partial(p, n, fill, out);
                for (size_t k = 0; k < VEC_WIDTH; k++)
                    expect_real("vec_load_partial", (int)k, out[k], k < n ? p[k] : fill[k]);
            }
    guarded_free(g);
}

static void test_store_partial(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    real lanes[VEC_WIDTH];
    size_t page_reals = g.page / sizeof *lanes;
    for (size_t k = 0; k < VEC_WIDTH; k++) lanes[k] = element(k);
    for (int place = 0; place < PLACES; place++)
        for (size_t n = 0; n <= VEC_WIDTH; n++) {
            real *page = (real *)(void *)g.begin, *p = guarded_place(g, (enum place)place, n, sizeof *p);
            for (size_t k = 0; k < page_reals; k++) page[k] = -7;
            store_partial(p, lanes, n);
            for (size_t k = 0; k < page_reals; k++) {
                ptrdiff_t lane = &page[k] - p;
                int stored = lane >= 0 && lane < (ptrdiff_t)n;
                expect_real("vec_store_partial", (int)lane, page[k], stored ? lanes[lane] : -7);
            }
        }
    guarded_free(g);
}

/* Rows lie in memory in another order than in the lanes. */
static size_t row_start(int lane, size_t stride) { return (size_t)(3 * lane + 1) % VEC_WIDTH * stride; }

static const size_t strides[] = {4, 5, 7, 33};
static const ptrdiff_t offsets[] = {0, 1, 3, -2}; /* of what the rows' places are counted from */
enum { GREATEST_STRIDE = 33 };

static void test_load_rows4(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (int s = 0; s < COUNT(strides); s++)
            for (int o = 0; o < COUNT(offsets); o++) {
                size_t count = (VEC_WIDTH - 1) * strides[s] + 4;
                real *p = guarded_place(g, (enum place)place, count, sizeof *p), out[VEC_WIDTH];
                ptrdiff_t rows[VEC_WIDTH];
                vec columns[4];
                for (size_t k = 0; k < count; k++) p[k] = element(k);
                for (int lane = 0; lane < VEC_WIDTH; lane++) rows[lane] = (ptrdiff_t)row_start(lane, strides[s]) - offsets[o];
                vec_load_rows4(p + offsets[o], rows, columns);
                for (size_t c = 0; c < 4; c++) {
                    vec_store(out, columns[c]);
                    for (int lane = 0; lane < VEC_WIDTH; lane++)
                        expect_real("vec_load_rows4", lane, out[lane], element(row_start(lane, strides[s]) + c));
                }
            }
    guarded_free(g);
}

static void test_store_rows4(void **state)
{
    (void)state;
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++)
        for (int s = 0; s < COUNT(strides); s++)
            for (int o = 0; o < COUNT(offsets); o++) {
                size_t count = (VEC_WIDTH - 1) * strides[s] + 4;
                real *p = guarded_place(g, (enum place)place, count, sizeof *p), column[VEC_WIDTH];
                real expected[(VEC_WIDTH - 1) * GREATEST_STRIDE + 4];
                ptrdiff_t rows[VEC_WIDTH];
                vec columns[4];
                for (size_t k = 0; k < count; k++) p[k] = expected[k] = -7;
                for (size_t c = 0; c < 4; c++) {
                    for (int lane = 0; lane < VEC_WIDTH; lane++) {
                        column[lane] = element(100 * c + (size_t)lane);
                        expected[row_start(lane, strides[s]) + c] = column[lane];
                    }
                    columns[c] = vec_load(column);
                }
                for (int lane = 0; lane < VEC_WIDTH; lane++) rows[lane] = (ptrdiff_t)row_start(lane, strides[s]) - offsets[o];
                vec_store_rows4(p + offsets[o], rows, columns);
                for (int lane = 0; lane < VEC_WIDTH; lane++)
                    for (size_t c = 0; c < strides[s] && row_start(lane, strides[s]) + c < count; c++)
                        expect_real("vec_store_rows4", lane, p[row_start(lane, strides[s]) + c],
                                    expected[row_start(lane, strides[s]) + c]);
            }
    guarded_free(g);
}

int xent_test_vector_memory(void)
{
    const struct CMUnitTest tests[] = {
        {"vec_load, wide_load", test_load, NULL, NULL, NULL},
        {"vec_store, wide_store", test_store, NULL, NULL, NULL},
        {"vec_stream", test_stream, NULL, NULL, NULL},
        {"vec_load_partial", test_load_partial, NULL, NULL, NULL},
        {"vec_store_partial", test_store_partial, NULL, NULL, NULL},
        {"vec_load_rows4", test_load_rows4, NULL, NULL, NULL},
        {"vec_store_rows4", test_store_rows4, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
