// The kernels as C functions, for the Python of the machine with the GPU.
#include <cuda_runtime.h>

#include "../../kernels/block-attention/cuda/gradient.h"

using attnc::cuda::Device;
using attnc::cuda::Parameters;

static const Device& device() {
  static const Device known = [] {
    Device read;
    attnc::cuda::read_device(read);
    return read;
  }();
  return known;
}

extern "C" size_t attnc_workspace_bytes(const Parameters* p, int32_t storage, int32_t path) {
  return attnc::cuda::workspace_bytes(*p, (attnc::cuda::Storage)storage, device(),
                                      (attnc::cuda::Path)path);
}

extern "C" size_t attnc_gradient_workspace_bytes(const attnc::cuda::GradientParameters* p) {
  return attnc::cuda::gradient_workspace_bytes(*p);
}

extern "C" const char* attnc_attention_gradient(const attnc::cuda::GradientParameters* p,
                                                int32_t storage, void* workspace, void* stream) {
  return attnc::cuda::attention_gradient(*p, (attnc::cuda::Storage)storage, device(), workspace,
                                         (CUstream_st*)stream);
}

extern "C" const char* attnc_attention(const Parameters* p, int32_t storage, void* workspace,
                                       void* stream, int32_t path) {
  return attnc::cuda::attention(*p, (attnc::cuda::Storage)storage, device(), workspace,
                                (CUstream_st*)stream, (attnc::cuda::Path)path);
}
