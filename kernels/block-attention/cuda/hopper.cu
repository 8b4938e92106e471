// The instances of Hopper's kernel: two types, two head sizes, with and without a soft cap.
#include "hopper-launch.cuh"

namespace attnc::cuda {

namespace {

template <typename Type, int Size>
const char* launch(const Parameters& p, Storage storage, const Device& device,
                   cudaStream_t stream) {
  return p.softcap > 0.0f
             ? launch_hopper_as<HopperTraits<Type, Size, true>>(p, storage, device, stream)
             : launch_hopper_as<HopperTraits<Type, Size, false>>(p, storage, device, stream);
}

template <typename Type>
const char* launch_type(const Parameters& p, Storage storage, const Device& device,
                        cudaStream_t stream) {
  return p.d == 128 ? launch<Type, 128>(p, storage, device, stream)
                    : launch<Type, 64>(p, storage, device, stream);
}

}  // namespace

const char* launch_hopper(const Parameters& p, Storage storage, const Device& device,
                          cudaStream_t stream) {
  if (const char* error = plan(p, stream)) return error;
  return storage == Storage::bfloat16 ? launch_type<__nv_bfloat16>(p, storage, device, stream)
                                      : launch_type<__half>(p, storage, device, stream);
}

}  // namespace attnc::cuda
