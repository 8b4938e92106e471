// Block attention for one instruction set: compiled once for each (ATTNC_ENGINE names the result).
#include "../../block-select/cpu/summary.h"
#include "key-mass.h"
#include "many-queries.h"
#include "single-query.h"

namespace {

using attnc::Scratch;
using attnc::Storage;
using attnc::Threads;

// The only query of every head, scaled.
template <typename T>
float* only_queries(const View<T>& view, bool turned, const Scratch& scratch) {
  const Problem& p = view.p;
  float* to = scratch.take(scratch.pool, (size_t)(p.B * p.H * p.d));
  for (int64_t b = 0; b < p.B; b++)
    for (int64_t h = 0; h < p.H; h++) view.read_queries(b, h, 0, 1, turned, to + (b * p.H + h) * p.d);
  return to;
}

template <typename T>
void attend_one(const Problem& p, const Threads& threads, const Scratch& scratch) {
  SingleQuery<T> work(p);
  const size_t heads = (size_t)(p.B * p.H);
  work.choose_parts();
  work.queries = only_queries(work, false, scratch);
  if (p.turned_query) work.turned = only_queries(work, true, scratch);
  work.partial = scratch.take(scratch.pool, heads * (size_t)(work.parts * work.part_size()));
  threads.run(
      threads.host, [](void* data, size_t i) { ((SingleQuery<T>*)data)->attend(i); },
      (size_t)(p.B * work.head_groups() * work.parts), &work);
  for (size_t i = 0; i < heads; i++) work.merge(i);
}

template <typename T>
void attend_many(const Problem& p, const Threads& threads, const Scratch& scratch) {
  ManyQueries<T> work(p);
  const int64_t blocks = p.B * p.K * work.key_blocks;
  work.packed_keys = scratch.take(scratch.pool, (size_t)(blocks * p.key_block * p.d));
  if (work.packs_values())
    work.packed_values = scratch.take(scratch.pool, (size_t)(blocks * p.key_block * work.padded_e));
  work.used = (unsigned char*)scratch.take(scratch.pool, (size_t)(blocks / 4 + 1));
  std::memset(work.used, 0, (size_t)blocks);
  work.mark_used();
  threads.run(
      threads.host, [](void* data, size_t i) { ((ManyQueries<T>*)data)->pack(i); }, (size_t)blocks,
      &work);
  threads.run(
      threads.host, [](void* data, size_t i) { ((ManyQueries<T>*)data)->attend(i); },
      (size_t)(p.B * p.H * p.block_rows()), &work);
}

template <typename T>
void run(const Problem& p, const Threads& threads, const Scratch& scratch) {
  if (p.S == 1)
    attend_one<T>(p, threads, scratch);
  else
    attend_many<T>(p, threads, scratch);
}

void attention(const Problem& p, const Threads& threads, const Scratch& scratch) {
  if (p.storage == Storage::float16) return run<Half>(p, threads, scratch);
  if (p.storage == Storage::bfloat16) return run<Brain>(p, threads, scratch);
  run<float>(p, threads, scratch);
}

void key_mass(const Problem& p, const Threads& threads, float* mass) {
  if (p.storage == Storage::float16) return mass_of_keys<Half>(p, threads, mass);
  if (p.storage == Storage::bfloat16) return mass_of_keys<Brain>(p, threads, mass);
  mass_of_keys<float>(p, threads, mass);
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

const Engine ATTNC_VARIABLE(ATTNC_ENGINE) = {ATTNC_NAME(ATTNC_ENGINE), attention, key_mass,
                                        summarise, score_summary, exponentials};

}  // namespace attnc
