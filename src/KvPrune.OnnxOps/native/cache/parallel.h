#ifndef KVPRUNE_CACHE_PARALLEL_H_
#define KVPRUNE_CACHE_PARALLEL_H_

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>

#include "cache/status.h"

namespace kvprune {

// Runs tasks 0..count-1 on whatever threads the host offers and returns when all are done. Tasks must not
// throw, allocate or run operators.
class TaskRunner {
 public:
  virtual ~TaskRunner() = default;

  template <typename Task>
  void For(size_t count, const Task& task) {
    if (count == 0) return;
    if (count == 1) {
      task(0);
      return;
    }
    Run(
        count, [](void* context, size_t index) { (*static_cast<const Task*>(context))(index); },
        const_cast<Task*>(&task));
  }

  // The same of tasks that return a Status and may allocate. The result is the first failing task's.
  template <typename Task>
  Status Try(size_t count, const Task& task) {
    std::mutex mutex;
    size_t first = count;
    Status failure;
    For(count, [&](size_t index) {
      Status status = Caught(task, index);
      if (status.ok()) return;
      const std::lock_guard lock(mutex);
      if (index < first) failure = std::move(status);
      first = std::min(first, index);
    });
    return failure;
  }

 private:
  template <typename Task>
  static Status Caught(const Task& task, size_t index) {
    try {
      return task(index);
    } catch (const std::bad_alloc&) {
      return {KVP_OUT_OF_MEMORY, "out of memory"};
    }
  }

 protected:
  virtual void Run(size_t count, void (*task)(void*, size_t), void* context) = 0;
};

// For callers without a thread pool.
class SerialTaskRunner final : public TaskRunner {
 protected:
  void Run(size_t count, void (*task)(void*, size_t), void* context) override {
    for (size_t i = 0; i < count; ++i) task(context, i);
  }
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PARALLEL_H_
