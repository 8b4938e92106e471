// The keys that a single query sees, part by part and tile by tile, from the blocks that it keeps.
#pragma once

#include "scores.h"

namespace {

using attnc::KeptBlocks;

class KeyTiles {
 public:
  // Keys from … from+count; there are no more where the count is 0.
  struct Tile {
    int64_t from, count;
  };

  KeyTiles(const Problem& problem, KeptBlocks kept, int64_t keys, int64_t part, int64_t parts, int64_t element)
      : p_(problem), kept_(kept), seen_(visible_keys(problem, problem.start, keys)),
        next_(kept.count * part / parts), last_(kept.count * (part + 1) / parts) {
    // Keys of a tile, its values and the next tile's keys are in the nearest cache at once.
    constexpr int64_t kBytes = 8192, kFewest = 16, kMost = 64;
    size_ = smaller_of(kMost, larger_of(kFewest, kBytes / (p_.d * element) / 16 * 16));
  }

  Tile next() {
    // Blocks that follow each other are one.
    while (end_ - from_ < size_ && next_ < last_) {
      const Tile more = visible(kept_.columns[next_]);
      if (more.count > 0) {
        if (from_ < end_ && more.from != end_) break;
        if (from_ >= end_) from_ = more.from;
        end_ = more.from + more.count;
      }
      next_++;
    }
    int64_t count = smaller_of(size_, end_ - from_);
    // Keys that see turned queries are apart.
    if (p_.turned_query && from_ < p_.turned_keys) count = smaller_of(count, p_.turned_keys - from_);
    const Tile tile{from_, count};
    from_ += count;
    return tile;
  }

  // −∞ for what is between sinks and window.
  void hide(Tile tile, float* scores) const {
    if (tile.from >= seen_.first && tile.from + tile.count <= seen_.end) return;
    for (int64_t t = 0; t < tile.count; t++) {
      const int64_t at = tile.from + t;
      const bool is_shown = (at >= seen_.first && at < seen_.end) || at < seen_.sinks;
      if (!is_shown) scores[t] = -INFINITY;
    }
  }

 private:
  // A block without its keys before and after all that is seen.
  Tile visible(int64_t column) const {
    const int64_t base = column * p_.key_block;
    if (column < 0 || base >= p_.T) return {0, 0};
    const int64_t first = base < seen_.sinks ? base : larger_of(base, seen_.first);
    int64_t end = smaller_of(larger_of(seen_.end, seen_.sinks), base + p_.key_block);
    if (base < seen_.sinks && seen_.first >= base + p_.key_block) end = smaller_of(end, seen_.sinks);
    return {first, larger_of(0, end - first)};
  }

  const Problem& p_;
  const KeptBlocks kept_;
  const Visible seen_;
  int64_t next_, last_;           // kept blocks
  int64_t from_ = 0, end_ = 0;    // keys
  int64_t size_;
};

}  // namespace
