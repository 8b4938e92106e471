// What kernels take from their surroundings: ONNX Runtime's threads, memory that is kept from run to
// run, and the engine for this machine.
#pragma once

#include <mutex>
#include <new>
#include <vector>

#include "../block-attention/cpu/problem.h"
#include "ort-api.h"

namespace attnc {

// The widest engine that this processor runs; ATTNC_INSTRUCTION_SET asks for a narrower one.
const Engine& choose_engine();

// Blocks of memory that outlive a run: fresh pages cost more than the work on them.
class Pool {
 public:
  struct Block {
    float* data;
    size_t floats;
  };
  Block take(size_t floats);
  void give_back(Block block);

 private:
  std::mutex mutex_;
  std::vector<Block> free_;
};

// The memory of one run.
class Lease {
 public:
  explicit Lease(Pool& pool) : pool_(pool) {}
  ~Lease() {
    for (const Pool::Block& block : blocks_) pool_.give_back(block);
  }
  Scratch scratch() {
    return {this, [](void* self, size_t floats) {
              Lease* lease = (Lease*)self;
              lease->blocks_.push_back(lease->pool_.take(floats));
              return lease->blocks_.back().data;
            }};
  }

 private:
  Pool& pool_;
  std::vector<Pool::Block> blocks_;
};

// The threads of the session that runs the kernel.
struct SessionThreads {
  const ort::Api& api;
  ort::KernelContext* context;

  Threads threads() {
    return {this, [](void* self, void (*work)(void*, size_t), size_t count, void* data) {
              const SessionThreads* host = (const SessionThreads*)self;
              if (count > 1) {
                ort::Status* status =
                    host->api.KernelContext_ParallelFor(host->context, work, count, 0, data);
                if (!status) return;
                host->api.ReleaseStatus(status);
              }
              for (size_t i = 0; i < count; i++) work(data, i);
            }};
  }
};

}  // namespace attnc
