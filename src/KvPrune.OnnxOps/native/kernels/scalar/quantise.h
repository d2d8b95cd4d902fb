#ifndef KVPRUNE_KERNELS_SCALAR_QUANTISE_H_
#define KVPRUNE_KERNELS_SCALAR_QUANTISE_H_

#include <cstdint>

#include "kernels/tile_format.h"

namespace kvprune::scalar {

// Token rows on their way into a section: stored element bits and which elements are kept.
struct StoredRows {
  uint32_t bits[kTileTokens][kMaxHeadSize];
  uint8_t kept[kTileTokens][kMaxHeadSize];
};

// Symmetric, with one scale for the kept elements of a row: writes the scale and the elements' bits.
void QuantiseRow(Storage storage, const float* row, int width, const uint8_t* kept, uint32_t* bits,
                 uint8_t* scale_at);

// KIVI's asymmetric quantisation of a dense int4 section: turns the float bits of `rows`, `width` to a row,
// into numbers from 0 to 15 and writes the scales and zeros.
void QuantiseGroups(const TileSection& section, bool tokens_are_lanes, int width, StoredRows* rows,
                    uint8_t* tile);

}  // namespace kvprune::scalar

#endif  // KVPRUNE_KERNELS_SCALAR_QUANTISE_H_
