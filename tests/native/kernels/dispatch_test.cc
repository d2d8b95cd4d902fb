#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include <string>

#include "api/kvprune.h"

namespace kvprune::test {
namespace {

std::string Best(const CpuFeatures& cpu) {
  return FindKernels(cpu, nullptr)->name;
}

constexpr bool CpuFeatures::*kAvx2Needs[] = {&CpuFeatures::avx2, &CpuFeatures::fma, &CpuFeatures::f16c,
                                             &CpuFeatures::popcnt};
constexpr bool CpuFeatures::*kAvx512Needs[] = {
    &CpuFeatures::avx512f,    &CpuFeatures::avx512bw,    &CpuFeatures::avx512dq,   &CpuFeatures::avx512vl,
    &CpuFeatures::avx512vbmi, &CpuFeatures::avx512vbmi2, &CpuFeatures::avx512vnni, &CpuFeatures::bmi2,
    &CpuFeatures::fma,        &CpuFeatures::popcnt};

CpuFeatures WithAvx2() {
  CpuFeatures cpu;
  for (const auto feature : kAvx2Needs) cpu.*feature = true;
  return cpu;
}

CpuFeatures WithAvx512() {
  CpuFeatures cpu = WithAvx2();
  for (const auto feature : kAvx512Needs) cpu.*feature = true;
  return cpu;
}

TEST(Dispatch, ACpuWithoutVectorsRunsTheScalarKernels) {
  EXPECT_EQ(Best({}), "scalar");
  for (const char* name : {"avx2", "avx512", "avx512_bf16"}) EXPECT_EQ(FindKernels({}, name), nullptr);
}

#ifdef __x86_64__
// A virtual machine may hide any of them.
TEST(Dispatch, NoKernelsRunWithoutAllTheyNeed) {
  EXPECT_EQ(Best(WithAvx2()), "avx2");
  for (const auto feature : kAvx2Needs) {
    CpuFeatures cpu = WithAvx2();
    cpu.*feature = false;
    EXPECT_EQ(Best(cpu), "scalar");
    EXPECT_EQ(FindKernels(cpu, "avx2"), nullptr);
  }
  EXPECT_EQ(Best(WithAvx512()), "avx512");
  for (const auto feature : kAvx512Needs) {
    CpuFeatures cpu = WithAvx512();
    cpu.avx512bf16 = true;
    cpu.*feature = false;
    const bool shared = feature == &CpuFeatures::fma || feature == &CpuFeatures::popcnt;
    EXPECT_EQ(Best(cpu), shared ? "scalar" : "avx2");
    EXPECT_EQ(FindKernels(cpu, "avx512"), nullptr);
    EXPECT_EQ(FindKernels(cpu, "avx512_bf16"), nullptr);
  }
  EXPECT_EQ(FindKernels(WithAvx512(), "avx512_bf16"), nullptr);
}

TEST(Dispatch, TheVendorDecidesOnBFloat16) {
  CpuFeatures cpu = WithAvx512();
  cpu.avx512bf16 = true;
  EXPECT_EQ(Best(cpu), "avx512");
  cpu.amd = true;
  EXPECT_EQ(Best(cpu), "avx512_bf16");
  for (const char* name : {"scalar", "avx2", "avx512", "avx512_bf16"})
    EXPECT_STREQ(FindKernels(cpu, name)->name, name);
}
#endif

TEST(Dispatch, KernelsThatThisCpuLacksAreRefusedByName) {
  const std::string best = Best(DetectCpu());
  EXPECT_EQ(kvp_kernels(), best);
  for (const char* name : {"scalar", "avx2", "avx512", "avx512_bf16"}) {
    if (FindKernels(DetectCpu(), name) != nullptr) {
      EXPECT_EQ(kvp_use_kernels(name), KVP_OK);
      EXPECT_STREQ(kvp_kernels(), name);
      EXPECT_EQ(kvp_use_kernels(nullptr), KVP_OK);
    } else {
      EXPECT_EQ(kvp_use_kernels(name), KVP_UNSUPPORTED);
      EXPECT_NE(std::string(kvp_last_error()).find(name), std::string::npos) << kvp_last_error();
    }
    EXPECT_EQ(kvp_kernels(), best);
  }
  EXPECT_EQ(kvp_use_kernels("abacus"), KVP_UNSUPPORTED);
  EXPECT_NE(std::string(kvp_last_error()).find("no kernels 'abacus'"), std::string::npos) << kvp_last_error();
  EXPECT_EQ(kvp_kernels(), best);
}

}  // namespace
}  // namespace kvprune::test
