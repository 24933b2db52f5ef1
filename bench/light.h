/* The speed of light, which the kernels are measured against.
 *
 * A kernel that reads logits and takes one exp of each is faster than neither a
 * memcpy of the logits nor the frozen exp (frozen_exp.h) over data in the L1 cache.
 * Per element, the slower of the two is the speed of light. It is the machine's,
 * not the tier's: the exp is the widest that the CPU runs, whatever tier is timed. */
#ifndef XENT_BENCH_LIGHT_H
#define XENT_BENCH_LIGHT_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

/* The frozen exp that this CPU runs. */
struct FrozenExp {
    const char *isa;
    void (*function)(const float *x, float *y, std::size_t n);
};
FrozenExp frozen_exp();

/* Its largest relative error over its range, against the double exp. */
double frozen_exp_error();

/* Takes the frozen exp of light_exp_elements numbers that stay in the L1 cache. */
void light_exp();
inline constexpr std::size_t light_exp_elements = 1024;

/* The time that this thread spent from one moment to another. */
class Stopwatch {
public:
    Stopwatch();
    double seconds() const;

private:
    double own_, wall_; /* read in this order */
};

/* The least time of one call, over slices of as many calls as fill the wanted seconds.
 * Other load on the machine only ever adds to a time, so the least is the truest. */
template <typename Function> class Fastest {
public:
    Fastest(Function function, double wanted) : function_(function)
    {
        slice();
        for (int i = 0; i < 3 && best_ < 0.02; i++)
            slice(); /* one alone may have been interrupted, and pass for a slow call */
        while (slice_seconds() < wanted / 2 && calls_ < 1 << 20) {
            calls_ = std::int64_t(std::min(double(calls_) * 8, wanted / std::max(best_, 1e-9) + 1));
            slice();
        }
    }

    void slice()
    {
        const Stopwatch stopwatch;
        for (std::int64_t i = 0; i < calls_; i++)
            function_();
        best_ = std::min(best_, stopwatch.seconds() / double(calls_));
    }

    std::int64_t calls() const { return calls_; }
    double seconds() const { return best_; }
    double slice_seconds() const { return best_ * double(calls_); }

private:
    Function function_;
    std::int64_t calls_ = 1;
    double best_ = std::numeric_limits<double>::infinity();
};

#endif
