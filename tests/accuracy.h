/* What the accuracy test measures: every elementary function of kernels/math, of floats, or
 * with XENT_REAL_F64 of doubles. */
#ifndef XENT_TESTS_ACCURACY_H
#define XENT_TESTS_ACCURACY_H

#include <stddef.h>

/* X(function, bound, unfused, f64 bound, f64 unfused): the most ulp that its result may be
 * off, where vec_fma rounds once and where it rounds twice (sse2). The same figures, rounded
 * up, as in kernels/math. */
#define ELEMENTARY_FUNCTIONS(X)                   \
    X(exp_nonpositive, 0.79, 0.77, 0.80, 0.79)    \
    X(exp_scaled, 0.93, 0.97, 0.63, 0.66)         \
    X(row_inverse, 0.501, 0.501, 0.502, 0.502)    \
    X(log_of_probability, 1.09, 1.17, 1.29, 1.51) \
    X(log_of_complement, 1.10, 1.17, 1.29, 1.51)  \
    X(log1p_of, 0.74, 0.78, 0.75, 0.79)           \
    X(log1p_unit, 1.10, 1.35, 1.06, 1.30)         \
    X(log1p_sum, 0.75, 0.87, 0.76, 0.88)          \
    X(tanh_of, 1.42, 1.42, 1.43, 1.45)            \
    X(power_of, 1.42, 1.42, 2.4, 2.5)

#ifdef XENT_REAL_F64
typedef double real;
#else
typedef float real;
#endif

/* result[i] = function(first[i]), or function(first[i], second[i]), for i < n, n a multiple
 * of 16. The second argument is the row's maximum (exp_scaled), what is added to the first
 * (log1p_sum), the exponent (power_of). Compiled for one instruction set
 * (accuracy_functions.c), the rest of the test for none. */
typedef void elementary(const real *first, const real *second, real *result, size_t n);

#define X(name, ...) elementary accuracy_##name;
ELEMENTARY_FUNCTIONS(X)
#undef X

extern const int accuracy_fused; /* VEC_FUSED */
extern const double accuracy_exp_row_scale, accuracy_exp_span, accuracy_exp_low; /* and so on: see kernels/math/exp.h */
extern const real accuracy_exp_reach, accuracy_exp_shift_from;

#endif
