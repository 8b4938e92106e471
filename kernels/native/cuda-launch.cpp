#include "cuda-launch.h"

#include <mutex>

namespace attnc {

namespace {

constexpr int kMostDevices = 64;

const char* told(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace

const char* find_device(cuda::Device& found) {
  static cuda::Device known[kMostDevices];
  static std::mutex mutex;
  int id = 0;
  if (const char* error = told(cudaGetDevice(&id))) return error;
  if (id >= kMostDevices) return "the device's number is above 63";
  const std::lock_guard<std::mutex> lock(mutex);
  if (known[id].major == 0)
    if (const char* error = cuda::read_device(known[id])) return error;
  found = known[id];
  return nullptr;
}

const char* CudaWorkspaces::take(size_t bytes, cudaStream_t stream, void*& data) {
  data = nullptr;
  if (bytes == 0) return nullptr;
  const std::lock_guard<std::mutex> lock(mutex_);
  Piece* own = nullptr;
  for (Piece& piece : pieces_)
    if (piece.stream == stream) own = &piece;
  if (!own) own = &pieces_.emplace_back(Piece{stream, 0, nullptr});
  if (own->bytes < bytes) {
    void* larger = nullptr;
    if (const char* error = told(cudaMalloc(&larger, bytes))) return error;
    cudaFree(own->data);  // after what still runs with it
    own->data = larger, own->bytes = bytes;
  }
  data = own->data;
  return nullptr;
}

CudaWorkspaces::~CudaWorkspaces() {
  for (const Piece& piece : pieces_) cudaFree(piece.data);
}

ort::Status* fail_on_cuda(const Call& call, const char* error) {
  return call.api.CreateStatus(
      ort::kFail, (std::string("attnc.") + call.op + " on CUDA: " + error).c_str());
}

ort::Status* find_place(const Call& call, const Problem& problem, CudaPlace& place) {
  constexpr int64_t kMostBlocks = 65535;  // of a launch, along its second and third axis
  if (problem.B > kMostBlocks || problem.H > kMostBlocks)
    return call.refuse("batch and heads are " + std::to_string(problem.B) + " and " +
                       std::to_string(problem.H) + "; expected 65535 at most.");
  for (int64_t size : {problem.width, problem.row_count, problem.start + problem.S,
                       problem.L * problem.block_rows() * problem.B * problem.H})
    if (size > INT32_MAX / 2) return call.refuse("expected layouts of fewer than 2^30 entries.");
  if (const char* error = find_device(place.device)) return fail_on_cuda(call, error);
  void* stream = nullptr;
  if (ort::Status* status = call.api.KernelContext_GetGPUComputeStream(call.context, &stream))
    return status;
  place.stream = (cudaStream_t)stream;
  return nullptr;
}

cuda::Parameters parameters_of(const Problem& from) {
  cuda::Parameters p{};
  p.query = from.query, p.key = from.key, p.value = from.value;
  p.output = from.output, p.log_sum_exp = from.log_sum_exp;
  p.rows = from.rows, p.columns = from.columns;
  p.key_lengths = from.key_lengths, p.bias = from.bias;
  p.B = (int32_t)from.B, p.H = (int32_t)from.H, p.K = (int32_t)from.K;
  p.S = (int32_t)from.S, p.T = (int32_t)from.T, p.d = (int32_t)from.d, p.e = (int32_t)from.e;
  p.L = (int32_t)from.L, p.row_count = (int32_t)from.row_count, p.width = (int32_t)from.width;
  p.bias_batch = (int32_t)from.bias_batch, p.bias_heads = (int32_t)from.bias_heads;
  p.start = (int32_t)from.start;
  p.query_block = (int32_t)from.query_block, p.key_block = (int32_t)from.key_block;
  p.causal = from.causal, p.window = (int32_t)from.window, p.sinks = (int32_t)from.sinks;
  p.scale = from.scale, p.softcap = from.softcap;
  return p;
}

cuda::Storage storage_on_device(Storage storage) {
  return storage == Storage::float32   ? cuda::Storage::float32
         : storage == Storage::float16 ? cuda::Storage::float16
                                       : cuda::Storage::bfloat16;
}

}  // namespace attnc
