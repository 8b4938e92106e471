#include "cuda-row-program.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>

#include "../row-program/cuda/device-code.h"
#include "cuda-launch.h"

namespace attnc {

namespace {

// Where ports of a kind begin among the operator's.
size_t place_of(const rows::Port& port, const int (&counts)[4]) {
  size_t place = (size_t)port.number;
  for (int kind = 0; kind < (int)port.kind; kind++) place += (size_t)counts[kind];
  return place;
}

int64_t elements_of(const Tensor& tensor) {
  int64_t product = 1;
  for (size_t i = 0; i < tensor.rank; i++) product *= tensor.dims[i];
  return product;
}

}  // namespace

ort::Status* CudaRowProgram::create(const ort::Api& api, const Attributes& attributes,
                                    int32_t element, CudaRowProgram** out) {
  std::string text;
  attributes.read("program", text);
  rows::Program program = rows::read_program(text);
  const rows::Element stored = element == ort::kFloat     ? rows::Element::float32
                               : element == ort::kFloat16 ? rows::Element::float16
                                                          : rows::Element::bfloat16;
  rows::Launch shape;
  const std::string source = rows::write_source(program, stored, shape);
  int id = 0;
  cuda::Device device;
  if (const char* error = find_device(device)) throw std::runtime_error(error);
  if (cudaGetDevice(&id) != cudaSuccess) throw std::runtime_error("there is no device");
  cudaFree(nullptr);  // the driver's functions want the context that this makes
  CUfunc_st* function = rows::compile(source, "row_program", id, 10 * device.major + device.minor);
  *out = new CudaRowProgram{api, std::move(program), std::move(shape), function};
  return nullptr;
}

ort::Status* CudaRowProgram::run(ort::KernelContext* context) const {
  const Call call{api, context, kName};
  size_t outputs = 0;
  Tensor given[std::size(kInputs)];
  if (ort::Status* status = call.read_all(given, outputs)) return status;
  for (const rows::Step& step : program.steps) {
    if (step.op != rows::Op::read) continue;
    const size_t place = place_of(step.port, rows::kInputs);
    const Tensor& tensor = given[place];
    if (!tensor || elements_of(tensor) != step.count * step.columns)
      return call.refuse(std::string("\"") + kInputs[place].name + "\" is " +
                         (tensor ? tensor.shape() : "missing") + "; expected " +
                         std::to_string(step.count * step.columns) + " numbers.");
  }
  // Those between that the program doesn't write are empty.
  for (size_t place = 0; place < outputs; place++) {
    void* nothing = nullptr;
    const bool is_written = std::any_of(
        shape.outputs.begin(), shape.outputs.end(),
        [&](const rows::Port& port) { return place_of(port, rows::kOutputs) == place; });
    if (is_written) continue;
    if (ort::Status* status = call.output(place, {0}, &nothing)) return status;
  }
  std::vector<void*> addresses;
  for (const rows::Port& port : shape.inputs)
    addresses.push_back(const_cast<void*>(given[place_of(port, rows::kInputs)].data));
  for (const rows::Port& port : shape.outputs) {
    void* data = nullptr;
    std::vector<int64_t> dims = program.dims;
    for (const rows::Write& write : program.writes)
      if (write.port.kind == port.kind && write.port.number == port.number &&
          !program.steps[(size_t)write.step].varies)
        dims.back() = 1;
    if (ort::Status* status = call.output(place_of(port, rows::kOutputs), dims.data(),
                                           dims.size(), &data)) return status;
    if (!data) return call.refuse("an output that the program writes is left out.");
    addresses.push_back(data);
  }
  void* stream = nullptr;
  if (ort::Status* status = api.KernelContext_GetGPUComputeStream(context, &stream)) return status;
  std::vector<void*> arguments;
  for (void*& address : addresses) arguments.push_back(&address);
  const char* error = rows::launch(function, (unsigned)shape.blocks, (unsigned)shape.parts,
                                   shape.threads, arguments.data(), (CUstream_st*)stream);
  return error ? fail_on_cuda(call, error) : nullptr;
}

}  // namespace attnc
