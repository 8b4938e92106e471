// Copies between the host and where a session's tensors lie: the first GPU, through the driver's library
// that ONNX Runtime has loaded already, so that the addon itself is built and loaded without CUDA; or the host.
#pragma once

#include <cstddef>

namespace attnc {

class DeviceMemory {
 public:
  // Throws where it shall be the GPU and there is no driver.
  explicit DeviceMemory(bool is_gpu);

  // Makes the device current on this thread; before the copies of a run.
  void enter() const;
  void write(void* device, const void* host, size_t bytes) const;
  void read(void* host, const void* device, size_t bytes) const;
  void copy(void* to, const void* from, size_t bytes) const;
  void clear(void* device, size_t bytes) const;
  // Until all copies are done.
  void wait() const;

 private:
  void* context_ = nullptr;  // none on the host
};

}  // namespace attnc
