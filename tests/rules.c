#include "rules.h"

#include <math.h>

static int64_t count_of(const struct stored *s)
{
    int64_t count = 1;
    for (int32_t d = 0; d < s->tensor.ndim; d++) count *= s->shape[d];
    return count;
}

const xent_tensor *store(struct stored *s, xent_dtype dtype, int32_t ndim, int64_t rows, int64_t columns, const double *values)
{
    *s = (struct stored){.shape = {rows, columns}};
    s->tensor = (xent_tensor){s->memory, dtype, ndim, s->shape, NULL};
    assert_true(count_of(s) <= STORED_MOST);
    if (values == NULL) guarded_fill(s->memory, sizeof s->memory);
    for (int64_t i = 0; values != NULL && i < count_of(s); i++) element_put(s->memory, dtype, i, values[i]);
    return &s->tensor;
}

xent_cross_entropy_options cross_entropy_defaults(xent_reduction reduction)
{
    xent_cross_entropy_options options;
    assert_int_equal(xent_cross_entropy_options_init(&options, sizeof options), XENT_OK);
    options.reduction = reduction;
    return options;
}

void assert_near(const char *what, int64_t at, xent_dtype dtype, double got, double exact, double bound)
{
    double ulps = fabs(got - exact) / ldexp(1, exact == 0 ? -1074 : ilogb(exact) - 52);
    if (isnan(got) || isnan(exact) || isinf(got) || isinf(exact)) ulps = check_same64(got, exact) ? 0 : (double)INFINITY;
    else if (dtype == XENT_F32) ulps = check_ulps((float)got, exact);
    if (!(ulps <= bound)) fail_msg("%s[%d], dtype %d: %.17g, not %.17g: %.2f ulp, %.2f allowed", what, (int)at, (int)dtype, got, exact, ulps, bound);
}

void assert_all_near(const char *what, const struct stored *got, const double *exact, const double *largest, double bound)
{
    const xent_dtype dtype = got->tensor.dtype;
    for (int64_t i = 0; i < count_of(got); i++) {
        const bool cancels = largest != NULL && largest[i] > fabs(exact[i]) && exact[i] != 0;
        const int places = cancels ? ilogb(largest[i]) - ilogb(exact[i]) : 0;
        assert_near(what, i, dtype, element_get(got->memory, dtype, i), exact[i], ldexp(bound, places));
    }
}
