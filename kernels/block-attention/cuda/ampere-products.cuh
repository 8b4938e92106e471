// What a warp does with Ampere's instructions: products of tiles in shared memory, bias and mask on scores in registers.
#pragma once

#include "ampere-tiles.cuh"

namespace attnc::cuda {

__device__ __forceinline__ void load_4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((uint32_t)__cvta_generic_to_shared(row))
               : "memory");
}
__device__ __forceinline__ void load_4_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((uint32_t)__cvta_generic_to_shared(row))
               : "memory");
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

// Two numbers side by side as one read.
__device__ __forceinline__ float2 pair_at(const __half* at) {
  return __half22float2(*(const __half2*)at);
}
__device__ __forceinline__ float2 pair_at(const __nv_bfloat16* at) {
  return __bfloat1622float2(*(const __nv_bfloat162*)at);
}

// Scores of a warp's 16 queries with tiles of keys lie in registers as `mma` leaves them: of s[j], a thread has queries
// lane / 4 and lane / 4 + 8, and of each the keys j·8 + lane % 4 · 2 and the next.

// Adds the bias to scores that are powers of 2. `bias` is this thread's first, in rows of `Row`.
template <int Row, int J, typename Element>
__device__ __forceinline__ void add_bias(float (&s)[J][4], const Element* bias) {
#pragma unroll
  for (int j = 0; j < J; j++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float2 added = pair_at(bias + r * 8 * Row + j * 8);
      s[j][2 * r] += added.x * kLog2e;
      s[j][2 * r + 1] += added.y * kLog2e;
    }
}

// Takes away what this thread's two queries don't see of a tile, and what is beyond its end.
template <int J>
__device__ __forceinline__ void hide_unseen(float (&s)[J][4], const KeyTile& tile,
                                            const Visible (&seen)[2], int lane) {
#pragma unroll
  for (int j = 0; j < J; j++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int32_t within = j * 8 + lane % 4 * 2 + i % 2;
      if (within >= tile.count || !seen[i / 2].shows(tile.base + within)) s[j][i] = -INFINITY;
    }
}

}  // namespace attnc::cuda
