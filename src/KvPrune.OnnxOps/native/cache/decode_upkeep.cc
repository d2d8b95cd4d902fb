#include "cache/decode_upkeep.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cache/join_slabs.h"
#include "kernels/gather_rows.h"
#include "pruning/eviction_budget.h"
#include "pruning/finite.h"
#include "pruning/worst_rows.h"

namespace kvprune {
namespace {

// Slabs that can be one, and whether rows can change their tile among them. Elsewhere whole tiles go.
struct Group {
  size_t first;
  size_t count;
  bool rows_move;
};

bool RowsCanMove(const TileSlab& slab) {
  for (int head = 0; head < slab.kv_heads(); ++head)
    if (!RowsCanMove(slab.format(head))) return false;
  return true;
}

class DecodeEviction {
 public:
  DecodeEviction(Sequence& sequence, int layer)
      : sequence_(sequence),
        policy_(sequence.policy()),
        layer_(layer),
        slabs_(sequence.slabs(layer)),
        kv_heads_(static_cast<size_t>(sequence.shape().kv_heads)) {
    for (size_t head = 0; head < kv_heads_; ++head)
      sealed_rows_.push_back(slabs_.Tiles(static_cast<int>(head)) * kTileTokens);
  }

  Status Run(TaskRunner& tasks) {
    for (size_t first = 0; first < slabs_.size(); first += groups_.back().count)
      groups_.push_back({first, JoinableFrom(slabs_, first), RowsCanMove(*slabs_[first].slab)});
    const int64_t units = Units();
    if (units > 0) {
      Status status = Choose(units, tasks);
      if (!status.ok()) return status;
    }
    // Rows and their scores change together or not at all: a run that fails may be tried again.
    std::shared_ptr<RowScores> scores;
    std::shared_ptr<SlabList> slabs;
    Status status = LeaveScores(&scores);
    if (status.ok()) status = LeaveRows(tasks, &slabs);
    if (!status.ok()) return status;
    if (scores) sequence_.ReplaceScores(layer_, std::move(scores));
    if (slabs) sequence_.ReplaceSlabs(layer_, std::move(slabs));
    return {};
  }

 private:
  // Of 64 rows, that every head gives up so that the mean over heads, with the tile to come, is nearest to
  // the budget of the length at which that tile is sealed (half up, as RoundToTiles).
  int64_t Units() const {
    const int64_t sealed = sequence_.sealed_tokens();
    const int64_t target = LeavingToKeep(policy_, sequence_.shape().layers, layer_,
                                         sealed + policy_.TailCapacity(), sealed + kTileTokens);
    int64_t excess = 0, unit = 0;
    for (const int64_t rows : sealed_rows_) {
      excess += rows + kTileTokens - target - kTileTokens / 2;
      unit += kTileTokens;
    }
    return excess > 0 ? (excess + unit - 1) / unit : 0;
  }

  Status Choose(int64_t units, TaskRunner& tasks) {
    int64_t rows = 0;
    std::vector<int64_t> offsets;
    for (const int64_t own : sealed_rows_) {
      offsets.push_back(rows);
      rows += own;
    }
    Buffer scratch;
    constexpr int64_t kRowBytes = sizeof(uint64_t) + sizeof(float);
    Status status =
        Buffer::Allocate(sequence_.manager().account(), MemoryUse::kScratch, rows * kRowBytes, &scratch);
    if (!status.ok()) return status;
    auto* orders = reinterpret_cast<uint64_t*>(scratch.data());
    auto* scores = reinterpret_cast<float*>(orders + rows);
    std::vector<WorstRows> worst(kv_heads_ * groups_.size());
    status = tasks.Try(kv_heads_, [&](size_t head) {
      return Rank(static_cast<int>(head), units, scores + offsets[head], orders + offsets[head],
                  worst.data() + head * groups_.size());
    });
    if (!status.ok()) return status;
    for (size_t head = 0; head < kv_heads_; ++head) {
      const std::span<const WorstRows> runs(worst.data() + head * groups_.size(), groups_.size());
      rows_.push_back(TakeWorst(scores + offsets[head], runs, units));
    }
    for (const auto& dropped : rows_) dropped_.emplace_back(dropped);
    return {};
  }

  Status Rank(int head, int64_t units, float* scores, uint64_t* order, WorstRows* worst) const {
    const int64_t rows = sealed_rows_[static_cast<size_t>(head)];
    const RowScores* kept = sequence_.scores(layer_);
    for (int64_t row = 0; row < rows; ++row)
      scores[row] = kept != nullptr ? kept->Score(head, row, sequence_.shape().group())
                                    : static_cast<float>(row);  // recency
    Status status = CheckScores(scores, rows, "accumulated attention");
    if (!status.ok())
      return {status.code(), "layer " + std::to_string(layer_) + ", row of KV head " + std::to_string(head) +
                                 ": " + status.message()};
    const int64_t sinks = slabs_.RowsBefore(head, policy_.eviction.sink_tokens);
    for (size_t i = 0; i < groups_.size(); ++i) {
      auto [begin, end] = RowsOf(head, groups_[i]);
      const bool rows_move = groups_[i].rows_move;
      if (begin < sinks) begin = rows_move ? sinks : (sinks + kTileTokens - 1) / kTileTokens * kTileTokens;
      const int64_t dropped = std::min(units, std::max<int64_t>(0, end - begin) / kTileTokens) * kTileTokens;
      if (dropped == 0) continue;
      (rows_move ? RankWorst : RankWorstTiles)(scores, begin, end, dropped, order + begin);
      worst[i] = {order + begin, static_cast<size_t>(dropped)};
    }
    return {};
  }

  RowRange RowsOf(int head, const Group& group) const {
    const size_t last = group.first + group.count - 1;
    return {slabs_.FirstTile(head, group.first) * kTileTokens,
            (slabs_.FirstTile(head, last) + slabs_[last].slab->tiles(head)) * kTileTokens};
  }

  bool Drops(int head, const Group& group) const {
    const RowRange range = RowsOf(head, group);
    const DroppedRows rows = dropped_[static_cast<size_t>(head)];
    const auto from = std::lower_bound(rows.begin(), rows.end(), range.begin);
    return from != rows.end() && *from < range.end;
  }

  // The scores of the rows that stay, with room for those of the tile to come; null where they can stay as
  // they are.
  Status LeaveScores(std::shared_ptr<RowScores>* left) const {
    const RowScores* scores = sequence_.scores(layer_);
    if (scores == nullptr || (dropped_.empty() && !sequence_.SharesScores(layer_) &&
                              scores->HasRoom(sealed_rows_, policy_.TailCapacity())))
      return {};
    return scores->Without(sequence_.manager().account(), dropped_, sealed_rows_, sequence_.dense_rows(),
                           policy_.TailCapacity(), left);
  }

  // The slabs without the dropped rows; null where there are none.
  Status LeaveRows(TaskRunner& tasks, std::shared_ptr<SlabList>* left) const {
    if (dropped_.empty()) return {};
    // The last one first, so that the others' entries stay where they are.
    for (auto group = groups_.rbegin(); group != groups_.rend(); ++group) {
      bool drops = false;
      for (size_t head = 0; head < kv_heads_; ++head) drops = drops || Drops(static_cast<int>(head), *group);
      if (!drops) continue;
      std::shared_ptr<TileSlab> slab;
      Status status = JoinSlabs(sequence_.manager().account(), slabs_, group->first, group->count, dropped_,
                                tasks, &slab);
      if (!status.ok()) return status;
      *left = (*left ? **left : slabs_).Replaced(group->first, group->count, std::move(slab));
    }
    return {};
  }

  Sequence& sequence_;
  const Policy& policy_;
  const int layer_;
  const SlabList slabs_;  // before
  const size_t kv_heads_;
  std::vector<int64_t> sealed_rows_;  // per head
  std::vector<Group> groups_;
  std::vector<std::vector<int32_t>> rows_;
  std::vector<DroppedRows> dropped_;  // of each head in rows_; empty: none
};

Status JoinGenerated(Sequence& sequence, int layer, TaskRunner& tasks) {
  const SlabList& slabs = sequence.slabs(layer);
  size_t first = slabs.size();
  while (first > 0 && !slabs[first - 1].prompt && slabs[first - 1].slab->tokens() == kTileTokens &&
         CanJoin(*slabs[first - 1].slab, *slabs[slabs.size() - 1].slab))
    --first;
  const size_t count = slabs.size() - first;
  if (count < kJoinedSlabs) return {};
  std::shared_ptr<TileSlab> slab;
  Status status = JoinSlabs(sequence.manager().account(), slabs, first, count, {}, tasks, &slab);
  // What finds no memory is joined later.
  if (status.code() == KVP_OUT_OF_MEMORY) return {};
  if (status.ok()) sequence.ReplaceSlabs(layer, slabs.Replaced(first, count, std::move(slab)));
  return status;
}

}  // namespace

Status TendSlabs(Sequence& sequence, int layer, TaskRunner& tasks) {
  if (sequence.StepEvicts(layer)) {
    Status status = DecodeEviction(sequence, layer).Run(tasks);
    if (!status.ok()) return status;
  }
  return sequence.StepPacks(layer) != nullptr ? JoinGenerated(sequence, layer, tasks) : Status();
}

}  // namespace kvprune
