// Many queries: keys are packed into panels once, then every block of queries walks its kept key blocks
// tile by tile with an online softmax. Blocks that are not kept are never touched.
#pragma once

#include "scores.h"
#include "tiles.h"

namespace {

template <typename T>
struct ManyQueries : View<T> {
  using View<T>::p;
  using View<T>::key_blocks;
  using View<T>::padded_e;

  explicit ManyQueries(const Problem& problem) : View<T>{problem} {}

  // Keys as panels [kWidth keys]: [d][kWidth]. Values only where they can't be read in place.
  float* packed_keys = nullptr;
  float* packed_values = nullptr;
  unsigned char* used = nullptr;  // [B, K, key_blocks]

  bool packs_values() const { return !__is_same(T, float) || p.e % kWidth != 0; }

  // 1. Which blocks any row keeps.
  void mark_used() {
    for (int64_t b = 0; b < p.B; b++)
      for (int64_t h = 0; h < p.H; h++) {
        unsigned char* marks = used + (b * p.K + h * p.K / p.H) * key_blocks;
        for (int64_t row = 0; row < p.block_rows(); row++) {
          const KeptBlocks kept = p.kept(b, h, p.first_row() + row);
          for (int64_t i = 0; i < kept.count; i++)
            if (kept.columns[i] >= 0 && kept.columns[i] < key_blocks) marks[kept.columns[i]] = 1;
        }
      }
  }

  // 2. One key block into panels, and its values into padded rows of floats.
  void pack(size_t index) const {
    if (!used[index]) return;
    const int64_t head = (int64_t)index / key_blocks;  // b · K + k
    const int64_t first = (int64_t)index % key_blocks * p.key_block;
    const int64_t count = smaller_of(p.key_block, p.T - first);
    const T* keys = (const T*)p.key + (head * p.T + first) * p.d;
    float* to = packed_keys + (int64_t)index * p.key_block * p.d;
    for (int64_t panel = 0; panel < p.key_block; panel += kWidth, to += p.d * kWidth)
      for (int j = 0; j < kWidth; j++) {
        if (panel + j < count) {
          const T* row = keys + (panel + j) * p.d;
          for (int64_t k = 0; k < p.d; k++) to[k * kWidth + j] = to_float(row[k]);
        } else
          for (int64_t k = 0; k < p.d; k++) to[k * kWidth + j] = 0.0f;
      }
    if (!packs_values()) return;
    const T* values = (const T*)p.value + (head * p.T + first) * p.e;
    float* rows = packed_values + (int64_t)index * p.key_block * padded_e;
    for (int64_t t = 0; t < count; t++)
      for (int64_t i = 0; i < padded_e; i++)
        rows[t * padded_e + i] = i < p.e ? to_float(values[t * p.e + i]) : 0.0f;
  }

  // 3. One block of queries of one head. Heads that share keys follow each other.
  void attend(size_t index) const {
    const int64_t rows_of_blocks = p.block_rows();
    const int64_t group = p.H / p.K;
    int64_t rest = (int64_t)index;
    const int64_t g = rest % group;
    rest /= group;
    const int64_t block_row = rest % rows_of_blocks;
    rest /= rows_of_blocks;
    const int64_t k = rest % p.K;
    const int64_t b = rest / p.K;
    const int64_t h = k * group + g;
    const int64_t row = p.first_row() + block_row;
    const int64_t from = larger_of(row * p.query_block, p.start);
    const int64_t to = smaller_of((row + 1) * p.query_block, p.start + p.S);
    const int64_t count = to - from;
    const int64_t first_query = from - p.start;

    alignas(64) static thread_local float queries[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) static thread_local float turned[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) static thread_local float context[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) float sums[(kLargestBlock + kRows) * kWidth];
    alignas(64) float scores[kRows * kLargestBlock];
    float maxima[kLargestBlock + kRows];
    const int64_t padded = round_up(count, kRows);
    this->read_queries(b, h, first_query, count, false, queries);
    for (int64_t i = count * p.d; i < padded * p.d; i++) queries[i] = 0.0f;
    if (p.turned_query) {
      this->read_queries(b, h, first_query, count, true, turned);
      for (int64_t i = count * p.d; i < padded * p.d; i++) turned[i] = 0.0f;
    }
    for (int64_t i = 0; i < padded * padded_e; i++) context[i] = 0.0f;
    for (int64_t i = 0; i < padded * kWidth; i++) sums[i] = 0.0f;
    for (int64_t i = 0; i < padded; i++) maxima[i] = -INFINITY;

    const KeptBlocks kept = p.kept(b, h, row);
    const int64_t keys = this->keys_of(b);
    for (int64_t i = 0; i < kept.count; i++) {
      const int64_t column = kept.columns[i];
      if (column < 0 || column >= key_blocks || column * p.key_block >= keys) continue;
      for (int64_t tile = 0; tile < count; tile += kRows)
        attend_tile(b, h, k, column, first_query + tile, smaller_of(kRows, count - tile), keys,
                    queries + tile * p.d, turned + tile * p.d, scores, maxima + tile, sums + tile * kWidth,
                    context + tile * padded_e);
    }
    finish(b, h, first_query, count, maxima, sums, context);
  }

  // One tile of queries against one key block.
  void attend_tile(int64_t b, int64_t h, int64_t k, int64_t column, int64_t query, int64_t rows,
                   int64_t keys, const float* queries, const float* turned, float* scores,
                   float* maxima, float* sums, float* context) const {
    // Columns that any row of the tile sees, in whole vectors, relative to the block.
    const int64_t base = column * p.key_block;
    const int64_t position = p.start + query;
    const Visible top = visible_keys(p, position, keys);
    const Visible bottom = visible_keys(p, position + rows - 1, keys);
    int64_t first = larger_of(top.first, base);
    int64_t end = smaller_of(larger_of(bottom.end, bottom.sinks), base + p.key_block);
    if (bottom.sinks > base) {
      first = base;
      // The window begins after the block: only its sinks are left.
      if (top.first >= base + p.key_block) end = smaller_of(end, bottom.sinks);
    }
    if (first >= end) return;
    const bool is_whole = bottom.first <= first && top.end >= end;
    const int64_t from = (first - base) / kWidth * kWidth;
    const int64_t to = round_up(end - base, kWidth);
    const bool hides = !is_whole || base + from < first || base + to > end;

    constexpr int64_t stride = kLargestBlock;
    const int64_t block = (b * p.K + k) * key_blocks + column;
    const float* panels = packed_keys + block * p.key_block * p.d;
    int64_t j = from;
    for (; j + 2 * kWidth <= to; j += 2 * kWidth)
      score_tile<kRows, 2>(queries, p.d, panels + j * p.d, scores + j, stride);
    for (; j < to; j += kWidth)
      score_tile<kRows, 1>(queries, p.d, panels + j * p.d, scores + j, stride);
    if (p.turned_query && base < p.turned_keys)
      score_turned(turned, panels, smaller_of(p.turned_keys - base, to), from, scores);

    float decay[kRows];
    for (int r = 0; r < kRows; r++) {
      float* line = scores + r * stride + from;
      if (r >= rows) {
        decay[r] = 0.0f;
        for (int64_t i = 0; i < to - from; i++) line[i] = 0.0f;
        continue;
      }
      this->adjust(line, to - from, b, h, query + r, base + from, keys, hides);
      decay[r] = soften(line, to - from, maxima[r], sums + r * kWidth);
    }

    // Weights beyond the last key are 0, and there are no values: they are left out.
    const int64_t used_keys = smaller_of(to, p.T - base) - from;
    const float* values;
    int64_t value_stride = p.e;
    if constexpr (__is_same(T, float)) {
      values = this->value_at(b, k) + (base + from) * p.e;
      if (packs_values()) values = nullptr;
    } else
      values = nullptr;
    if (!values) {
      value_stride = padded_e;
      values = packed_values + (block * p.key_block + from) * padded_e;
    }
    int64_t i = 0;
    for (; i + 2 * kWidth <= padded_e; i += 2 * kWidth)
      context_tile<kRows, 2>(scores + from, stride, used_keys, values + i, value_stride, decay,
                             context + i, padded_e);
    for (; i < padded_e; i += kWidth)
      context_tile<kRows, 1>(scores + from, stride, used_keys, values + i, value_stride, decay,
                             context + i, padded_e);
  }

  // Scores of the first `end` keys of a block by the turned queries.
  static void keep_turned(const float* tile, int64_t count, float* scores) {
    for (int r = 0; r < kRows; r++)
      for (int64_t i = 0; i < count; i++) scores[r * kLargestBlock + i] = tile[r * kWidth + i];
  }

  void score_turned(const float* turned, const float* panels, int64_t end, int64_t from,
                    float* scores) const {
    alignas(64) float tile[kRows * kWidth];
    for (int64_t j = from; j < end; j += kWidth) {
      score_tile<kRows, 1>(turned, p.d, panels + j * p.d, tile, kWidth);
      keep_turned(tile, smaller_of(kWidth, end - j), scores + j);
    }
  }

  // 4. Weighted sums to averages.
  void finish(int64_t b, int64_t h, int64_t query, int64_t count, const float* maxima,
              const float* sums, const float* context) const {
    T* output = (T*)p.output + ((b * p.H + h) * p.S + query) * p.e;
    float* lse = p.log_sum_exp ? p.log_sum_exp + (b * p.H + h) * p.S + query : nullptr;
    for (int64_t r = 0; r < count; r++) {
      const float total = sum(load(sums + r * kWidth));
      const float factor = total == 0.0f ? 0.0f : 1.0f / total;
      for (int64_t i = 0; i < p.e; i++)
        from_float(context[r * padded_e + i] * factor, output + r * p.e + i);
      if (lse) lse[r] = total == 0.0f ? -INFINITY : maxima[r] + logf(total);
    }
  }
};

}  // namespace
