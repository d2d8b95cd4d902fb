#ifndef KVPRUNE_CACHE_THREAD_RUNNER_H_
#define KVPRUNE_CACHE_THREAD_RUNNER_H_

#include "cache/parallel.h"

namespace kvprune {

// For work outside a run of the graph: threads of its own, which end with each call. Few tasks stay on the
// caller's thread.
class ThreadTaskRunner final : public TaskRunner {
 protected:
  void Run(size_t count, void (*task)(void*, size_t), void* context) override;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_THREAD_RUNNER_H_
