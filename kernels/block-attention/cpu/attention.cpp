// Block attention for one instruction set: compiled once for each (ATTNC_ENGINE names the result).
// Many queries: keys are packed into panels once, then every block of queries walks its kept key
// blocks tile by tile with an online softmax. One query: keys are read where they lie, in splits
// that are merged by their log-sum-exp. Blocks that are not kept are never touched.
#include "problem.h"
#include "softmax.h"
#include "tiles.h"

namespace {

using attnc::KeptBlocks;
using attnc::Problem;
using attnc::Scratch;
using attnc::Storage;
using attnc::Threads;

constexpr int64_t kLargestBlock = 128;
constexpr int64_t kLargestHead = 512;
// Keys of one part of a single query's work.
constexpr int64_t kSplitKeys = 1024;

ATTNC_INLINE int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <typename T>
struct Run {
  const Problem& p;
  int64_t key_blocks = (p.T + p.key_block - 1) / p.key_block;
  int64_t padded_e = round_up(p.e, kWidth);
  // Keys as panels [kWidth keys]: [d][kWidth]. Values only where they can't be read in place.
  float* packed_keys = nullptr;
  float* packed_values = nullptr;
  unsigned char* used = nullptr;  // [B, K, key_blocks]
  // Single queries: splits of [largest, sum, context], for each group of heads.
  int64_t splits = 1;
  float* partial = nullptr;

  int64_t keys_of(int64_t batch) const {
    if (!p.key_lengths) return p.T;
    return smaller_of(p.T, larger_of(0, p.key_lengths[batch]));
  }

  bool packs_values() const { return !__is_same(T, float) || p.e % kWidth != 0; }

  const T* key_at(int64_t batch, int64_t head) const {
    return (const T*)p.key + (batch * p.K + head) * p.T * p.d;
  }
  const T* value_at(int64_t batch, int64_t head) const {
    return (const T*)p.value + (batch * p.K + head) * p.T * p.e;
  }

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
    alignas(64) static thread_local float context[(kLargestBlock + kRows) * kLargestHead];
    alignas(64) float sums[(kLargestBlock + kRows) * kWidth];
    alignas(64) float scores[kRows * kLargestBlock];
    float maxima[kLargestBlock + kRows];
    const int64_t padded = round_up(count, kRows);
    const T* query = (const T*)p.query + ((b * p.H + h) * p.S + first_query) * p.d;
    for (int64_t i = 0; i < count * p.d; i++) queries[i] = to_float(query[i]) * p.scale;
    for (int64_t i = count * p.d; i < padded * p.d; i++) queries[i] = 0.0f;
    for (int64_t i = 0; i < padded * padded_e; i++) context[i] = 0.0f;
    for (int64_t i = 0; i < padded * kWidth; i++) sums[i] = 0.0f;
    for (int64_t i = 0; i < padded; i++) maxima[i] = -INFINITY;

    const KeptBlocks kept = p.kept(b, h, row);
    const int64_t keys = keys_of(b);
    for (int64_t i = 0; i < kept.count; i++) {
      const int64_t column = kept.columns[i];
      if (column < 0 || column >= key_blocks || column * p.key_block >= keys) continue;
      for (int64_t tile = 0; tile < count; tile += kRows)
        attend_tile(b, h, k, column, first_query + tile, smaller_of(kRows, count - tile), keys,
                    queries + tile * p.d, scores, maxima + tile, sums + tile * kWidth,
                    context + tile * padded_e);
    }
    finish(b, h, first_query, count, maxima, sums, context);
  }

  // One tile of queries against one key block.
  void attend_tile(int64_t b, int64_t h, int64_t k, int64_t column, int64_t query, int64_t rows,
                   int64_t keys, const float* queries, float* scores, float* maxima, float* sums,
                   float* context) const {
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

    float decay[kRows];
    for (int r = 0; r < kRows; r++) {
      float* line = scores + r * stride + from;
      if (r >= rows) {
        decay[r] = 0.0f;
        for (int64_t i = 0; i < to - from; i++) line[i] = 0.0f;
        continue;
      }
      adjust(line, to - from, b, h, query + r, base + from, keys, hides);
      decay[r] = soften(line, to - from, maxima[r], sums + r * kWidth);
    }

    // Weights beyond the last key are 0, and there are no values: they are left out.
    const int64_t used_keys = smaller_of(to, p.T - base) - from;
    const float* values;
    int64_t value_stride = p.e;
    if constexpr (__is_same(T, float)) {
      values = value_at(b, k) + (base + from) * p.e;
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

  // Soft cap, bias, masks: what happens to a row of scores before the softmax.
  void adjust(float* line, int64_t count, int64_t b, int64_t h, int64_t query, int64_t key,
              int64_t keys, bool hides) const {
    if (p.softcap > 0.0f) soft_cap(line, count, p.softcap);
    if (p.bias) {
      const int64_t batch = p.bias_batch == 1 ? 0 : b;
      const int64_t head = p.bias_heads == 1 ? 0 : h;
      const T* bias = (const T*)p.bias + ((batch * p.bias_heads + head) * p.S + query) * p.T + key;
      const int64_t within = smaller_of(count, p.T - key);
      for (int64_t j = 0; j < within; j++) line[j] += to_float(bias[j]);
    }
    if (hides) hide(line, count, key, visible_keys(p, p.start + query, keys));
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

  // One query: `index` is a split of a group of heads that read the same keys.
  int64_t head_groups() const { return larger_of(p.L, p.K); }
  int64_t part_size() const { return 2 + padded_e; }

  void attend_one(size_t index) const {
    const int64_t split = (int64_t)index % splits;
    const int64_t at = (int64_t)index / splits;
    const int64_t groups = head_groups();
    const int64_t b = at / groups;
    const int64_t m = at % groups;
    const int64_t heads = p.H / groups;
    const int64_t h = m * heads;
    const int64_t k = h * p.K / p.H;
    float* part = partial + ((b * p.H + h) * splits + split) * part_size();
    const KeptBlocks kept = p.kept(b, h, p.first_row());
    const int64_t per_split = (kept.count + splits - 1) / splits;
    const int64_t last = smaller_of(kept.count, (split + 1) * per_split);
    // As many heads at once as have their sums in registers.
    for (int64_t done = 0; done < heads;) {
      const int64_t left = heads - done;
      float* to = part + done * splits * part_size();
      const int64_t step = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      if (step == 4)
        walk<4>(b, h + done, k, kept, split * per_split, last, to);
      else if (step == 2)
        walk<2>(b, h + done, k, kept, split * per_split, last, to);
      else
        walk<1>(b, h + done, k, kept, split * per_split, last, to);
      done += step;
    }
  }

  template <int Heads>
  void walk(int64_t b, int64_t h, int64_t k, const KeptBlocks& kept, int64_t first, int64_t last,
            float* part) const {
    alignas(64) float queries[Heads * (kLargestHead + kWidth)];
    alignas(64) float context[Heads * (kLargestHead + kWidth)];
    alignas(64) float scores[Heads * kLargestBlock];
    alignas(64) float sums[Heads * kWidth];
    float maxima[Heads];
    const int64_t whole = p.d / kWidth * kWidth;
    const T* query = (const T*)p.query + (b * p.H + h) * p.d;
    for (int r = 0; r < Heads; r++) {
      maxima[r] = -INFINITY;
      for (int64_t i = 0; i < p.d; i++) queries[r * p.d + i] = to_float(query[r * p.d + i]) * p.scale;
      for (int64_t i = 0; i < padded_e; i++) context[r * padded_e + i] = 0.0f;
      for (int64_t i = 0; i < kWidth; i++) sums[r * kWidth + i] = 0.0f;
    }
    const int64_t keys = keys_of(b);
    const Visible seen = visible_keys(p, p.start, keys);
    const T* all_keys = key_at(b, k);
    const T* all_values = value_at(b, k);
    for (int64_t i = first; i < last; i++) {
      const int64_t column = kept.columns[i];
      if (column < 0 || column >= key_blocks) continue;
      const int64_t base = column * p.key_block;
      const int64_t from = base < seen.sinks ? base : larger_of(base, seen.first);
      int64_t end = smaller_of(larger_of(seen.end, seen.sinks), base + p.key_block);
      if (base < seen.sinks && seen.first >= base + p.key_block) end = smaller_of(end, seen.sinks);
      if (from >= end) continue;
      const int64_t count = end - from;
      for (int64_t t = 0; t < count; t++) {
        const T* row = all_keys + (from + t) * p.d;
        Vector products[Heads];
        for (int r = 0; r < Heads; r++) products[r] = Vector{};
        for (int64_t j = 0; j < whole; j += kWidth) {
          const Vector each = load(row + j);
#pragma GCC unroll 4
          for (int r = 0; r < Heads; r++) products[r] += each * load(queries + r * p.d + j);
        }
        for (int r = 0; r < Heads; r++) {
          float product = sum(products[r]);
          for (int64_t j = whole; j < p.d; j++) product += to_float(row[j]) * queries[r * p.d + j];
          scores[r * kLargestBlock + t] = product;
        }
      }
      const int64_t rounded = round_up(count, kWidth);
      float decay[Heads];
      for (int r = 0; r < Heads; r++) {
        float* line = scores + r * kLargestBlock;
        adjust(line, count, b, h + r, 0, from, keys, false);
        if (from < seen.first || end > seen.end) hide_scalar(line, count, from, seen);
        for (int64_t t = count; t < rounded; t++) line[t] = -INFINITY;
        decay[r] = soften(line, rounded, maxima[r], sums + r * kWidth);
      }
      const T* values = all_values + from * p.e;
      int64_t j = 0;
      for (; j + 4 * kWidth <= p.e; j += 4 * kWidth)
        context_tile<Heads, 4>(scores, kLargestBlock, count, values + j, p.e, decay, context + j,
                               padded_e);
      for (; j + kWidth <= p.e; j += kWidth)
        context_tile<Heads, 1>(scores, kLargestBlock, count, values + j, p.e, decay, context + j,
                               padded_e);
      for (; j < p.e; j++)
        for (int r = 0; r < Heads; r++) {
          float total = context[r * padded_e + j] * decay[r];
          for (int64_t t = 0; t < count; t++)
            total += scores[r * kLargestBlock + t] * to_float(values[t * p.e + j]);
          context[r * padded_e + j] = total;
        }
    }
    for (int r = 0; r < Heads; r++) {
      float* to = part + r * splits * part_size();
      to[0] = maxima[r];
      to[1] = sum(load(sums + r * kWidth));
      for (int64_t i = 0; i < p.e; i++) to[2 + i] = context[r * padded_e + i];
    }
  }

  static void hide_scalar(float* line, int64_t count, int64_t key, const Visible& seen) {
    for (int64_t t = 0; t < count; t++) {
      const int64_t at = key + t;
      const bool shown = (at >= seen.first && at < seen.end) || at < seen.sinks;
      if (!shown) line[t] = -INFINITY;
    }
  }

  // Splits of one head become one: each decays to the largest maximum of all.
  void merge(size_t index) const {
    const float* part = partial + (int64_t)index * splits * part_size();
    float maximum = -INFINITY;
    for (int64_t s = 0; s < splits; s++)
      if (part[s * part_size()] > maximum) maximum = part[s * part_size()];
    float total = 0.0f;
    alignas(64) float context[kLargestHead];
    for (int64_t i = 0; i < p.e; i++) context[i] = 0.0f;
    for (int64_t s = 0; s < splits; s++) {
      const float* each = part + s * part_size();
      // NaN scores have no maximum; their sum carries the NaN on.
      const float decay = each[0] == maximum ? 1.0f : exponential1(each[0] - maximum);
      total += each[1] * decay;
      for (int64_t i = 0; i < p.e; i++) context[i] += each[2 + i] * decay;
    }
    const float factor = total == 0.0f ? 0.0f : 1.0f / total;
    T* output = (T*)p.output + (int64_t)index * p.e;
    for (int64_t i = 0; i < p.e; i++) from_float(context[i] * factor, output + i);
    if (p.log_sum_exp) p.log_sum_exp[index] = total == 0.0f ? -INFINITY : maximum + logf(total);
  }
};

template <typename T>
void run(const Problem& p, const Threads& threads, const Scratch& scratch) {
  Run<T> work{p};
  if (p.S == 1) {
    int64_t most = 0;
    for (int64_t b = 0; b < p.B; b++)
      for (int64_t h = 0; h < p.H; h++) most = larger_of(most, p.kept(b, h, p.first_row()).count);
    work.splits = larger_of(1, most * p.key_block / kSplitKeys);
    work.partial =
        scratch.take(scratch.pool, (size_t)(p.B * p.H * work.splits * work.part_size()));
    threads.run(
        threads.host, [](void* data, size_t i) { ((Run<T>*)data)->attend_one(i); },
        (size_t)(p.B * work.head_groups() * work.splits), &work);
    for (int64_t i = 0; i < p.B * p.H; i++) work.merge((size_t)i);
    return;
  }
  const int64_t blocks = p.B * p.K * work.key_blocks;
  work.packed_keys = scratch.take(scratch.pool, (size_t)(blocks * p.key_block * p.d));
  if (work.packs_values())
    work.packed_values = scratch.take(scratch.pool, (size_t)(blocks * p.key_block * work.padded_e));
  work.used = (unsigned char*)scratch.take(scratch.pool, (size_t)(blocks / 4 + 1));
  std::memset(work.used, 0, (size_t)blocks);
  work.mark_used();
  threads.run(
      threads.host, [](void* data, size_t i) { ((Run<T>*)data)->pack(i); }, (size_t)blocks, &work);
  threads.run(
      threads.host, [](void* data, size_t i) { ((Run<T>*)data)->attend(i); },
      (size_t)(p.B * p.H * p.block_rows()), &work);
}

void attention(const Problem& p, const Threads& threads, const Scratch& scratch) {
  if (p.storage == Storage::float16) return run<Half>(p, threads, scratch);
  if (p.storage == Storage::bfloat16) return run<Brain>(p, threads, scratch);
  run<float>(p, threads, scratch);
}

void exponentials(const float* from, float* to, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = exponential1(from[i]);
}

}  // namespace

namespace attnc {

#define ATTNC_STRING(name) #name
#define ATTNC_NAME(name) ATTNC_STRING(name)
#define ATTNC_JOIN(name) name##_engine
#define ATTNC_VARIABLE(name) ATTNC_JOIN(name)

const Engine ATTNC_VARIABLE(ATTNC_ENGINE) = {ATTNC_NAME(ATTNC_ENGINE), attention, exponentials};

}  // namespace attnc
