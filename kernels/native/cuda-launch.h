// What every operator on a CUDA device needs before its kernels can be launched.
#pragma once

#include <cuda_runtime.h>

#include "../block-attention/cuda/attention.h"
#include "tensors.h"

namespace attnc {

// Where a run puts its work, and a pool of memory that keeps what it has once got.
struct CudaPlace {
  cuda::Device device;
  cudaMemPool_t pool = nullptr;
  cudaStream_t stream = nullptr;
};

// Memory of a run, on its stream; given back when it goes.
class CudaWorkspace {
 public:
  void* data = nullptr;
  // Null, or what went wrong.
  const char* take(size_t bytes, const CudaPlace& place);
  ~CudaWorkspace();

 private:
  cudaStream_t stream_ = nullptr;
};

ort::Status* fail_on_cuda(const Call& call, const char* error);

// ONNX Runtime's stream, and the device that it has made the thread's own. Refuses what no launch can hold.
ort::Status* find_place(const Call& call, const Problem& problem, CudaPlace& place);

cuda::Parameters parameters_of(const Problem& problem);
cuda::Storage storage_on_device(Storage storage);

}  // namespace attnc
