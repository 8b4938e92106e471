// Block attention in single precision by ordinary arithmetic: every type, size and device that the
// faster kernels pass over. A block of threads takes 16 queries, 8 threads each; keys come 32 at a
// time through shared memory.
#include "launches.h"
#include "softmax.cuh"

namespace attnc::cuda {

namespace {

constexpr int kQueries = 16;
constexpr int kLanes = 8;  // threads that share a query
constexpr int kThreads = kQueries * kLanes;
constexpr int kKeys = 32;

// Size: room for heads of up to so many elements.
template <typename Element, int Size>
__global__ void __launch_bounds__(kThreads) general_attention(const Parameters p) {
  // Rows are one longer than they need be, against bank conflicts.
  constexpr int kRow = Size + 1;
  extern __shared__ float shared[];
  float* queries = shared;                  // [kQueries, kRow]
  float* tokens = queries + kQueries * kRow;  // [kKeys, kRow]: keys, then values
  float* weights = tokens + kKeys * kRow;   // [kQueries, kKeys + 1]

  const int32_t parts = p.query_block / kQueries;
  const int32_t row = p.first_row() + (int32_t)blockIdx.x / parts;
  const int32_t h = blockIdx.y, b = blockIdx.z, k = h / (p.H / p.K);
  const int32_t first = row * p.query_block - p.start + (int32_t)blockIdx.x % parts * kQueries;
  if (first >= p.S || first + kQueries <= 0) return;
  const int32_t lane = threadIdx.x % kLanes, mine = threadIdx.x / kLanes, query = first + mine;
  const bool exists = query >= 0 && query < p.S;
  const int32_t key_count = keys_of(p, b);
  const int64_t line = ((int64_t)b * p.H + h) * p.S + query;
  const Element* all_keys = (const Element*)p.key + ((int64_t)b * p.K + k) * p.T * p.d;
  const Element* all_values = (const Element*)p.value + ((int64_t)b * p.K + k) * p.T * p.e;
  const Element* bias = nullptr;
  if (p.bias && exists)
    bias = (const Element*)p.bias + (((int64_t)(p.bias_batch == 1 ? 0 : b) * p.bias_heads +
                                      (p.bias_heads == 1 ? 0 : h)) * p.S + query) * p.T;
  const Visible seen = visible_keys(p, p.start + query, key_count);
  const KeptColumns kept = kept_columns(p, b, h / (p.H / p.L), row);

  // Rows [at, at + count) of `from` to shared memory; zeros around them.
  const auto fetch = [&](float* to, const Element* from, int32_t size, int32_t at, int32_t rows,
                         int32_t limit) {
    for (int32_t i = threadIdx.x; i < rows * Size; i += kThreads) {
      const int32_t within = i / Size, element = i % Size, token = at + within;
      const bool is_there = token >= 0 && token < limit && element < size;
      to[within * kRow + element] =
          is_there ? to_float(from[(int64_t)token * size + element]) : 0.0f;
    }
  };
  fetch(queries, (const Element*)p.query + ((int64_t)b * p.H + h) * p.S * p.d, p.d, first, kQueries,
        p.S);

  float sums[Size / kLanes] = {};
  float maximum = -INFINITY, total = 0;
  for (int32_t index = 0; index < kept.count; index++) {
    const int32_t column = kept.columns[index];
    if (column < 0 || column >= p.key_blocks()) continue;
    const int32_t end = smaller_of((column + 1) * p.key_block, key_count);
    for (int32_t base = column * p.key_block; base < end; base += kKeys) {
      // The same for all threads: what no query sees is left out.
      const bool is_seen = exists && (base < seen.sinks || (base < seen.end && base + kKeys > seen.first));
      if (!__syncthreads_or(is_seen)) continue;
      fetch(tokens, all_keys, p.d, base, kKeys, end);
      __syncthreads();
      float scores[kKeys / kLanes] = {};
      for (int32_t x = 0; x < p.d; x++)
#pragma unroll
        for (int i = 0; i < kKeys / kLanes; i++)
          scores[i] += queries[mine * kRow + x] * tokens[(lane + i * kLanes) * kRow + x];
      float top = maximum;
#pragma unroll
      for (int i = 0; i < kKeys / kLanes; i++) {
        const int32_t key = base + lane + i * kLanes;
        float score = -INFINITY;
        if (exists && key < end && seen.shows(key)) {
          score = capped(scores[i], p.scale, p.softcap);
          if (bias) score += to_float(bias[key]);
        }
        scores[i] = score * kLog2e;
        top = fmaxf(top, scores[i]);
      }
#pragma unroll
      for (int step = 1; step < kLanes; step *= 2)
        top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
      const float decay = top == -INFINITY ? 1.0f : exp2f(maximum - top);
      const float zero = top == -INFINITY ? 0.0f : top;
      maximum = top;
      total *= decay;
#pragma unroll
      for (int i = 0; i < kKeys / kLanes; i++) {
        const float weight = exp2f(scores[i] - zero);
        total += weight;
        weights[mine * (kKeys + 1) + lane + i * kLanes] = weight;
      }
#pragma unroll
      for (int i = 0; i < Size / kLanes; i++) sums[i] *= decay;
      __syncthreads();
      fetch(tokens, all_values, p.e, base, kKeys, end);
      __syncthreads();
      for (int32_t key = 0; key < kKeys; key++) {
        const float weight = weights[mine * (kKeys + 1) + key];
#pragma unroll
        for (int i = 0; i < Size / kLanes; i++)
          sums[i] += weight * tokens[key * kRow + lane + i * kLanes];
      }
    }
  }
#pragma unroll
  for (int step = 1; step < kLanes; step *= 2) total += __shfl_xor_sync(~0u, total, step);
  if (!exists) return;
  if (p.log_sum_exp && lane == 0)
    p.log_sum_exp[line] = total == 0.0f ? -INFINITY : (maximum + log2f(total)) / kLog2e;
  const float share = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
  for (int i = 0; i < Size / kLanes; i++) {
    const int32_t element = lane + i * kLanes;
    if (element < p.e) from_float(sums[i] * share, (Element*)p.output + line * p.e + element);
  }
}

template <typename Element, int Size>
const char* launch(const Parameters& p, cudaStream_t stream) {
  constexpr int bytes =
      (int)sizeof(float) * ((kQueries + kKeys) * (Size + 1) + kQueries * (kKeys + 1));
  const cudaError_t prepared = cudaFuncSetAttribute(
      general_attention<Element, Size>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (prepared != cudaSuccess) return told(prepared);
  const dim3 grid((unsigned)(p.block_rows() * (p.query_block / kQueries)), (unsigned)p.H,
                  (unsigned)p.B);
  general_attention<Element, Size><<<grid, kThreads, bytes, stream>>>(p);
  return told(cudaGetLastError());
}

template <typename Element>
const char* launch_type(const Parameters& p, cudaStream_t stream) {
  const int32_t size = larger_of(p.d, p.e);
  if (size <= 64) return launch<Element, 64>(p, stream);
  if (size <= 128) return launch<Element, 128>(p, stream);
  return launch<Element, 512>(p, stream);
}

}  // namespace

const char* launch_general(const Parameters& p, Storage storage, cudaStream_t stream) {
  if (storage == Storage::float32) return launch_type<float>(p, stream);
  return storage == Storage::bfloat16 ? launch_type<__nv_bfloat16>(p, stream)
                                      : launch_type<__half>(p, stream);
}

}  // namespace attnc::cuda
