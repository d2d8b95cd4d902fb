#ifndef KVPRUNE_PRUNING_HEAD_ROWS_H_
#define KVPRUNE_PRUNING_HEAD_ROWS_H_

#include <algorithm>
#include <cstdint>

namespace kvprune {

// One KV head's rows when a prompt segment ends: keys, rotated, and values are [count, head_size], at the
// positions 0 to count - 1. The first `leaving` ones leave the window. Of these kept_count stay, which
// kept_keys and kept_values hold one after the other: the rows kept[i], ascending; all where `kept` is null.
struct HeadRows {
  const float* keys;
  const float* values;
  int64_t count;
  int64_t leaving;
  const float* kept_keys;
  const float* kept_values;
  int64_t kept_count;
  const int32_t* kept = nullptr;

  int64_t KeptRow(int64_t index) const { return kept != nullptr ? kept[index] : index; }
  // How many of the kept rows are before `row`.
  int64_t KeptBefore(int64_t row) const {
    return kept != nullptr ? std::lower_bound(kept, kept + kept_count, row) - kept
                           : std::min(row, kept_count);
  }
};

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_HEAD_ROWS_H_
