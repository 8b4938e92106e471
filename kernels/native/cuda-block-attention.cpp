// Block attention on ONNX Runtime's stream.
#include "cuda-block-attention.h"

#include "block-attention-operator.h"
#include "cuda-launch.h"

namespace attnc {

ort::Status* OnCuda::run(const Call& call, const Problem& problem) const {
  CudaPlace place;
  if (ort::Status* status = find_place(call, problem, place)) return status;
  const cuda::Parameters p = parameters_of(problem);
  const cuda::Storage storage = storage_on_device(problem.storage);
  const size_t bytes = cuda::workspace_bytes(p, storage, place.device);
  void* workspace = nullptr;
  if (bytes > 0) {
    const cudaError_t taken = cudaMallocFromPoolAsync(&workspace, bytes, place.pool, place.stream);
    if (taken != cudaSuccess) return fail_on_cuda(call, cudaGetErrorString(taken));
  }
  const char* error = cuda::attention(p, storage, place.device, workspace, place.stream);
  const cudaError_t freed = workspace ? cudaFreeAsync(workspace, place.stream) : cudaSuccess;
  if (error) return fail_on_cuda(call, error);
  return freed == cudaSuccess ? nullptr : fail_on_cuda(call, cudaGetErrorString(freed));
}

template struct BlockAttention<RowsOfBlocks, OnCuda>;
template struct BlockAttention<TableOfBlocks, OnCuda>;

}  // namespace attnc
