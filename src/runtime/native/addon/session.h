// A session of ONNX Runtime, without JavaScript: opened, run by binding, described.
#pragma once

#include <map>
#include <mutex>
#include <variant>
#include <vector>

#include "runtime.h"

namespace attnc {

// Bytes of an element of a type of ONNX. Throws for types of no fixed size.
size_t element_bytes(int32_t type);

struct Port {
  std::string name;
  int32_t type;
  std::vector<std::variant<int64_t, std::string>> dims;
};

struct SessionOptions {
  std::string model;
  std::string kernels;  // library of operators; empty for none
  int threads = 0;
  int optimization = 99;
  int severity = 3;  // of what ONNX Runtime prints: 3 is errors, 4 only what is fatal
  bool cuda = false;
  std::map<std::string, std::string> provider;  // options of the CUDA provider
  std::map<std::string, std::string> config;    // session configuration entries
  std::string profile;                          // prefix of the file; empty for none
  bool memory_pattern = true;                   // one block for a run like the one before
  // Outputs that are written where the inputs lie which they become, in runs over tensors that stay.
  std::map<std::string, std::string> in_place;
};

// Bytes that a session's arena holds: now in use, most in use so far, and taken from the system.
struct Memory {
  double in_use = 0;
  double most_in_use = 0;
  double taken = 0;
};

// A tensor that ONNX Runtime holds, on whichever device.
class Held {
 public:
  Held(const Runtime& runtime, ort::Value* value) : runtime_(runtime), value_(value) {}
  ~Held() { runtime_.release<slot::ReleaseValue>(value_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  ort::Value* value() const { return value_; }
  int32_t type() const { return read().first; }
  std::vector<int64_t> dims() const { return read().second; }
  void* data() const;
  size_t bytes() const;
  // Memory for as much, of the same type and sizes.
  std::shared_ptr<Held> alike(ort::Allocator* allocator) const;

 private:
  std::pair<int32_t, std::vector<int64_t>> read() const;

  const Runtime& runtime_;
  ort::Value* value_;
};

using HeldTensor = std::shared_ptr<Held>;

struct Feed {
  std::string name;
  HeldTensor tensor;
};

struct Fetch {
  std::string name;
  bool stays;  // on the device
};

class Replay;

class Session {
 public:
  Session(Runtime& runtime, const SessionOptions& options);
  ~Session();

  // One run at a time; its outputs are in the order of `fetches`.
  std::vector<HeldTensor> run(const std::vector<Feed>& feeds, const std::vector<Fetch>& fetches);
  // The same over what is bound already.
  void run(ort::IoBinding* binding);
  // Runs over tensors that stay where they are, made at the first call.
  Replay& replay();
  // Makes the run in progress, if any, end with an error at its next node.
  void cancel();
  // A tensor over memory that the caller keeps alive.
  HeldTensor wrap(void* data, size_t bytes, int32_t type, const std::vector<int64_t>& dims) const;
  std::string end_profiling();
  // Of the device that the session runs on; all zero where ONNX Runtime does not tell.
  Memory memory() const;

  const Runtime& runtime() const { return runtime_; }
  ort::Session* handle() const { return session_; }
  // Where its tensors lie.
  const ort::MemoryInfo* memory_info() const { return device_ ? device_ : cpu_; }
  const ort::MemoryInfo* device() const { return device_; }

  std::vector<Port> inputs, outputs;
  const std::map<std::string, std::string> in_place;  // output → input

 private:
  void run_bound(ort::IoBinding* binding);

  template <int Count, int Info, int Name>
  std::vector<Port> describe() const;

  Runtime& runtime_;
  ort::Session* session_ = nullptr;
  ort::MemoryInfo* cpu_ = nullptr;
  ort::MemoryInfo* device_ = nullptr;
  std::mutex running_;
  std::mutex cancelling_;
  ort::RunOptions* current_ = nullptr;
  std::unique_ptr<Replay> replay_;
};

}  // namespace attnc
