#include "cache/head_error.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/past_attention.h"

namespace kvprune {
namespace {

bool SeesAny(const RowRange* seen, int count) {
  return std::any_of(seen, seen + count, [](const RowRange& range) { return range.begin < range.end; });
}

}  // namespace

Status HeadError::Prepare(const std::shared_ptr<MemoryAccount>& account, int kv_head,
                          const HeadSource& source, size_t tile_bytes) {
  source_ = source;
  rows_ = source.observed.count * source.observed.group;
  const int64_t head_size = source.rule.head_size;
  const int64_t row_bytes = (rows_ * head_size * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
  const auto padded = static_cast<int64_t>(tile_bytes + kOverreadBytes);
  const auto expanded = static_cast<int64_t>(
      FloatTileFormat(source.rule.head_size, source.rule.head_size, source.rule.head_size).stride);
  Status status =
      Buffer::Allocate(account, MemoryUse::kScratch, 3 * row_bytes + expanded + padded, &scratch_);
  if (!status.ok()) return status;
  queries_ = reinterpret_cast<float*>(scratch_.data());
  gathered_ = reinterpret_cast<float*>(scratch_.data() + row_bytes);
  exact_ = reinterpret_cast<float*>(scratch_.data() + 2 * row_bytes);
  expanded_ = scratch_.data() + 3 * row_bytes;
  tile_ = expanded_ + expanded;

  ScaleQueries(source.observed, source.rule, 0, rows_, queries_);
  blocks_ = std::vector<Block>(static_cast<size_t>((rows_ + kMaxQueryRows - 1) / kMaxQueryRows));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    block.first = static_cast<int64_t>(i) * kMaxQueryRows;
    block.count = static_cast<int>(std::min<int64_t>(kMaxQueryRows, rows_ - block.first));
    AttendDense(kv_head, &block);
  }
  return {};
}

// Fills what does not depend on settings: the exact outputs, and the state around the kept rows.
void HeadError::AttendDense(int kv_head, Block* block) {
  const HeadRows& rows = source_.rows;
  const int head_size = source_.rule.head_size;
  const float* queries = queries_ + block->first * head_size;
  RowRange leaving[kMaxQueryRows];
  RowRange staying[kMaxQueryRows];
  for (int r = 0; r < block->count; ++r) {
    const int64_t position = source_.observed.Position((block->first + r) / source_.observed.group);
    const int64_t begin = rows.CountBefore(source_.rule.FirstSeen(position));
    const int64_t end = rows.CountBefore(position + 1);
    leaving[r] = {std::min(begin, rows.leaving), std::min(end, rows.leaving)};
    staying[r] = {std::max(begin, rows.leaving), std::max(end, rows.leaving)};
    block->seen[r] = {rows.KeptBefore(source_.rule.FirstSeen(position)), rows.KeptBefore(position + 1)};
  }
  const DenseRows dense{rows.keys, rows.values, Storage::kFloat32, Storage::kFloat32, head_size};
  AttentionState& around = block->around;
  around.Reset(block->count, head_size);
  AttendPast(*source_.past, kv_head, source_.observed, source_.rule, block->first, block->count, queries,
             &around);
  if (SeesAny(staying, block->count))
    Kernels().attend_dense(dense, staying, queries, block->count, source_.rule.softcap, &around);
  AttentionState all = around;
  if (SeesAny(leaving, block->count))
    Kernels().attend_dense(dense, leaving, queries, block->count, source_.rule.softcap, &all);
  Finish(*block, all, exact_ + block->first * head_size);
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
    Finish(block, block.state, outputs);
    const float* exact = exact_ + block.first * head_size;
    for (int i = 0; i < block.count * head_size; ++i) {
      const double apart = static_cast<double>(outputs[i]) - static_cast<double>(exact[i]);
      difference += apart * apart;
      norm += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    }
  }
  *error = difference == 0 ? 0 : norm > 0 ? std::sqrt(difference / norm) : std::numeric_limits<double>::infinity();
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

void HeadError::Finish(const Block& block, const AttentionState& state, float* outputs) const {
  float* output[kMaxQueryRows];
  float sinks[kMaxQueryRows];
  const float* heads = source_.rule.sinks;
  for (int r = 0; r < block.count; ++r) {
    output[r] = outputs + static_cast<int64_t>(r) * source_.rule.head_size;
    if (heads != nullptr) sinks[r] = heads[(block.first + r) % source_.observed.group];
  }
  FinishAttention(state, block.count, source_.rule.head_size, heads != nullptr ? sinks : nullptr, output);
}

}  // namespace kvprune
