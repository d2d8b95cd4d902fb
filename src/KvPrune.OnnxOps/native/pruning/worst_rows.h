#ifndef KVPRUNE_PRUNING_WORST_ROWS_H_
#define KVPRUNE_PRUNING_WORST_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace kvprune {

// Writes the rows [begin, end) that rank lowest, `count` of them, worst first, to order[0, count): ties, the
// later one. `order` is working space of end - begin entries; scores[row] are finite.
void RankWorst(const float* scores, int64_t begin, int64_t end, int64_t count, uint64_t* order);

// The same of tiles: the rows of the `count` / 64 tiles of 64 rows from `begin` on whose scores have the
// lowest sum. end - begin is a multiple of 64, as `count` is.
void RankWorstTiles(const float* scores, int64_t begin, int64_t end, int64_t count, uint64_t* order);

// Rows of one run that rank lowest, as they are ranked.
using WorstRows = std::span<const uint64_t>;

// Takes `units` times 64 rows off several runs of rows, each time the 64 worst that are left of one run: of
// that for which their scores have the lowest sum, the earlier one of equals. Runs hold multiples of 64;
// fewer units where nothing is left. The rows are ascending.
std::vector<int32_t> TakeWorst(const float* scores, std::span<const WorstRows> runs, int64_t units);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_WORST_ROWS_H_
