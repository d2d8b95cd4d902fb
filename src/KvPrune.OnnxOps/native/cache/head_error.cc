#include "cache/head_error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

#include "cache/tile_walk.h"

namespace kvprune {
namespace {

int64_t RoundUp(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

bool SeesAny(const RowRange* seen, int count) {
  return std::any_of(seen, seen + count, [](const RowRange& range) { return range.begin < range.end; });
}

}  // namespace

Status HeadError::Prepare(const std::shared_ptr<MemoryAccount>& account, int kv_head,
                          const HeadSource& source, size_t tile_bytes) {
  source_ = source;
  const QueryRows& observed = source.observed;
  const int head_size = source.rule.head_size;
  rows_ = observed.count * observed.group;
  const int64_t blocks = (rows_ + kMaxQueryRows - 1) / kMaxQueryRows;
  const int64_t block_bytes = blocks * static_cast<int64_t>(sizeof(Block));
  const int64_t row_bytes = RoundUp(rows_ * head_size * static_cast<int64_t>(sizeof(float)));
  const auto expanded = static_cast<int64_t>(FloatTileFormat(head_size, head_size, head_size).stride);
  const int64_t tile = RoundUp(static_cast<int64_t>(tile_bytes + kOverreadBytes));
  Status status = Buffer::Allocate(account, MemoryUse::kScratch,
                                   block_bytes + 3 * row_bytes + expanded + tile, &scratch_);
  if (!status.ok()) return status;
  uint8_t* next = scratch_.data() + block_bytes;
  const auto take = [&next](int64_t bytes) {
    uint8_t* part = next;
    next += bytes;
    return part;
  };
  blocks_ = {reinterpret_cast<Block*>(scratch_.data()), static_cast<size_t>(blocks)};
  queries_ = reinterpret_cast<float*>(take(row_bytes));
  gathered_ = reinterpret_cast<float*>(take(row_bytes));
  exact_ = reinterpret_cast<float*>(take(row_bytes));
  expanded_ = take(expanded);
  tile_ = take(tile);

  for (int64_t row = 0; row < rows_; ++row) {
    const float* query =
        observed.rows + row / observed.group * observed.stride + row % observed.group * head_size;
    for (int j = 0; j < head_size; ++j) queries_[row * head_size + j] = query[j] * source.rule.scale;
  }
  for (int64_t i = 0; i < blocks; ++i) {
    Block* block = new (&blocks_[static_cast<size_t>(i)]) Block;
    block->first = i * kMaxQueryRows;
    block->count = static_cast<int>(std::min<int64_t>(kMaxQueryRows, rows_ - block->first));
    AttendDense(kv_head, block);
  }
  return {};
}

// Fills what does not depend on settings: the exact outputs, and the state around the kept rows.
void HeadError::AttendDense(int kv_head, Block* block) const {
  const HeadRows& rows = source_.rows;
  const int head_size = source_.rule.head_size;
  const float* queries = queries_ + block->first * head_size;
  RowRange leaving[kMaxQueryRows];
  RowRange staying[kMaxQueryRows];
  for (int r = 0; r < block->count; ++r) {
    const int64_t end = RowOf(*block, r) + 1;
    const int64_t begin = source_.rule.FirstSeen(end - 1);
    leaving[r] = {std::min(begin, rows.leaving), std::min(end, rows.leaving)};
    staying[r] = {std::max(begin, rows.leaving), std::max(end, rows.leaving)};
    block->seen[r] = {rows.KeptBefore(begin), rows.KeptBefore(end)};
  }
  const DenseRows dense{rows.keys, rows.values, Storage::kFloat32, Storage::kFloat32, head_size};
  const float softcap = source_.rule.softcap;
  block->around.Reset(block->count, head_size);
  AttendPast(kv_head, queries, block);
  if (SeesAny(staying, block->count))
    Kernels().attend_dense(dense, staying, queries, block->count, softcap, &block->around);
  block->state = block->around;
  if (SeesAny(leaving, block->count))
    Kernels().attend_dense(dense, leaving, queries, block->count, softcap, &block->state);
  Finish(*block, exact_ + block->first * head_size);
}

void HeadError::AttendPast(int kv_head, const float* queries, Block* block) const {
  const SlabList& past = *source_.past;
  int64_t first_rows[kMaxQueryRows];
  for (int r = 0; r < block->count; ++r) {
    const int64_t position = source_.sealed_tokens + RowOf(*block, r);
    first_rows[r] = past.RowsBefore(kv_head, source_.rule.FirstSeen(position));
  }
  const int64_t first = *std::min_element(first_rows, first_rows + block->count) / kTileTokens;
  if (first < past.Tiles(kv_head))
    AttendSlabs(past, kv_head, first, past.Tiles(kv_head) - first, queries, block->count,
                source_.rule.head_size, first_rows, source_.rule.softcap, &block->around);
}

Status HeadError::Measure(const HeadSealing& sealing, double* error) {
  const int head_size = source_.rule.head_size;
  const TileFormat& format = sealing.rules().format;
  const float* queries = queries_;
  if (format.key_channels < head_size) {
    for (int64_t row = 0; row < rows_; ++row)
      for (int j = 0; j < format.key_channels; ++j)
        gathered_[row * format.key_channels + j] =
            queries_[row * head_size + sealing.rules().key_channels[j]];
    queries = gathered_;
  }
  for (Block& block : blocks_) block.state = block.around;
  const TileFormat expanded = FloatTileFormat(head_size, format.key_channels, head_size);
  for (int64_t index = 0; index < source_.rows.kept_count / kTileTokens; ++index) {
    Status status = sealing.Pack(index, tile_);
    if (!status.ok()) return status;
    Kernels().expand_tile(format, tile_, reinterpret_cast<float*>(expanded_));
    for (Block& block : blocks_)
      AttendTile(expanded, index, queries + block.first * format.key_channels, &block);
  }
  double difference = 0;
  double norm = 0;
  float outputs[kMaxQueryRows * kMaxHeadSize];
  for (const Block& block : blocks_) {
    Finish(block, outputs);
    const float* exact = exact_ + block.first * head_size;
    for (int i = 0; i < block.count * head_size; ++i) {
      const double apart = static_cast<double>(outputs[i]) - static_cast<double>(exact[i]);
      difference += apart * apart;
      norm += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    }
  }
  *error = difference == 0 ? 0
           : norm > 0      ? std::sqrt(difference / norm)
                           : std::numeric_limits<double>::infinity();
  return {};
}

// The expanded tile of the kept rows from 64 * index on.
void HeadError::AttendTile(const TileFormat& format, int64_t index, const float* queries,
                           Block* block) const {
  const int64_t first = index * kTileTokens;
  RowRange seen[kMaxQueryRows];
  bool whole = true;
  for (int r = 0; r < block->count; ++r) {
    seen[r] = {std::clamp<int64_t>(block->seen[r].begin - first, 0, kTileTokens),
               std::clamp<int64_t>(block->seen[r].end - first, 0, kTileTokens)};
    whole = whole && seen[r].begin == 0 && seen[r].end == kTileTokens;
  }
  if (!SeesAny(seen, block->count)) return;
  Kernels().attend_tiles(format, expanded_, 1, queries, block->count, whole ? nullptr : seen,
                         source_.rule.softcap, &block->state);
}

void HeadError::Finish(const Block& block, float* outputs) const {
  float* output[kMaxQueryRows];
  float sinks[kMaxQueryRows];
  const float* heads = source_.rule.sinks;
  for (int r = 0; r < block.count; ++r) {
    output[r] = outputs + static_cast<int64_t>(r) * source_.rule.head_size;
    if (heads != nullptr) sinks[r] = heads[(block.first + r) % source_.observed.group];
  }
  FinishAttention(block.state, block.count, source_.rule.head_size, heads != nullptr ? sinks : nullptr,
                  output);
}

}  // namespace kvprune
