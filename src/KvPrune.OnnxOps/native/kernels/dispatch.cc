#include <atomic>
#include <cstring>

#include "kernels/avx512/avx512.h"
#include "kernels/kernels.h"
#include "kernels/scalar/scalar.h"

namespace kvprune {
namespace {

constexpr KernelTable kScalar{"scalar", scalar::AttendTiles, scalar::AttendDense, scalar::PackTile};

#ifdef KVPRUNE_X64
constexpr KernelTable kAvx512{"avx512", avx512::AttendTiles, avx512::AttendDense, avx512::PackTile};
constexpr KernelTable kAvx512BFloat16{"avx512_bf16", avx512_bf16::AttendTiles, avx512_bf16::AttendDense,
                                      avx512::PackTile};

// These ask the operating system too: it has to save the vector registers.
bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt");
}

bool HasAvx512BFloat16() {
  return HasAvx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

struct Candidate {
  const KernelTable* table;
  bool supported;
};

// Best first.
const Candidate* Candidates(size_t* count) {
  static const Candidate candidates[] = {
#ifdef KVPRUNE_X64
      {&kAvx512BFloat16, HasAvx512BFloat16()},
      {&kAvx512, HasAvx512()},
#endif
      {&kScalar, true}};
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
