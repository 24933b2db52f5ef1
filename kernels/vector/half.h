/* Elements of 16 bits in plain C, one at a time: f16 (IEEE binary16) and bf16 (the upper half
 * of a float). What storing means, for the vocabularies whose instruction set knows nothing
 * of them, and for all those of doubles, where such elements are rare.
 *
 * Rounding is to nearest even, in one step. Whatever lies beyond the largest number by half a
 * unit becomes infinite, subnormal results are exact to their last place, and NaN stays NaN
 * (made quiet; which one is open).
 */
#ifndef XENT_KERNELS_VECTOR_HALF_H
#define XENT_KERNELS_VECTOR_HALF_H

#include <stdint.h>
#include <string.h>

#define HALF static inline __attribute__((unused))

HALF uint32_t half_float_bits(float a) { uint32_t bits; memcpy(&bits, &a, sizeof bits); return bits; }
HALF float half_float_of(uint32_t bits) { float a; memcpy(&a, &bits, sizeof a); return a; }

HALF float half_from_bf16(uint16_t h) { return half_float_of((uint32_t)h << 16); }
HALF uint16_t half_to_bf16(float a)
{
    uint32_t bits = half_float_bits(a);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); /* NaN */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* An exponent is 15 more than its field says in f16, 127 in a float: 112 apart. */
HALF float half_from_f16(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h ^ magnitude) << 16, bits = magnitude << 13;
    if (magnitude < 0x0400) bits = half_float_bits((float)magnitude * 0x1p-24f); /* zero, subnormal */
    else bits += (magnitude < 0x7c00 ? 112u : 224u) << 23; /* 31 means infinite or NaN, as 255 does */
    return half_float_of(sign | bits);
}
HALF uint16_t half_to_f16(float a)
{
    uint32_t bits = half_float_bits(a), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00); /* NaN */
    if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7c00); /* 2^16 and more */
    /* Below 2^-14, multiples of 2^-24: that is the last place of 1/2, so the sum rounds there. */
    if (magnitude < 0x38800000)
        return (uint16_t)(sign | (half_float_bits(half_float_of(magnitude) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

/* A double rounded to odd: cut to a float, whose last bit becomes 1 if anything was cut off.
 * Rounded again, to nearest and to two bits less at least, that is the double rounded once
 * (Boldo and Melquiond, 2008); twice to nearest would go wrong just beside a half. */
HALF float half_odd_float(double a)
{
    float nearest = (float)a;
    double back = nearest;
    if (!(back < a || back > a)) return nearest; /* exact, or NaN */
    uint32_t bits = half_float_bits(nearest);
    int away_from_zero = a < 0.0 ? back < a : back > a;
    return half_float_of((away_from_zero ? bits - 1 : bits) | 1);
}

#undef HALF

#endif
