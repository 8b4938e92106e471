// Scores every block for every row, makes weights of them, and ranks them.
#include "select.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../../block-attention/cpu/vectors.h"

namespace attnc {

namespace {

constexpr int64_t kLargestHead = 512;

struct Work {
  const SelectProblem& p;
  const Engine& engine;
  float* summary;
  const float* paid = nullptr;  // [B, H, T]: attention of the last queries
  float* weights = nullptr;     // [B, L, R, C]
  float* head = nullptr;        // the same for one head
  Selection selection{};

  int64_t length_of(int64_t b) const {
    return p.key_lengths ? std::clamp<int64_t>(p.key_lengths[b], 0, p.T) : p.T;
  }
  size_t element() const { return p.storage == Storage::float32 ? 4 : 2; }

  // 1. One block of keys of one head.
  void summarise(size_t index) const {
    const int64_t C = p.blocks(), size = p.parts() * p.d;
    const int64_t c = (int64_t)index % C, head = (int64_t)index / C;
    float* to = summary + (int64_t)index * size;
    if (c < p.known - 1) {
      std::memcpy(to, p.past_summary + (head * p.known + c) * size, (size_t)size * sizeof(float));
      return;
    }
    const int64_t first = c * p.key_block;
    const int64_t count = std::min(first + p.key_block, length_of(head / p.K)) - first;
    const char* keys = (const char*)p.key + (size_t)((head * p.T + first) * p.d) * element();
    if (count > 0)
      engine.summarise(p.storage, keys, count, p.d, p.scorer == Scorer::minmax, to);
    else
      std::fill_n(to, size, 0.0f);
  }

  // 2. One row of one selection.
  void choose(size_t index) const {
    const int64_t C = p.blocks(), R = p.rows();
    const int64_t r = (int64_t)index % R, l = (int64_t)index / R % p.L, b = (int64_t)index / R / p.L;
    const int64_t row = p.start / p.query_block + r;
    const int64_t from = std::max(row * p.query_block, p.start);
    const int64_t to = std::min((row + 1) * p.query_block, p.start + p.S);
    // Blocks that the row may see.
    int64_t visible = (length_of(b) + p.key_block - 1) / p.key_block;
    if (p.causal) visible = std::min(visible, (to + p.key_block - 1) / p.key_block);
    float* mean = weights + (int64_t)index * C;
    float* each = head + (int64_t)index * C;
    std::fill_n(mean, C, 0.0f);
    const int64_t group = p.H / p.L;
    for (int64_t h = l * group; h < (l + 1) * group; h++) {
      weigh(b, h, r, from - p.start, to - from, visible, each);
      for (int64_t c = 0; c < visible; c++) mean[c] += each[c] / (float)group;
    }
    rank(row, visible, mean, selection.ranked + (int64_t)index * C, selection.kept + index);
  }

  // Weights of a head's blocks, which sum to 1.
  void weigh(int64_t b, int64_t h, int64_t r, int64_t query, int64_t queries, int64_t visible,
             float* to) const {
    const int64_t C = p.blocks();
    if (p.scorer == Scorer::last_query) {
      const float* each = paid + (b * p.H + h) * p.T;
      for (int64_t c = 0; c < visible; c++) {
        to[c] = 0.0f;
        for (int64_t t = c * p.key_block; t < std::min((c + 1) * p.key_block, p.T); t++) to[c] += each[t];
      }
      return share(to, visible);
    }
    if (p.scorer == Scorer::given)
      std::memcpy(to, p.scores + ((b * p.H + h) * p.rows() + r) * C, (size_t)visible * sizeof(float));
    else {
      alignas(64) float mean[kLargestHead];
      const char* from = (const char*)p.query + (size_t)(((b * p.H + h) * p.S + query) * p.d) * element();
      engine.summarise(p.storage, from, queries, p.d, false, mean);
      for (int64_t i = 0; i < p.d; i++) mean[i] *= p.scale;
      const int64_t size = p.parts() * p.d;
      const float* blocks = summary + (b * p.K + h * p.K / p.H) * C * size;
      for (int64_t c = 0; c < visible; c++)
        to[c] = engine.score_summary(mean, blocks + c * size, p.d, p.scorer == Scorer::minmax);
    }
    float largest = -INFINITY;
    for (int64_t c = 0; c < visible; c++) largest = std::max(largest, to[c]);
    for (int64_t c = 0; c < visible; c++) to[c] = largest == -INFINITY ? 0.0f : std::exp(to[c] - largest);
    share(to, visible);
  }

  static void share(float* weights, int64_t count) {
    float sum = 0.0f;
    for (int64_t c = 0; c < count; c++) sum += weights[c];
    if (sum > 0.0f)
      for (int64_t c = 0; c < count; c++) weights[c] /= sum;
  }

  // Forced blocks, then by weight, of equal ones the first; and how many of them stay.
  void rank(int64_t row, int64_t visible, const float* weights, int32_t* order, int32_t* kept) const {
    const int64_t own = row * p.query_block / p.key_block;
    const int64_t own_last = ((row + 1) * p.query_block - 1) / p.key_block;
    const auto is_forced = [&](int64_t c) {
      return c < p.sink_blocks || (c > own - p.local_blocks && c < own_last + p.local_blocks);
    };
    for (int64_t c = 0; c < visible; c++) order[c] = (int32_t)c;
    const int64_t most = p.count > 0 ? std::min(p.count, visible) : visible;
    const auto before = [&](int32_t a, int32_t c) {
      const bool forced = is_forced(a);
      if (forced != is_forced(c)) return forced;
      // NaN counts as nothing, so that this is an order.
      const float x = weights[a] > 0.0f ? weights[a] : 0.0f, y = weights[c] > 0.0f ? weights[c] : 0.0f;
      return x != y ? x > y : a < c;
    };
    std::partial_sort(order, order + most, order + visible, before);
    int64_t count = 0;
    float reached = 0.0f;
    for (; count < most; count++) {
      const float weight = weights[order[count]];
      const bool stays = p.select == Select::count || is_forced(order[count]) ||
                         (p.select == Select::mass ? p.mass >= 1.0f || reached < p.mass
                                                   : weight >= p.threshold);
      if (!stays) break;
      reached += weight;
    }
    *kept = (int32_t)count;
  }
};

// Attention that the last queries pay to every key: [B, H, T].
const float* last_queries(const SelectProblem& s, const Engine& engine, const Threads& threads,
                          const Scratch& scratch) {
  const int64_t n = std::min(s.S, s.query_block);
  const size_t element = s.storage == Storage::float32 ? 4 : 2;
  char* queries = (char*)scratch.take(scratch.pool, (size_t)(s.B * s.H * n * s.d));
  const size_t bytes = (size_t)(n * s.d) * element;
  for (int64_t i = 0; i < s.B * s.H; i++)
    std::memcpy(queries + (size_t)i * bytes,
                (const char*)s.query + (size_t)((i * s.S + s.S - n) * s.d) * element, bytes);
  Problem p{};
  p.B = s.B, p.H = s.H, p.K = s.K, p.S = n, p.T = s.T, p.d = p.e = s.d;
  p.start = s.start + s.S - n;
  p.storage = s.storage;
  p.query = queries, p.key = s.key;
  p.key_lengths = s.key_lengths;
  p.causal = s.causal, p.scale = s.scale;
  float* paid = scratch.take(scratch.pool, (size_t)(s.B * s.H * s.T));
  p.query_block = p.key_block = s.key_block;
  engine.key_mass(p, threads, paid);
  return paid;
}

}  // namespace

Selection select_blocks(const SelectProblem& p, float* summary, const Engine& engine,
                        const Threads& threads, const Scratch& scratch) {
  const int64_t rows = p.B * p.L * p.rows(), C = p.blocks();
  Work work{p, engine, summary};
  work.weights = scratch.take(scratch.pool, (size_t)(rows * C));
  work.head = scratch.take(scratch.pool, (size_t)(rows * C));
  work.selection.ranked = (int32_t*)scratch.take(scratch.pool, (size_t)(rows * C));
  work.selection.kept = (int32_t*)scratch.take(scratch.pool, (size_t)rows);
  if (p.has_summary())
    threads.run(
        threads.host, [](void* data, size_t i) { ((const Work*)data)->summarise(i); },
        (size_t)(p.B * p.K * C), &work);
  if (p.scorer == Scorer::last_query) work.paid = last_queries(p, engine, threads, scratch);
  threads.run(
      threads.host, [](void* data, size_t i) { ((const Work*)data)->choose(i); }, (size_t)rows, &work);
  return work.selection;
}

void write_indices(const SelectProblem& p, const Selection& selection, int64_t width, int32_t* to) {
  const int64_t C = p.blocks();
  for (int64_t row = 0; row < p.B * p.L * p.rows(); row++) {
    const int32_t count = selection.kept[row];
    int32_t* line = to + row * width;
    std::copy_n(selection.ranked + row * C, count, line);
    std::sort(line, line + count);
    std::fill(line + count, line + width, -1);
  }
}

}  // namespace attnc
