// Single queries over a cache: all time goes into reading the kept keys and values once. The heads
// that share keys are the rows of one small matrix product; a warp reads 16 keys at a time straight
// into the registers where the tensor cores want them. Contraction doesn't care about order: the
// element that a thread happens to hold decides which one it is. Splits are merged at the end.
#include "launches.h"
#include "softmax.cuh"

namespace attnc::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kUnit = 16;       // keys that a warp takes at once
constexpr int kMostHeads = 16;  // that share keys
constexpr int kBlocksPerMultiprocessor = 2;  // with room for all registers: 3 would spill
constexpr int kSizes[] = {64, 128};
constexpr int kMergers = 4;  // groups of threads that share the splits of one head

int32_t groups_of(const Parameters& p) { return larger_of(p.L, p.K); }

__device__ __forceinline__ uint4 read_once(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

__device__ __forceinline__ uint32_t word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// A thread holds the elements 8 · (2c + i) + j of each 64; those of one j lie side by side.
__device__ __forceinline__ int32_t place(int32_t element) {
  return element / 64 * 64 + element % 8 * 8 + element / 8 % 8;
}

// IsTall: more than 8 heads, the upper half of the product's rows.
template <typename Element, int Size, bool IsTall>
__global__ void __launch_bounds__(kWarps * 32, kBlocksPerMultiprocessor)
    decode_split(const Parameters p) {
  constexpr int kHalves = Size / 64;
  // Element e of a head lies where `place` says, and rows are 8 longer: no two lanes meet in a bank.
  constexpr int kHeads = IsTall ? kMostHeads : kMostHeads / 2;
  __shared__ __align__(16) float sums[kWarps][kHeads][Size + 8];
  __shared__ float maxima[kWarps][kMostHeads], totals[kWarps][kMostHeads];
#if __CUDA_ARCH__ >= 900
  // The merge may take its place now; it waits for the end of this kernel.
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
  const int32_t groups = larger_of(p.L, p.K), heads = p.H / groups;
  const int32_t split = blockIdx.x, group = blockIdx.y, b = blockIdx.z;
  const int32_t h = group * heads, k = h / (p.H / p.K);
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t g = lane / 4, c = lane % 4;
  const int32_t key_count = keys_of(p, b);
  const Visible seen = visible_keys(p, p.start, key_count);
  const Element* keys = (const Element*)p.key + ((int64_t)b * p.K + k) * p.T * Size;
  const Element* values = (const Element*)p.value + ((int64_t)b * p.K + k) * p.T * Size;
  const KeptColumns kept = kept_columns(p, b, h / (p.H / p.L), p.first_row());
  const int32_t per_block = p.key_block / kUnit;
  const int32_t units = kept.count * per_block;
  const int32_t share = (units + p.splits - 1) / p.splits;
  const int32_t end = smaller_of(units, (split + 1) * share);

  // Queries of heads g and g + 8: [32-element piece].
  uint4 query[2][Size / 32];
#pragma unroll
  for (int r = 0; r < 2; r++)
#pragma unroll
    for (int j = 0; j < Size / 32; j++) {
      const int32_t head = g + 8 * r;
      query[r][j] = make_uint4(0, 0, 0, 0);
      if ((r == 0 || IsTall) && head < heads)
        query[r][j] = *(const uint4*)((const Element*)p.query +
                                      ((int64_t)b * p.H + h + head) * Size + j * 32 + c * 8);
    }

  float o[kHalves][8][4] = {};
  float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  // From `unit` on, the first that the queries see; `end` or more when there is none.
  const auto seek = [&](int32_t unit, int32_t& base) {
    for (; unit < end; unit += kWarps) {
      const int32_t column = kept.columns[unit / per_block];
      base = column * p.key_block + unit % per_block * kUnit;
      if (column < 0 || column >= p.key_blocks() || base >= key_count) continue;
      if (base < seen.sinks || (base < seen.end && base + kUnit > seen.first)) break;
    }
    return unit;
  };
  const int32_t last = p.T - 1;  // keys after it are hidden below; any row will do
  uint4 key[2][Size / 32], value[4][kHalves];
  const auto fetch = [&](int32_t base) {
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
      for (int j = 0; j < Size / 32; j++)
        key[t][j] = read_once(keys + (int64_t)smaller_of(base + t * 8 + g, last) * Size + j * 32 +
                              c * 8);
#pragma unroll
    for (int t = 0; t < 4; t++)
#pragma unroll
      for (int half = 0; half < kHalves; half++)
        value[t][half] =
            read_once(values + (int64_t)smaller_of(base + t / 2 * 8 + 2 * c + t % 2, last) * Size +
                      half * 64 + g * 8);
  };

  int32_t base = 0;
  int32_t unit = seek(split * share + warp, base);
  if (unit < end) fetch(base);
  while (unit < end) {
    int32_t next_base = 0;
    const int32_t next = seek(unit + kWarps, next_base);
    float s[2][4] = {};
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
      for (int j = 0; j < Size / 32; j++)
#pragma unroll
        for (int u = 0; u < 4; u += 2)
          multiply(s[t], word(query[0][j], u), word(query[1][j], u), word(query[0][j], u + 1),
                   word(query[1][j], u + 1), word(key[t][j], u), word(key[t][j], u + 1), Element{});

    float top[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const bool shows = seen.shows(base + t * 8 + 2 * c + i % 2);
        s[t][i] = shows ? capped(s[t][i], p.scale, p.softcap) * kLog2e : -INFINITY;
        top[i / 2] = fmaxf(top[i / 2], s[t][i]);
      }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
    }
    if (__any_sync(~0u, top[0] > maximum[0] || top[1] > maximum[1])) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const float decay = top[r] == -INFINITY ? 1.0f : power_of_2(maximum[r] - top[r]);
        maximum[r] = top[r];
        total[r] *= decay;
#pragma unroll
        for (int half = 0; half < kHalves; half++)
#pragma unroll
          for (int j = 0; j < 8; j++) o[half][j][2 * r] *= decay, o[half][j][2 * r + 1] *= decay;
      }
    }
#pragma unroll
    for (int t = 0; t < 2; t++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float base_of_row = maximum[i / 2] == -INFINITY ? 0.0f : maximum[i / 2];
        s[t][i] = power_of_2(s[t][i] - base_of_row);
        total[i / 2] += s[t][i];
      }
    const uint32_t a0 = pack(s[0][0], s[0][1], Element{}), a1 = pack(s[0][2], s[0][3], Element{});
    const uint32_t a2 = pack(s[1][0], s[1][1], Element{}), a3 = pack(s[1][2], s[1][3], Element{});
#pragma unroll
    for (int half = 0; half < kHalves; half++)
#pragma unroll
      for (int j = 0; j < 8; j++) {
        // Element j of the values of two keys at a time.
        const uint32_t order = j % 2 ? 0x7632 : 0x5410;
        const uint32_t b0 =
            __byte_perm(word(value[0][half], j / 2), word(value[1][half], j / 2), order);
        const uint32_t b1 =
            __byte_perm(word(value[2][half], j / 2), word(value[3][half], j / 2), order);
        multiply(o[half][j], a0, a1, a2, a3, b0, b1, Element{});
      }
    unit = next;
    base = next_base;
    if (next < end) fetch(base);
  }

  // The warps' parts become one.
#pragma unroll
  for (int r = 0; r < (IsTall ? 2 : 1); r++) {
    total[r] += __shfl_xor_sync(~0u, total[r], 1);
    total[r] += __shfl_xor_sync(~0u, total[r], 2);
    if (g + 8 * r >= heads) continue;
    if (c == 0) maxima[warp][g + 8 * r] = maximum[r], totals[warp][g + 8 * r] = total[r];
#pragma unroll
    for (int half = 0; half < kHalves; half++)
#pragma unroll
      for (int j = 0; j < 8; j++)
        *(float2*)&sums[warp][g + 8 * r][half * 64 + j * 8 + 2 * c] =
            make_float2(o[half][j][2 * r], o[half][j][2 * r + 1]);
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < heads * Size; i += kWarps * 32) {
    const int32_t head = i / Size, element = i % Size;
    float top = -INFINITY, sum = 0, all = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) top = fmaxf(top, maxima[w][head]);
#pragma unroll
    for (int w = 0; w < kWarps; w++) {
      const float decay = top == -INFINITY ? 1.0f : power_of_2(maxima[w][head] - top);
      sum += sums[w][head][place(element)] * decay;
      all += totals[w][head] * decay;
    }
    float* part = p.partial + (((int64_t)b * p.H + h + head) * p.splits + split) * (2 + Size);
    part[2 + element] = sum;
    if (element == 0) part[0] = top, part[1] = all;
  }
}

// Each split decays to the largest maximum of all. What matters is latency: all loads of a thread are
// on their way at once.
template <typename Element, int Size>
__global__ void __launch_bounds__(Size * kMergers) decode_merge(const Parameters p) {
  __shared__ float sums[kMergers][Size];
  __shared__ float totals[kMergers];
  const int64_t line = (int64_t)blockIdx.y * p.H + blockIdx.x;
  const float* parts = p.partial + line * p.splits * (2 + Size);
  const int32_t element = threadIdx.x % Size, merger = threadIdx.x / Size;
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  float top = -INFINITY;
  for (int32_t s = threadIdx.x % 32; s < p.splits; s += 32)
    top = fmaxf(top, parts[(int64_t)s * (2 + Size)]);
#pragma unroll
  for (int32_t step = 1; step < 32; step *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  float sum = 0, all = 0;
#pragma unroll 8
  for (int32_t s = merger; s < p.splits; s += kMergers) {
    const float* part = parts + (int64_t)s * (2 + Size);
    const float decay = top == -INFINITY ? 1.0f : power_of_2(part[0] - top);
    sum += part[2 + element] * decay;
    all += part[1] * decay;
  }
  sums[merger][element] = sum;
  if (element == 0) totals[merger] = all;
  __syncthreads();
  if (merger > 0) return;
#pragma unroll
  for (int i = 1; i < kMergers; i++) sum += sums[i][element], all += totals[i];
  from_float(all == 0.0f ? 0.0f : sum / all, (Element*)p.output + line * Size + element);
  if (p.log_sum_exp && element == 0)
    p.log_sum_exp[line] = all == 0.0f ? -INFINITY : (top + log2f(all)) / kLog2e;
}

template <typename Element, int Size>
const char* launch(const Parameters& p, const Device& device, cudaStream_t stream) {
  const dim3 grid((unsigned)p.splits, (unsigned)groups_of(p), (unsigned)p.B);
  if (p.H / groups_of(p) > 8)
    decode_split<Element, Size, true><<<grid, kWarps * 32, 0, stream>>>(p);
  else
    decode_split<Element, Size, false><<<grid, kWarps * 32, 0, stream>>>(p);
  if (const char* error = told(cudaGetLastError())) return error;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3((unsigned)p.H, (unsigned)p.B);
  config.blockDim = dim3(Size * kMergers);
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = device.major >= 9 ? 1 : 0;
  return told(cudaLaunchKernelEx(&config, decode_merge<Element, Size>, p));
}

}  // namespace

bool fits_decode(const Parameters& p) {
  const bool is_size = p.d == kSizes[0] || p.d == kSizes[1];
  return p.S == 1 && is_size && p.e == p.d && !p.bias && p.H / groups_of(p) <= kMostHeads;
}

// As many as fill the device once, unless there are fewer keys.
int32_t decode_splits(const Parameters& p, const Device& device) {
  const int32_t blocks = device.multiprocessors * kBlocksPerMultiprocessor;
  const int32_t useful =
      (int32_t)smaller_of(p.width * (p.key_block / kUnit), (p.T + kUnit - 1) / kUnit) / kWarps;
  return larger_of(1, smaller_of(blocks / (groups_of(p) * p.B), useful));
}

const char* launch_decode(const Parameters& p, Storage storage, const Device& device,
                          cudaStream_t stream) {
  if (storage == Storage::bfloat16)
    return p.d == 128 ? launch<__nv_bfloat16, 128>(p, device, stream)
                      : launch<__nv_bfloat16, 64>(p, device, stream);
  return p.d == 128 ? launch<__half, 128>(p, device, stream)
                    : launch<__half, 64>(p, device, stream);
}

}  // namespace attnc::cuda
