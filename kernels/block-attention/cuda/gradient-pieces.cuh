// What both kernels of the backward pass are made of besides: scores, their slopes, and rows that are stored.
#pragma once

#include "ampere-products.cuh"
#include "ampere-tiles.cuh"
#include "gradient.h"

namespace attnc::cuda {

// Queries, or keys, that a block of threads takes: a warp 16 of them.
constexpr int kRows = 64;

// Products of queries and keys to scores, as powers of 2.
template <bool Capped, int J>
__device__ __forceinline__ void to_scores(const Parameters& p, float (&s)[J][4]) {
#pragma unroll
  for (int j = 0; j < J; j++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      s[j][i] = (Capped ? capped(s[j][i], p.scale, p.softcap) : s[j][i] * p.scale) * kLog2e;
}

// What scores change by with their products, apart from the scale; nothing where they have no cap.
template <bool Capped, int J>
struct Slopes {
  float bent[Capped ? J : 1][4];

  __device__ __forceinline__ Slopes(const Parameters& p, const float (&s)[J][4]) {
    if constexpr (Capped)
#pragma unroll
      for (int j = 0; j < J; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) bent[j][i] = s[j][i] / (p.softcap * kLog2e);
  }
  __device__ __forceinline__ float operator()(int j, int i) const {
    if constexpr (!Capped) return 1.0f;
    return 1.0f - bent[Capped ? j : 0][i] * bent[Capped ? j : 0][i];
  }
};

__device__ __forceinline__ float to_divisor(float log_sum_exp) {
  return log_sum_exp == -INFINITY ? INFINITY : log_sum_exp * kLog2e;
}

// The two rows of this thread, where they exist: [rows, size].
template <class C>
__device__ __forceinline__ void store_rows(typename C::Element* to, int32_t size,
                                           const float (&sums)[C::kSize / 8][4], float factor,
                                           const int32_t (&rows)[2], int32_t limit, int lane) {
#pragma unroll
  for (int r = 0; r < 2; r++) {
    if (rows[r] < 0 || rows[r] >= limit) continue;
    typename C::Element* line = to + (int64_t)rows[r] * size;
#pragma unroll
    for (int j = 0; j < C::kSize / 8; j++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int32_t column = j * 8 + lane % 4 * 2 + i;
        if (column < size) from_float(sums[j][2 * r + i] * factor, line + column);
      }
  }
}

}  // namespace attnc::cuda
