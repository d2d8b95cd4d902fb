#ifndef KVPRUNE_CACHE_PARALLEL_H_
#define KVPRUNE_CACHE_PARALLEL_H_

#include <cstddef>

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
