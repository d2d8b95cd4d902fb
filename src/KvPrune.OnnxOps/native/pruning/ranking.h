#ifndef KVPRUNE_PRUNING_RANKING_H_
#define KVPRUNE_PRUNING_RANKING_H_

#include <cstdint>
#include <cstring>

namespace kvprune {

// Unsigned numbers that order as finite scores do, -0 as +0, and leave kAlwaysFirst free.
inline constexpr uint32_t kAlwaysFirst = 0xffffffff;

inline uint32_t RankingKey(float score) {
  const float positive_zero = score + 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &positive_zero, sizeof(bits));
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000;
}

// Sorting these descending puts the better score first and the lower index first among equals.
inline uint64_t RankingEntry(uint32_t key, uint32_t index) {
  return static_cast<uint64_t>(key) << 32 | static_cast<uint32_t>(~index);
}

inline uint32_t RankedIndex(uint64_t entry) {
  return ~static_cast<uint32_t>(entry);
}

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_RANKING_H_
