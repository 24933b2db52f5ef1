#include "light.h"

#include "frozen_exp.h"

#include <cmath>
#include <time.h>

FrozenExp frozen_exp()
{
#if defined(__x86_64__) || defined(__i386__)
    if (__builtin_cpu_supports("avx512f"))
        return {"avx512", frozen_exp_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return {"avx2", frozen_exp_avx2};
    if (__builtin_cpu_supports("sse2"))
        return {"sse2", frozen_exp_sse2};
#elif defined(__aarch64__)
    return {"neon", frozen_exp_neon};
#endif
    return {"scalar", frozen_exp_scalar};
}

namespace {

struct alignas(64) Block {
    float numbers[light_exp_elements];
};

/* Evenly spaced over [low, high). */
Block spread(double low, double high)
{
    Block block;
    for (std::size_t i = 0; i < light_exp_elements; i++)
        block.numbers[i] = float(low + (high - low) * double(i) / double(light_exp_elements));
    return block;
}

double read(clockid_t clock)
{
    timespec time;
    clock_gettime(clock, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

} // namespace

/* The wall clock is read inside, for the other one costs a system call. */
Stopwatch::Stopwatch() : own_(read(CLOCK_THREAD_CPUTIME_ID)), wall_(read(CLOCK_MONOTONIC)) {}

/* A short slice is now and then left alone by other programs, so the least of many is
 * right; and the kernel's count of CPU time can be some microseconds short. A long one
 * is always interrupted where the machine is busy, so its own CPU time is taken. */
double Stopwatch::seconds() const
{
    const double wall = read(CLOCK_MONOTONIC) - wall_;
    const double own = read(CLOCK_THREAD_CPUTIME_ID) - own_;
    return own > 0.5e-3 ? own : wall;
}

double frozen_exp_error()
{
    double worst = 0;
    for (double low = -87; low < 87; low++) {
        const Block input = spread(low, low + 1);
        Block output;
        frozen_exp().function(input.numbers, output.numbers, light_exp_elements);
        for (std::size_t i = 0; i < light_exp_elements; i++) {
            const double exact = std::exp(double(input.numbers[i]));
            const double error = std::fabs(double(output.numbers[i]) - exact) / exact;
            if (!(error <= worst)) /* a NaN too */
                worst = error;
        }
    }
    return worst;
}

void light_exp()
{
    static_assert(light_exp_elements % FROZEN_EXP_BLOCK == 0, "the frozen exp has no tail");
    static const FrozenExp chosen = frozen_exp();
    static const Block input = spread(-20, 0);
    static Block output;
    chosen.function(input.numbers, output.numbers, light_exp_elements);
}
