// One step of StreamAttention as the kernel sees it: checked sizes, raw pointers, no ONNX Runtime.
// Letters as in the contract: B, H, K, S, d, e; P heads that slots are told apart for.
#pragma once

#include "../../block-attention/cpu/problem.h"

namespace attnc {

struct StreamProblem {
  int64_t B, H, K, S, d, e, P;
  int64_t sinks, window, heavy;
  Storage storage;
  const void* query;
  const void* key;
  const void* value;
  const int64_t* positions;  // [B, S]
  const void* past_key;
  const void* past_value;
  const int64_t* past_slots;
  const float* past_scores;   // null without heavy
  const float* frequencies;   // [pairs], or null
  int64_t pairs;
  // The present may be the memory of the past.
  void* output;
  void* present_key;
  void* present_value;
  int64_t* present_slots;
  float* present_scores;
  float scale, softcap;
  bool dense_step, rotary_interleaved;

  int64_t capacity() const { return sinks + window + heavy; }
  size_t element() const { return storage == Storage::float32 ? 4 : 2; }
  size_t key_row() const { return (size_t)d * element(); }
  size_t value_row() const { return (size_t)e * element(); }
  // Slots of a batch and a key-value head.
  const int64_t* slots_of(const int64_t* slots, int64_t b, int64_t k) const {
    return slots + (b * P + (P == 1 ? 0 : k)) * capacity();
  }
  int64_t slot_of(int64_t position) const {
    return position < sinks ? position : sinks + (position - sinks) % window;
  }
};

// The new tokens of a batch that are no padding: where they begin, how many, and the first one's position.
struct Step {
  int64_t first = 0, count = 0, position = 0;
  int64_t last() const { return position + count - 1; }
};

// A position that doesn't go on from the one before it, or from the cache.
struct WrongPosition {
  int64_t place = -1, expected = 0;
};

Step read_step(const StreamProblem& problem, int64_t batch, WrongPosition& wrong);

void stream_attention(const StreamProblem& problem, const Engine& engine, const Threads& threads,
                      const Scratch& scratch);

}  // namespace attnc
