#include "kernels/dispatch.h"

#include <atomic>
#include <cstring>

#include "kernels/avx2/avx2.h"
#include "kernels/avx512/avx512.h"
#include "kernels/scalar/scalar.h"

namespace kvprune {
namespace {

constexpr KernelTable kScalar{"scalar",           scalar::AttendTiles, scalar::AttendDense,
                              scalar::ExpandTile, scalar::ExpandRows,  scalar::PackTile,
                              &scalar::kScores};

#ifdef KVPRUNE_X64
constexpr KernelTable kAvx2{"avx2",           avx2::AttendTiles, avx2::AttendDense, avx2::ExpandTile,
                            avx2::ExpandRows, avx2::PackTile,    &avx2::kScores};
constexpr KernelTable kAvx512{"avx512",           avx512::AttendTiles, avx512::AttendDense,
                              avx512::ExpandTile, avx512::ExpandRows,  avx512::PackTile,
                              &avx512::kScores};
constexpr KernelTable kAvx512BFloat16{"avx512_bf16",      avx512_bf16::AttendTiles, avx512_bf16::AttendDense,
                                      avx512::ExpandTile, avx512::ExpandRows,       avx512::PackTile,
                                      &avx512::kScores};

bool HasAvx2(const CpuFeatures& cpu) {
  return cpu.avx2 && cpu.fma && cpu.f16c && cpu.popcnt;
}

bool HasAvx512(const CpuFeatures& cpu) {
  return cpu.avx512f && cpu.avx512bw && cpu.avx512dq && cpu.avx512vl && cpu.avx512vbmi && cpu.avx512vbmi2 &&
         cpu.avx512vnni && cpu.bmi2 && cpu.fma && cpu.popcnt;
}

bool HasAvx512BFloat16(const CpuFeatures& cpu) {
  return HasAvx512(cpu) && cpu.avx512bf16;
}
#endif

struct Candidate {
  const KernelTable* table;
  bool supported;
};

// Calls visit(candidate), best first, until it returns true.
template <class Visit>
void VisitCandidates([[maybe_unused]] const CpuFeatures& cpu, const Visit& visit) {
#ifdef KVPRUNE_X64
  const Candidate avx512{&kAvx512, HasAvx512(cpu)};
  const Candidate bfloat16{&kAvx512BFloat16, HasAvx512BFloat16(cpu)};
  // Intel's bfloat16 dot product takes as long as four FMAs (measured on Sapphire Rapids) and does the work
  // of two; AMD's takes as long as one.
  if (visit(cpu.amd ? bfloat16 : avx512)) return;
  if (visit(cpu.amd ? avx512 : bfloat16)) return;
  if (visit(Candidate{&kAvx2, HasAvx2(cpu)})) return;
#endif
  visit(Candidate{&kScalar, true});
}

std::atomic<const KernelTable*>& Current() {
  static std::atomic<const KernelTable*> current{FindKernels(DetectCpu(), nullptr)};
  return current;
}

}  // namespace

CpuFeatures DetectCpu() {
  CpuFeatures cpu;
#ifdef KVPRUNE_X64
  // These ask the operating system too: it has to save the vector registers.
  cpu.avx2 = __builtin_cpu_supports("avx2");
  cpu.fma = __builtin_cpu_supports("fma");
  cpu.f16c = __builtin_cpu_supports("f16c");
  cpu.popcnt = __builtin_cpu_supports("popcnt");
  cpu.bmi2 = __builtin_cpu_supports("bmi2");
  cpu.avx512f = __builtin_cpu_supports("avx512f");
  cpu.avx512bw = __builtin_cpu_supports("avx512bw");
  cpu.avx512dq = __builtin_cpu_supports("avx512dq");
  cpu.avx512vl = __builtin_cpu_supports("avx512vl");
  cpu.avx512vbmi = __builtin_cpu_supports("avx512vbmi");
  cpu.avx512vbmi2 = __builtin_cpu_supports("avx512vbmi2");
  cpu.avx512vnni = __builtin_cpu_supports("avx512vnni");
  cpu.avx512bf16 = __builtin_cpu_supports("avx512bf16");
  cpu.amd = __builtin_cpu_is("amd");
#endif
  return cpu;
}

const KernelTable* FindKernels(const CpuFeatures& cpu, const char* name) {
  const KernelTable* found = nullptr;
  VisitCandidates(cpu, [&](const Candidate& candidate) {
    if (candidate.supported && (name == nullptr || std::strcmp(name, candidate.table->name) == 0)) {
      found = candidate.table;
    }
    return found != nullptr;
  });
  return found;
}

bool KernelsExist(const char* name) {
  bool exist = false;
  VisitCandidates({}, [&](const Candidate& candidate) {
    exist = std::strcmp(name, candidate.table->name) == 0;
    return exist;
  });
  return exist;
}

const KernelTable& Kernels() {
  return *Current().load(std::memory_order_acquire);
}

bool UseKernels(const char* name) {
  const KernelTable* table = FindKernels(DetectCpu(), name);
  if (table == nullptr) return false;
  Current().store(table, std::memory_order_release);
  return true;
}

}  // namespace kvprune
