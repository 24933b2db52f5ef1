/* What the accuracy test measures: every elementary function of kernels/math. */
#ifndef XENT_TESTS_ACCURACY_H
#define XENT_TESTS_ACCURACY_H

#include <stddef.h>

/* X(function, bound, unfused): the most ulp that its result may be off, where vec_fma rounds
 * once and where it rounds twice (sse2). The same figures, rounded up, as in kernels/math. */
#define ELEMENTARY_FUNCTIONS(X)   \
    X(exp_nonpositive, 0.79, 0.77) \
    X(exp_scaled, 0.60, 0.82)      \
    X(log_positive, 0.74, 0.76)    \
    X(log1p_of, 0.74, 0.78)        \
    X(log1p_sum, 0.75, 0.87)       \
    X(tanh_of, 1.42, 1.42)

/* result[i] = function(first[i]), or function(first[i], second[i]), for i < n, n a multiple
 * of 16. exp_scaled's second argument is the row's maximum. Compiled for one
 * instruction set (accuracy_functions.c), the rest of the test for none. */
typedef void elementary(const float *first, const float *second, float *result, size_t n);

#define X(name, bound, unfused) elementary accuracy_##name;
ELEMENTARY_FUNCTIONS(X)
#undef X

extern const int accuracy_fused; /* VEC_FUSED */

#endif
