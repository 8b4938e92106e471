// The backward pass of block attention with the instructions of Ampere, for half types and heads of
// up to 128 (Dao, "FlashAttention-2", 2023, algorithm 2): probabilities are made again from the
// log-sum-exp, so that nothing as large as the scores is ever stored. One kernel takes blocks of
// queries and gives their gradient, a second one blocks of keys and gives theirs and the values':
// nothing is added up across blocks of threads, so the same inputs give the same bits.
//   P = exp(scale·QKᵀ − log-sum-exp), D = Σ output·gradient, dP = gradient·Vᵀ, dS = P(dP − D),
//   dQ = scale·dS·K, dK = scale·dSᵀ·Q, dV = Pᵀ·gradient.
#include "gradient.h"

#include "key-gradient.cuh"
#include "launches.h"
#include "query-gradient.cuh"

namespace attnc::cuda {

namespace {

// Q: tiles of keys for blocks of queries; K: tiles of queries for blocks of keys.
template <class Q, class K, bool Capped>
const char* launch(const GradientParameters& g, cudaStream_t stream) {
  const Parameters& p = g.forward;
  const auto parts = [](int32_t block) { return (block + kRows - 1) / kRows; };
  size_t of_queries = Q::bytes(2 * kRows + 4 * Q::kKeys), of_keys = K::bytes(2 * kRows + 4 * K::kKeys);
  if (p.bias) {
    of_queries += Q::bias_bytes(2 * kRows);
    of_keys += (size_t)2 * K::kKeys * (kRows + kPad) * sizeof(typename K::Element);
  }
  const auto prepare = [](const void* kernel, size_t bytes) {
    return told(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
  };
  const auto query_kernel = query_gradient<Q, Capped>;
  const auto key_kernel = key_gradient<K, Capped>;
  if (const char* error = prepare((const void*)query_kernel, of_queries)) return error;
  if (const char* error = prepare((const void*)key_kernel, of_keys)) return error;
  const dim3 queries((unsigned)(p.block_rows() * parts(p.query_block)), (unsigned)p.H,
                     (unsigned)p.B);
  query_kernel<<<queries, 2 * kRows, of_queries, stream>>>(g);
  if (const char* error = told(cudaGetLastError())) return error;
  const dim3 keys((unsigned)(p.key_blocks() * parts(p.key_block)), (unsigned)p.K, (unsigned)p.B);
  key_kernel<<<keys, 2 * kRows, of_keys, stream>>>(g);
  return told(cudaGetLastError());
}

template <typename Type, bool Capped>
const char* launch_type(const GradientParameters& g, cudaStream_t stream) {
  if (larger_of(g.forward.d, g.forward.e) <= 64)
    return launch<AmpereTraits<Type, 64, 64>, AmpereTraits<Type, 64, 32>, Capped>(g, stream);
  return launch<AmpereTraits<Type, 128, 32>, AmpereTraits<Type, 128, 32>, Capped>(g, stream);
}

template <typename Type>
const char* launch_capped(const GradientParameters& g, cudaStream_t stream) {
  return g.forward.softcap > 0.0f ? launch_type<Type, true>(g, stream)
                                  : launch_type<Type, false>(g, stream);
}

}  // namespace

size_t gradient_workspace_bytes(const GradientParameters& g) {
  return bias_tiles_bytes(g.forward);
}

const char* attention_gradient(GradientParameters g, Storage storage, const Device& device,
                               void* workspace, cudaStream_t stream) {
  if (storage == Storage::float32 || larger_of(g.forward.d, g.forward.e) > 128)
    return "expected half precision, and heads of at most 128";
  if (device.major < 8) return "expected a device of compute capability 8.0 or later";
  if (gradient_workspace_bytes(g) > 0) {
    g.forward.bias_tiles = (uint8_t*)workspace;
    if (const char* error = find_bias_tiles(g.forward, storage, stream)) return error;
  }
  return storage == Storage::bfloat16 ? launch_capped<__nv_bfloat16>(g, stream)
                                      : launch_capped<__half>(g, stream);
}

}  // namespace attnc::cuda
