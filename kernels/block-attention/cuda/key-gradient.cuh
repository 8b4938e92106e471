// Gradient of blocks of keys, and of their values: a walk over the queries that see them, of all heads that share them.
#pragma once

#include "gradient-pieces.cuh"

namespace attnc::cuda {

// Queries that a tile brings: [base, base + count) of a head; and whether a bias has to be added.
struct QueryTile {
  int32_t head, base, count;
  bool is_biased;
};

// Walks the queries that see a block of keys, of all heads that share it, in tiles. Same for all threads,
// which all have to call it.
template <class C>
struct QueryTiles {
  const Parameters& p;
  int32_t block, first, limit;  // of the keys
  int32_t batch, end_head, keys;
  int32_t head, row, base = 0;  // base: within the row, of which the tiles before are done
  bool is_within = false;

  __device__ bool next(QueryTile& tile) {
    for (; head < end_head; head++, row = p.first_row()) {
      for (; row < p.first_row() + p.block_rows(); row++, base = 0, is_within = false) {
        const int32_t begin = larger_of(0, row * p.query_block - p.start);
        const int32_t end = smaller_of(p.S, (row + 1) * p.query_block - p.start);
        if (!is_within && !sees(begin, end)) continue;
        is_within = true;
        while (begin + base < end) {
          const int32_t query = begin + base;
          base += C::kKeys;
          const uint8_t* kinds = bias_tiles_of(p, batch, head, query);
          const uint8_t kind = kinds ? kinds[first / kBiasTile] : kTileAdded;
          if (kind == kTileHidden) continue;
          tile = {head, query, smaller_of(C::kKeys, end - query), kind == kTileAdded};
          return true;
        }
      }
    }
    return false;
  }

 private:
  __device__ bool sees(int32_t begin, int32_t end) const {
    const Visible top = visible_keys(p, p.start + begin, keys);
    const Visible bottom = visible_keys(p, p.start + end - 1, keys);
    if (first >= bottom.sinks && (first >= bottom.end || limit <= top.first)) return false;
    const KeptColumns kept = kept_columns(p, batch, head / (p.H / p.L), row);
    bool is_kept = false;
    for (int32_t i = threadIdx.x; i < kept.count; i += blockDim.x)
      is_kept |= kept.columns[i] == block;
    return __syncthreads_or(is_kept);
  }
};

// Numbers of rows [first, first + count) to shared memory.
__device__ __forceinline__ void copy_numbers(float* to, const float* from, int32_t first,
                                             int32_t count) {
  for (int32_t i = threadIdx.x; i < count; i += blockDim.x)
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(to + i)),
                 "l"(from + first + i)
                 : "memory");
}

template <class C, bool Capped>
__global__ void __launch_bounds__(2 * kRows) key_gradient(const GradientParameters g) {
  using Element = typename C::Element;
  constexpr int N = C::kKeys;  // queries at once
  constexpr int kRow = C::kRow;
  constexpr int kBias = kRows + kPad;
  extern __shared__ __align__(16) unsigned char memory[];
  Element* keys = (Element*)memory;
  Element* values = keys + kRows * kRow;
  Element* queries = values + kRows * kRow;  // two tiles
  Element* gradients = queries + 2 * N * kRow;
  Element* biases = gradients + 2 * N * kRow;  // two tiles [N, kRows + kPad], where there is one
  __shared__ float log_sums[2][N], row_sums[2][N];

  const Parameters& p = g.forward;
  const int32_t k = blockIdx.y, b = blockIdx.z;
  const int32_t parts = (p.key_block + kRows - 1) / kRows;
  const int32_t block = (int32_t)blockIdx.x / parts;
  const int32_t first = block * p.key_block + (int32_t)blockIdx.x % parts * kRows;
  const int32_t limit = smaller_of(p.T, (block + 1) * p.key_block);
  if (first >= limit) return;
  const int32_t key_count = keys_of(p, b);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t mine[2] = {first + warp * 16 + lane / 4, first + warp * 16 + lane / 4 + 8};
  const int64_t kept_head = (int64_t)b * p.K + k;
  copy_rows<C>(keys, (const Element*)p.key + kept_head * p.T * p.d, p.d, first, limit, kRows);
  copy_rows<C>(values, (const Element*)p.value + kept_head * p.T * p.e, p.e, first, limit, kRows);
  const auto fetch = [&](const QueryTile& tile, int slot) {
    const int64_t head = (int64_t)b * p.H + tile.head;
    const int32_t end = tile.base + tile.count;
    copy_rows<C>(queries + slot * N * kRow, (const Element*)p.query + head * p.S * p.d, p.d,
                 tile.base, end, N);
    copy_rows<C>(gradients + slot * N * kRow,
                 (const Element*)g.output_gradient + head * p.S * p.e, p.e, tile.base, end, N);
    copy_numbers(log_sums[slot], p.log_sum_exp + head * p.S, tile.base, tile.count);
    copy_numbers(row_sums[slot], g.row_sums + head * p.S, tile.base, tile.count);
    if (p.bias && tile.is_biased)
      copy_bias<kRows>(biases + slot * N * kBias, bias_of<Element>(p, b, tile.head), p.T, tile.base,
                       end, N, first, limit - first);
  };

  float of_keys[C::kSize / 8][4] = {}, of_values[C::kSize / 8][4] = {};
  const int32_t group = p.H / p.K;
  QueryTiles<C> tiles{p,         block,         first, limit, b, (k + 1) * group,
                      key_count, k * group, p.first_row()};
  QueryTile tile, coming;
  bool goes_on = tiles.next(tile);
  if (goes_on) fetch(tile, 0);
  asm volatile("cp.async.commit_group;" ::: "memory");
  for (int slot = 0; goes_on; slot ^= 1) {
    goes_on = tiles.next(coming);
    if (goes_on) fetch(coming, slot ^ 1);
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();

    // Transposed: a thread has two keys, and N / 4 queries.
    const Element* here = queries + slot * N * kRow;
    const Element* back = gradients + slot * N * kRow;
    float s[N / 8][4] = {}, change[N / 8][4] = {};
    multiply_rows<C>(s, keys + warp * 16 * kRow, here, lane);
    to_scores<Capped>(p, s);
    const Slopes<Capped, N / 8> slopes(p, s);
    if (p.bias && tile.is_biased) {
      const Element* bias = biases + slot * N * kBias + warp * 16 + lane / 4;
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          s[j][i] +=
              to_float(bias[(j * 8 + lane % 4 * 2 + i % 2) * kBias + i / 2 * 8]) * kLog2e;
    }
    const Visible top = visible_keys(p, p.start + tile.base, key_count);
    const Visible bottom = visible_keys(p, p.start + tile.base + tile.count - 1, key_count);
    if (limit - first < kRows || !is_open(top, bottom, first, kRows)) {
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          const Visible seen = visible_keys(
              p, p.start + tile.base + j * 8 + lane % 4 * 2 + c, key_count);
#pragma unroll
          for (int r = 0; r < 2; r++)
            if (mine[r] >= limit || !seen.shows(mine[r])) s[j][2 * r + c] = -INFINITY;
        }
    }
    bool counts = false;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const int32_t within = j * 8 + lane % 4 * 2 + c;
        const float divisor =
            within < tile.count ? to_divisor(log_sums[slot][within]) : INFINITY;
#pragma unroll
        for (int r = 0; r < 2; r++) {
          s[j][2 * r + c] = power_of_2(s[j][2 * r + c] - divisor);
          counts |= s[j][2 * r + c] != 0.0f;
        }
      }
    if (__any_sync(~0u, counts)) {
      multiply_rows<C>(change, values + warp * 16 * kRow, back, lane);
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
          const int32_t within = j * 8 + lane % 4 * 2 + c;
          const float row_sum = within < tile.count ? row_sums[slot][within] : 0.0f;
#pragma unroll
          for (int r = 0; r < 2; r++) {
            const int i = 2 * r + c;
            change[j][i] = s[j][i] * (change[j][i] - row_sum) * slopes(j, i);
          }
        }
      multiply_columns<C>(of_values, s, back, lane);
      multiply_columns<C>(of_keys, change, here, lane);
    }
    tile = coming;
    __syncthreads();
  }
  asm volatile("cp.async.wait_all;" ::: "memory");
  store_rows<C>((Element*)g.key_gradient + kept_head * p.T * p.d, p.d, of_keys, p.scale, mine,
                limit, lane);
  store_rows<C>((Element*)g.value_gradient + kept_head * p.T * p.e, p.e, of_values, 1.0f, mine,
                limit, lane);
}

}  // namespace attnc::cuda
