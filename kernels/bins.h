/* Sums of the blocks of a long row, which come out the same in whatever order the blocks are
 * added, and however a row was cut between blocks.
 *
 * A block's sum of exp(x - max) is at most 2^8, and of exp_scaled, where it is off by what row_inverse
 * is but for a power of two, below 2^9 units. It is cut, from the top, into multiples of
 * 2^-30 units, 2^-69, ... of at most 39 bits, by adding and subtracting 1.5 2^52 times such a number. Each part is added to its own bin, and up to 2^14 blocks (four million
 * classes) that is exact; longer rows lose nothing but the promise. What is left after four cuts
 * is less than 2^-147 of the row's greatest term, and rounds as it will. (Demmel and Nguyen,
 * "Parallel reproducible summation", 2015; here the scale is known beforehand.) */
#ifndef XENT_KERNELS_BINS_H
#define XENT_KERNELS_BINS_H

#include "terms.h"

#define BINS 5

/* Of sums the maximum is part of: for all rows that of a maximum at the top of its span. What is left after four cuts is still
 * less than 2^-75 of the row's greatest term. */
#define BINS_WHOLE_SHIFTER (0x1.8p+22 * EXP_ROW_POWER * 0x1p+56)
_Static_assert(EXP_SPAN - EXP_LOW == 56, "the span's top");

/* 1.5 2^(52 - 30) units. unit: see exp_row_unit. */
MATH double bins_shifter(real unit) { return 0x1.8p+22 * EXP_ROW_POWER / unit; }

struct bins {
    double part[BINS];
};

MATH void bins_add(struct bins *bins, double sum, double shifter)
{
    UNROLL for (int b = 0; b < BINS - 1; b++) {
        double part = (sum + shifter) - shifter;
        bins->part[b] += part;
        sum -= part;
        if (b > 0 && sum == 0) return; /* as a rule, after two */
        shifter *= 0x1p-39;
    }
    bins->part[BINS - 1] += sum;
}

#ifdef XENT_REAL_F64
MATH void bins_add_total(struct bins *bins, total sum, double shifter)
{
    bins_add(bins, sum.high, shifter);
    bins_add(bins, sum.low, shifter);
}

/* From the smallest up, with what each addition loses. */
MATH total bins_total(const struct bins *bins)
{
    double high = bins->part[BINS - 1], low = 0.0;
    for (int b = BINS - 2; b >= 0; b--) {
        double sum = bins->part[b] + high, there = sum - bins->part[b];
        low += (bins->part[b] - (sum - there)) + (high - there);
        high = sum;
    }
    double sum = high + low;
    return (total){sum, low - (sum - high)};
}
#else
MATH void bins_add_total(struct bins *bins, total sum, double shifter) { bins_add(bins, sum, shifter); }
MATH total bins_total(const struct bins *bins)
{
    double sum = bins->part[BINS - 1];
    for (int b = BINS - 2; b >= 0; b--) sum += bins->part[b];
    return sum;
}
#endif

MATH double total_rounded(total a)
{
#ifdef XENT_REAL_F64
    return a.high;
#else
    return a;
#endif
}

/* Less one of its terms (2Sum, Knuth). */
MATH total total_less(total a, real term)
{
#ifdef XENT_REAL_F64
    double high = a.high - term, there = high + term;
    return (total){high, a.low + ((a.high - there) - (term - (there - high)))};
#else
    return a - (double)term;
#endif
}

/* The sums of exp_scaled over a row. */
struct row_sums {
    total whole, others; /* of all; of all but the ties */
    double ties;         /* elements equal to the maximum */
    struct bins whole_bins, others_bins; /* of rows of more than a block */
};

/* See finish.h. top: exp_scaled(max), which is 0 or NaN where the maximum is infinite. */
MATH double spread_from(real top, size_t classes) { return (classes > BLOCK / 2 ? 3.0 : 2.5) * (double)top; }
MATH int row_is_spread(total whole, real top, size_t classes)
{
    return classes > SPREAD_CLASSES && total_rounded(whole) > spread_from(top, classes);
}

/* Whether that needs to be looked at, where others and ties are known already: they make whole, but for a few roundings. */
MATH int row_may_be_spread(total others, double ties, real top, size_t classes)
{
    const double whole = total_rounded(others) + ties * (double)top;
    return classes > SPREAD_CLASSES && whole > spread_from(top, classes) * (1.0 - 0x1p-16);
}

#endif
