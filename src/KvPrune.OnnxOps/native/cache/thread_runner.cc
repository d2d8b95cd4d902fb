#include "cache/thread_runner.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace kvprune {

void ThreadTaskRunner::Run(size_t count, void (*task)(void*, size_t), void* context) {
  // A tile takes some ten microseconds to pack, a thread about as long to start.
  constexpr size_t kLeastTasks = 16;
  const size_t most = std::max<size_t>(1, std::thread::hardware_concurrency());
  const size_t helpers = std::min(most, (count + kLeastTasks - 1) / kLeastTasks) - 1;
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) task(context, i);
  };
  std::vector<std::thread> threads;
  try {
    threads.reserve(helpers);
    while (threads.size() < helpers) threads.emplace_back(work);
  } catch (const std::exception&) {
    // The system gives no more threads: those there are do it.
  }
  work();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace kvprune
