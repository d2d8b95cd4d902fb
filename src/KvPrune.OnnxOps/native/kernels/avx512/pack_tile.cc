#include "kernels/avx512/avx512.h"
#include "kernels/scalar/scalar.h"
namespace kvprune::avx512 {
void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* channels, uint8_t* tile) {
  scalar::PackTile(format, keys, values, row_stride, channels, tile);
}
}  // namespace kvprune::avx512
