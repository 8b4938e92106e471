// Which keys the blocks of a row bring: one warp walks a row's list of columns, 32 at a time, and
// hands out chunks of keys, first those on which a mask has work to do, then the whole ones. Chunks
// that no query of the tile sees are left out.
#pragma once

#include "parameters.h"

namespace attnc::cuda {

// A row of the layout as chunks that divide its blocks evenly; queries are first … last positions.
struct Walk {
  KeptColumns kept;
  Visible top, bottom;
  int32_t key_block, key_blocks, chunk, chunks_per_block;

  bool is_second_pass = false;
  int32_t at = 0;
  uint32_t found = 0;
  int32_t base = 0;

  __device__ Walk(const Parameters& p, KeptColumns list, int32_t first, int32_t last, int32_t keys,
                  int32_t keys_per_chunk)
      : kept(list),
        top(visible_keys(p, first, keys)),
        bottom(visible_keys(p, last, keys)),
        key_block(p.key_block),
        key_blocks(p.key_blocks()),
        chunk(keys_per_chunk),
        chunks_per_block(p.key_block / keys_per_chunk) {}

  // A key is seen by all queries, by some at most, or by none. The window only moves on from one
  // query to the next, so the first and the last query tell.
  __device__ bool is_hidden(int32_t key) const {
    const bool in_sinks = key < bottom.sinks;
    return !in_sinks && (key >= bottom.end || key + chunk <= top.first);
  }
  __device__ bool is_whole(int32_t key) const {
    return (key >= bottom.first && key + chunk <= top.end) || key + chunk <= top.sinks;
  }

  // The next chunk, the same for all lanes.
  __device__ bool next(int32_t lane, int32_t& key, bool& is_masked) {
    const int32_t count = kept.count * chunks_per_block;
    while (!found) {
      if (at >= count) {
        if (is_second_pass) return false;
        is_second_pass = true;
        at = 0;
        continue;
      }
      bool fits = false;
      if (at + lane < count) {
        const int32_t index = (at + lane) / chunks_per_block;
        const int32_t column = kept.columns[index];
        base = column * key_block + (at + lane - index * chunks_per_block) * chunk;
        fits = column >= 0 && column < key_blocks && !is_hidden(base) &&
               is_whole(base) == is_second_pass;
      }
      found = __ballot_sync(~0u, fits);
      at += 32;
    }
    const int32_t source = __ffs((int)found) - 1;
    found &= found - 1;
    key = __shfl_sync(~0u, base, source);
    is_masked = !is_second_pass;
    return true;
  }
};

}  // namespace attnc::cuda
