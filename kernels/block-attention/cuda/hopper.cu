// One variant of Hopper's kernel: ATTNC_VARIANT names it. The product is built with variant 0 for
// every type and size; the others are for the benchmark, which tells which variant that should be.
#include "hopper-launch.cuh"

#ifndef ATTNC_VARIANT
#define ATTNC_VARIANT 0
#endif

namespace attnc::cuda {

namespace {

struct Variant {
  int keys, stages;
  bool takes_turns, is_lazy;
};
constexpr Variant kVariants[] = {
    {128, 2, true, true},   {128, 2, false, true}, {128, 2, true, false},
    {128, 2, false, false}, {64, 4, true, true},   {64, 4, false, true},
};
constexpr Variant kVariant = kVariants[ATTNC_VARIANT];

}  // namespace

#define ATTNC_NAME(number) hopper_variant_##number
#define ATTNC_NAMED(number) ATTNC_NAME(number)

const char* ATTNC_NAMED(ATTNC_VARIANT)(const Parameters& p, Storage storage, const Device& device,
                                       cudaStream_t stream) {
  return launch_hopper_sizes<kVariant.keys, kVariant.stages, kVariant.takes_turns,
                             kVariant.is_lazy>(p, storage, device, stream);
}

}  // namespace attnc::cuda
