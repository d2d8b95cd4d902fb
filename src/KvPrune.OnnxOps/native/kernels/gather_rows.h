#ifndef KVPRUNE_KERNELS_GATHER_ROWS_H_
#define KVPRUNE_KERNELS_GATHER_ROWS_H_

#include <cstdint>

#include "kernels/tile_format.h"

namespace kvprune {

// Whether a row of such tiles means the same in another one: not where tokens share the scales of K (dense
// int4) or rows have different numbers of elements.
bool RowsCanMove(const TileFormat& format);

// One token's row of a tile.
struct TileRow {
  const uint8_t* tile;
  int row;
};

// Writes the tile of 64 rows of other tiles of the format, which are best given tile by tile. The rows' bits
// and scales are copied, so nothing is rounded again: a row can move as often as it has to. Any instruction
// set.
void GatherRows(const TileFormat& format, const TileRow* rows, uint8_t* tile);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_GATHER_ROWS_H_
