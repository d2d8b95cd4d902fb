#include <gtest/gtest.h>

#include <cmath>

#include "kernels/kernels.h"

namespace kvprune {
namespace {

size_t SectionBytes(const TileFormat& format, bool key) {
  return key ? format.value.scale_offset - format.key.scale_offset
             : format.stride - format.value.scale_offset;
}

TEST(TileFormatTest, DenseSectionsHoldEveryElement) {
  const TileFormat format = MakeTileFormat(64, 64, Storage::kBFloat16, 64, Storage::kFloat32, 64);
  EXPECT_FALSE(format.key.bitmap);
  EXPECT_FALSE(format.value.bitmap);
  EXPECT_EQ(SectionBytes(format, true), 64u * 64 * 2);
  EXPECT_EQ(SectionBytes(format, false), 64u * 64 * 4);
}

TEST(TileFormatTest, BitmapSectionsHoldMasksAndKeptElements) {
  const TileFormat format = MakeTileFormat(128, 77, Storage::kBFloat16, 40, Storage::kFloat32, 38);
  EXPECT_TRUE(format.key.bitmap);
  EXPECT_EQ(format.key.reduction, 78);  // to a multiple of the interleave
  EXPECT_EQ(format.key.value_offset - format.key.mask_offset, 64u * 78 / 8);
  EXPECT_EQ(SectionBytes(format, true), 64 * std::ceil((64 * 78 / 8 + 64 * 40 * 2) / 64.0));
  EXPECT_EQ(SectionBytes(format, false), 64 * std::ceil((128 * 64 / 8 + 64 * 38 * 4) / 64.0));
}

TEST(TileFormatTest, Int8SectionsBeginWithOneScalePerToken) {
  const TileFormat format = MakeTileFormat(96, 58, Storage::kInt8, 58, Storage::kInt8, 30);
  EXPECT_EQ(format.key.reduction, 60);
  EXPECT_EQ(format.key.value_offset, 128u);
  EXPECT_EQ(SectionBytes(format, true), 128u + 64 * 60);
  EXPECT_EQ(format.value.mask_offset - format.value.scale_offset, 128u);
  EXPECT_EQ(SectionBytes(format, false), 64 * std::ceil((128 + 96 * 64 / 8 + 64 * 30) / 64.0));
}

TEST(TileFormatTest, DenseInt4SectionsHaveAScaleAndAZeroPerGroupAndStep) {
  const TileFormat format = MakeTileFormat(96, 58, Storage::kInt4, 58, Storage::kInt4, 96);
  EXPECT_EQ(format.key.value_offset, 60u * 4);
  EXPECT_EQ(SectionBytes(format, true), 64 * std::ceil((60 * 4 + 64 * 60 / 2) / 64.0));
  // Channels 0 to 63 and 64 to 95.
  EXPECT_EQ(format.value.value_offset - format.value.scale_offset, 2u * 64 * 4);
  EXPECT_EQ(format.value.step_zero_offset(95) - format.value.scale_offset, 64u * 4 + 64 * 2);
  EXPECT_EQ(SectionBytes(format, false), 2u * 64 * 4 + 96 * 64 / 2);
}

TEST(TileFormatTest, Int4BitmapsTakeHalfAByteAnElement) {
  const TileFormat format = MakeTileFormat(96, 58, Storage::kInt4, 17, Storage::kInt4, 29);
  EXPECT_EQ(format.key.mask_offset, 128u);
  EXPECT_EQ(SectionBytes(format, true), 64 * std::ceil((128 + 64 * 60 / 8 + 64 * 17 / 2) / 64.0));
  EXPECT_EQ(SectionBytes(format, false), 64 * std::ceil((128 + 64 * 96 / 8 + 64 * 29 / 2) / 64.0));
}

TEST(TileFormatTest, PadsLanesToABlockAndStrideToAVector) {
  for (int head_size = 8; head_size <= kMaxHeadSize; head_size += 8) {
    const TileFormat format =
        MakeTileFormat(head_size, head_size, Storage::kInt8, head_size, Storage::kBFloat16, head_size / 2);
    EXPECT_EQ(format.value.lanes % kBlockLanes, 0);
    EXPECT_GE(format.value.lanes, head_size);
    EXPECT_LT(format.value.lanes, head_size + kBlockLanes);
    EXPECT_EQ(format.stride % 64, 0u);
    EXPECT_EQ(format.value.scale_offset % 64, 0u);
  }
}

}  // namespace
}  // namespace kvprune
