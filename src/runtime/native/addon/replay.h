// Runs of a session whose sizes never change, over tensors that stay where they are: what a CUDA graph
// needs, which records the kernels of a run and starts all of them by one call from then on.
#pragma once

#include <map>
#include <set>

#include "device-memory.h"
#include "own-thread.h"
#include "session.h"

namespace attnc {

class Replay {
 public:
  // Takes memory for all inputs, and for the outputs that have no place in it. Throws where a size is not fixed.
  explicit Replay(Session& session);

  // One run, on the replay's own thread. `carry` names outputs and the inputs of the next run that they become; outputs in `fetches`
  // come out, into memory of the host. What is not fed is as it was.
  std::vector<HeldTensor> run(const std::vector<Feed>& feeds,
                              const std::vector<std::pair<std::string, std::string>>& carry,
                              const std::vector<std::string>& fetches);

 private:
  std::vector<HeldTensor> run_here(const std::vector<Feed>& feeds,
                                   const std::vector<std::pair<std::string, std::string>>& carry,
                                   const std::vector<std::string>& fetches);
  HeldTensor make(const Port& port) const;
  // The tensor of an input, all zeros, as what an output is written to as well.
  HeldTensor start_empty(const std::string& input);
  HeldTensor& find(std::map<std::string, HeldTensor>& tensors, const std::string& name) const;

  Session& session_;
  const DeviceMemory memory_;
  Owned<slot::ReleaseAllocator, ort::Allocator> arena_;
  Owned<slot::ReleaseIoBinding, ort::IoBinding> binding_;
  std::map<std::string, HeldTensor> inputs_, outputs_;
  std::set<std::string> missing_;  // inputs that were never fed
  OwnThread thread_;
};

}  // namespace attnc
