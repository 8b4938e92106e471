// The driver's functions by name (cuda.h, CUDA 12 and 13 alike).
#include "device-memory.h"

#include <cstring>
#include <stdexcept>
#include <string>

#include "loader.h"

namespace attnc {

namespace {

using Address = unsigned long long;

struct Driver {
  int (*retain)(void** context, int device) = nullptr;
  int (*set_current)(void* context) = nullptr;
  int (*write)(Address to, const void* from, size_t bytes) = nullptr;
  int (*read)(void* to, Address from, size_t bytes) = nullptr;
  int (*copy)(Address to, Address from, size_t bytes) = nullptr;
  int (*set)(Address to, unsigned char byte, size_t bytes) = nullptr;
  int (*synchronize)() = nullptr;

  Driver() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) throw std::runtime_error(dlerror());
    const auto find = [&](auto& function, const char* name) {
      void* found = dlsym(library, name);
      if (!found) throw std::runtime_error(std::string("The driver has no ") + name + ".");
      function = (std::decay_t<decltype(function)>)found;
    };
    find(retain, "cuDevicePrimaryCtxRetain");
    find(set_current, "cuCtxSetCurrent");
    find(write, "cuMemcpyHtoD_v2");
    find(read, "cuMemcpyDtoH_v2");
    find(copy, "cuMemcpyDtoD_v2");
    find(set, "cuMemsetD8_v2");
    find(synchronize, "cuCtxSynchronize");
  }
};

const Driver& driver() {
  static const Driver loaded;
  return loaded;
}

void check(int result, const char* what) {
  if (result != 0)
    throw std::runtime_error(std::string("CUDA error ") + std::to_string(result) + " while " + what);
}

}  // namespace

DeviceMemory::DeviceMemory(bool is_gpu) {
  constexpr int kFirstDevice = 0;
  // Retained for as long as the process lives, as ONNX Runtime does.
  if (is_gpu) check(driver().retain(&context_, kFirstDevice), "opening the device");
}

void DeviceMemory::enter() const {
  if (context_) check(driver().set_current(context_), "taking the device");
}

void DeviceMemory::write(void* device, const void* host, size_t bytes) const {
  if (!context_)
    std::memcpy(device, host, bytes);
  else if (bytes > 0)
    check(driver().write((Address)device, host, bytes), "writing to the device");
}

void DeviceMemory::read(void* host, const void* device, size_t bytes) const {
  if (!context_)
    std::memcpy(host, device, bytes);
  else if (bytes > 0)
    check(driver().read(host, (Address)device, bytes), "reading from the device");
}

void DeviceMemory::copy(void* to, const void* from, size_t bytes) const {
  if (!context_)
    std::memcpy(to, from, bytes);
  else if (bytes > 0)
    check(driver().copy((Address)to, (Address)from, bytes), "copying on the device");
}

void DeviceMemory::clear(void* device, size_t bytes) const {
  if (!context_)
    std::memset(device, 0, bytes);
  else if (bytes > 0)
    check(driver().set((Address)device, 0, bytes), "clearing memory of the device");
}

void DeviceMemory::wait() const {
  if (context_) check(driver().synchronize(), "waiting for copies");
}

}  // namespace attnc
