// Launch of one instance of Hopper's kernel: descriptions of the tensors for the copy engine, and the
// number of tiles.
#pragma once

#include "hopper-attention.cuh"
#include "launches.h"

namespace attnc::cuda {

// [heads, tokens, size] in boxes of `box` tokens by 64 elements, each row's 128 bytes swizzled.
inline const char* describe(CUtensorMap& map, const void* data, Storage storage, int64_t size,
                            int64_t tokens, int64_t heads, uint32_t box) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &found);
    if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) function = nullptr;
    return (decltype(&cuTensorMapEncodeTiled))function;
  }();
  if (!encode) return "the driver has no cuTensorMapEncodeTiled";
  const cuuint64_t sizes[3] = {(cuuint64_t)size, (cuuint64_t)tokens, (cuuint64_t)heads};
  const cuuint64_t strides[2] = {(cuuint64_t)size * 2, (cuuint64_t)(size * tokens * 2)};
  const cuuint32_t boxes[3] = {64, box, 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult result =
      encode(&map,
             storage == Storage::float16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                         : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             3, const_cast<void*>(data), sizes, strides, boxes, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? nullptr : "cuTensorMapEncodeTiled refused a tensor";
}

// The largest piece that divides blocks and stages evenly.
inline int32_t chunk_of(int32_t key_block, int32_t stage) {
  int32_t chunk = stage;
  while (key_block % chunk != 0) chunk /= 2;
  return chunk;
}

template <class C>
const char* launch_hopper_as(const Parameters& p, Storage storage, const Device& device,
                          cudaStream_t stream) {
  HopperParameters h{};
  h.p = p;
  h.pairs_heads = p.query_block == kRows;
  h.items_per_row = p.B * (p.H / p.L) / (h.pairs_heads ? 2 : 1);
  h.items = p.L * p.block_rows() * h.items_per_row;
  h.chunk = chunk_of(p.key_block, C::kKeys);
  const int64_t d = p.d;
  const char* error = describe(h.query, p.query, storage, d, p.S, (int64_t)p.B * p.H, kRows);
  if (!error) error = describe(h.key, p.key, storage, d, p.T, (int64_t)p.B * p.K, h.chunk);
  if (!error) error = describe(h.value, p.value, storage, d, p.T, (int64_t)p.B * p.K, h.chunk);
  if (!error) error = describe(h.output, p.output, storage, d, p.S, (int64_t)p.B * p.H, kRows);
  if (error) return error;

  constexpr int bytes = sizeof(HopperShared<C>) + 1024;
  static_assert(bytes <= 227 * 1024, "stages don't fit in shared memory");
  const cudaError_t prepared = cudaFuncSetAttribute(
      hopper_attention<C>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (prepared != cudaSuccess) return told(prepared);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3((unsigned)smaller_of(device.multiprocessors, h.items));
  config.blockDim = dim3(kHopperThreads);
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  return told(cudaLaunchKernelEx(&config, hopper_attention<C>, (const HopperParameters)h));
}

}  // namespace attnc::cuda
