/* What the dispatcher tells a job of the CPU changes no bit: large jobs (struct row_job), whose outputs go past the caches and
 * whose logits are fetched ahead. So here the kernels are called as it calls them. */
#include <stdlib.h>
#include <string.h>

#include "../dispatch/tier.h"
#include "check.h"

enum { ROWS = 3, MOST_CLASSES = 40000, ROOM = ROWS * MOST_CLASSES + 64 };

static const char *const names[] = {"softmax", "log_softmax", "cross_entropy", "log_sum_exp"};

static void (*kernel_of(const struct xent_kernels *kernels, int which))(struct row_job *)
{
    void (*const all[])(struct row_job *) = {kernels->softmax, kernels->log_softmax, kernels->cross_entropy, kernels->log_sum_exp};
    return all[which];
}

/* A tensor of ROWS rows that starts at an element of its buffer. */
static struct row_tensor tensor_in(void *buffer, size_t item, xent_dtype dtype, size_t classes, size_t start)
{
    struct row_tensor tensor = {(char *)buffer + start * item, dtype, 1, {0}};
    for (size_t i = 0; i < ROWS; i++) tensor.row[i] = (ptrdiff_t)(i * classes);
    return tensor;
}

/* job: rows, classes and what it is told of the CPU. */
static void run(const struct xent_kernels *kernels, int which, struct row_tensor in, struct row_tensor out, struct row_job *job)
{
    static const int64_t targets[XENT_ROWS] = {0, 299, 7};
    job->in = in;
    job->out = out;
    job->want_log = 1;
    job->target = targets;
    job->all_have_targets = 1;
    job->weight.all = job->row_weight.all = 1.0;
    job->scale.all = 0.25;
    kernel_of(kernels, which)(job);
}

/* Element i of any of these types. */
static void put(void *buffer, xent_dtype dtype, size_t i, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == XENT_F64) ((double *)buffer)[i] = value;
    else if (dtype == XENT_F32) ((float *)buffer)[i] = value;
    else ((uint16_t *)buffer)[i] = (uint16_t)(dtype == XENT_BF16 ? bits >> 16 : 0x3000 + i * 37 % 0x1800);
}

static const struct xent_kernels *kernels_of(xent_tier tier, xent_dtype dtype)
{
    struct xent_tables tables;
    const xent_execution wanted = {.size = sizeof wanted, .tier = tier};
    xent_execution execution;
    assert_int_equal(xent_choose(&wanted, &execution, &tables, NULL), XENT_OK);
    return xent_kernels_for(&tables, dtype);
}

static void check_dtype(xent_tier tier, xent_dtype dtype)
{
    static const size_t classes[] = {300, 1000, 5000, MOST_CLASSES};
    const struct xent_kernels *kernels = kernels_of(tier, dtype);
    const size_t item = dtype == XENT_F64 ? 8 : dtype == XENT_F32 ? 4 : 2;
    char *x = malloc(ROOM * item), *expected = malloc(ROOM * item), *got = malloc(ROOM * item);
    for (size_t i = 0; i < ROOM; i++) put(x, dtype, i, (float)(i * 2654435761u % 20011) / 1000.0f - 10.0f);
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++)
        for (int which = 0; which < 4; which++)
            for (size_t start = 0; start < 19; start += 3) {
                const struct row_tensor in = tensor_in(x, item, dtype, classes[c], 1), none = {NULL, dtype, 1, {0}};
                const int writes = which < 3;
                memset(expected, 0x55, ROOM * item);
                memset(got, 0x55, ROOM * item);
                struct row_job plain = {.rows = ROWS, .classes = classes[c]}, large = plain;
                large.large = 1;
                run(kernels, which, in, writes ? tensor_in(expected, item, dtype, classes[c], start) : none, &plain);
                run(kernels, which, in, writes ? tensor_in(got, item, dtype, classes[c], start) : none, &large);
                if (memcmp(got, expected, ROOM * item) || memcmp(plain.lse, large.lse, ROWS * sizeof *plain.lse))
                    fail_msg("%s: %s of %zu classes, dtype %d, from element %zu on: not the bits of a job that is not large",
                             xent_tier_name(tier), names[which], classes[c], (int)dtype, start);
                if (!writes) continue;
                memcpy(got, x, ROOM * item); /* in place */
                const struct row_tensor both = tensor_in(got, item, dtype, classes[c], 1);
                run(kernels, which, both, both, &large);
                if (memcmp(got + item, expected + start * item, ROWS * classes[c] * item))
                    fail_msg("%s: %s of %zu classes, dtype %d, in place", xent_tier_name(tier), names[which], classes[c], (int)dtype);
            }
    free(x);
    free(expected);
    free(got);
}

static void same_bits(xent_tier tier)
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64, XENT_BF16, XENT_F16};
    for (size_t d = 0; d < 4; d++) check_dtype(tier, dtypes[d]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {on_every_tier(same_bits)};
    return check_run("large jobs", tests, sizeof tests / sizeof *tests, argc, argv);
}
