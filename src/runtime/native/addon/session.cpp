// Opens and runs sessions through IO binding: what stays on the device is never copied.
#include "session.h"

#include "replay.h"

namespace attnc {

namespace {

constexpr int kArenaAllocator = 1;
constexpr int kDeviceAllocator = 0;
constexpr int kDefaultMemory = 0;

}  // namespace

std::pair<int32_t, std::vector<int64_t>> Held::read() const {
  Owned<slot::ReleaseTensorTypeAndShapeInfo, ort::TypeAndShape> info{runtime_};
  runtime_.call<slot::GetTensorTypeAndShape>((const ort::Value*)value_, &info.handle);
  const ort::TypeAndShape* shape = info.handle;
  int32_t type = 0;
  size_t rank = 0;
  runtime_.call<slot::GetTensorElementType>(shape, &type);
  runtime_.call<slot::GetDimensionsCount>(shape, &rank);
  std::vector<int64_t> dims(rank);
  runtime_.call<slot::GetDimensions>(shape, dims.data(), rank);
  return {type, dims};
}

void* Held::data() const {
  void* data = nullptr;
  runtime_.call<slot::GetTensorMutableData>(value_, &data);
  return data;
}

size_t Held::bytes() const {
  const auto [type, dims] = read();
  size_t bytes = element_bytes(type);
  for (int64_t dim : dims) bytes *= (size_t)dim;
  return bytes;
}

HeldTensor Held::alike(ort::Allocator* allocator) const {
  const auto [type, dims] = read();
  ort::Value* value = nullptr;
  runtime_.call<slot::CreateTensorAsOrtValue>(allocator, (const int64_t*)dims.data(), dims.size(), type, &value);
  return std::make_shared<Held>(runtime_, value);
}

size_t element_bytes(int32_t type) {
  switch (type) {
    case 2: case 3: case 9: return 1;
    case 4: case 5: case 10: case 16: return 2;
    case 1: case 6: case 12: return 4;
    case 7: case 11: case 13: return 8;
    default: throw std::runtime_error("A tensor has element type " + std::to_string(type) + ", which JavaScript has no array for.");
  }
}

Session::Session(Runtime& runtime, const SessionOptions& options)
    : in_place(options.in_place), runtime_(runtime) {
  Owned<slot::ReleaseSessionOptions, ort::SessionOptions> owned{runtime};
  runtime.call<slot::CreateSessionOptions>(&owned.handle);
  ort::SessionOptions* settings = owned.handle;
  runtime.call<slot::SetSessionLogSeverityLevel>(settings, options.severity);
  runtime.call<slot::SetSessionGraphOptimizationLevel>(settings, options.optimization);
  if (options.threads > 0) {
    runtime.call<slot::SetIntraOpNumThreads>(settings, options.threads);
    runtime.call<slot::SetInterOpNumThreads>(settings, 1);
  }
  for (const auto& [key, value] : options.config)
    runtime.call<slot::AddSessionConfigEntry>(settings, key.c_str(), value.c_str());
  if (!options.memory_pattern) runtime.call<slot::DisableMemoryPattern>(settings);
  if (!options.profile.empty())
    runtime.call<slot::EnableProfiling>(settings, options.profile.c_str());
  if (options.cuda) {
    Owned<slot::ReleaseCudaOptions, void> cuda{runtime};
    runtime.call<slot::CreateCudaOptions>(&cuda.handle);
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : options.provider) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    runtime.call<slot::UpdateCudaOptions>(cuda.handle, (const char* const*)keys.data(),
                                          (const char* const*)values.data(), keys.size());
    runtime.call<slot::AppendCuda>(settings, (const void*)cuda.handle);
  }
  if (!options.kernels.empty())
    runtime.call<slot::RegisterCustomOpsLibrary>(settings, options.kernels.c_str());
  runtime.call<slot::CreateSession>((const ort::Env*)runtime.env(), options.model.c_str(),
                                    (const ort::SessionOptions*)settings, &session_);
  runtime.call<slot::CreateCpuMemoryInfo>(kArenaAllocator, kDefaultMemory, &cpu_);
  if (options.cuda)
    runtime.call<slot::CreateMemoryInfo>("Cuda", kDeviceAllocator, 0, kDefaultMemory, &device_);
  inputs = describe<slot::SessionGetInputCount, slot::SessionGetInputTypeInfo,
                    slot::SessionGetInputName>();
  outputs = describe<slot::SessionGetOutputCount, slot::SessionGetOutputTypeInfo,
                     slot::SessionGetOutputName>();
}

Session::~Session() {
  const std::lock_guard<std::mutex> lock(running_);
  replay_.reset();
  runtime_.release<slot::ReleaseMemoryInfo>(device_);
  runtime_.release<slot::ReleaseMemoryInfo>(cpu_);
  runtime_.release<slot::ReleaseSession>(session_);
}

template <int Count, int Info, int Name>
std::vector<Port> Session::describe() const {
  const ort::Session* session = session_;
  size_t count = 0;
  runtime_.call<Count>(session, &count);
  std::vector<Port> ports;
  for (size_t i = 0; i < count; i++) {
    char* name = nullptr;
    runtime_.call<Name>(session, i, runtime_.allocator(), &name);
    Port port{name, 0, {}};
    runtime_.call<slot::AllocatorFree>(runtime_.allocator(), (void*)name);
    Owned<slot::ReleaseTypeInfo, ort::TypeInfo> info{runtime_};
    runtime_.call<Info>(session, i, &info.handle);
    const ort::TypeAndShape* shape = nullptr;
    runtime_.call<slot::CastTypeInfoToTensorInfo>((const ort::TypeInfo*)info.handle, &shape);
    if (shape) {
      size_t rank = 0;
      runtime_.call<slot::GetTensorElementType>(shape, &port.type);
      runtime_.call<slot::GetDimensionsCount>(shape, &rank);
      std::vector<int64_t> dims(rank);
      std::vector<const char*> names(rank);
      runtime_.call<slot::GetDimensions>(shape, dims.data(), rank);
      runtime_.call<slot::GetSymbolicDimensions>(shape, names.data(), rank);
      for (size_t axis = 0; axis < rank; axis++) {
        if (dims[axis] >= 0)
          port.dims.emplace_back(dims[axis]);
        else
          port.dims.emplace_back(std::string(names[axis] ? names[axis] : ""));
      }
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

HeldTensor Session::wrap(void* data, size_t bytes, int32_t type,
                         const std::vector<int64_t>& dims) const {
  ort::Value* value = nullptr;
  runtime_.call<slot::CreateTensorWithDataAsOrtValue>((const ort::MemoryInfo*)cpu_, data, bytes,
                                                      dims.data(), dims.size(), type, &value);
  return std::make_shared<Held>(runtime_, value);
}

std::vector<HeldTensor> Session::run(const std::vector<Feed>& feeds,
                                     const std::vector<Fetch>& fetches) {
  const std::lock_guard<std::mutex> lock(running_);
  Owned<slot::ReleaseIoBinding, ort::IoBinding> binding{runtime_};
  runtime_.call<slot::CreateIoBinding>(session_, &binding.handle);
  for (const Feed& feed : feeds)
    runtime_.call<slot::BindInput>(binding.handle, feed.name.c_str(),
                                   (const ort::Value*)feed.tensor->value());
  for (const Fetch& fetch : fetches)
    runtime_.call<slot::BindOutputToDevice>(
        binding.handle, fetch.name.c_str(),
        (const ort::MemoryInfo*)(fetch.stays && device_ ? device_ : cpu_));
  run_bound(binding.handle);
  ort::Value** values = nullptr;
  size_t count = 0;
  runtime_.call<slot::GetBoundOutputValues>((const ort::IoBinding*)binding.handle,
                                            runtime_.allocator(), &values, &count);
  std::vector<HeldTensor> results;
  for (size_t i = 0; i < count; i++) results.push_back(std::make_shared<Held>(runtime_, values[i]));
  runtime_.call<slot::AllocatorFree>(runtime_.allocator(), (void*)values);
  return results;
}

Replay& Session::replay() {
  const std::lock_guard<std::mutex> lock(running_);
  if (!replay_) replay_ = std::make_unique<Replay>(*this);
  return *replay_;
}

void Session::run(ort::IoBinding* binding) {
  const std::lock_guard<std::mutex> lock(running_);
  run_bound(binding);
}

void Session::run_bound(ort::IoBinding* binding) {
  Owned<slot::ReleaseRunOptions, ort::RunOptions> options{runtime_};
  runtime_.call<slot::CreateRunOptions>(&options.handle);
  const auto announce = [this](ort::RunOptions* current) {
    const std::lock_guard<std::mutex> guard(cancelling_);
    current_ = current;
  };
  announce(options.handle);
  try {
    runtime_.call<slot::RunWithBinding>(session_, (const ort::RunOptions*)options.handle,
                                        (const ort::IoBinding*)binding);
  } catch (...) {
    announce(nullptr);
    throw;
  }
  announce(nullptr);
  if (device_) runtime_.call<slot::SynchronizeBoundOutputs>(binding);
}

void Session::cancel() {
  const std::lock_guard<std::mutex> guard(cancelling_);
  if (current_) runtime_.call<slot::RunOptionsSetTerminate>(current_);
}

Memory Session::memory() const {
  Memory memory;
  if (!runtime_.has_statistics()) return memory;
  Owned<slot::ReleaseAllocator, ort::Allocator> arena{runtime_};
  runtime_.call<slot::CreateAllocator>((const ort::Session*)session_,
                                       memory_info(),
                                       &arena.handle);
  Owned<slot::ReleaseKeyValuePairs, void> pairs{runtime_};
  runtime_.call<slot::AllocatorGetStats>((const ort::Allocator*)arena.handle, &pairs.handle);
  const auto read = [&](const char* key) {
    const char* text =
        runtime_.get<slot::GetKeyValue, const char*>((const void*)pairs.handle, key);
    return text ? std::stod(text) : 0.0;
  };
  memory.in_use = read("InUse");
  memory.most_in_use = read("MaxInUse");
  memory.taken = read("TotalAllocated");
  return memory;
}

std::string Session::end_profiling() {
  char* path = nullptr;
  runtime_.call<slot::SessionEndProfiling>(session_, runtime_.allocator(), &path);
  const std::string result = path;
  runtime_.call<slot::AllocatorFree>(runtime_.allocator(), (void*)path);
  return result;
}

}  // namespace attnc
