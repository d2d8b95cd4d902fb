#include <atomic>
#include <cstring>

#include "kernels/avx2/avx2.h"
#include "kernels/avx512/avx512.h"
#include "kernels/kernels.h"
#include "kernels/scalar/scalar.h"

namespace kvprune {
namespace {

constexpr KernelTable kScalar{"scalar",           scalar::AttendTiles, scalar::AttendDense,
                              scalar::ExpandTile, scalar::ExpandRows,  scalar::PackTile,
                              &scalar::kScores};

#ifdef KVPRUNE_X64
constexpr KernelTable kAvx2{
    "avx2",         avx2::AttendTiles, avx2::AttendDense, scalar::ExpandTile, scalar::ExpandRows,
    avx2::PackTile, &avx2::kScores};
constexpr KernelTable kAvx512{"avx512",           avx512::AttendTiles, avx512::AttendDense,
                              avx512::ExpandTile, avx512::ExpandRows,  avx512::PackTile,
                              &avx512::kScores};
constexpr KernelTable kAvx512BFloat16{"avx512_bf16",      avx512_bf16::AttendTiles, avx512_bf16::AttendDense,
                                      avx512::ExpandTile, avx512::ExpandRows,       avx512::PackTile,
                                      &avx512::kScores};

// These ask the operating system too: it has to save the vector registers.
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
         __builtin_cpu_supports("popcnt");
}

bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt");
}

bool HasAvx512BFloat16() {
  return HasAvx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

struct Candidate {
  const KernelTable* table;
  bool supported;
};

// Calls visit(candidate), best first, until it returns true.
template <class Visit>
void VisitCandidates(const Visit& visit) {
#ifdef KVPRUNE_X64
  const Candidate avx512{&kAvx512, HasAvx512()};
  const Candidate bfloat16{&kAvx512BFloat16, HasAvx512BFloat16()};
  // Intel's bfloat16 dot product takes as long as four FMAs (measured on Sapphire Rapids) and does the work
  // of two; AMD's takes as long as one.
  const bool bfloat16_first = __builtin_cpu_is("amd");
  if (visit(bfloat16_first ? bfloat16 : avx512)) return;
  if (visit(bfloat16_first ? avx512 : bfloat16)) return;
  if (visit(Candidate{&kAvx2, HasAvx2()})) return;
#endif
  visit(Candidate{&kScalar, true});
}

const KernelTable* Find(const char* name) {
  const KernelTable* found = nullptr;
  VisitCandidates([&](const Candidate& candidate) {
    if (candidate.supported && (name == nullptr || std::strcmp(name, candidate.table->name) == 0)) {
      found = candidate.table;
    }
    return found != nullptr;
  });
  return found;
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
