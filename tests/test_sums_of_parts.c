/* Rows in parts, in two phases: whatever the parts, cut between blocks, and the order in which
 * they are merged, the states have the bits of the whole rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { ROWS = 21, PARTS_MAX = 8 };

static xent_execution execution;

static double random_unit(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*seed >> 11) * 0x1p-53;
}

struct rows {
    void *data;
    xent_dtype dtype;
    int64_t classes;
    bool strided; /* (classes, rows) in memory */
};

/* Columns first ... first + count - 1, as a tensor of the call's own. */
static void reduce(const struct rows *rows, int64_t first, int64_t count, const double *max,
                   const xent_log_sum_exp_outputs *outputs)
{
    const int64_t shape[2] = {ROWS, count};
    const int64_t strides[2] = {rows->strided ? 1 : rows->classes, rows->strided ? ROWS : 1};
    const size_t item = rows->dtype == XENT_F64 ? 8 : 4;
    const xent_tensor logits = {(char *)rows->data + (size_t)(first * strides[1]) * item, rows->dtype, 2, shape, strides};
    xent_softmax_options options;
    xent_error error;
    xent_softmax_options_init(&options, sizeof options);
    options.execution = &execution;
    options.max = max;
    const xent_status status = xent_log_sum_exp(&logits, &options, outputs, &error);
    assert_status(status, XENT_OK, &error);
}

static void fill(struct rows *rows, int kind, uint64_t seed)
{
    for (int64_t i = 0; i < ROWS * rows->classes; i++) {
        const double u = random_unit(&seed);
        double x = kind == 0 ? 20 * u : kind == 1 ? (int)(5 * u) : kind == 2 ? -90 * u : 1000 * u;
        if (kind == 2 && i % rows->classes == rows->classes / 3) {
            x = 1; /* confident: all others far below */
        }
        if (kind == 3 && u < 0.2) {
            x = -INFINITY;
        }
        if (rows->dtype == XENT_F64) {
            ((double *)rows->data)[i] = x;
        } else {
            ((float *)rows->data)[i] = (float)x;
        }
    }
}

static void check_parts(const struct rows *rows, int parts)
{
    xent_row_state whole[ROWS], merged_states[ROWS];
    reduce(rows, 0, rows->classes, NULL, &(xent_log_sum_exp_outputs){.size = sizeof(xent_log_sum_exp_outputs), .state = whole});
    const int64_t blocks = (rows->classes + XENT_ROW_BLOCK - 1) / XENT_ROW_BLOCK;
    int64_t cut[PARTS_MAX + 1];
    for (int p = 0; p <= parts; p++) {
        cut[p] = p == parts ? rows->classes : blocks * p / parts * XENT_ROW_BLOCK;
    }
    double max[ROWS], part_max[ROWS];
    for (int r = 0; r < ROWS; r++) {
        max[r] = -INFINITY;
    }
    for (int p = 0; p < parts; p++) {
        reduce(rows, cut[p], cut[p + 1] - cut[p], NULL,
               &(xent_log_sum_exp_outputs){.size = sizeof(xent_log_sum_exp_outputs), .max = part_max});
        for (int r = 0; r < ROWS; r++) {
            max[r] = fmax(max[r], part_max[r]);
        }
    }
    xent_row_sum sums[PARTS_MAX][ROWS];
    for (int p = 0; p < parts; p++) {
        reduce(rows, cut[p], cut[p + 1] - cut[p], max,
               &(xent_log_sum_exp_outputs){.size = sizeof(xent_log_sum_exp_outputs), .sum = sums[p]});
    }
    for (int turn = 0; turn < parts; turn++) { /* from any part on, upwards and downwards */
        xent_row_sum all[ROWS];
        memcpy(all, sums[turn], sizeof all);
        for (int p = 1; p < parts; p++) {
            const int other = turn % 2 ? (turn + p) % parts : (turn + parts - p) % parts;
            xent_error error;
            assert_status(xent_row_sum_merge(ROWS, all, sums[other], all, &error), XENT_OK, &error);
        }
        assert_int_equal(xent_row_sum_finish(ROWS, rows->dtype, all, merged_states, &execution), XENT_OK);
        for (int r = 0; r < ROWS; r++) {
            if (!check_same64(merged_states[r].max, whole[r].max) || !check_same64(merged_states[r].rest, whole[r].rest)) {
                fail_msg("%s: %d parts of %lld classes, row %d: (%a, %a), but the whole row has (%a, %a)",
                         xent_tier_name(execution.tier), parts, (long long)rows->classes, r, merged_states[r].max,
                         merged_states[r].rest, whole[r].max, whole[r].rest);
            }
        }
    }
}

static void parts_give_the_whole(xent_tier tier)
{
    static const int64_t widths[] = {1, 100, 256, 257, 1000, 5003};
    execution = check_execution(tier);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (int form = 0; form < 4; form++) {
            struct rows rows = {NULL, form % 2 ? XENT_F64 : XENT_F32, widths[w], form >= 2};
            rows.data = malloc((size_t)(ROWS * rows.classes) * 8);
            for (int kind = 0; kind < 4; kind++) {
                fill(&rows, kind, (uint64_t)(kind + 10 * form) + 100 * w);
                for (int parts = 1; parts <= PARTS_MAX; parts++) {
                    check_parts(&rows, parts);
                }
            }
            free(rows.data);
        }
    }
}

static void different_maxima_are_refused(xent_tier tier)
{
    (void)tier;
    const xent_row_sum a[2] = {{.max = 1, .ties = 1}, {.max = 2, .ties = 1}}, b[2] = {{.max = 1}, {.max = 3, .ties = 1}};
    xent_row_sum merged[2];
    xent_error error;
    guarded_fill(merged, sizeof merged);
    xent_row_sum before[2];
    memcpy(before, merged, sizeof merged);
    assert_int_equal(xent_row_sum_merge(2, a, b, merged, &error), XENT_ERROR_VALUE);
    assert_int_equal(error.row, 1);
    assert_memory_equal(before, merged, sizeof merged);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(parts_give_the_whole),
        on_every_tier(different_maxima_are_refused),
    };
    return check_run("sums_of_parts", tests, sizeof tests / sizeof *tests, argc, argv);
}
