#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/kernels.h"
#include "kernels/oracle.h"

namespace kvprune {
namespace {

TEST(BFloat16Test, RoundsToTheNearestEven) {
  std::mt19937 random(41);
  std::uniform_int_distribution<uint32_t> any;
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(any(random));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(value))));
    } else {
      ASSERT_EQ(BFloat16ToFloat(FloatToBFloat16(value)), oracle::RoundToBFloat16(value)) << value;
    }
  }
  EXPECT_EQ(FloatToBFloat16(1.0f + 1.0f / 256), 0x3f80);  // halfway, down to even
  EXPECT_EQ(FloatToBFloat16(1.0f + 3.0f / 256), 0x3f82);  // halfway, up to even
}

TEST(BFloat16Test, EveryValueSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = BFloat16ToFloat(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) ASSERT_EQ(FloatToBFloat16(value), bits);
  }
}

TEST(RotaryTest, TurnsEachPairByItsAngle) {
  for (int rotary_size : {2, 32, 64}) {
    const int half = rotary_size / 2;
    std::mt19937 random(42);
    std::uniform_real_distribution<float> uniform(-3, 3);
    std::vector<float> row(70), cosine(half), sine(half);
    for (float& value : row) value = uniform(random);
    for (int i = 0; i < half; ++i) {
      const float angle = uniform(random);
      cosine[i] = std::cos(angle);
      sine[i] = std::sin(angle);
    }
    const std::vector<float> before = row;
    for (bool interleaved : {false, true}) {
      row = before;
      (interleaved ? RotateInterleaved : RotateHalves)(row.data(), rotary_size, cosine.data(), sine.data());
      for (int i = 0; i < half; ++i) {
        const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
        // (a + bi) e^(i angle)
        EXPECT_NEAR(row[a], double{before[a]} * cosine[i] - double{before[b]} * sine[i], 1e-6);
        EXPECT_NEAR(row[b], double{before[a]} * sine[i] + double{before[b]} * cosine[i], 1e-6);
      }
      for (size_t i = rotary_size; i < row.size(); ++i) EXPECT_EQ(row[i], before[i]);
    }
  }
}

TEST(DispatchTest, ChoosesByNameAndKeepsTheChoiceOnAnUnknownOne) {
  ASSERT_TRUE(UseKernels("scalar"));
  EXPECT_STREQ(Kernels().name, "scalar");
  EXPECT_FALSE(UseKernels("sse9"));
  EXPECT_STREQ(Kernels().name, "scalar");
  ASSERT_TRUE(UseKernels(nullptr));
  const std::string best = Kernels().name;
  if (UseKernels("avx512") || UseKernels("avx512_bf16")) {
    EXPECT_EQ(best.substr(0, 6), "avx512");
  } else if (UseKernels("avx2")) {
    EXPECT_EQ(best, "avx2");
  } else {
    EXPECT_EQ(best, "scalar");
  }
  UseKernels(nullptr);
}

}  // namespace
}  // namespace kvprune
