#include "cuda-attention-gradient.h"

#include "../block-attention/cuda/gradient.h"
#include "block-attention-operator.h"
#include "cuda-launch.h"

namespace attnc {

ort::Status* CudaBlockSparseAttentionGradient::create(const ort::Api& api,
                                                      const Attributes& attributes, int32_t,
                                                      CudaBlockSparseAttentionGradient** out) {
  BlockSettings settings;
  if (ort::Status* status = read_settings(Call{api, nullptr, kName}, attributes, settings))
    return status;
  *out = new CudaBlockSparseAttentionGradient{api, settings, {}};
  return nullptr;
}

ort::Status* CudaBlockSparseAttentionGradient::run(ort::KernelContext* context) const {
  constexpr size_t kCount = std::size(kInputs);
  const Call call{api, context, kName};
  size_t outputs = 0;
  Tensor all[kCount];
  if (ort::Status* status = call.read_all(all, outputs)) return status;
  Problem p{};
  if (ort::Status* status = read_problem<RowsOfBlocks>(call, settings, {all[0], all[1], all[2]},
                                                       all + 3, all[8], all[9], false, p))
    return status;
  const Tensor &output = all[5], &log_sum_exp = all[6], &gradient = all[7];
  const char* name = type_name(all[0].type);
  for (const auto& [port, tensor] :
       {std::pair("output", &output), std::pair("output_gradient", &gradient)})
    if (ort::Status* status = call.expect(port, *tensor, all[0].type, name, {p.B, p.H, p.S, p.e}))
      return status;
  if (ort::Status* status =
          call.expect("log_sum_exp", log_sum_exp, ort::kFloat, "float32", {p.B, p.H, p.S}))
    return status;
  p.output = const_cast<void*>(output.data);
  p.log_sum_exp = (float*)const_cast<void*>(log_sum_exp.data);

  cuda::GradientParameters g{};
  g.output_gradient = gradient.data;
  void* row_sums = nullptr;
  if (ort::Status* status = call.output(0, {p.B, p.H, p.S, p.d}, &g.query_gradient)) return status;
  if (ort::Status* status = call.output(1, {p.B, p.K, p.T, p.d}, &g.key_gradient)) return status;
  if (ort::Status* status = call.output(2, {p.B, p.K, p.T, p.e}, &g.value_gradient)) return status;
  if (ort::Status* status = call.output(3, {p.B, p.H, p.S}, &row_sums)) return status;
  if (p.B == 0 || p.H == 0 || p.S == 0)
    return call.refuse("expected at least one query.");
  g.row_sums = (float*)row_sums;
  CudaPlace place;
  if (ort::Status* status = find_place(call, p, place)) return status;
  g.forward = parameters_of(p);
  void* workspace = nullptr;
  const char* error = workspaces.take(cuda::gradient_workspace_bytes(g), place.stream, workspace);
  if (!error)
    error = cuda::attention_gradient(g, storage_on_device(p.storage), place.device, workspace,
                                     place.stream);
  return error ? fail_on_cuda(call, error) : nullptr;
}

}  // namespace attnc
