// Block attention with the instructions of Ampere (mma, cp.async): every block size, head sizes up
// to 256, bias. A block of threads takes one block of queries, a warp 16 of them; tiles of keys come
// in two buffers, one on its way while the other is multiplied.
#include "launches.h"
#include "softmax.cuh"

namespace attnc::cuda {

namespace {

constexpr int kPad = 8;  // elements after each row, against bank conflicts

// Room for heads of up to Size; N keys at once.
template <typename Type, int Size, int N>
struct AmpereTraits {
  using Element = Type;
  static constexpr int kSize = Size;
  static constexpr int kKeys = N;
  static constexpr int kRow = Size + kPad;
  static size_t bytes(int queries) { return (size_t)(queries + 4 * N) * kRow * sizeof(Type); }
};

// Keys that a tile brings: [base, base + count).
struct KeyTile {
  int32_t base, count;
};

// Walks the kept blocks of a row in tiles, past those that no query sees. Same for all threads.
template <class C>
struct Tiles {
  const Parameters& p;
  KeptColumns kept;
  Visible top, bottom;
  int32_t index = 0, offset = 0;

  __device__ bool next(KeyTile& tile) {
    while (index < kept.count) {
      const int32_t column = kept.columns[index];
      const int32_t base = column * p.key_block + offset;
      const bool exists = column >= 0 && column < p.key_blocks() && base < p.T;
      const int32_t count =
          smaller_of(C::kKeys, smaller_of(p.key_block - offset, p.T - base));
      offset += C::kKeys;
      if (!exists || offset >= p.key_block) index++, offset = 0;
      const bool is_hidden =
          base >= bottom.sinks && (base >= bottom.end || base + count <= top.first);
      if (!exists || is_hidden) continue;
      tile = {base, count};
      return true;
    }
    return false;
  }
};

// Rows of `size` elements to rows of kRow in shared memory; zeros where there are none.
template <class C>
__device__ void copy_rows(typename C::Element* to, const typename C::Element* from, int32_t size,
                          int32_t first, int32_t limit, int32_t rows) {
  using Element = typename C::Element;
  constexpr int kPieces = C::kSize / 8;
  const bool is_aligned = size % 8 == 0;
  for (int32_t i = threadIdx.x; i < rows * kPieces; i += blockDim.x) {
    const int32_t row = i / kPieces, column = i % kPieces * 8;
    Element* target = to + row * C::kRow + column;
    const bool exists = first + row >= 0 && first + row < limit;
    const Element* source = from + (int64_t)(exists ? first + row : 0) * size + column;
    if (is_aligned) {
      const bool is_read = exists && column < size;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                       (uint32_t)__cvta_generic_to_shared(target)),
                   "l"(is_read ? source : from), "r"(is_read ? 16 : 0)
                   : "memory");
    } else {
      for (int32_t j = 0; j < 8; j++)
        from_float(exists && column + j < size ? to_float(source[j]) : 0.0f, target + j);
    }
  }
}

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

template <class C>
__global__ void __launch_bounds__(256) ampere_attention(const Parameters p) {
  using Element = typename C::Element;
  constexpr int N = C::kKeys;
  constexpr int kRow = C::kRow;
  extern __shared__ __align__(16) unsigned char memory[];
  Element* queries = (Element*)memory;
  Element* keys = queries + p.query_block * kRow;  // two tiles
  Element* values = keys + 2 * N * kRow;

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
                 visible_keys(p, p.start + last, key_count)};
  // The two queries of this thread.
  const int32_t mine[2] = {query + warp * 16 + lane / 4, query + warp * 16 + lane / 4 + 8};
  const Visible seen[2] = {visible_keys(p, p.start + mine[0], key_count),
                           visible_keys(p, p.start + mine[1], key_count)};
  const Element* bias[2] = {nullptr, nullptr};
  if (p.bias)
    for (int r = 0; r < 2; r++)
      if (mine[r] >= 0 && mine[r] < p.S)
        bias[r] = (const Element*)p.bias +
                  (((int64_t)(p.bias_batch == 1 ? 0 : b) * p.bias_heads +
                    (p.bias_heads == 1 ? 0 : h)) *
                       p.S +
                   mine[r]) *
                      p.T;

  copy_rows<C>(queries, (const Element*)p.query + ((int64_t)b * p.H + h) * p.S * p.d, p.d, query,
               p.S, p.query_block);
  const auto fetch = [&](const KeyTile& tile, int slot) {
    copy_rows<C>(keys + slot * N * kRow, all_keys, p.d, tile.base, tile.base + tile.count, N);
    copy_rows<C>(values + slot * N * kRow, all_values, p.e, tile.base, tile.base + tile.count, N);
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
    const Element* here = keys + slot * N * kRow;
#pragma unroll
    for (int i = 0; i < C::kSize / 16; i++) {
      uint32_t a[4];
      load_4(a, queries + (warp * 16 + lane % 16) * kRow + i * 16 + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < N / 16; j++) {
        uint32_t both[4];
        load_4(both, here + (j * 16 + lane / 16 * 8 + lane % 8) * kRow + i * 16 +
                         lane / 8 % 2 * 8);
        multiply(s[2 * j], a[0], a[1], a[2], a[3], both[0], both[1], Element{});
        multiply(s[2 * j + 1], a[0], a[1], a[2], a[3], both[2], both[3], Element{});
      }
    }

    // 2. Weights.
    float top[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int32_t within = j * 8 + lane % 4 * 2 + i % 2;
        const int32_t at = tile.base + within;
        float x = -INFINITY;
        if (within < tile.count && seen[i / 2].shows(at)) {
          x = capped(s[j][i], p.scale, p.softcap);
          if (bias[i / 2]) x += to_float(bias[i / 2][at]);
        }
        s[j][i] = x * kLog2e;
        top[i / 2] = fmaxf(top[i / 2], s[j][i]);
      }
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
    const Element* there = values + slot * N * kRow;
#pragma unroll
    for (int i = 0; i < N / 16; i++) {
      const uint32_t a0 = pack(s[2 * i][0], s[2 * i][1], Element{});
      const uint32_t a1 = pack(s[2 * i][2], s[2 * i][3], Element{});
      const uint32_t a2 = pack(s[2 * i + 1][0], s[2 * i + 1][1], Element{});
      const uint32_t a3 = pack(s[2 * i + 1][2], s[2 * i + 1][3], Element{});
#pragma unroll
      for (int j = 0; j < C::kSize / 16; j++) {
        uint32_t both[4];
        load_4_transposed(both, there + (i * 16 + lane % 16) * kRow + j * 16 + lane / 16 * 8);
        multiply(o[2 * j], a0, a1, a2, a3, both[0], both[1], Element{});
        multiply(o[2 * j + 1], a0, a1, a2, a3, both[2], both[3], Element{});
      }
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
  const size_t bytes = C::bytes(p.query_block);
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
