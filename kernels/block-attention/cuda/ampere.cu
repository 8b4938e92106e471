// Block attention with the instructions of Ampere (mma, cp.async): every block size, head sizes up
// to 256, bias. A block of threads takes one block of queries, a warp 16 of them; tiles of keys come
// in two buffers, one on its way while the other is multiplied.
#include "ampere-products.cuh"
#include "launches.h"

namespace attnc::cuda {

namespace {

template <class C>
__global__ void __launch_bounds__(256) ampere_attention(const Parameters p) {
  using Element = typename C::Element;
  constexpr int N = C::kKeys;
  constexpr int kRow = C::kRow;
  extern __shared__ __align__(16) unsigned char memory[];
  Element* queries = (Element*)memory;
  Element* keys = queries + p.query_block * kRow;  // two tiles
  Element* values = keys + 2 * N * kRow;
  Element* biases = values + 2 * N * kRow;  // two tiles, where there is one

  const int32_t h = blockIdx.y, b = blockIdx.z;
  // Later rows see more keys: they begin first.
  const int32_t row = p.first_row() + p.block_rows() - 1 - (int32_t)blockIdx.x;
  const int32_t k = h / (p.H / p.K);
  const int32_t query = row * p.query_block - p.start;
  const int32_t key_count = keys_of(p, b);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Element* all_keys = (const Element*)p.key + ((int64_t)b * p.K + k) * p.T * p.d;
  const Element* all_values = (const Element*)p.value + ((int64_t)b * p.K + k) * p.T * p.e;

  const int32_t last = smaller_of(query + p.query_block, p.S) - 1;
  Tiles<C> tiles{p, kept_columns(p, b, h / (p.H / p.L), row),
                 visible_keys(p, p.start + larger_of(query, 0), key_count),
                 visible_keys(p, p.start + last, key_count), bias_tiles_of(p, b, h, query)};
  // The two queries of this thread.
  const int32_t mine[2] = {query + warp * 16 + lane / 4, query + warp * 16 + lane / 4 + 8};
  const Visible seen[2] = {visible_keys(p, p.start + mine[0], key_count),
                           visible_keys(p, p.start + mine[1], key_count)};
  const Element* all_biases = bias_of<Element>(p, b, h);

  copy_rows<C>(queries, (const Element*)p.query + ((int64_t)b * p.H + h) * p.S * p.d, p.d, query,
               p.S, p.query_block);
  const auto fetch = [&](const KeyTile& tile, int slot) {
    copy_rows<C>(keys + slot * N * kRow, all_keys, p.d, tile.base, tile.base + tile.count, N);
    copy_rows<C>(values + slot * N * kRow, all_values, p.e, tile.base, tile.base + tile.count, N);
    if (all_biases && tile.is_biased)
      copy_bias<N>(biases + slot * p.query_block * (N + kPad), all_biases, p.T, query, p.S,
                   p.query_block, tile.base, tile.count);
  };

  float o[C::kSize / 8][4] = {};
  float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  KeyTile tile, coming;
  bool goes_on = tiles.next(tile);
  if (goes_on) fetch(tile, 0);
  asm volatile("cp.async.commit_group;" ::: "memory");
  for (int slot = 0; goes_on; slot ^= 1) {
    goes_on = tiles.next(coming);
    if (goes_on) fetch(coming, slot ^ 1);
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();

    // 1. Scores.
    float s[N / 8][4] = {};
    multiply_rows<C>(s, queries + warp * 16 * kRow, keys + slot * N * kRow, lane);

    // 2. Weights, as powers of 2. What is the same for all threads is asked outside of the loops.
    if (p.softcap > 0.0f) {
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[j][i] = capped(s[j][i], p.scale, p.softcap) * kLog2e;
    } else {
#pragma unroll
      for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[j][i] *= p.scale * kLog2e;
    }
    if (all_biases && tile.is_biased) {
      const Element* bias =
          biases + (slot * p.query_block + warp * 16 + lane / 4) * (N + kPad) + lane % 4 * 2;
      add_bias<N + kPad>(s, bias);
    }
    if (tile.count < N || !is_open(tiles.top, tiles.bottom, tile.base, tile.count))
      hide_unseen(s, tile, seen, lane);
    float top[2] = {maximum[0], maximum[1]};
    bool counts = false;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        top[i / 2] = fmaxf(top[i / 2], s[j][i]);
        counts |= s[j][i] > maximum[i / 2] - kVanishing;
      }
    // A mask that a bias states leaves whole tiles without weight.
    if (__any_sync(~0u, counts)) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
        top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
        const float decay = top[r] == -INFINITY ? 1.0f : power_of_2(maximum[r] - top[r]);
        maximum[r] = top[r];
        total[r] *= decay;
#pragma unroll
        for (int j = 0; j < C::kSize / 8; j++) o[j][2 * r] *= decay, o[j][2 * r + 1] *= decay;
        const float base = top[r] == -INFINITY ? 0.0f : top[r];
#pragma unroll
        for (int j = 0; j < N / 8; j++)
#pragma unroll
          for (int i = 2 * r; i < 2 * r + 2; i++) {
            s[j][i] = power_of_2(s[j][i] - base);
            total[r] += s[j][i];
          }
      }

      // 3. Context.
      multiply_columns<C>(o, s, values + slot * N * kRow, lane);
    }
    tile = coming;
    __syncthreads();
  }

  // 4. Averages.
#pragma unroll
  for (int r = 0; r < 2; r++) {
    total[r] += __shfl_xor_sync(~0u, total[r], 1);
    total[r] += __shfl_xor_sync(~0u, total[r], 2);
    if (mine[r] < 0 || mine[r] >= p.S) continue;
    const int64_t line = ((int64_t)b * p.H + h) * p.S + mine[r];
    const float share = total[r] == 0.0f ? 0.0f : 1.0f / total[r];
    if (p.log_sum_exp && lane % 4 == 0)
      p.log_sum_exp[line] =
          total[r] == 0.0f ? -INFINITY : (maximum[r] + log2f(total[r])) / kLog2e;
    Element* output = (Element*)p.output + line * p.e;
#pragma unroll
    for (int j = 0; j < C::kSize / 8; j++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int32_t column = j * 8 + lane % 4 * 2 + i;
        if (column < p.e) from_float(o[j][2 * r + i] * share, output + column);
      }
  }
}

template <class C>
const char* launch(const Parameters& p, cudaStream_t stream) {
  const size_t bytes =
      C::bytes(p.query_block + 4 * C::kKeys) + (p.bias ? C::bias_bytes(2 * p.query_block) : 0);
  const cudaError_t prepared = cudaFuncSetAttribute(
      ampere_attention<C>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
  if (prepared != cudaSuccess) return told(prepared);
  const dim3 grid((unsigned)p.block_rows(), (unsigned)p.H, (unsigned)p.B);
  ampere_attention<C><<<grid, (unsigned)(p.query_block / 16 * 32), bytes, stream>>>(p);
  return told(cudaGetLastError());
}

template <typename Type>
const char* launch_type(const Parameters& p, cudaStream_t stream) {
  const int32_t size = larger_of(p.d, p.e);
  if (size <= 64) return launch<AmpereTraits<Type, 64, 64>>(p, stream);
  if (size <= 128) return launch<AmpereTraits<Type, 128, 64>>(p, stream);
  return launch<AmpereTraits<Type, 256, 16>>(p, stream);
}

}  // namespace

bool fits_ampere(const Parameters& p) { return larger_of(p.d, p.e) <= 256; }

const char* launch_ampere(const Parameters& p, Storage storage, cudaStream_t stream) {
  return storage == Storage::bfloat16 ? launch_type<__nv_bfloat16>(p, stream)
                                      : launch_type<__half>(p, stream);
}

}  // namespace attnc::cuda
