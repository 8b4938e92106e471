// The attention of one batch's step: queries that are no padding, to keys in the cache or in a list.
#pragma once

#include <cmath>
#include <cstring>

#include "../../block-attention/cpu/vectors.h"
#include "stream.h"

namespace attnc {

// What the queries attend to: keys and values [K, count], and how to see them.
struct Attended {
  const void* keys;
  const void* values;
  int64_t count;
  const float* mask;  // [K, count] or null
  bool is_causal;     // the last keys are the queries'
  int64_t window, sinks;
  int64_t turned;     // keys that see turned queries
};

namespace {

constexpr int64_t kStreamBlock = 64;

float number(Storage storage, const void* from, int64_t index) {
  switch (storage) {
    case Storage::float16: return to_float(((const Half*)from)[index]);
    case Storage::bfloat16: return to_float(((const Brain*)from)[index]);
    default: return ((const float*)from)[index];
  }
}

// Queries [H, count, d] as the sinks see them: turned back by the positions that the cache has left out.
const float* turn_back(const StreamProblem& s, const void* query, const Step& step,
                       const Scratch& scratch) {
  const int64_t n = step.count;
  float* turned = scratch.take(scratch.pool, (size_t)(s.H * n * s.d));
  for (int64_t i = 0; i < s.H * n * s.d; i++) turned[i] = number(s.storage, query, i);
  for (int64_t i = 0; i < n; i++) {
    const int64_t beyond = step.position + i - (s.sinks + s.window - 1);
    if (beyond <= 0) continue;
    for (int64_t pair = 0; pair < s.pairs; pair++) {
      const double angle = (double)beyond * (double)s.frequencies[pair];
      const float cosine = (float)std::cos(angle), sine = (float)std::sin(angle);
      const int64_t x = s.rotary_interleaved ? 2 * pair : pair;
      const int64_t y = s.rotary_interleaved ? x + 1 : x + s.pairs;
      for (int64_t h = 0; h < s.H; h++) {
        float* row = turned + (h * n + i) * s.d;
        const float a = row[x], c = row[y];
        row[x] = a * cosine + c * sine;
        row[y] = c * cosine - a * sine;
      }
    }
  }
  return turned;
}

// The blocks that each row of queries may see, as a table.
void keep_visible(Problem& p, const Scratch& scratch) {
  p.query_block = p.key_block = kStreamBlock;
  p.L = 1;
  p.row_count = p.block_rows();
  p.width = (p.T + kStreamBlock - 1) / kStreamBlock;
  int32_t* columns = (int32_t*)scratch.take(scratch.pool, (size_t)(p.row_count * p.width));
  p.columns = columns;
  for (int64_t row = 0; row < p.row_count; row++)
    for (int64_t column = 0; column < p.width; column++) {
      const int64_t first = (p.first_row() + row) * kStreamBlock;
      const int64_t key = column * kStreamBlock;
      const bool is_near = p.window == 0 || key + kStreamBlock > first - p.window;
      const bool is_seen = !p.causal || (key < first + kStreamBlock && (key < p.sinks || is_near));
      columns[row * p.width + column] = is_seen ? (int32_t)column : -1;
    }
}

// Rows [H, S, size] that are no padding, one after the other: `move(to, from)` of each head's.
template <typename Move>
void each_head(const StreamProblem& s, const Step& step, size_t row, Move move) {
  for (int64_t h = 0; h < s.H; h++)
    move((size_t)(h * s.S + step.first) * row, (size_t)(h * step.count) * row, (size_t)step.count * row);
}

}  // namespace

// Writes the outputs, and adds to `received` [K, count], where it is not null, what each key got.
inline void attend(const StreamProblem& s, int64_t b, const Step& step, const Attended& to,
                   float* received, const Engine& engine, const Threads& threads,
                   const Scratch& scratch) {
  const int64_t n = step.count;
  const char* query = (const char*)s.query + (size_t)(b * s.H * s.S) * s.key_row();
  char* output = (char*)s.output + (size_t)(b * s.H * s.S) * s.value_row();
  Problem p{};
  p.B = 1, p.H = s.H, p.K = s.K, p.S = n, p.T = to.count, p.d = s.d, p.e = s.e;
  p.storage = s.storage;
  p.scale = s.scale, p.softcap = s.softcap;
  p.key = to.keys, p.value = to.values, p.key_mask = to.mask;
  p.causal = to.is_causal, p.window = to.window, p.sinks = to.sinks;
  p.start = to.is_causal ? to.count - n : 0;
  p.query = query, p.output = output;
  const bool is_whole = n == s.S;
  if (!is_whole) {
    char* gathered = (char*)scratch.take(scratch.pool, (size_t)(s.H * n * s.d));
    each_head(s, step, s.key_row(), [&](size_t apart, size_t together, size_t bytes) {
      std::memcpy(gathered + together, query + apart, bytes);
    });
    p.query = gathered;
    p.output = scratch.take(scratch.pool, (size_t)(s.H * n * s.e));
  }
  if (s.frequencies && to.turned > 0) {
    p.turned_query = turn_back(s, p.query, step, scratch);
    p.turned_keys = to.turned;
  }
  keep_visible(p, scratch);
  float* raw = nullptr;
  if (received && n == 1) {
    raw = scratch.take(scratch.pool, (size_t)(s.H * p.T));
    p.raw_scores = raw;
    p.log_sum_exp = scratch.take(scratch.pool, (size_t)s.H);
  }
  engine.attention(p, threads, scratch);
  if (!is_whole)
    each_head(s, step, s.value_row(), [&](size_t apart, size_t together, size_t bytes) {
      std::memcpy(output + apart, (const char*)p.output + together, bytes);
    });
  if (!received) return;
  float* mass = raw;
  if (raw)
    for (int64_t i = 0; i < s.H * p.T; i++) mass[i] = std::exp(raw[i] - p.log_sum_exp[i / p.T]);
  else
    engine.key_mass(p, threads, mass = scratch.take(scratch.pool, (size_t)(s.H * p.T)));
  for (int64_t i = 0; i < s.H * p.T; i++)
    received[i / p.T * s.K / s.H * p.T + i % p.T] += mass[i];
}

}  // namespace attnc
