// Products of register tiles: `Rows` rows by `Vectors` vectors of accumulators that never leave the
// registers. Everything else of the kernel is about keeping these two busy.
#pragma once

#include "vectors.h"

namespace {

// scores[r][j] = Σ_k q[r][k] · keys[k][j]. q: rows of `d`; panels: `Vectors` panels of [d][kWidth].
template <int Rows, int Vectors>
ATTNC_INLINE void score_tile(const float* q, int64_t d, const float* panels, float* scores,
                             int64_t stride) {
  Vector sums[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; j++) sums[r][j] = Vector{};
  for (int64_t k = 0; k < d; k++) {
    Vector keys[Vectors];
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; j++) keys[j] = load(panels + (j * d + k) * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vector each = all(q[r * d + k]);
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; j++) sums[r][j] += each * keys[j];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; j++) store(scores + r * stride + j * kWidth, sums[r][j]);
}

// Nothing is fetched ahead.
struct Idle {
  template <int Bytes>
  ATTNC_INLINE void step() {}
};

// context[r] = context[r] · decay[r] + Σ_k weights[r][k] · values[k]; k runs over `count` rows.
template <int Rows, int Vectors, typename T, typename Fetch = Idle>
ATTNC_INLINE void context_tile(const float* weights, int64_t stride, int64_t count, const T* values,
                               int64_t value_stride, const float* decay, float* context,
                               int64_t context_stride, Fetch&& ahead = {}) {
  Vector sums[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; j++)
      sums[r][j] = load(context + r * context_stride + j * kWidth) * decay[r];
  for (int64_t k = 0; k < count; k++) {
    ahead.template step<Vectors * kWidth * (int)sizeof(T)>();
    Vector row[Vectors];
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; j++) row[j] = load(values + k * value_stride + j * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vector each = all(weights[r * stride + k]);
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; j++) sums[r][j] += each * row[j];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; j++)
      store(context + r * context_stride + j * kWidth, sums[r][j]);
}

}  // namespace
