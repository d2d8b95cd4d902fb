#ifndef KVPRUNE_KERNELS_SECTION_READER_H_
#define KVPRUNE_KERNELS_SECTION_READER_H_

#include <cstdint>

#include "kernels/tile_format.h"

namespace kvprune {

// Expands one section of a tile block by block, in portable code.
class SectionReader {
 public:
  SectionReader(const TileSection& section, const uint8_t* tile)
      : section_(section),
        tile_(tile),
        masks_(tile + section.mask_offset),
        values_(tile + section.value_offset) {}

  // Writes the next block's elements as floats, [reduction, 32]; removed elements are 0, and Scale() is left
  // to be applied.
  void ReadBlock(float* elements);

  // The factor of a token's elements: 1 unless the section has a scale per token.
  float Scale(int token) const;

 private:
  void ReadInt4(float* elements);
  void ReadInt4Bitmap(float* elements);

  const TileSection& section_;
  const uint8_t* tile_;
  const uint8_t* masks_;
  const uint8_t* values_;
  int lane_ = 0;      // the next block's first
  int64_t read_ = 0;  // int4 bitmaps: elements before the next block
};

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_SECTION_READER_H_
