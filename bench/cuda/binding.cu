// The kernels as C functions, for the Python of the machine with the GPU.
#include <cuda_runtime.h>

#include "../../kernels/block-attention/cuda/attention.h"

using attnc::cuda::Device;
using attnc::cuda::Parameters;
using attnc::cuda::Storage;

static const Device& device() {
  static const Device known = [] {
    Device read;
    attnc::cuda::read_device(read);
    return read;
  }();
  return known;
}

extern "C" size_t attnc_workspace_bytes(const Parameters* p) {
  return attnc::cuda::workspace_bytes(*p, device());
}

extern "C" const char* attnc_attention(const Parameters* p, int32_t is_bfloat16, void* workspace,
                                       void* stream, int32_t variant) {
  return attnc::cuda::attention(*p, is_bfloat16 ? Storage::bfloat16 : Storage::float16, device(),
                                workspace, (CUstream_st*)stream, variant);
}
