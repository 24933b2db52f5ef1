/* The words that work lane by lane, the table and the reductions, against what scalar.h says of
 * them.
 *
 * Most words are lines of the lists below: the word on vectors, and the same in plain C
 * on one lane. Each is tried with special values in one lane, every lane in its turn, and other
 * ordinary values in all others, so that a leak between lanes shows; then with random bits.
 */
#include "vector_check.h"

/* -- Operands of a word: a field for each type and place. -- */

enum { SPECIALS = 23 };
_Static_assert(sizeof special_doubles / sizeof *special_doubles == SPECIALS, "the longest list");
_Static_assert(sizeof special_reals / sizeof *special_reals <= SPECIALS, "the longest list");

struct operands {
    real a[VEC_WIDTH], b[VEC_WIDTH], c[VEC_WIDTH];
    real_int i[VEC_WIDTH], j[VEC_WIDTH];
    double x[VEC_WIDTH], y[VEC_WIDTH], z[VEC_WIDTH];
    int m[VEC_WIDTH], n[VEC_WIDTH];
    real same_a; /* for words that make a vector of one number */
    real_int same_i;
    double same_x;
};
struct vectors {
    vec a, b, c;
    veci i, j;
    wide x, y, z;
    mask m, n;
};
struct scalars {
    real a, b, c;
    real_int i, j;
    double x, y, z;
    int m, n;
};

static struct vectors vectors_of(const struct operands *in)
{
    return (struct vectors){
        vec_load(in->a), vec_load(in->b), vec_load(in->c),
        ints_from_memory(in->i), ints_from_memory(in->j),
        wide_load(in->x), wide_load(in->y), wide_load(in->z),
        mask_from_memory(in->m), mask_from_memory(in->n),
    };
}

static struct scalars lane_of(const struct operands *in, int lane)
{
    return (struct scalars){
        in->a[lane], in->b[lane], in->c[lane], in->i[lane], in->j[lane],
        in->x[lane], in->y[lane], in->z[lane], in->m[lane], in->n[lane],
    };
}

static void set_special(struct operands *in, int lane, int first, int second, int third)
{
    in->a[lane] = special_reals[first % COUNT(special_reals)];
    in->b[lane] = special_reals[second % COUNT(special_reals)];
    in->c[lane] = special_reals[third % COUNT(special_reals)];
    in->i[lane] = special_ints[first % COUNT(special_ints)];
    in->j[lane] = special_ints[second % COUNT(special_ints)];
    in->x[lane] = special_doubles[first];
    in->y[lane] = special_doubles[second];
    in->z[lane] = special_doubles[third];
    in->m[lane] = third & 1;
    in->n[lane] = third >> 1 & 1;
    in->same_a = in->a[lane];
    in->same_i = in->i[lane];
    in->same_x = in->x[lane];
}

static void set_ordinary(struct operands *in, int lane)
{
    real number = (real)lane;
    in->a[lane] = (real)1.5 + number;
    in->b[lane] = (real)-2.25 - 3 * number;
    in->c[lane] = 100 + 7 * number;
    in->i[lane] = 1000 + 17 * lane;
    in->j[lane] = -77 - 5 * lane;
    in->x[lane] = 10.125 + lane;
    in->y[lane] = -20.5 - 3.0 * lane;
    in->z[lane] = 300.0 + 9.0 * lane;
    in->m[lane] = lane % 3 == 1;
    in->n[lane] = lane % 5 < 2;
}

static void set_random(struct operands *in, int lane)
{
    in->same_a = in->a[lane] = random_real();
    in->b[lane] = random_real();
    in->c[lane] = random_real();
    in->same_i = in->i[lane] = random_int();
    in->j[lane] = random_int();
    in->same_x = in->x[lane] = random_double();
    in->y[lane] = random_double();
    in->z[lane] = random_double();
    in->m[lane] = (int)(random_bits() & 1);
    in->n[lane] = (int)(random_bits() & 1);
}

/* -- The words that work lane by lane. -- */

static real fma_in_c(real a, real b, real c) { return VEC_FUSED ? real_fma(a, b, c) : a * b + c; }
static real_int add_in_c(real_int a, real_int b) { return (real_int)((real_uint)a + (real_uint)b); }
static real_int sub_in_c(real_int a, real_int b) { return (real_int)((real_uint)a - (real_uint)b); }
static real_int shift_left_in_c(real_int a, int n) { return (real_int)((real_uint)a << n); }
static real_int shift_right_in_c(real_int a, int n) { return a < 0 ? ~(~a >> n) : a >> n; }

/* +0 of zeros; and where a is NaN, b, as vec_larger may give NaN. */
static inline vec larger(struct vectors v)
{
    return vec_add(vec_select(vec_equal(v.a, v.a), vec_larger(v.a, v.b), v.b), vec_set(0));
}

#define EXPONENT_AT (REAL_DIGITS - 1)
#define SIGN_AT (REAL_BITS - 1)
/* vec_from_int takes any int32, but of int64 only what is left of these. */
#define TOO_MUCH (REAL_BITS == 64 ? 12 : 0)

/* X(name, type of result, how many operands matter (m and n: the third), on vectors, on a lane) */
#define WORDS(X)                                                                                     \
    X(vec_set, real, REAL, 1, vec_set(in->same_a), in->same_a)                                       \
    X(vec_add, real, REAL, 2, vec_add(v.a, v.b), s.a + s.b)                                          \
    X(vec_sub, real, REAL, 2, vec_sub(v.a, v.b), s.a - s.b)                                          \
    X(vec_mul, real, REAL, 2, vec_mul(v.a, v.b), s.a * s.b)                                          \
    X(vec_div, real, REAL, 2, vec_div(v.a, v.b), s.a / s.b)                                          \
    X(vec_fma, real, REAL, 3, vec_fma(v.a, v.b, v.c), fma_in_c(s.a, s.b, s.c))                       \
    X(vec_max, real, REAL, 2, vec_max(v.a, v.b), s.a > s.b ? s.a : s.b)                              \
    X(vec_min, real, REAL, 2, vec_min(v.a, v.b), s.a < s.b ? s.a : s.b)                              \
    X(vec_larger, real, REAL, 2, larger(v), s.a == s.a ? (s.a > s.b ? s.a : s.b) + 0 : s.b + 0)      \
    X(vec_bits, int, INT, 1, vec_bits(v.a), bits_of(s.a))                                            \
    X(vec_from_bits, real, REAL, 1, vec_from_bits(v.i), real_of(s.i))                                \
    X(vec_abs, real, REAL, 1, vec_abs(v.a), real_of(bits_of(s.a) & REAL_INT_MAX))                    \
    X(vec_negate, real, REAL, 1, vec_negate(v.a), -s.a)                                              \
    X(vec_copy_sign, real, REAL, 2, vec_copy_sign(v.a, v.b), (real)copysign(s.a, s.b))               \
    X(veci_set, int, INT, 1, veci_set(in->same_i), in->same_i)                                       \
    X(veci_add, int, INT, 2, veci_add(v.i, v.j), add_in_c(s.i, s.j))                                 \
    X(veci_sub, int, INT, 2, veci_sub(v.i, v.j), sub_in_c(s.i, s.j))                                 \
    X(veci_and, int, INT, 2, veci_and(v.i, v.j), s.i & s.j)                                          \
    X(veci_shift_left_0, int, INT, 1, veci_shift_left(v.i, 0), s.i)                                  \
    X(veci_shift_left_20, int, INT, 1, veci_shift_left(v.i, 20), shift_left_in_c(s.i, 20))           \
    X(veci_shift_left_exponent, int, INT, 1, veci_shift_left(v.i, EXPONENT_AT), shift_left_in_c(s.i, EXPONENT_AT))     \
    X(veci_shift_left_sign, int, INT, 1, veci_shift_left(v.i, SIGN_AT), shift_left_in_c(s.i, SIGN_AT))                 \
    X(veci_shift_right_0, int, INT, 1, veci_shift_right(v.i, 0), s.i)                                \
    X(veci_shift_right_3, int, INT, 1, veci_shift_right(v.i, 3), shift_right_in_c(s.i, 3))           \
    X(veci_shift_right_exponent, int, INT, 1, veci_shift_right(v.i, EXPONENT_AT), shift_right_in_c(s.i, EXPONENT_AT))  \
    X(veci_shift_right_sign, int, INT, 1, veci_shift_right(v.i, SIGN_AT), shift_right_in_c(s.i, SIGN_AT))              \
    X(vec_from_int, real, REAL, 1, vec_from_int(veci_shift_right(v.i, TOO_MUCH)), (real)shift_right_in_c(s.i, TOO_MUCH)) \
    X(vec_equal, truth, TRUTH, 2, vec_equal(v.a, v.b), s.a == s.b)                                   \
    X(vec_less, truth, TRUTH, 2, vec_less(v.a, v.b), s.a < s.b)                                      \
    X(mask_and, truth, TRUTH, 3, mask_and(v.m, v.n), s.m && s.n)                                     \
    X(mask_or, truth, TRUTH, 3, mask_or(v.m, v.n), s.m || s.n)                                       \
    X(vec_select, real, REAL, 3, vec_select(v.m, v.a, v.b), s.m ? s.a : s.b)                         \
    X(vec_zero_where, real, REAL, 3, vec_zero_where(v.m, v.a), s.m ? 0 : s.a)                        \
    X(veci_count, int, INT, 3, veci_count(v.i, v.m), add_in_c(s.i, s.m))

#ifdef XENT_REAL_F64
#define WIDE_WORDS(X) /* test_vector_pairs.c */
#else
static double wide_fma_in_c(double a, double b, double c) { return VEC_FUSED ? fma(a, b, c) : a * b + c; }
#define WIDE_WORDS(X)                                                                                \
    X(wide_from_int, double, DOUBLE, 1, wide_from_int(v.i), (double)s.i)                             \
    X(wide_select, double, DOUBLE, 3, wide_select(v.m, v.x, v.y), s.m ? s.x : s.y)                   \
    X(wide_set, double, DOUBLE, 1, wide_set(in->same_x), in->same_x)                                 \
    X(wide_from_vec, double, DOUBLE, 1, wide_from_vec(v.a), (double)s.a)                             \
    X(vec_from_wide, real, REAL, 1, vec_from_wide(v.x), (real)s.x)                                   \
    X(wide_add, double, DOUBLE, 2, wide_add(v.x, v.y), s.x + s.y)                                    \
    X(wide_sub, double, DOUBLE, 2, wide_sub(v.x, v.y), s.x - s.y)                                    \
    X(wide_mul, double, DOUBLE, 2, wide_mul(v.x, v.y), s.x * s.y)                                    \
    X(wide_div, double, DOUBLE, 2, wide_div(v.x, v.y), s.x / s.y)                                    \
    X(wide_fma, double, DOUBLE, 3, wide_fma(v.x, v.y, v.z), wide_fma_in_c(s.x, s.y, s.z))
#endif

struct word {
    const char *name;
    enum type type;
    int arity;
    void (*on_vectors)(const struct operands *in, uint64_t out[VEC_WIDTH]);
    uint64_t (*on_lane)(const struct operands *in, int lane);
};

#define DEFINE_WORD(name, kind, result_type, arity, vector_expression, lane_expression)           \
    static NOT_FOLDED void name##_on_vectors(const struct operands *in, uint64_t out[VEC_WIDTH])  \
    {                                                                                             \
        struct vectors v = vectors_of(in);                                                        \
        (void)v;                                                                                  \
        kind##_results(vector_expression, out);                                                   \
    }                                                                                             \
    static NOT_FOLDED uint64_t name##_on_lane(const struct operands *in, int lane)                \
    {                                                                                             \
        struct scalars s = lane_of(in, lane);                                                     \
        (void)s;                                                                                  \
        return kind##_result(lane_expression);                                                    \
    }                                                                                             \
    static struct word name##_word = {#name, result_type, arity, name##_on_vectors, name##_on_lane};
WORDS(DEFINE_WORD)
WIDE_WORDS(DEFINE_WORD)

static void check_word(const struct word *word, const struct operands *in)
{
    uint64_t got[VEC_WIDTH];
    word->on_vectors(in, got);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        uint64_t expected = word->on_lane(in, lane);
        if (same(word->type, got[lane], expected)) continue;
        struct scalars s = lane_of(in, lane);
        print_error("operands: a %a, b %a, c %a, i %" PRId64 ", j %" PRId64 ", x %a, y %a, z %a, m %d, n %d\n",
                    (double)s.a, (double)s.b, (double)s.c, (int64_t)s.i, (int64_t)s.j, s.x, s.y, s.z, s.m, s.n);
        expect(word->name, lane, word->type, got[lane], expected);
    }
}

static void test_word(void **state)
{
    const struct word *word = *state;
    struct operands in;
    int firsts = SPECIALS, seconds = word->arity > 1 ? SPECIALS : 1, thirds = word->arity > 2 ? SPECIALS : 1;
    for (int place = 0; place < VEC_WIDTH; place++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++) set_ordinary(&in, lane);
        for (int first = 0; first < firsts; first++)
            for (int second = 0; second < seconds; second++)
                for (int third = 0; third < thirds; third++) {
                    set_special(&in, place, first, second, third);
                    check_word(word, &in);
                }
    }
    random_state = 1;
    for (int round = 0; round < 5000; round++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++) set_random(&in, lane);
        check_word(word, &in);
    }
}

static NOT_FOLDED real fma_of(real a, real b, real c)
{
    volatile real at_run_time[] = {a, b, c};
    real lanes[VEC_WIDTH];
    vec_store(lanes, vec_fma(vec_set(at_run_time[0]), vec_set(at_run_time[1]), vec_set(at_run_time[2])));
    return lanes[VEC_WIDTH - 1];
}

/* Known answers, so that a libm whose fma rounds twice can't hide a word that does. */
static void test_fused(void **state)
{
    (void)state;
    const real e = REAL_EPSILON;
    expect_real("vec_fma", 0, fma_of(1 + e, 1 + e, -(1 + 2 * e)), VEC_FUSED ? e * e : 0);
#ifdef XENT_REAL_F64
    const real product = 0x1.0000006p0; /* and half a unit more */
    expect_real("vec_fma", 0, fma_of(1 + 0x1p-26, 1 + 0x1p-27, 0x1p-180), VEC_FUSED ? product + e : product);
#else
    const real product = 0x1.002p0f;
    expect_real("vec_fma", 0, fma_of(0x1.001p0f, 0x1.001p0f, 0x1p-80f), VEC_FUSED ? product + e : product);
    double lanes[VEC_WIDTH];
    volatile double near_one = 1 + DBL_EPSILON, minus = -(1 + 2 * DBL_EPSILON);
    wide_store(lanes, wide_fma(wide_set(near_one), wide_set(near_one), wide_set(minus)));
    expect_double("wide_fma", 0, lanes[0], VEC_FUSED ? DBL_EPSILON * DBL_EPSILON : 0.0);
#endif
}

/* -- The table. -- */

static NOT_FOLDED void look_up(const real (*pairs)[2], const real_int *indices, real *high, real *low)
{
    table8 table = table8_load(pairs);
    vec high_lanes, low_lanes;
    table8_look_up(&table, ints_from_memory(indices), &high_lanes, &low_lanes);
    vec_store(high, high_lanes);
    vec_store(low, low_lanes);
}

static void test_table8(void **state)
{
    (void)state;
    static const real_int dirt[] = {0,          8,           0x10,         0x20,        0x78, 0x100,
                                    0x10000,    0x7ffffff8,  REAL_INT_MIN, -8,          REAL_INT_MAX - 7,
                                    REAL_INT_MAX / 16 * 8};
    struct guarded g = guarded_new();
    for (int place = 0; place < PLACES; place++) {
        real(*pairs)[2] = guarded_place(g, (enum place)place, 16, sizeof(real));
        for (size_t k = 0; k < 8; k++) {
            pairs[k][0] = element(k);
            pairs[k][1] = (real)-0x1p-30 * element(k);
        }
        pairs[2][0] = NAN;
        pairs[5][1] = (real)-0.0;
        for (int d = 0; d < COUNT(dirt); d++)
            for (int index_place = 0; index_place < VEC_WIDTH; index_place++)
                for (real_int index = 0; index < 8; index++) {
                    real_int indices[VEC_WIDTH];
                    real high[VEC_WIDTH], low[VEC_WIDTH];
                    for (int lane = 0; lane < VEC_WIDTH; lane++) indices[lane] = (3 * lane + 1 + d) % 8;
                    indices[index_place] = index | dirt[d];
                    look_up((const real(*)[2])pairs, indices, high, low);
                    for (int lane = 0; lane < VEC_WIDTH; lane++) {
                        expect_real("table8_look_up (high)", lane, high[lane], pairs[indices[lane] & 7][0]);
                        expect_real("table8_look_up (low)", lane, low[lane], pairs[indices[lane] & 7][1]);
                    }
                }
    }
    guarded_free(g);
}

/* -- Reductions. -- */

static void check_any(const int truth[VEC_WIDTH], int lane)
{
    int expected = 0;
    for (int k = 0; k < VEC_WIDTH; k++) expected |= truth[k];
    expect("mask_any", lane, TRUTH, truth_result(mask_any(mask_from_memory(truth))), truth_result(expected));
}

static void test_mask_any(void **state)
{
    (void)state;
    int truth[VEC_WIDTH] = {0};
    check_any(truth, -1);
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        truth[lane] = 1;
        check_any(truth, lane);
        truth[lane] = 0;
    }
    for (int lane = 0; lane < VEC_WIDTH; lane++) {
        truth[lane] = 1;
        check_any(truth, lane);
    }
}

static NOT_FOLDED real reduce_max(const real *lanes) { return vec_reduce_max(vec_load(lanes)); }
/* The largest of all, passing NaN over, by vec_larger if it can be had by it. */
static NOT_FOLDED int largest_in_lanes(const real (*of)[VEC_WIDTH], int count, real *lanes)
{
    vec max = vec_set((real)-INFINITY);
    for (int k = 0; k < count; k++) max = vec_larger(vec_load(of[k]), max);
    vec_store(lanes, max);
    return !vec_larger_lost(max);
}

static void test_larger_lost(void **state)
{
    (void)state;
    enum { OF = 5 };
    real of[OF][VEC_WIDTH], lanes[VEC_WIDTH];
    const real_int nans[] = {bits_of((real)NAN), bits_of((real)NAN) | REAL_INT_MIN, bits_of((real)INFINITY) + 1, REAL_INT_MAX};
    for (int n = -1; n < COUNT(nans); n++)
        for (int at = 0; at < (n < 0 ? 1 : OF * VEC_WIDTH); at++) {
            for (int k = 0; k < OF; k++)
                for (int lane = 0; lane < VEC_WIDTH; lane++) of[k][lane] = (real)((7 * k + 3 * lane) % 5 - 6);
            if (n >= 0) memcpy(&of[at / VEC_WIDTH][at % VEC_WIDTH], &nans[n], sizeof(real));
            int had = largest_in_lanes((const real(*)[VEC_WIDTH])of, OF, lanes);
            assert_true(had || n >= 0);
            for (int lane = 0; had && lane < VEC_WIDTH; lane++) {
                real expected = (real)-INFINITY;
                for (int k = 0; k < OF; k++) expected = of[k][lane] > expected ? of[k][lane] : expected;
                expect_real("vec_larger, nothing lost", lane, lanes[lane], expected);
            }
        }
}

static NOT_FOLDED real_int reduce_add(const real_int *lanes) { return veci_reduce_add(ints_from_memory(lanes)); }

static void check_reduce_max(const real lanes[VEC_WIDTH])
{
    real expected = lanes[0], got = reduce_max(lanes);
    int place = 0;
    for (int lane = 1; lane < VEC_WIDTH; lane++)
        if (lanes[lane] > expected) expected = lanes[place = lane];
    if (got == 0 && expected == 0) return; /* of zeros, either */
    expect_real("vec_reduce_max (lane: of the largest)", place, got, expected);
}

static void test_reduce_max(void **state)
{
    (void)state;
    static const real others[] = {-INFINITY, -REAL_MAX, -1, -REAL_TINY, -0.0, 0, REAL_TINY, 2};
    static const real tops[] = {-INFINITY, -REAL_MAX, -REAL_TINY, 0, REAL_TINY, 1, 1 + REAL_EPSILON, REAL_MAX, INFINITY};
    real lanes[VEC_WIDTH];
    for (int place = 0; place < VEC_WIDTH; place++)
        for (int o = 0; o < COUNT(others); o++)
            for (int t = 0; t < COUNT(tops); t++) {
                for (int lane = 0; lane < VEC_WIDTH; lane++) lanes[lane] = others[o];
                lanes[place] = tops[t];
                check_reduce_max(lanes);
            }
    random_state = 2;
    for (int round = 0; round < 10000; round++) {
        for (int lane = 0; lane < VEC_WIDTH; lane++)
            do lanes[lane] = random_real();
            while (isnan(lanes[lane]));
        check_reduce_max(lanes);
    }
}

static void test_reduce_add(void **state)
{
    (void)state;
    real_int lanes[VEC_WIDTH];
    random_state = 3;
    for (int round = 0; round < 10000; round++) {
        real_int sum = 0;
        for (int lane = 0; lane < VEC_WIDTH; lane++) sum = add_in_c(sum, lanes[lane] = random_int());
        expect("veci_reduce_add", 0, INT, int_result(reduce_add(lanes)), int_result(sum));
    }
}

int xent_test_vector_words(void)
{
#define TEST_OF_WORD(name, kind, result_type, arity, vector_expression, lane_expression) \
    {#name, test_word, NULL, NULL, &name##_word},
    const struct CMUnitTest tests[] = {
        WORDS(TEST_OF_WORD)
        WIDE_WORDS(TEST_OF_WORD)
        {"vec_fma, wide_fma, known answers", test_fused, NULL, NULL, NULL},
        {"table8_load, table8_look_up", test_table8, NULL, NULL, NULL},
        {"vec_larger, vec_larger_lost", test_larger_lost, NULL, NULL, NULL},
        {"mask_any", test_mask_any, NULL, NULL, NULL},
        {"vec_reduce_max", test_reduce_max, NULL, NULL, NULL},
        {"veci_reduce_add", test_reduce_add, NULL, NULL, NULL},
    };
    return cmocka_run_group_tests_name(xent_test_isa, tests, NULL, NULL);
}
