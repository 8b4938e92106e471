// ONNX Runtime's C API for sessions, beside what kernels need of it (kernels/native/ort-api.h).
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "../../../../kernels/native/ort-api.h"

namespace attnc {

// The library that onnxruntime-node ships, opened once: one copy and one environment in a process.
class Runtime {
 public:
  static Runtime& open(const std::string& library);

  template <int Slot, typename... Arguments>
  void call(Arguments... arguments) const {
    check(((ort::Status * (*)(Arguments...)) table_[Slot])(arguments...));
  }
  template <int Slot, typename Handle>
  void release(Handle* handle) const {
    if (handle) ((void (*)(Handle*))table_[Slot])(handle);
  }

  ort::Env* env() const { return env_; }
  ort::Allocator* allocator() const { return allocator_; }
  const std::string& version() const { return version_; }
  // A function that returns something other than a status.
  template <int Slot, typename Result, typename... Arguments>
  Result get(Arguments... arguments) const {
    return ((Result(*)(Arguments...))table_[Slot])(arguments...);
  }
  // Whether allocators tell how much they hold: ONNX Runtime 1.23 on.
  bool has_statistics() const { return has_statistics_; }

 private:
  explicit Runtime(const std::string& library);
  void check(ort::Status* status) const;

  const void* const* table_ = nullptr;
  ort::Env* env_ = nullptr;
  ort::Allocator* allocator_ = nullptr;
  std::string version_;
  bool has_statistics_ = false;
};

// Releases a handle when its scope ends, also by an exception.
template <int Slot, typename Handle>
struct Owned {
  const Runtime& runtime;
  Handle* handle = nullptr;
  explicit Owned(const Runtime& owner) : runtime(owner) {}
  ~Owned() { runtime.template release<Slot>(handle); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

// Numbers of functions in the table: onnxruntime_c_api.h of ONNX Runtime 1.24.
namespace slot {
enum : int {
  CreateEnv = 3,
  CreateSession = 7,
  CreateSessionOptions = 10,
  EnableProfiling = 14,
  DisableMemoryPattern = 17,
  SetSessionLogSeverityLevel = 22,
  SetSessionGraphOptimizationLevel = 23,
  SetIntraOpNumThreads = 24,
  SetInterOpNumThreads = 25,
  SessionGetInputCount = 30,
  SessionGetOutputCount = 31,
  SessionGetInputTypeInfo = 33,
  SessionGetOutputTypeInfo = 34,
  SessionGetInputName = 36,
  SessionGetOutputName = 37,
  CreateRunOptions = 39,
  RunOptionsSetTerminate = 46,
  CreateTensorAsOrtValue = 48,
  CreateTensorWithDataAsOrtValue = 49,
  GetTensorMutableData = 51,
  CastTypeInfoToTensorInfo = 55,
  GetTensorElementType = 60,
  GetDimensionsCount = 61,
  GetDimensions = 62,
  GetSymbolicDimensions = 63,
  GetTensorTypeAndShape = 65,
  CreateMemoryInfo = 68,
  CreateCpuMemoryInfo = 69,
  AllocatorFree = 76,
  GetAllocatorWithDefaultOptions = 78,
  ReleaseMemoryInfo = 94,
  ReleaseSession = 95,
  ReleaseValue = 96,
  ReleaseRunOptions = 97,
  ReleaseTypeInfo = 98,
  ReleaseTensorTypeAndShapeInfo = 99,
  ReleaseSessionOptions = 100,
  SessionEndProfiling = 110,
  AddSessionConfigEntry = 130,
  CreateAllocator = 131,
  ReleaseAllocator = 132,
  RunWithBinding = 133,
  CreateIoBinding = 134,
  ReleaseIoBinding = 135,
  BindInput = 136,
  BindOutput = 137,
  BindOutputToDevice = 138,
  GetBoundOutputValues = 140,
  SynchronizeBoundOutputs = 203,
  AppendCuda = 204,
  CreateCudaOptions = 205,
  UpdateCudaOptions = 206,
  ReleaseCudaOptions = 208,
  RegisterCustomOpsLibrary = 228,
  GetKeyValue = 297,
  ReleaseKeyValuePairs = 300,
  AllocatorGetStats = 319,
};
}  // namespace slot

}  // namespace attnc
