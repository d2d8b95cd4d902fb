#include <atomic>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/scalar/scalar.h"

namespace kvprune {
namespace {

constexpr KernelTable kScalar{"scalar", scalar::AttendTiles, scalar::AttendDense, scalar::PackTile};

struct Candidate {
  const KernelTable* table;
  bool supported;
};

// Best first.
const Candidate* Candidates(size_t* count) {
  static const Candidate candidates[] = {{&kScalar, true}};
  *count = sizeof candidates / sizeof candidates[0];
  return candidates;
}

const KernelTable* Find(const char* name) {
  size_t count;
  const Candidate* candidates = Candidates(&count);
  for (size_t i = 0; i < count; ++i) {
    if (candidates[i].supported && (name == nullptr || std::strcmp(name, candidates[i].table->name) == 0)) {
      return candidates[i].table;
    }
  }
  return nullptr;
}

std::atomic<const KernelTable*>& Current() {
  static std::atomic<const KernelTable*> current{Find(nullptr)};
  return current;
}

}  // namespace

const KernelTable& Kernels() {
  return *Current().load(std::memory_order_acquire);
}

bool UseKernels(const char* name) {
  const KernelTable* table = Find(name);
  if (table == nullptr) return false;
  Current().store(table, std::memory_order_release);
  return true;
}

}  // namespace kvprune
