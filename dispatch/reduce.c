#include "reduce.h"

#include <math.h>
#include <string.h>

void xent_sum_init(struct xent_sum *sum)
{
    sum->count = 0; /* the rest is set up as it is needed */
    sum->pending = 0;
    sum->special = 0.0;
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

void xent_sum_add(struct xent_sum *sum, double value)
{
    if (!isfinite(value)) {
        sum->special += value;
        value = 0.0;
    }
    if (sum->count++ == 0) {
        sum->only = value;
        return;
    }
    if (sum->count == 2) {
        memset(sum->digits, 0, sizeof sum->digits);
        add_digits(sum, sum->only);
    }
    add_digits(sum, value);
}

/* The block's values as a tree: (0 + 32) + (16 + 48) ... One by one where the tree overflows:
 * the whole sum may still be finite, or at least have a sign. */
static void add_block(struct xent_sum *sum)
{
    double tree[XENT_ROWS];
    for (size_t i = sum->pending; i < XENT_ROWS; i++) sum->block[i] = 0.0;
    memcpy(tree, sum->block, sizeof tree);
    for (size_t half = XENT_ROWS / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++) tree[i] += tree[i + half];
    if (isfinite(tree[0])) xent_sum_add(sum, tree[0]);
    else
        for (size_t i = 0; i < sum->pending; i++) xent_sum_add(sum, sum->block[i]);
    sum->pending = 0;
}

void xent_sum_add_rows(struct xent_sum *sum, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sum->block[sum->pending++] = values[i];
        if (sum->pending == XENT_ROWS) add_block(sum);
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
    if (sum->pending) add_block(sum);
    if (sum->special != 0.0 || isnan(sum->special)) return sum->special;
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
