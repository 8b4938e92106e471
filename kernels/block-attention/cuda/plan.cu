// The order of work: rows of layouts sorted by the blocks they keep, most first, so that the last
// tiles to be handed out are short. One block of threads; lists of any length.
#include "launches.h"

namespace attnc::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kBins = 512;

// An estimate: kept blocks, but no more than the masks can leave of them.
__device__ int32_t work_of(const Parameters& p, int32_t unit) {
  const int32_t rows = p.block_rows();
  const int32_t row = p.first_row() + unit % rows;
  int32_t blocks = kept_columns(p, 0, unit / rows, row).count;
  if (p.causal) blocks = smaller_of(blocks, (row + 1) * p.query_block / p.key_block + 1);
  if (p.window > 0) {
    const int32_t sides = p.causal ? 1 : 2;
    blocks = smaller_of(blocks, (sides * p.window + p.query_block + p.sinks) / p.key_block + 2);
  }
  return blocks;
}

__global__ void __launch_bounds__(kThreads) order_rows(Parameters p) {
  __shared__ int32_t counts[kBins];
  __shared__ int32_t most;
  const int32_t units = p.L * p.block_rows();
  if (threadIdx.x < kBins) counts[threadIdx.x] = 0;
  if (threadIdx.x == 0) {
    most = 1;
    *p.counter = 0;
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < units; i += kThreads) atomicMax(&most, work_of(p, i));
  __syncthreads();
  const int32_t scale = most;
  const auto bin_of = [&](int32_t unit) {
    return kBins - 1 - (int32_t)((int64_t)work_of(p, unit) * (kBins - 1) / scale);
  };
  for (int32_t i = threadIdx.x; i < units; i += kThreads) atomicAdd(&counts[bin_of(i)], 1);
  __syncthreads();
  if (threadIdx.x < 32) {
    // Counts to first places, 32 at a time.
    int32_t before = 0;
    for (int32_t base = 0; base < kBins; base += 32) {
      const int32_t count = counts[base + threadIdx.x];
      int32_t sum = count;
      for (int32_t step = 1; step < 32; step *= 2) {
        const int32_t other = __shfl_up_sync(~0u, sum, step);
        if ((int32_t)threadIdx.x >= step) sum += other;
      }
      counts[base + threadIdx.x] = before + sum - count;
      before += __shfl_sync(~0u, sum, 31);
    }
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < units; i += kThreads)
    p.order[atomicAdd(&counts[bin_of(i)], 1)] = i;
#if __CUDA_ARCH__ >= 900
  __threadfence();
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace

const char* plan(const Parameters& p, cudaStream_t stream) {
  order_rows<<<1, kThreads, 0, stream>>>(p);
  return told(cudaGetLastError());
}

}  // namespace attnc::cuda
