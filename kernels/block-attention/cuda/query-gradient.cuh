// Gradient of blocks of queries: a walk over the keys that they keep, as the forward pass does it.
#pragma once

#include "gradient-pieces.cuh"

namespace attnc::cuda {

template <class C, bool Capped>
__global__ void __launch_bounds__(2 * kRows) query_gradient(const GradientParameters g) {
  using Element = typename C::Element;
  constexpr int N = C::kKeys;
  constexpr int kRow = C::kRow;
  extern __shared__ __align__(16) unsigned char memory[];
  Element* queries = (Element*)memory;
  Element* gradients = queries + kRows * kRow;
  Element* keys = gradients + kRows * kRow;  // two tiles
  Element* values = keys + 2 * N * kRow;
  Element* biases = values + 2 * N * kRow;  // two tiles, where there is one

  const Parameters& p = g.forward;
  const int32_t h = blockIdx.y, b = blockIdx.z, k = h / (p.H / p.K);
  const int32_t parts = (p.query_block + kRows - 1) / kRows;
  // Later rows see more keys: they begin first.
  const int32_t unit = p.block_rows() * parts - 1 - (int32_t)blockIdx.x;
  const int32_t row = p.first_row() + unit / parts;
  const int32_t query = row * p.query_block - p.start + unit % parts * kRows;
  const int32_t limit = smaller_of(p.S, (row + 1) * p.query_block - p.start);
  const int32_t last = smaller_of(query + kRows, limit) - 1;
  if (last < 0 || query >= limit) return;
  const int32_t key_count = keys_of(p, b);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t head = (int64_t)b * p.H + h;
  const Element* all_keys = (const Element*)p.key + ((int64_t)b * p.K + k) * p.T * p.d;
  const Element* all_values = (const Element*)p.value + ((int64_t)b * p.K + k) * p.T * p.e;
  const Element* all_gradients = (const Element*)g.output_gradient + head * p.S * p.e;
  const Element* all_outputs = (const Element*)p.output + head * p.S * p.e;

  Tiles<C> tiles{p, kept_columns(p, b, h / (p.H / p.L), row),
                 visible_keys(p, p.start + larger_of(query, 0), key_count),
                 visible_keys(p, p.start + last, key_count), bias_tiles_of(p, b, h, query)};
  const int32_t mine[2] = {query + warp * 16 + lane / 4, query + warp * 16 + lane / 4 + 8};
  const Visible seen[2] = {visible_keys(p, p.start + mine[0], key_count),
                           visible_keys(p, p.start + mine[1], key_count)};
  const Element* all_biases = bias_of<Element>(p, b, h);
  // Of powers of 2; infinite where a row sees nothing, which makes its probabilities 0.
  float log_sum_exp[2] = {INFINITY, INFINITY}, row_sum[2] = {0, 0};
  for (int r = 0; r < 2; r++)
    if (mine[r] >= 0 && mine[r] < limit)
      log_sum_exp[r] = to_divisor(p.log_sum_exp[head * p.S + mine[r]]);

  copy_rows<C>(queries, (const Element*)p.query + head * p.S * p.d, p.d, query, limit, kRows);
  copy_rows<C>(gradients, all_gradients, p.e, query, limit, kRows);
  const auto fetch = [&](const KeyTile& tile, int slot) {
    copy_rows<C>(keys + slot * N * kRow, all_keys, p.d, tile.base, tile.base + tile.count, N);
    copy_rows<C>(values + slot * N * kRow, all_values, p.e, tile.base, tile.base + tile.count, N);
    if (all_biases && tile.is_biased)
      copy_bias<N>(biases + slot * kRows * (N + kPad), all_biases, p.T, query, limit, kRows,
                   tile.base, tile.count);
  };
  KeyTile tile, coming;
  bool goes_on = tiles.next(tile);
  if (goes_on) fetch(tile, 0);
  asm volatile("cp.async.commit_group;" ::: "memory");

  // D of each row of the warp, while the tiles are on their way.
  for (int r = 0; r < 16; r++) {
    const int32_t at = query + warp * 16 + r;
    if (at < 0 || at >= limit) continue;
    float sum = 0;
    for (int32_t i = lane; i < p.e; i += 32)
      sum += to_float(all_outputs[(int64_t)at * p.e + i]) *
             to_float(all_gradients[(int64_t)at * p.e + i]);
    for (int step = 1; step < 32; step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (r % 8 == lane / 4) row_sum[r / 8] = sum;
    if (lane == 0) g.row_sums[head * p.S + at] = sum;
  }

  float result[C::kSize / 8][4] = {};
  for (int slot = 0; goes_on; slot ^= 1) {
    goes_on = tiles.next(coming);
    if (goes_on) fetch(coming, slot ^ 1);
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
    const Element* here = keys + slot * N * kRow;
    float s[N / 8][4] = {}, change[N / 8][4] = {};
    multiply_rows<C>(s, queries + warp * 16 * kRow, here, lane);
    to_scores<Capped>(p, s);
    const Slopes<Capped, N / 8> slopes(p, s);
    if (all_biases && tile.is_biased) {
      const Element* bias =
          biases + (slot * kRows + warp * 16 + lane / 4) * (N + kPad) + lane % 4 * 2;
      add_bias<N + kPad>(s, bias);
    }
    if (tile.count < N || !is_open(tiles.top, tiles.bottom, tile.base, tile.count))
      hide_unseen(s, tile, seen, lane);
    bool counts = false;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        s[j][i] = power_of_2(s[j][i] - log_sum_exp[i / 2]);
        counts |= s[j][i] != 0.0f;
      }
    // A mask that a bias states leaves whole tiles without weight.
    if (__any_sync(~0u, counts)) {
      multiply_rows<C>(change, gradients + warp * 16 * kRow, values + slot * N * kRow, lane);
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[j][i] *= (change[j][i] - row_sum[i / 2]) * slopes(j, i);
      multiply_columns<C>(result, s, here, lane);
    }
    tile = coming;
    __syncthreads();
  }
  store_rows<C>((Element*)g.query_gradient + head * p.S * p.d, p.d, result, p.scale, mine, limit,
                lane);
}

}  // namespace attnc::cuda
