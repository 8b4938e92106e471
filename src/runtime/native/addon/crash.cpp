// ONNX Runtime trusts what its checks let through, and some damaged models get past them. Handlers may call little: write,
// pause and alarm are of it. JavaScript says what happened, cleans up and leaves; where it can't, since the thread that is
// gone holds something that it needs, the alarm does.
#include "crash.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>

namespace attnc {

namespace {

constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr int kLargest = 32;
// Longer than JavaScript computes without a look at its events, on any machine.
constexpr unsigned kSecondsToLeave = 30;
constexpr int kUnreadableModel = 3;

std::atomic<int> working{0};
std::atomic<bool> has_crashed{false};
struct sigaction before[kLargest];
pthread_t event_loop;
int told = -1;

void on_alarm(int) {
  constexpr char text[] = "ONNX Runtime crashed, and attnc with it. The model may be damaged: export it again.\n";
  const auto written = ::write(STDERR_FILENO, text, sizeof text - 1);
  (void)written;
  ::_exit(kUnreadableModel);
}

void on_fault(int signal) {
  if (pthread_equal(pthread_self(), event_loop) || working == 0) {
    // Not ours: it happens again, or abort() raises it again, and those before take it.
    ::sigaction(signal, &before[signal], nullptr);
    return;
  }
  if (!has_crashed.exchange(true)) {
    const char number = (char)signal;
    const auto written = ::write(told, &number, 1);
    (void)written;
    ::alarm(kSecondsToLeave);
  }
  for (;;) ::pause();
}

// Handlers need some stack where a thread has used up its own.
struct OwnStack {
  char bytes[64 * 1024];
  OwnStack() {
    stack_t stack{};
    stack.ss_sp = bytes;
    stack.ss_size = sizeof bytes;
    ::sigaltstack(&stack, nullptr);
  }
  ~OwnStack() {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }
};

}  // namespace

Work::Work() {
  thread_local const OwnStack stack;
  (void)stack;
  working++;
}

Work::~Work() { working--; }

void limit_memory(double bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = bytes < (double)limit.rlim_max ? (rlim_t)bytes : limit.rlim_max;
  ::setrlimit(RLIMIT_DATA, &limit);
}

int watch_for_crashes() {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("no pipe could be made");
  for (const int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
  told = ends[1];
  event_loop = pthread_self();
  struct sigaction action{};
  action.sa_handler = on_alarm;
  ::sigaction(SIGALRM, &action, nullptr);
  action.sa_handler = on_fault;
  action.sa_flags = SA_ONSTACK;
  for (const int signal : kFaults) ::sigaction(signal, &action, &before[signal]);
  return ends[0];
}

void leave(int code) { ::_exit(code); }

}  // namespace attnc
