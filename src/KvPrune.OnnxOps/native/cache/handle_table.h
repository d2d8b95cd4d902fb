#ifndef KVPRUNE_CACHE_HANDLE_TABLE_H_
#define KVPRUNE_CACHE_HANDLE_TABLE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/sequence.h"

namespace kvprune {

// The process's sequences by handle. A handle is (generation << 32 | slot), never 0 or negative; the
// generation changes with every release, so an old handle finds nothing. Thread-safe.
class HandleTable {
 public:
  static HandleTable& Instance();

  int64_t Add(std::shared_ptr<Sequence> sequence);
  // Null when the handle is stale or was never issued.
  std::shared_ptr<Sequence> Find(int64_t handle);
  // The sequence that the handle named, null as above.
  std::shared_ptr<Sequence> Remove(int64_t handle);

 private:
  struct Slot {
    uint32_t generation = 1;
    std::shared_ptr<Sequence> sequence;
  };

  Slot* Locate(int64_t handle);

  std::mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_HANDLE_TABLE_H_
