/* The elementary functions, compiled for the instruction set under test. */
#include "accuracy.h"

#include "vector/vector.h"

#include "math/exp.h"
#include "math/log.h"
#include "math/power.h"
#include "math/tanh.h"

const int accuracy_fused = VEC_FUSED;
const double accuracy_exp_row_scale = EXP_ROW_SCALE, accuracy_exp_span = EXP_SPAN, accuracy_exp_low = EXP_LOW;
const real accuracy_exp_reach = EXP_REACH, accuracy_exp_shift_from = EXP_SHIFT_FROM;

#define MEASURED(name, call)                                                            \
    void accuracy_##name(const real *first, const real *second, real *result, size_t n) \
    {                                                                                   \
        for (size_t i = 0; i < n; i += VEC_WIDTH) {                                     \
            vec x = vec_load(first + i), y = vec_load(second + i);                      \
            (void)y;                                                                    \
            vec_store(result + i, call);                                                \
        }                                                                               \
    }

MEASURED(exp_nonpositive, exp_nonpositive(x))
MEASURED(exp_scaled, exp_scaled(x, exp_row_of(y)))
MEASURED(row_inverse, vec_from_wide(row_inverse(x, exp_row_of(x))))
MEASURED(log_of_probability, log_of_probability(x))
MEASURED(log_of_complement, log_of_complement(x))
MEASURED(log1p_of, log1p_of(x))
MEASURED(log1p_unit, log1p_unit(x))
static vec unused;
MEASURED(log1p_sum, log1p_sum(x, y, &unused))
MEASURED(tanh_of, tanh_of(x))
MEASURED(power_of, power_of(x, y))
