#include "reduce.h"

#include <math.h>
#include <string.h>

/* -- Sums -- */

enum { POSITIVE = 1, NEGATIVE = 2, NEITHER = 3 }; /* infinities, and NaN, which is as both of them */

static unsigned special_of(double value)
{
    return isnan(value) ? NEITHER : value > 0.0 ? POSITIVE : NEGATIVE;
}

static double value_of(unsigned special)
{
    return special == NEITHER ? NAN : special == POSITIVE ? INFINITY : -INFINITY;
}

void xent_sum_init(struct xent_sum *sum)
{
    sum->count = 0; /* the rest is set up as it is needed */
    sum->special = 0;
}

static void add_digits(struct xent_sum *sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff);
    uint64_t significand = bits & ((UINT64_C(1) << 52) - 1);
    if (exponent) significand |= UINT64_C(1) << 52;
    else exponent = 1;
    int digit = (exponent - 1) / 32, shift = (exponent - 1) % 32;
    uint64_t low = significand << shift, high = shift ? significand >> (64 - shift) : 0;
    int64_t sign = bits >> 63 ? -1 : 1;
    sum->digits[digit] += sign * (int64_t)(low & UINT32_MAX);
    sum->digits[digit + 1] += sign * (int64_t)(low >> 32);
    sum->digits[digit + 2] += sign * (int64_t)high;
}

/* Has the digits hold what was added. */
static void open_digits(struct xent_sum *sum)
{
    if (sum->count > 1) return;
    memset(sum->digits, 0, sizeof sum->digits);
    if (sum->count) add_digits(sum, sum->only);
    sum->count = 2;
}

void xent_sum_add(struct xent_sum *sum, double value)
{
    if (!isfinite(value)) sum->special |= special_of(value);
    else if (sum->count == 0) {
        sum->count = 1;
        sum->only = value;
    } else {
        open_digits(sum);
        add_digits(sum, value);
    }
}

/* Sums side by side, for the sake of speed: all of them are exact. */
typedef double pair __attribute__((vector_size(16)));
typedef int64_t pair_bits __attribute__((vector_size(16)));
#define PAIRS 4
#define WAYS (2 * PAIRS)

static double total_of(const pair parts[PAIRS])
{
    pair sum = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    return sum[0] + sum[1];
}

static double magnitude_of(const pair *values, size_t count)
{
    const pair_bits but_sign = {INT64_MAX, INT64_MAX};
    pair parts[PAIRS] = {0};
    for (size_t i = 0; i < count; i += PAIRS)
        for (size_t k = 0; k < PAIRS; k++) parts[k] += (pair)((pair_bits)values[i + k] & but_sign);
    return total_of(parts);
}

/* Values are split at a power of two, q, into multiples of q, which add up in double without
 * rounding as long as the sum of magnitudes is below 2^53 q, and remainders of at most q / 2,
 * which are split in turn; most often there are none. With 2^e up to that sum, and below
 * 2^(e + 1), it is 1.5 * 2^(e + 2) that has the spacing q = 2^(e - 50), and when it is added and
 * subtracted leaves the multiple of q next to a value. */
void xent_sum_add_rows(struct xent_sum *sum, const double *values, size_t count)
{
    pair rest[XENT_ROWS / 2];
    const size_t pairs = (count + WAYS - 1) / WAYS * PAIRS;
    if (count == 1) {
        xent_sum_add(sum, values[0]);
        return;
    }
    for (size_t i = count / 2; i < pairs; i++) rest[i] = (pair){0};
    memcpy(rest, values, count * sizeof *values);
    for (double magnitude; (magnitude = magnitude_of(rest, pairs)) != 0.0;) {
        double splitter;
        uint64_t bits;
        if (!(magnitude > 0x1p-900 && magnitude < 0x1p+1000)) { /* splitting might leave the range */
            for (size_t i = 0; i < count; i++) xent_sum_add(sum, rest[i / 2][i % 2]);
            return;
        }
        memcpy(&bits, &magnitude, sizeof bits);
        bits = ((bits >> 52) + 2) << 52 | UINT64_C(1) << 51;
        memcpy(&splitter, &bits, sizeof splitter);
        pair totals[PAIRS] = {0};
        pair_bits left = {0};
        for (size_t i = 0; i < pairs; i += PAIRS)
            for (size_t k = 0; k < PAIRS; k++) {
                pair multiple = (rest[i + k] + splitter) - splitter;
                totals[k] += multiple;
                rest[i + k] -= multiple;
                left |= (pair_bits)rest[i + k];
            }
        xent_sum_add(sum, total_of(totals));
        if (!(left[0] | left[1])) return;
    }
}

/* value * 2^exponent, where the result is exact or overflows. */
static double scale(double value, int exponent)
{
    while (exponent > 1000) value *= 0x1p+1000, exponent -= 1000;
    while (exponent < -1000) value *= 0x1p-1000, exponent += 1000;
    uint64_t bits = (uint64_t)(1023 + exponent) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

/* Digits into 0 ... 2^32 - 1; the carry out of the top, which is the sign: 0 or -1. */
static int64_t carry_digits(int64_t *digits)
{
    int64_t carry = 0;
    for (int i = 0; i < XENT_SUM_DIGITS; i++) {
        int64_t digit = digits[i] + carry;
        digits[i] = digit & UINT32_MAX;
        carry = (digit - digits[i]) / (INT64_C(1) << 32);
    }
    return carry;
}

double xent_sum_round(struct xent_sum *sum)
{
    if (sum->special) return value_of(sum->special);
    if (sum->count < 2) return sum->count ? sum->only + 0.0 : 0.0;
    int negative = carry_digits(sum->digits) < 0;
    if (negative) {
        for (int i = 0; i < XENT_SUM_DIGITS; i++) sum->digits[i] = -sum->digits[i];
        carry_digits(sum->digits);
    }
    int top = XENT_SUM_DIGITS - 1;
    while (top >= 0 && !sum->digits[top]) top--;
    if (top < 0) return 0.0;
    /* The leading 64 bits, of which the last also stands for whatever follows, are enough
     * to round right, and the conversion does it. */
    uint64_t leading = 0, rest = 0;
    int taken = 0;
    for (int i = top; i >= 0; i--) {
        uint64_t digit = (uint64_t)sum->digits[i];
        int width = i == top ? 32 - __builtin_clz((unsigned)digit) : 32;
        if (taken >= 64) rest |= digit;
        else if (taken + width <= 64) {
            leading = leading << (width - 1) << 1 | digit;
            taken += width;
        } else {
            int room = 64 - taken;
            leading = leading << (room - 1) << 1 | digit >> (32 - room);
            rest |= digit & ((UINT64_C(1) << (32 - room)) - 1);
            taken = 64;
        }
    }
    int bits_in_all = top * 32 + 32 - __builtin_clz((unsigned)sum->digits[top]);
    double magnitude = scale((double)(leading | (rest != 0)), bits_in_all - taken - 1074);
    return negative ? -magnitude : magnitude;
}

double xent_sum_of(const double *values, size_t count)
{
    struct xent_sum sum;
    xent_sum_init(&sum);
    xent_sum_add_rows(&sum, values, count);
    return xent_sum_round(&sum);
}

/* -- Totals -- */

void xent_totals_init(struct xent_totals *totals)
{
    xent_sum_init(&totals->sum);
    xent_sum_init(&totals->z_sum);
    totals->correct = 0;
    totals->invalid = totals->non_finite = INT64_MAX;
}

void xent_totals_share(struct xent_totals *totals)
{
    open_digits(&totals->sum);
    open_digits(&totals->z_sum);
}

/* Integers only, each in one piece, so that the order in which threads come does not matter. */
static void merge_sum(struct xent_sum *shared, struct xent_sum *own)
{
    if (own->special) __atomic_fetch_or(&shared->special, own->special, __ATOMIC_RELAXED);
    if (own->count == 0) return;
    open_digits(own);
    for (int i = 0; i < XENT_SUM_DIGITS; i++)
        if (own->digits[i]) __atomic_fetch_add(&shared->digits[i], own->digits[i], __ATOMIC_RELAXED);
}

static void merge_first(int64_t *shared, int64_t own)
{
    int64_t now = __atomic_load_n(shared, __ATOMIC_RELAXED);
    while (own < now && !__atomic_compare_exchange_n(shared, &now, own, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

void xent_totals_merge(struct xent_totals *shared, struct xent_totals *own)
{
    merge_sum(&shared->sum, &own->sum);
    merge_sum(&shared->z_sum, &own->z_sum);
    if (own->correct) __atomic_fetch_add(&shared->correct, own->correct, __ATOMIC_RELAXED);
    merge_first(&shared->invalid, own->invalid);
    merge_first(&shared->non_finite, own->non_finite);
}

void xent_totals_note(struct xent_totals *totals, int64_t position, double loss)
{
    if (!isfinite(loss) && totals->non_finite == INT64_MAX) totals->non_finite = 4 * position + special_of(loss);
}

int64_t xent_totals_non_finite(const struct xent_totals *totals, double *loss)
{
    if (totals->non_finite == INT64_MAX) return -1;
    *loss = value_of(totals->non_finite & 3);
    return totals->non_finite / 4;
}
