// What stands before every row program's kernel: numbers as they are stored and as float32, pieces of eight of them at most
// as one access to memory, and what a group of threads does together. Text for NVRTC, which has no headers.
#pragma once

namespace attnc::rows {

constexpr const char* kPrelude = R"(
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
struct Float16 { u16 bits; };
struct Bfloat16 { u16 bits; };

__device__ __forceinline__ float up(float x) { return x; }
__device__ __forceinline__ float up(i64 x) { return (float)x; }
__device__ __forceinline__ float up(bool x) { return x ? 1.0f : 0.0f; }
__device__ __forceinline__ float up(Float16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
__device__ __forceinline__ float up(Bfloat16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ void down(float x, float& to) { to = x; }
__device__ __forceinline__ void down(float x, Float16& to) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
}
__device__ __forceinline__ void down(float x, Bfloat16& to) {
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
}

template <class T, int N>
struct __align__(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack { T of[N]; };

template <int N, class T>
__device__ __forceinline__ void load(float (&to)[N], const T* from) {
  const Pack<T, N> pack = *(const Pack<T, N>*)from;
#pragma unroll
  for (int i = 0; i < N; i++) to[i] = up(pack.of[i]);
}
template <int N, class T>
__device__ __forceinline__ void store(const float (&from)[N], T* to) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; i++) down(from[i], pack.of[i]);
  *(Pack<T, N>*)to = pack;
}

struct Sum {
  static __device__ __forceinline__ float none() { return 0.0f; }
  static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};
struct Largest {
  static __device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }  // −∞
  // One that is not a number stays.
  static __device__ __forceinline__ float join(float a, float b) { return a > b || a != a ? a : b; }
};

// Of all threads of a row's group, for each of them. Lanes: threads of a group, up to a warp, or the whole block.
template <class Way, int Lanes>
__device__ __forceinline__ float reduce(float x) {
  constexpr int kWithin = Lanes < 32 ? Lanes : 32;
#pragma unroll
  for (int step = 1; step < kWithin; step *= 2) x = Way::join(x, __shfl_xor_sync(~0u, x, step));
  if constexpr (Lanes > 32) {
    __shared__ float parts[Lanes / 32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    x = parts[0];
    for (int i = 1; i < Lanes / 32; i++) x = Way::join(x, parts[i]);
  }
  return x;
}
)";

}  // namespace attnc::rows
