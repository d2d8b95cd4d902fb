#ifndef KVPRUNE_PRUNING_HEAD_ROWS_H_
#define KVPRUNE_PRUNING_HEAD_ROWS_H_

#include <algorithm>
#include <cstdint>

namespace kvprune {

// One KV head's rows when a prompt segment ends. keys, rotated, and values are [count, head_size] at the
// positions from first_position on. The first ones leave the window; of these kept_count stay, which
// kept_keys and kept_values hold one after the other: the rows kept[i], ascending, or the first kept_count
// where `kept` is null.
struct HeadRows {
  const float* keys;
  const float* values;
  int64_t count;
  int64_t first_position;
  int64_t leaving;
  const float* kept_keys;
  const float* kept_values;
  int64_t kept_count;
  const int32_t* kept = nullptr;

  // How many of all rows, and of the kept ones, are at positions before `position`.
  int64_t CountBefore(int64_t position) const {
    return std::clamp<int64_t>(position - first_position, 0, count);
  }
  int64_t KeptBefore(int64_t position) const {
    if (kept == nullptr) return std::min(CountBefore(position), kept_count);
    return std::lower_bound(kept, kept + kept_count, position - first_position) - kept;
  }
};

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_HEAD_ROWS_H_
