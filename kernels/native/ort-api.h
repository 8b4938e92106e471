// The part of ONNX Runtime's C API that attnc uses, so that building needs no headers of it. The
// table of functions only grows at its end: a function is its number in the table. Numbers and
// structures: onnxruntime_c_api.h of ONNX Runtime 1.24 (struct OrtApi, struct OrtCustomOp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace ort {

struct Status;
struct Value;
struct TypeAndShape;
struct TypeInfo;
struct KernelInfo;
struct KernelContext;
struct SessionOptions;
struct Domain;
struct Env;
struct Session;
struct RunOptions;
struct MemoryInfo;
struct Allocator;
struct IoBinding;
struct CustomOp;

enum ErrorCode { kFail = 1, kInvalidArgument = 2 };
enum ElementType { kUndefined = 0, kFloat = 1, kInt32 = 6, kInt64 = 7, kBool = 9, kFloat16 = 10, kBfloat16 = 16 };
enum Presence { kRequired = 0, kOptional = 1 };

// The version whose table holds every function used here.
constexpr uint32_t kApiVersion = 17;

struct Base {
  const void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// One table for a process; set by whoever loads the library.
struct Api {
  const void* const* table = nullptr;

  template <int Slot, typename Result, typename... Arguments>
  Result call(Arguments... arguments) const {
    return ((Result(*)(Arguments...))table[Slot])(arguments...);
  }

#define ATTNC_ORT(slot, result, name, parameters, arguments) \
  result name parameters const { return call<slot, result> arguments; }
  ATTNC_ORT(0, Status*, CreateStatus, (ErrorCode code, const char* text), (code, text))
  ATTNC_ORT(2, const char*, GetErrorMessage, (const Status* status), (status))
  ATTNC_ORT(26, Status*, CreateCustomOpDomain, (const char* name, Domain** out), (name, out))
  ATTNC_ORT(27, Status*, CustomOpDomain_Add, (Domain * domain, const CustomOp* op), (domain, op))
  ATTNC_ORT(28, Status*, AddCustomOpDomain, (SessionOptions * options, Domain* domain), (options, domain))
  ATTNC_ORT(51, Status*, GetTensorMutableData, (Value * value, void** out), (value, out))
  ATTNC_ORT(60, Status*, GetTensorElementType, (const TypeAndShape* info, int32_t* out), (info, out))
  ATTNC_ORT(61, Status*, GetDimensionsCount, (const TypeAndShape* info, size_t* out), (info, out))
  ATTNC_ORT(62, Status*, GetDimensions, (const TypeAndShape* info, int64_t* dims, size_t count), (info, dims, count))
  ATTNC_ORT(65, Status*, GetTensorTypeAndShape, (const Value* value, TypeAndShape** out), (value, out))
  ATTNC_ORT(85, Status*, KernelInfoGetAttribute_float, (const KernelInfo* info, const char* name, float* out), (info, name, out))
  ATTNC_ORT(86, Status*, KernelInfoGetAttribute_int64, (const KernelInfo* info, const char* name, int64_t* out), (info, name, out))
  ATTNC_ORT(87, Status*, KernelInfoGetAttribute_string, (const KernelInfo* info, const char* name, char* out, size_t* size), (info, name, out, size))
  ATTNC_ORT(88, Status*, KernelContext_GetInputCount, (const KernelContext* context, size_t* out), (context, out))
  ATTNC_ORT(89, Status*, KernelContext_GetOutputCount, (const KernelContext* context, size_t* out), (context, out))
  ATTNC_ORT(90, Status*, KernelContext_GetInput, (const KernelContext* context, size_t index, const Value** out), (context, index, out))
  ATTNC_ORT(91, Status*, KernelContext_GetOutput, (KernelContext * context, size_t index, const int64_t* dims, size_t rank, Value** out), (context, index, dims, rank, out))
  ATTNC_ORT(93, void, ReleaseStatus, (Status * status), (status))
  ATTNC_ORT(99, void, ReleaseTensorTypeAndShapeInfo, (TypeAndShape * info), (info))
  ATTNC_ORT(193, Status*, KernelContext_GetGPUComputeStream, (const KernelContext* context, void** out), (context, out))
  ATTNC_ORT(274, Status*, KernelContext_ParallelFor, (const KernelContext* context, void (*work)(void*, size_t), size_t total, size_t batches, void* data), (context, work, total, batches, data))
#undef ATTNC_ORT
};

// An operator, as a table of functions.
struct CustomOp {
  uint32_t version;
  void* (*CreateKernel)(const CustomOp*, const void* const* api, const KernelInfo*);
  const char* (*GetName)(const CustomOp*);
  const char* (*GetExecutionProviderType)(const CustomOp*);
  int32_t (*GetInputType)(const CustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const CustomOp*);
  int32_t (*GetOutputType)(const CustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const CustomOp*);
  void (*KernelCompute)(void* kernel, KernelContext*);
  void (*KernelDestroy)(void* kernel);
  int32_t (*GetInputCharacteristic)(const CustomOp*, size_t index);
  int32_t (*GetOutputCharacteristic)(const CustomOp*, size_t index);
  int32_t (*GetInputMemoryType)(const CustomOp*, size_t index);
  int (*GetVariadicInputMinArity)(const CustomOp*);
  int (*GetVariadicInputHomogeneity)(const CustomOp*);
  int (*GetVariadicOutputMinArity)(const CustomOp*);
  int (*GetVariadicOutputHomogeneity)(const CustomOp*);
  Status* (*CreateKernelV2)(const CustomOp*, const void* const* api, const KernelInfo*, void** kernel);
  Status* (*KernelComputeV2)(void* kernel, KernelContext*);
  Status* (*InferOutputShapeFn)(const CustomOp*, void* context);
  int (*GetStartVersion)(const CustomOp*);
  int (*GetEndVersion)(const CustomOp*);
};

}  // namespace ort
