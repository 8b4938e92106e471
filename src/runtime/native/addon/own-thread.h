// A thread that does what others ask of it, one after the other. ONNX Runtime keeps what it has of a CUDA device (handles,
// workspaces, recorded graphs) for each thread that runs a session; libuv gives every run to any of several.
#pragma once

#include <pthread.h>

#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <utility>

// Under their first versions, as in loader.h.
#if defined(__x86_64__) && defined(__GLIBC__)
__asm__(".symver pthread_create, pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_join, pthread_join@GLIBC_2.2.5");
#endif

namespace attnc {

// By the C library's threads: those of C++ ask for a newer library of C++ than Node does.
class OwnThread {
 public:
  OwnThread() {
    const auto run = [](void* self) -> void* {
      ((OwnThread*)self)->loop();
      return nullptr;
    };
    if (pthread_create(&thread_, nullptr, run, this) != 0)
      throw std::runtime_error("no thread could be made");
  }
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;
  ~OwnThread() {
    lock();
    ends_ = true;
    tell();
    unlock();
    pthread_join(thread_, nullptr);
    pthread_cond_destroy(&changed_);
    pthread_mutex_destroy(&mutex_);
  }

  // Waits until the work is done there; what it throws is thrown here. Callers take turns.
  void call(const std::function<void()>& work) {
    const std::lock_guard<std::mutex> turn(turn_);
    lock();
    work_ = &work;
    tell();
    while (work_) wait();
    const std::exception_ptr error = std::exchange(error_, nullptr);
    unlock();
    if (error) std::rethrow_exception(error);
  }

 private:
  void loop() {
    lock();
    for (;;) {
      while (!ends_ && !work_) wait();
      if (!work_) break;
      const std::function<void()>& work = *work_;
      unlock();
      std::exception_ptr error;
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
      lock();
      error_ = error;
      work_ = nullptr;
      tell();
    }
    unlock();
  }

  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }
  void wait() { pthread_cond_wait(&changed_, &mutex_); }
  void tell() { pthread_cond_broadcast(&changed_); }

  std::mutex turn_;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr error_;
  bool ends_ = false;
  pthread_t thread_;
};

}  // namespace attnc
