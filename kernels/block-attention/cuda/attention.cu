// Choice of the kernel for a device and sizes, and the memory it needs.
#include "attention.h"

#include "launches.h"

namespace attnc::cuda {

namespace {

constexpr int32_t kRowsOfWarpgroup = 64;

size_t rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

bool fits_hopper(const Parameters& p) {
  if (p.bias || p.d != p.e || (p.d != 64 && p.d != 128) || p.T < 1) return false;
  // Either 128 queries of one head, or 64 queries each of two heads that share keys and layout.
  if (p.query_block == 2 * kRowsOfWarpgroup) return true;
  return p.query_block == kRowsOfWarpgroup && p.H / p.K % 2 == 0 && p.H / p.L % 2 == 0;
}

const char* read_device(Device& device) {
  int id = 0;
  if (const char* error = told(cudaGetDevice(&id))) return error;
  if (const char* error =
          told(cudaDeviceGetAttribute(&device.major, cudaDevAttrComputeCapabilityMajor, id)))
    return error;
  if (const char* error =
          told(cudaDeviceGetAttribute(&device.minor, cudaDevAttrComputeCapabilityMinor, id)))
    return error;
  return told(
      cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id));
}

namespace {

// The faster kernels copy 16 bytes at a time.
bool is_aligned(const Parameters& p) {
  uintptr_t all = 0;
  for (const void* each : {p.query, p.key, p.value, (const void*)p.output}) all |= (uintptr_t)each;
  return all % 16 == 0;
}

Path choose(const Parameters& p, Storage storage, const Device& device) {
  if (storage == Storage::float32 || device.major < 8 || !is_aligned(p)) return Path::general;
  if (fits_decode(p)) return Path::decode;
  if (device.major == 9 && fits_hopper(p)) return Path::hopper;
  return fits_ampere(p) ? Path::ampere : Path::general;
}

}  // namespace

size_t workspace_bytes(const Parameters& p, Storage storage, const Device& device, Path path) {
  if (path == Path::automatic) path = choose(p, storage, device);
  if (path == Path::general) return 0;
  if (path == Path::ampere) return bias_tiles_bytes(p);
  const size_t order = 256 + rounded(sizeof(int32_t) * (size_t)p.L * (size_t)p.block_rows());
  if (path == Path::hopper) return order;
  return order + sizeof(float) * (size_t)p.B * (size_t)p.H * (size_t)decode_splits(p, device) *
                     (size_t)(2 + p.e);
}

const char* attention(Parameters p, Storage storage, const Device& device, void* workspace,
                      CUstream_st* stream, Path path) {
  constexpr const char* kUnfit = "these sizes are not for that kernel";
  p.counter = (int32_t*)workspace;
  p.order = (int32_t*)((char*)workspace + 256);
  if (path == Path::automatic) path = choose(p, storage, device);
  if (path == Path::general) return launch_general(p, storage, stream);
  if (storage == Storage::float32) return kUnfit;
  if (path == Path::ampere) {
    if (!fits_ampere(p)) return kUnfit;
    if (bias_tiles_bytes(p) > 0) {
      p.bias_tiles = (uint8_t*)workspace;
      if (const char* error = find_bias_tiles(p, storage, stream)) return error;
    }
    return launch_ampere(p, storage, stream);
  }
  if (path == Path::hopper)
    return fits_hopper(p) ? launch_hopper(p, storage, device, stream) : kUnfit;
  if (!fits_decode(p)) return kUnfit;
  p.partial = (float*)((char*)p.order +
                       rounded(sizeof(int32_t) * (size_t)p.L * (size_t)p.block_rows()));
  p.splits = decode_splits(p, device);
  return launch_decode(p, storage, device, stream);
}

}  // namespace attnc::cuda
