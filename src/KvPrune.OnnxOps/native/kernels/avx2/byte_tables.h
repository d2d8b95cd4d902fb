#ifndef KVPRUNE_KERNELS_AVX2_BYTE_TABLES_H_
#define KVPRUNE_KERNELS_AVX2_BYTE_TABLES_H_

#include <cstdint>

// Shuffle indices for 8 elements of a bitmap: by the byte of their mask bits.
namespace kvprune {
namespace {

// Byte shuffles write zero where an index has its highest bit set.
constexpr uint8_t kNothing = 0x80;

// Shuffles of 8 elements of kBytes bytes each.
template <int kBytes>
struct ShuffleTable {
  alignas(8 * kBytes) uint8_t indices[256][8 * kBytes];

  constexpr void Set(int mask, int to, uint8_t from) {
    for (int i = 0; i < kBytes; ++i)
      indices[mask][to * kBytes + i] = from == kNothing ? kNothing : static_cast<uint8_t>(from * kBytes + i);
  }
};

// Element i comes from the rank of bit i among the set bits, and is zero where the bit is not set.
template <int kBytes>
constexpr ShuffleTable<kBytes> MakeExpandTable() {
  ShuffleTable<kBytes> table{};
  for (int mask = 0; mask < 256; ++mask) {
    uint8_t rank = 0;
    for (int i = 0; i < 8; ++i) table.Set(mask, i, (mask >> i & 1) != 0 ? rank++ : kNothing);
  }
  return table;
}

// The elements of set bits side by side, zeros behind.
template <int kBytes>
constexpr ShuffleTable<kBytes> MakeCompressTable() {
  ShuffleTable<kBytes> table{};
  for (int mask = 0; mask < 256; ++mask) {
    int count = 0;
    for (uint8_t i = 0; i < 8; ++i) {
      if ((mask >> i & 1) != 0) table.Set(mask, count++, i);
    }
    while (count < 8) table.Set(mask, count++, kNothing);
  }
  return table;
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_BYTE_TABLES_H_
