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
  void* workspace = nullptr;
  const size_t bytes = cuda::workspace_bytes(p, storage, place.device);
  const char* error = workspaces.take(bytes, place.stream, workspace);
  if (!error) error = cuda::attention(p, storage, place.device, workspace, place.stream);
  return error ? fail_on_cuda(call, error) : nullptr;
}

template struct BlockAttention<RowsOfBlocks, OnCuda>;
template struct BlockAttention<TableOfBlocks, OnCuda>;

}  // namespace attnc
