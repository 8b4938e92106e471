// What the kernels for Ampere's instructions share: rows in shared memory, and the walk over the
// tiles of keys that a block of queries keeps.
#pragma once

#include "bias-tiles.cuh"
#include "parameters.h"
#include "softmax.cuh"

namespace attnc::cuda {

constexpr int kPad = 8;  // elements after each row, against bank conflicts

// Room for heads of up to Size; N keys at once.
template <typename Type, int Size, int N>
struct AmpereTraits {
  using Element = Type;
  static constexpr int kSize = Size;
  static constexpr int kKeys = N;
  static constexpr int kRow = Size + kPad;
  // Of shared memory, for so many rows.
  static size_t bytes(int rows) { return (size_t)rows * kRow * sizeof(Type); }
  static size_t bias_bytes(int rows) { return (size_t)rows * (N + kPad) * sizeof(Type); }
};

// Keys that a tile brings: [base, base + count); and whether a bias, where there is one, has to be added.
struct KeyTile {
  int32_t base, count;
  bool is_biased;
};

// Whether queries from the one that sees `top` to the one that sees `bottom` all see a whole tile.
__device__ __forceinline__ bool is_open(const Visible& top, const Visible& bottom, int32_t base,
                                        int32_t keys) {
  return base >= bottom.first && base + keys <= top.end;
}

// Walks the kept blocks of a row in tiles, past those that no query sees. Same for all threads.
template <class C>
struct Tiles {
  const Parameters& p;
  KeptColumns kept;
  Visible top, bottom;
  const uint8_t* kinds;  // by tiles of keys, or null
  int32_t index = 0, offset = 0;

  __device__ bool next(KeyTile& tile) {
    while (index < kept.count) {
      const int32_t column = kept.columns[index];
      const int32_t base = column * p.key_block + offset;
      const bool exists = column >= 0 && column < p.key_blocks() && base < p.T;
      const int32_t count =
          smaller_of(C::kKeys, smaller_of(p.key_block - offset, p.T - base));
      offset += C::kKeys;
      if (!exists || offset >= p.key_block) index++, offset = 0;
      const bool is_hidden =
          base >= bottom.sinks && (base >= bottom.end || base + count <= top.first);
      if (!exists || is_hidden) continue;
      const uint8_t kind = kinds ? kinds[base / kBiasTile] : kTileAdded;
      if (kind == kTileHidden) continue;
      tile = {base, count, kind == kTileAdded};
      return true;
    }
    return false;
  }
};

// Rows of `size` elements to rows of kRow in shared memory; zeros where there are none.
template <class C>
__device__ __forceinline__ void copy_rows(typename C::Element* to, const typename C::Element* from, int32_t size,
                          int32_t first, int32_t limit, int32_t rows) {
  using Element = typename C::Element;
  constexpr int kPieces = C::kSize / 8;
  const bool is_aligned = size % 8 == 0;
  for (int32_t i = threadIdx.x; i < rows * kPieces; i += blockDim.x) {
    const int32_t row = i / kPieces, column = i % kPieces * 8;
    Element* target = to + row * C::kRow + column;
    const bool exists = first + row >= 0 && first + row < limit;
    const Element* source = from + (int64_t)(exists ? first + row : 0) * size + column;
    if (is_aligned) {
      const bool is_read = exists && column < size;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                       (uint32_t)__cvta_generic_to_shared(target)),
                   "l"(is_read ? source : from), "r"(is_read ? 16 : 0)
                   : "memory");
    } else {
      for (int32_t j = 0; j < 8; j++)
        from_float(exists && column + j < size ? to_float(source[j]) : 0.0f, target + j);
    }
  }
}

// The bias of queries [first, limit) for keys [base, base + count) to shared memory, `rows` of kKeys + kPad.
// `from` is [S, T]. Read one by one by those who need it, each would wait for memory by itself.
template <int Keys, typename Element>
__device__ __forceinline__ void copy_bias(Element* to, const Element* from, int32_t T, int32_t first,
                                          int32_t limit, int32_t rows, int32_t base,
                                          int32_t count) {
  constexpr int kPieces = Keys / 8;
  const bool is_aligned = T % 8 == 0 && base % 8 == 0 && (uintptr_t)from % 16 == 0;
  for (int32_t i = threadIdx.x; i < rows * kPieces; i += blockDim.x) {
    const int32_t row = i / kPieces, column = i % kPieces * 8;
    Element* target = to + row * (Keys + kPad) + column;
    const int32_t query = first + row;
    const int32_t left =
        query >= 0 && query < limit ? smaller_of(8, larger_of(0, count - column)) : 0;
    const Element* source = left > 0 ? from + (int64_t)query * T + base + column : from;
    if (is_aligned)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                       (uint32_t)__cvta_generic_to_shared(target)),
                   "l"(source), "r"(left * (int32_t)sizeof(Element))
                   : "memory");
    else
      for (int32_t j = 0; j < 8; j++) from_float(j < left ? to_float(source[j]) : 0.0f, target + j);
  }
}

// [S, T] of a head; null where there is no bias.
template <typename Element>
__device__ __forceinline__ const Element* bias_of(const Parameters& p, int32_t b, int32_t h) {
  if (!p.bias) return nullptr;
  const int64_t matrix =
      (int64_t)(p.bias_batch == 1 ? 0 : b) * p.bias_heads + (p.bias_heads == 1 ? 0 : h);
  return (const Element*)p.bias + matrix * p.S * p.T;
}

}  // namespace attnc::cuda
