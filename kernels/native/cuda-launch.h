// What every operator on a CUDA device needs before its kernels can be launched.
#pragma once

#include <cuda_runtime.h>

#include <mutex>
#include <vector>

#include "../block-attention/cuda/attention.h"
#include "tensors.h"

namespace attnc {

// Where a run puts its work.
struct CudaPlace {
  cuda::Device device;
  cudaStream_t stream = nullptr;
};

// Memory that a kernel needs besides its inputs and outputs: one piece for each stream, as runs on one stream
// wait for each other. It stays where it is: what was recorded with it can be run again, and nothing is
// taken or given back while it runs.
class CudaWorkspaces {
 public:
  ~CudaWorkspaces();
  // Null, or what went wrong; `data` is null where no bytes are asked for.
  const char* take(size_t bytes, cudaStream_t stream, void*& data);

 private:
  struct Piece {
    cudaStream_t stream;
    size_t bytes;
    void* data;
  };
  std::mutex mutex_;
  std::vector<Piece> pieces_;
};

// The device that ONNX Runtime has made the thread's own; asked once in a process. Null, or what went wrong.
const char* find_device(cuda::Device& found);

ort::Status* fail_on_cuda(const Call& call, const char* error);

// ONNX Runtime's stream, and the device that it has made the thread's own. Refuses what no launch can hold.
ort::Status* find_place(const Call& call, const Problem& problem, CudaPlace& place);

cuda::Parameters parameters_of(const Problem& problem);
cuda::Storage storage_on_device(Storage storage);

}  // namespace attnc
