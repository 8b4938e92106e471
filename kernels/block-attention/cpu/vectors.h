// Vectors of floats as wide as the instruction set that this file is compiled for. Compiled several
// times with other flags, so all of it has internal linkage: the linker must not mix the versions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kRows = 8;  // rows of a register tile
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kRows = 6;
#else
constexpr int kWidth = 4;
constexpr int kRows = 6;
#endif

typedef float Vector __attribute__((vector_size(kWidth * 4)));
typedef int32_t Integers __attribute__((vector_size(kWidth * 4)));
typedef uint32_t Bits __attribute__((vector_size(kWidth * 4)));

#define ATTNC_INLINE inline __attribute__((always_inline))

ATTNC_INLINE Vector load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

ATTNC_INLINE void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }

ATTNC_INLINE Vector all(float value) { return Vector{} + value; }

ATTNC_INLINE Vector larger(Vector a, Vector b) {
#if defined(__AVX512F__)
  return (Vector)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

ATTNC_INLINE float largest(Vector a) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)a);
#elif defined(__AVX2__)
  __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
#else
  const float low = a[0] > a[1] ? a[0] : a[1];
  const float high = a[2] > a[3] ? a[2] : a[3];
  return low > high ? low : high;
#endif
}

ATTNC_INLINE float sum(Vector a) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)a);
#elif defined(__AVX2__)
  __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
#else
  return (a[0] + a[1]) + (a[2] + a[3]);
#endif
}

// Two vectors as pieces of `Piece` lanes, a register's quarters or parts of one: where a quarter (or the vector, for whole quarters)
// has pieces 0 1 2 3 …, the pieces 0 2 … of `a` and `b` are added to their pieces 1 3 ….
template <int Piece>
ATTNC_INLINE Vector fold(Vector a, Vector b) {
  Integers first, second;
  for (int i = 0; i < kWidth; i++) {
    int from, step;
    if constexpr (Piece == 1) {
      // a0 b0 a1 b1 + a2 b2 a3 b3 of each quarter.
      from = i / 4 * 4 + i % 4 / 2 + i % 2 * kWidth, step = 2;
    } else if constexpr (Piece == 2) {
      // a0 a1 b0 b1 + a2 a3 b2 b3.
      from = i / 4 * 4 + i % 2 + i % 4 / 2 * kWidth, step = 2;
    } else {
      // Even quarters of both + odd quarters.
      constexpr int quarters = kWidth / 4;
      from = i / 4 * 2 % quarters * 4 + i % 4 + (i / 4 * 2 >= quarters ? kWidth : 0), step = 4;
    }
    first[i] = from;
    second[i] = from + step;
  }
  return __builtin_shuffle(a, b, first) + __builtin_shuffle(a, b, second);
}

// The sums of kWidth vectors as one vector.
template <int Count = kWidth>
ATTNC_INLINE Vector sums_of(const Vector* each) {
  if constexpr (Count == 1)
    return each[0];
  else {
    constexpr int piece = Count == kWidth ? 1 : Count == kWidth / 2 ? 2 : 4;
    Vector halves[Count / 2];
#pragma GCC unroll 8
    for (int i = 0; i < Count / 2; i++) halves[i] = fold<piece>(each[2 * i], each[2 * i + 1]);
    return sums_of<Count / 2>(halves);
  }
}

// exp(x) for x ≤ 0: 2^n · 2^f with n whole and |f| ≤ 1/2. The polynomial is the minimax of degree 5
// for the relative error, 7.5e-8 (own Remez iteration). With the rounding of x·log2(e) the relative
// error stays below 2.5e-7 + 1e-7·|x|. Below 2^-126 the result is 0; NaN stays NaN.
ATTNC_INLINE Vector exponential(Vector x) {
  constexpr float kToWhole = 12582912.0f;  // 1.5 · 2^23: adding it leaves the whole part in the low bits
  const Vector t = x * 1.44269504f;
  const Vector shifted = t + kToWhole;
  const Vector f = t - (shifted - kToWhole);
  Vector p = all(0.0013276472454890609f);
  p = p * f + 0.009675540961325169f;
  p = p * f + 0.05550713092088699f;
  p = p * f + 0.24022120237350464f;
  p = p * f + 0.6931469440460205f;
  p = p * f + 1.0000001192092896f;
  const Bits exponent = (Bits)shifted << 23;
  const Vector scaled = (Vector)((Bits)p + exponent);
  return t < -126.0f ? all(0.0f) : scaled;
}

ATTNC_INLINE float exponential1(float x) { return exponential(all(x))[0]; }

// tanh by exp of −2|x|; near 0, where that cancels, by its series.
ATTNC_INLINE Vector hyperbolic_tangent(Vector x) {
  const Vector size = x < 0.0f ? -x : x;
  const Vector q = exponential(size * -2.0f);
  const Vector far = (1.0f - q) / (1.0f + q);
  const Vector s = size * size;
  const Vector near = size + size * s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * 0.0218694885f)));
  const Vector result = size < 0.25f ? near : far;
  return x < 0.0f ? -result : result;
}

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

ATTNC_INLINE float to_float(float value) { return value; }

ATTNC_INLINE float to_float(Brain value) {
  const uint32_t bits = (uint32_t)value.bits << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

ATTNC_INLINE float to_float(Half value) {
#if defined(__AVX2__)
  return _cvtsh_ss(value.bits);
#else
  const uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 31;
  const uint32_t fraction = value.bits & 1023;
  float result;
  if (exponent == 0) {
    result = (float)fraction * 5.9604644775390625e-8f;
    uint32_t bits;
    std::memcpy(&bits, &result, 4);
    bits |= sign;
    std::memcpy(&result, &bits, 4);
    return result;
  }
  const uint32_t bits =
      sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | (fraction << 13);
  std::memcpy(&result, &bits, 4);
  return result;
#endif
}

ATTNC_INLINE Vector load(const Brain* from) {
  Integers bits;
  for (int i = 0; i < kWidth; i++) bits[i] = (int32_t)((uint32_t)from[i].bits << 16);
  return (Vector)bits;
}

ATTNC_INLINE Vector load(const Half* from) {
#if defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__)
  return (Vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#else
  Vector value;
  for (int i = 0; i < kWidth; i++) value[i] = to_float(from[i]);
  return value;
#endif
}

ATTNC_INLINE void from_float(float value, float* to) { *to = value; }

// Ties to even.
ATTNC_INLINE void from_float(float value, Brain* to) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value)
    to->bits = (uint16_t)((bits >> 16) | 0x40);
  else
    to->bits = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

ATTNC_INLINE void from_float(float value, Half* to) {
#if defined(__AVX2__)
  to->bits = _cvtss_sh(value, 0);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t size = bits & 0x7fffffff;
  uint32_t half;
  if (size >= 0x7f800000)
    half = size > 0x7f800000 ? 0x7e00 : 0x7c00;
  else if (size >= 0x477ff000)
    half = 0x7c00;
  else if (size < 0x38800000) {
    // Subnormal: the adder rounds when the number is aligned with 2^-24.
    float positive;
    std::memcpy(&positive, &size, 4);
    positive += 0.5f;
    std::memcpy(&half, &positive, 4);
    half -= 0x3f000000;
  } else
    half = (size + 0xfff + ((size >> 13) & 1) - 0x38000000) >> 13;
  to->bits = (uint16_t)(sign | half);
#endif
}

}  // namespace
