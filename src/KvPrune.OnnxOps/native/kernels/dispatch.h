#ifndef KVPRUNE_KERNELS_DISPATCH_H_
#define KVPRUNE_KERNELS_DISPATCH_H_

#include "kernels/kernels.h"

namespace kvprune {

// What the vector kernels ask of an x86-64 CPU. All false on others.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool popcnt = false;
  bool bmi2 = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vbmi = false;
  bool avx512vbmi2 = false;
  bool avx512vnni = false;
  bool avx512bf16 = false;
  bool amd = false;  // the vendor, for what its instructions cost
};

CpuFeatures DetectCpu();

// The kernels of this name, or with null the best ones, that a CPU with these features runs. Null when there
// are none of this name.
const KernelTable* FindKernels(const CpuFeatures& cpu, const char* name);

// Whether there are kernels of this name, on this CPU or another.
bool KernelsExist(const char* name);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_DISPATCH_H_
