// Hopper's own instructions as functions: barriers in shared memory that count bytes, bulk tensor
// copies, and matrix products of a warpgroup. PTX ISA 8.0, sections 9.7.13 (mbarrier), 9.7.9
// (cp.async.bulk) and 9.7.15 (wgmma).
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace attnc::cuda {

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return (uint32_t)__cvta_generic_to_shared(pointer);
}

// --- barriers --------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals));
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

__device__ __forceinline__ void barrier_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Barriers 0 to 15 of the block, for some of its threads.
__device__ __forceinline__ void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// --- bulk tensor copies ----------------------------------------------------------------------

__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// A box of [rows, 64 elements] of head `head`, from token `token` on; tokens outside give zeros.
__device__ __forceinline__ void copy_in(void* to, const CUtensorMap* map, int32_t element,
                                        int32_t token, int32_t head, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(to)),
      "l"(map), "r"(element), "r"(token), "r"(head), "r"(shared_address(barrier))
      : "memory");
}

__device__ __forceinline__ void copy_out(const CUtensorMap* map, const void* from, int32_t element,
                                         int32_t token, int32_t head) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];" ::
                   "l"(map),
               "r"(element), "r"(token), "r"(head), "r"(shared_address(from))
               : "memory");
}
__device__ __forceinline__ void copy_out_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
__device__ __forceinline__ void copy_out_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}
__device__ __forceinline__ void copy_out_wait() {
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// --- registers -------------------------------------------------------------------------------

template <int Count>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

// --- matrix products of a warpgroup ----------------------------------------------------------

// Where a matrix lies in shared memory: rows of 128 bytes, swizzled, in groups of 8 (1,024 bytes).
// `leading` is the distance of 64-element column groups of a matrix that is read transposed.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address, uint32_t leading) {
  return (uint64_t)((address & 0x3FFFF) >> 4) | (uint64_t)(leading >> 4) << 16 |
         (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

__device__ __forceinline__ void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Pending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
// Keeps the compiler from moving registers that a product in flight reads or writes.
template <int Count>
__device__ __forceinline__ void hold(float (&registers)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; i++) asm volatile("" : "+f"(registers[i])::"memory");
}
template <int Count>
__device__ __forceinline__ void hold(uint32_t (&registers)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; i++) asm volatile("" : "+r"(registers[i])::"memory");
}

#define ATTNC_F8(d, i)                                                                         \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define ATTNC_SUMS_32 ATTNC_F8(d, 0), ATTNC_F8(d, 8), ATTNC_F8(d, 16), ATTNC_F8(d, 24)
#define ATTNC_SUMS_64 \
  ATTNC_SUMS_32, ATTNC_F8(d, 32), ATTNC_F8(d, 40), ATTNC_F8(d, 48), ATTNC_F8(d, 56)
#define ATTNC_NAMES_32                                                                     \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "  \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define ATTNC_NAMES_64                                                                     \
  ATTNC_NAMES_32                                                                           \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "     \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// sums[64 × N] (+)= a[64 × 16] · b. With both in shared memory b is [N, 16] (keys by head size);
// with a in registers it is [16, N] (values). N is twice the sums a thread holds. A1 … A6 are the
// numbers of the operands after the sums.
#define ATTNC_PRODUCTS(N, SUMS, TYPE, NAME, A1, A2, A3, A4, A5, A6)                              \
  __device__ __forceinline__ void product(float (&d)[SUMS], uint64_t a, uint64_t b, int adds,    \
                                          TYPE) {                                                \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" A3 ", 0;\n"                                \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME                 \
                 " {" ATTNC_NAMES_##SUMS "}, %" A1 ", %" A2 ", p, 1, 1, 0, 0;\n}"                \
                 : ATTNC_SUMS_##SUMS                                                             \
                 : "l"(a), "l"(b), "r"(adds));                                                   \
  }                                                                                              \
  __device__ __forceinline__ void product(float (&d)[SUMS], const uint32_t* a, uint64_t b,       \
                                          int adds, TYPE) {                                      \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" A6 ", 0;\n"                                \
                 "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME                 \
                 " {" ATTNC_NAMES_##SUMS "}, {%" A1 ", %" A2 ", %" A3 ", %" A4 "}, %" A5         \
                 ", p, 1, 1, 1;\n}"                                                              \
                 : ATTNC_SUMS_##SUMS                                                             \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));               \
  }

ATTNC_PRODUCTS(64, 32, __nv_bfloat16, "bf16", "32", "33", "34", "35", "36", "37")
ATTNC_PRODUCTS(64, 32, __half, "f16", "32", "33", "34", "35", "36", "37")
ATTNC_PRODUCTS(128, 64, __nv_bfloat16, "bf16", "64", "65", "66", "67", "68", "69")
ATTNC_PRODUCTS(128, 64, __half, "f16", "64", "65", "66", "67", "68", "69")
#undef ATTNC_PRODUCTS

}  // namespace attnc::cuda
