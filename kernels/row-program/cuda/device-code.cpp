#include "device-code.h"

#include <cuda.h>
#include <dlfcn.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

namespace attnc::rows {

namespace {

typedef struct Compilation* Compiling;

// NVRTC's functions (nvrtc.h, CUDA 12 and 13), and the driver's.
struct Libraries {
  const char* missing = nullptr;
  int (*create)(Compiling*, const char* source, const char* name, int, const char* const*,
                const char* const*) = nullptr;
  int (*compile)(Compiling, int count, const char* const* options) = nullptr;
  int (*destroy)(Compiling*) = nullptr;
  int (*binary_size)(Compiling, size_t*) = nullptr;
  int (*binary)(Compiling, char*) = nullptr;
  int (*log_size)(Compiling, size_t*) = nullptr;
  int (*log)(Compiling, char*) = nullptr;
  decltype(&cuModuleLoadData) load = nullptr;
  decltype(&cuModuleGetFunction) find = nullptr;
  decltype(&cuLaunchKernel) launch = nullptr;
  decltype(&cuGetErrorString) error = nullptr;

  Libraries() {
    void* compiler = nullptr;
    for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
      if (!compiler) compiler = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const auto get = [&](void* library, const char* name, auto& to) {
      if (library) to = (std::remove_reference_t<decltype(to)>)dlsym(library, name);
      if (!to) missing = library == driver ? "the driver lacks a function" : "NVRTC lacks a function";
    };
    if (!compiler) {
      missing = "libnvrtc.so of CUDA 12 or 13 can't be loaded";
      return;
    }
    if (!driver) {
      missing = "libcuda.so.1 can't be loaded";
      return;
    }
    get(compiler, "nvrtcCreateProgram", create);
    get(compiler, "nvrtcCompileProgram", compile);
    get(compiler, "nvrtcDestroyProgram", destroy);
    get(compiler, "nvrtcGetCUBINSize", binary_size);
    get(compiler, "nvrtcGetCUBIN", binary);
    get(compiler, "nvrtcGetProgramLogSize", log_size);
    get(compiler, "nvrtcGetProgramLog", log);
    get(driver, "cuModuleLoadData", load);
    get(driver, "cuModuleGetFunction", find);
    get(driver, "cuLaunchKernel", launch);
    get(driver, "cuGetErrorString", error);
  }
};

const Libraries& libraries() {
  static const Libraries all;
  return all;
}

const char* told(CUresult result) {
  if (result == CUDA_SUCCESS) return nullptr;
  const char* text = nullptr;
  libraries().error(result, &text);
  return text ? text : "an error of the driver";
}

std::vector<char> to_binary(const std::string& source, int capability) {
  const Libraries& use = libraries();
  Compiling program = nullptr;
  if (use.create(&program, source.c_str(), "row_program.cu", 0, nullptr, nullptr) != 0)
    throw std::runtime_error("NVRTC takes no program");
  const std::string target = "--gpu-architecture=sm_" + std::to_string(capability);
  const char* options[] = {target.c_str(), "--std=c++17"};
  const int failed = use.compile(program, 2, options);
  size_t size = 0;
  if (failed) use.log_size(program, &size);
  else use.binary_size(program, &size);
  std::vector<char> made(size + 1);
  if (failed) use.log(program, made.data());
  else use.binary(program, made.data());
  use.destroy(&program);
  if (failed) throw std::runtime_error("NVRTC refuses the program: " + std::string(made.data()));
  return made;
}

}  // namespace

const char* find_compiler() { return libraries().missing; }

CUfunc_st* compile(const std::string& source, const char* name, int device, int capability) {
  static std::mutex mutex;
  // Lives as long as the process: sessions refer to it.
  static std::map<std::pair<int, std::string>, CUfunction> known;
  if (const char* missing = find_compiler()) throw std::runtime_error(missing);
  const std::lock_guard<std::mutex> lock(mutex);
  CUfunction& function = known[{device, source}];
  if (function) return function;
  const std::vector<char> binary = to_binary(source, capability);
  CUmodule module = nullptr;
  if (const char* error = told(libraries().load(&module, binary.data())))
    throw std::runtime_error(error);
  if (const char* error = told(libraries().find(&function, module, name)))
    throw std::runtime_error(error);
  return function;
}

const char* launch(CUfunc_st* function, unsigned blocks, unsigned parts, unsigned threads,
                   void** arguments, CUstream_st* stream) {
  return told(libraries().launch(function, blocks, parts, 1, threads, 1, 1, 0, stream, arguments,
                                 nullptr));
}

}  // namespace attnc::rows
