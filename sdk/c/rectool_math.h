/* Elementary functions for plugins without a libc: exp, log, log1p, logistic and softplus in double
 * precision, within 1e-15 of the exact value (relative), and the same bits on every machine.
 */
#ifndef RECTOOL_MATH_H
#define RECTOOL_MATH_H

#include <stdint.h>

static inline double rectool_from_bits(uint64_t bits) {
    double x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t rectool_to_bits(double x) {
    uint64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double rectool_abs(double x) {
    return __builtin_fabs(x);
}

static inline double rectool_max(double x, double y) {
    return x > y ? x : y;
}

static inline double rectool_sqrt(double x) {
    return __builtin_sqrt(x);
}

/* exp(x) = 2^k exp(r) with |r| <= ln(2) / 2; exp(r) by its Taylor series. */
static inline double rectool_exp(double x) {
    if (x != x) {
        return x;
    }
    if (x > 709.78271289338397) {
        return __builtin_inf();
    }
    if (x < -708.0) { /* the rest of the range is subnormal: as good as nothing */
        return 0.0;
    }
    double k = __builtin_floor(x * 1.4426950408889634 + 0.5);
    /* ln(2) in two pieces, the first with 33 bits, so that k times it is exact. */
    double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    /* In pairs, pairs of pairs, ...: these do not wait for each other as nested sums do. */
    double r2 = r * r;
    double r4 = r2 * r2;
    double low = (1.0 + r) + (1.0 / 2.0 + r * (1.0 / 6.0)) * r2;
    double middle = (1.0 / 24.0 + r * (1.0 / 120.0)) + (1.0 / 720.0 + r * (1.0 / 5040.0)) * r2;
    double high = (1.0 / 40320.0 + r * (1.0 / 362880.0)) +
                  (1.0 / 3628800.0 + r * (1.0 / 39916800.0)) * r2;
    double last = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0);
    double sum = (low + middle * r4) + (high + last * r4) * (r4 * r4);
    /* In two halves: 2^1024 is no double, though exp(709.7) is. */
    int64_t exponent = (int64_t)k;
    int64_t half = exponent / 2;
    return sum * rectool_from_bits((uint64_t)(1023 + half) << 52) *
           rectool_from_bits((uint64_t)(1023 + exponent - half) << 52);
}

/* log(x) = e ln(2) + 2 atanh(s) with s = (m - 1) / (m + 1), x = 2^e m, m near 1. */
static inline double rectool_log(double x) {
    if (x != x || x < 0.0) {
        return __builtin_nan("");
    }
    if (x == 0.0) {
        return -__builtin_inf();
    }
    if (x == __builtin_inf()) {
        return x;
    }
    double e = 0.0;
    if (x < 2.2250738585072014e-308) { /* subnormal */
        x *= 0x1p54;
        e = -54.0;
    }
    uint64_t bits = rectool_to_bits(x);
    e += (double)((int64_t)(bits >> 52) - 1023);
    double m = rectool_from_bits((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e += 1.0;
    }
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    double z2 = z * z;
    double z4 = z2 * z2;
    double low = (1.0 / 3.0 + z * (1.0 / 5.0)) + (1.0 / 7.0 + z * (1.0 / 9.0)) * z2;
    double middle = (1.0 / 11.0 + z * (1.0 / 13.0)) + (1.0 / 15.0 + z * (1.0 / 17.0)) * z2;
    double high = (1.0 / 19.0 + z * (1.0 / 21.0)) + (1.0 / 23.0) * z2;
    double sum = low + (middle + high * z4) * z4;
    double tail = 2.0 * s * z * sum + e * 1.90821492927058770002e-10;
    return e * 0.693147180369123816490 + (2.0 * s + tail);
}

/* log(1 + x) without losing a small x. */
static inline double rectool_log1p(double x) {
    double u = 1.0 + x;
    if (u == 1.0) {
        return x;
    }
    if (!(u > 0.0) || u == __builtin_inf()) {
        return rectool_log(u);
    }
    return rectool_log(u) + (x - (u - 1.0)) / u;
}

/* 1 / (1 + exp(-x)) */
static inline double rectool_logistic(double x) {
    double e = rectool_exp(x < 0.0 ? x : -x);
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* log(1 + exp(x)) */
static inline double rectool_softplus(double x) {
    double e = rectool_exp(x < 0.0 ? x : -x);
    return (x < 0.0 ? 0.0 : x) + rectool_log1p(e);
}

#endif
