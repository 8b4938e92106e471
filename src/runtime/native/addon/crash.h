// A fault of the processor in work that runs on another thread than JavaScript's ends that work and not the process.
#pragma once

namespace attnc {

// Counts work in which ONNX Runtime runs; where one of its threads has a fault, it is that work's.
class Work {
 public:
  Work();
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
};

// This process gets no more memory than so many bytes: what asks for more is refused it, and says so. Without a limit the
// system ends whoever asks last, without a word.
void limit_memory(double bytes);

// From now on a thread that has a fault stays where it is for good, and the signal's number comes out of the pipe whose
// end is returned: what JavaScript waits for won't come. To be called once, by the thread of the event loop.
int watch_for_crashes();

// Ends the process at once: threads that stay where they are can't be joined.
[[noreturn]] void leave(int code);

}  // namespace attnc
