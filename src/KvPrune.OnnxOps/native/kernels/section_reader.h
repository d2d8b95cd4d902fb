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
        scales_(tile + section.scale_offset),
        masks_(tile + section.mask_offset),
        values_(tile + section.value_offset) {}

  // Writes the next block's elements as floats, [reduction, 32]; removed elements are 0 and int8 is not
  // scaled.
  void ReadBlock(float* elements);

  // The factor of a token's elements: 1 unless int8.
  float Scale(int token) const;

 private:
  const TileSection& section_;
  const uint8_t* scales_;
  const uint8_t* masks_;
  const uint8_t* values_;
};

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_SECTION_READER_H_
