/* The elementary functions, compiled for the instruction set under test. */
#include "accuracy.h"

#include "vector/vector.h"

#include "math/exp.h"
#include "math/log.h"
#include "math/tanh.h"

const int accuracy_fused = VEC_FUSED;

#define MEASURED(name, call)                                                           \
    void accuracy_##name(const float *first, const float *second, float *result, size_t n) \
    {                                                                                  \
        for (size_t i = 0; i < n; i += VEC_WIDTH) {                                    \
            vec x = vec_load(first + i), y = vec_load(second + i);                     \
            (void)y;                                                                   \
            vec_store(result + i, call);                                               \
        }                                                                              \
    }

MEASURED(exp_nonpositive, exp_nonpositive(x))
MEASURED(exp_scaled, exp_scaled(x, exp_row_of(y)))
MEASURED(log_positive, log_positive(x))
MEASURED(log1p_of, log1p_of(x))
MEASURED(log1p_sum, log1p_sum(x, y))
MEASURED(tanh_of, tanh_of(x))
