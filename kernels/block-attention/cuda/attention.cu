// Choice of the kernel for a device and sizes, and the memory it needs.
#include "attention.h"

#include "launches.h"

namespace attnc::cuda {

namespace {

constexpr int32_t kRowsOfWarpgroup = 64;

size_t rounded(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

#ifdef ATTNC_VARIANTS
#define ATTNC_EACH(number) \
  const char* hopper_variant_##number(const Parameters&, Storage, const Device&, cudaStream_t);
ATTNC_EACH(0) ATTNC_EACH(1) ATTNC_EACH(2) ATTNC_EACH(3) ATTNC_EACH(4) ATTNC_EACH(5)
#undef ATTNC_EACH

HopperLaunch hopper_variant(int32_t variant) {
  constexpr HopperLaunch all[] = {hopper_variant_0, hopper_variant_1, hopper_variant_2,
                                  hopper_variant_3, hopper_variant_4, hopper_variant_5};
  return variant >= 0 && variant < 6 ? all[variant] : nullptr;
}
#else
const char* hopper_variant_0(const Parameters&, Storage, const Device&, cudaStream_t);
HopperLaunch hopper_variant(int32_t variant) { return variant == 0 ? hopper_variant_0 : nullptr; }
#endif

bool fits_hopper(const Parameters& p) {
  if (p.bias || p.d != p.e || (p.d != 64 && p.d != 128)) return false;
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
  return told(
      cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, id));
}

size_t workspace_bytes(const Parameters& p, const Device& device) {
  const size_t order = 256 + rounded(sizeof(int32_t) * (size_t)p.L * (size_t)p.block_rows());
  if (!fits_decode(p)) return order;
  return order + sizeof(float) * (size_t)p.B * (size_t)p.H * (size_t)decode_splits(p, device) *
                     (size_t)(2 + p.e);
}

const char* attention(Parameters p, Storage storage, const Device& device, void* workspace,
                      CUstream_st* stream, int32_t variant) {
  p.counter = (int32_t*)workspace;
  p.order = (int32_t*)((char*)workspace + 256);
  const bool chooses = variant == (int32_t)Path::automatic;
  if (chooses ? fits_decode(p) : variant == (int32_t)Path::decode) {
    if (!fits_decode(p)) return "these sizes are not for the kernel of single queries";
    p.partial = (float*)((char*)p.order +
                         rounded(sizeof(int32_t) * (size_t)p.L * (size_t)p.block_rows()));
    p.splits = decode_splits(p, device);
    return launch_decode(p, storage, device, stream);
  }
  if (chooses ? device.major != 9 || !fits_hopper(p) : variant == (int32_t)Path::ampere)
    return launch_ampere(p, storage, stream);
  const HopperLaunch launch = hopper_variant(chooses ? 0 : variant);
  if (!launch || !fits_hopper(p)) return "these sizes are not for Hopper's kernel";
  if (const char* error = plan(p, stream)) return error;
  return launch(p, storage, device, stream);
}

}  // namespace attnc::cuda
