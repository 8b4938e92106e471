// Block attention on the processor.
#include "block-attention-operator.h"
#include "host.h"

namespace attnc {

namespace {

Pool pool;

}  // namespace

OnProcessor::OnProcessor() : engine(choose_engine()) {}

ort::Status* OnProcessor::run(const Call& call, const Problem& problem) const {
  Lease lease(pool);
  SessionThreads threads{call.api, call.context};
  engine.attention(problem, threads.threads(), lease.scratch());
  return nullptr;
}

template struct BlockAttention<RowsOfBlocks, OnProcessor>;
template struct BlockAttention<TableOfBlocks, OnProcessor>;

}  // namespace attnc
