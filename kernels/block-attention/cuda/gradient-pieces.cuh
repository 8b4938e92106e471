// What both kernels of the backward pass are made of: products in registers, scores, and rows that are stored.
#pragma once

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

// sums[16 × 8·J] += rows[16 × size] · others[8·J × size]ᵀ, both in shared memory.
template <class C, int J>
__device__ __forceinline__ void multiply_rows(float (&sums)[J][4], const typename C::Element* rows,
                                              const typename C::Element* others, int lane) {
  using Element = typename C::Element;
#pragma unroll
  for (int i = 0; i < C::kSize / 16; i++) {
    uint32_t a[4];
    load_4(a, rows + lane % 16 * C::kRow + i * 16 + lane / 16 * 8);
#pragma unroll
    for (int j = 0; j < J / 2; j++) {
      uint32_t both[4];
      load_4(both, others + (j * 16 + lane / 16 * 8 + lane % 8) * C::kRow + i * 16 +
                       lane / 8 % 2 * 8);
      multiply(sums[2 * j], a[0], a[1], a[2], a[3], both[0], both[1], Element{});
      multiply(sums[2 * j + 1], a[0], a[1], a[2], a[3], both[2], both[3], Element{});
    }
  }
}

// sums[16 × size] += factors[16 × 8·J] · others[8·J × size]; factors in registers.
template <class C, int J>
__device__ __forceinline__ void multiply_columns(float (&sums)[C::kSize / 8][4],
                                                 const float (&factors)[J][4],
                                                 const typename C::Element* others, int lane) {
  using Element = typename C::Element;
#pragma unroll
  for (int i = 0; i < J / 2; i++) {
    const uint32_t a0 = pack(factors[2 * i][0], factors[2 * i][1], Element{});
    const uint32_t a1 = pack(factors[2 * i][2], factors[2 * i][3], Element{});
    const uint32_t a2 = pack(factors[2 * i + 1][0], factors[2 * i + 1][1], Element{});
    const uint32_t a3 = pack(factors[2 * i + 1][2], factors[2 * i + 1][3], Element{});
#pragma unroll
    for (int j = 0; j < C::kSize / 16; j++) {
      uint32_t both[4];
      load_4_transposed(both, others + (i * 16 + lane % 16) * C::kRow + j * 16 + lane / 16 * 8);
      multiply(sums[2 * j], a0, a1, a2, a3, both[0], both[1], Element{});
      multiply(sums[2 * j + 1], a0, a1, a2, a3, both[2], both[3], Element{});
    }
  }
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
