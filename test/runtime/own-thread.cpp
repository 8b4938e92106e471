// What the thread of recorded steps promises, one line for each promise that is kept.
#include "../../src/runtime/native/addon/own-thread.h"

#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

using attnc::OwnThread;

static void kept(const char* promise, bool holds) { if (holds) std::puts(promise); }

static int threads_alive() {
  int count = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* each = readdir(tasks)) count += each->d_name[0] != '.';
  closedir(tasks);
  return count;
}

// The system strikes a joined thread off its list a moment later.
static bool comes_to(int count) {
  for (int i = 0; i < 5000 && threads_alive() != count; i++) usleep(1000);
  return threads_alive() == count;
}

struct Caller {
  OwnThread* thread;
  pthread_t worker;
  std::atomic<int>* inside;
  int* done;
  bool fits = true;
};

static void* call_often(void* given) {
  Caller& self = *(Caller*)given;
  for (int i = 0; i < 2000; i++) {
    bool ran = false;
    self.thread->call([&] {
      self.fits &= pthread_equal(pthread_self(), self.worker) && self.inside->fetch_add(1) == 0;
      // Without a lock: whoever else is inside would be seen in the sum.
      ++*self.done;
      self.inside->fetch_sub(1);
      ran = true;
    });
    // Done when the call is over, not some time later.
    self.fits &= ran;
  }
  return nullptr;
}

int main() {
  const int before = threads_alive();
  {
    OwnThread thread;
    pthread_t worker = pthread_self(), again = worker;
    thread.call([&] { worker = pthread_self(); });
    thread.call([&] { again = pthread_self(); });
    kept("one other thread does all work",
         pthread_equal(worker, again) && !pthread_equal(worker, pthread_self()));

    std::string said;
    try {
      thread.call([] { throw std::runtime_error("broken"); });
    } catch (const std::exception& error) {
      said = error.what();
    }
    bool goes_on = false;
    thread.call([&] { goes_on = true; });
    kept("what the work throws is thrown to the caller", said == "broken");
    kept("the thread goes on after that, without throwing it again", goes_on);

    int done = 0;
    std::atomic<int> inside{0};
    std::vector<Caller> callers(4, Caller{&thread, worker, &inside, &done});
    std::vector<pthread_t> ids(callers.size());
    for (size_t i = 0; i < callers.size(); i++)
      pthread_create(&ids[i], nullptr, call_often, &callers[i]);
    for (pthread_t id : ids) pthread_join(id, nullptr);
    bool fits = done == 2000 * (int)callers.size();
    for (const Caller& each : callers) fits &= each.fits;
    kept("callers take turns and wait for their own work", fits);
    kept("it is one thread while it lives", comes_to(before + 1));
  }
  kept("it has ended when it is destroyed", comes_to(before));
  for (int i = 0; i < 200; i++) OwnThread idle;
  kept("threads that were never called end as well", comes_to(before));
}
