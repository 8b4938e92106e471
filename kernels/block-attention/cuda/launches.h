// The launches of the single kernels. Each returns null or what went wrong.
#pragma once

#include <cuda_runtime.h>

#include "attention.h"

namespace attnc::cuda {

inline const char* told(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Rows of all layouts, those with most kept blocks first, to `p.order`; `p.counter` to 0.
const char* plan(const Parameters& p, cudaStream_t stream);

// Whether Hopper's kernel takes these sizes.
bool fits_hopper(const Parameters& p);

const char* launch_hopper(const Parameters& p, Storage storage, const Device& device,
                          cudaStream_t stream);

bool fits_ampere(const Parameters& p);
const char* launch_ampere(const Parameters& p, Storage storage, cudaStream_t stream);

bool fits_decode(const Parameters& p);
int32_t decode_splits(const Parameters& p, const Device& device);
const char* launch_decode(const Parameters& p, Storage storage, const Device& device,
                          cudaStream_t stream);

// Room for `p.bias_tiles`; 0 where they are not looked for.
size_t bias_tiles_bytes(const Parameters& p);
const char* find_bias_tiles(const Parameters& p, Storage storage, cudaStream_t stream);

// Takes everything, slowly.
const char* launch_general(const Parameters& p, Storage storage, cudaStream_t stream);

}  // namespace attnc::cuda
