#include <algorithm>
#include <cstring>

#include "cache/decode_upkeep.h"
#include "cache/layer.h"
#include "cache/pack_ahead.h"
#include "cache/score_step.h"
#include "cache/tile_walk.h"

namespace kvprune {
namespace {

// Tiles per task: at most kMostChunkTiles, and fewer where one sequence would make less than kLeastTasks
// tasks. It depends on the sequence alone, so that its sums are split the same way in any batch, and is the
// same for all heads: one with many tiles makes many tasks.
constexpr int64_t kMostChunkTiles = 32;
constexpr int64_t kLeastChunkTiles = 8;
constexpr int64_t kLeastTasks = 16;

// One task: a block of one KV head's query heads over one chunk of the tiles that one sequence's token sees.
// The last chunk also takes the dense tail.
struct Work {
  int row;  // in the batch
  int kv_head;
  int first_query;  // in the group
  int query_count;
  int64_t chunk;
  int64_t chunks;
  int64_t first_tile;  // of the chunk
  int64_t tiles;
  int64_t first_row;  // that the token sees, of the head's sealed ones
};

// A task's result, kept compact: max and sum per query, then the accumulators.
void SavePartial(const AttentionState& state, int queries, int head_size, float* partial) {
  std::memcpy(partial, state.max, queries * sizeof(float));
  std::memcpy(partial + queries, state.sum, queries * sizeof(float));
  for (int q = 0; q < queries; ++q)
    std::memcpy(partial + 2 * queries + q * head_size, state.accumulator[q], head_size * sizeof(float));
}

void LoadPartial(const float* partial, int queries, int head_size, AttentionState* state) {
  std::memcpy(state->max, partial, queries * sizeof(float));
  std::memcpy(state->sum, partial + queries, queries * sizeof(float));
  for (int q = 0; q < queries; ++q)
    std::memcpy(state->accumulator[q], partial + 2 * queries + q * head_size, head_size * sizeof(float));
}

class DecodeBatch {
 public:
  DecodeBatch(const LayerParameters& parameters, std::span<const LayerRows> batch)
      : parameters_(parameters), batch_(batch), shape_(batch[0].sequence->shape()) {}

  Status Run(TaskRunner& tasks) {
    const int64_t row_floats = static_cast<int64_t>(shape_.query_heads) * shape_.head_size;
    for (const LayerRows& rows : batch_) {
      Status status = TendSlabs(*rows.sequence, parameters_.layer, tasks);
      if (!status.ok()) return status;
    }
    PlanWork();
    const int64_t query_floats = row_floats * static_cast<int64_t>(batch_.size());
    const int64_t log_sums = static_cast<int64_t>(shape_.query_heads) * static_cast<int64_t>(batch_.size());
    const int64_t partial_floats = PartialFloats() * static_cast<int64_t>(work_.size());
    Status status = Buffer::Allocate(
        batch_[0].sequence->manager().account(), MemoryUse::kScratch,
        (query_floats + partial_floats + log_sums) * static_cast<int64_t>(sizeof(float)), &scratch_);
    if (!status.ok()) return status;
    queries_ = reinterpret_cast<float*>(scratch_.data());
    partials_ = queries_ + query_floats;
    log_sums_ = partials_ + partial_floats;

    for (size_t row = 0; row < batch_.size(); ++row)
      AppendRow(batch_[row], queries_ + static_cast<int64_t>(row) * row_floats);
    for (const LayerRows& rows : batch_)
      if (rows.sequence->StepPacks(parameters_.layer) != nullptr) packing_.push_back(rows.sequence);
    const size_t packs = packing_.size() * static_cast<size_t>(shape_.kv_heads);
    status = tasks.Try(packs + work_.size(), [this, packs](size_t index) {
      if (index < packs) return Pack(index);
      Attend(index - packs);
      return Status();
    });
    if (!status.ok()) return status;
    Merge();
    tasks.For(scored_.size(), [this](size_t index) { Score(*scored_[index]); });
    return {};
  }

 private:
  int64_t PartialFloats() const { return static_cast<int64_t>(kMaxQueryRows) * (shape_.head_size + 2); }

  void PlanWork() {
    const int64_t blocks = (shape_.group() + kMaxQueryRows - 1) / kMaxQueryRows;
    std::vector<int64_t> first_rows(shape_.kv_heads);
    for (size_t row = 0; row < batch_.size(); ++row) {
      const Sequence& sequence = *batch_[row].sequence;
      const SlabList& slabs = sequence.slabs(parameters_.layer);
      int64_t all_tiles = 0;
      for (int head = 0; head < shape_.kv_heads; ++head) {
        first_rows[head] = slabs.RowsBefore(head, parameters_.FirstSeen(sequence.length()));
        all_tiles += slabs.Tiles(head) - first_rows[head] / kTileTokens;
      }
      const int64_t chunk_tiles =
          std::clamp(all_tiles * blocks / kLeastTasks, kLeastChunkTiles, kMostChunkTiles);
      for (int head = 0; head < shape_.kv_heads; ++head) {
        const int64_t first_tile = first_rows[head] / kTileTokens;
        const int64_t tiles = slabs.Tiles(head) - first_tile;
        const int64_t chunks = std::max<int64_t>(1, (tiles + chunk_tiles - 1) / chunk_tiles);
        for (int first = 0; first < shape_.group(); first += kMaxQueryRows)
          for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t before = chunk * chunk_tiles;
            work_.push_back({static_cast<int>(row), head, first,
                             std::min(kMaxQueryRows, shape_.group() - first), chunk, chunks,
                             first_tile + before, std::min(chunk_tiles, tiles - before), first_rows[head]});
          }
        if (RowScores* scores = sequence.scores(parameters_.layer)) {
          const int64_t sealed = slabs.Tiles(head) * kTileTokens;
          const int64_t unseen =
              std::max<int64_t>(0, parameters_.FirstSeen(sequence.length()) - sequence.sealed_tokens());
          scores->SetSeen(head, first_rows[head] + unseen, sealed + sequence.dense_rows() + 1);
        }
      }
    }
    for (const Work& work : work_)
      if (work.first_query == 0 && batch_[work.row].sequence->scores(parameters_.layer) != nullptr)
        scored_.push_back(&work);
  }

  // What all of the group's queries give to the rows of the task.
  void Score(const Work& work) const {
    const Sequence& sequence = *batch_[work.row].sequence;
    const int64_t first_head = static_cast<int64_t>(work.row) * shape_.query_heads +
                               static_cast<int64_t>(work.kv_head) * shape_.group();
    const StepScorer scorer(sequence.slabs(parameters_.layer), work.kv_head, shape_.head_size,
                            {queries_ + first_head * shape_.head_size, log_sums_ + first_head, shape_.group(),
                             parameters_.softcap});
    float* mass = sequence.scores(parameters_.layer)->step(work.kv_head);
    scorer.WriteTiles(work.first_tile, work.tiles, mass);
    if (work.chunk == work.chunks - 1)
      scorer.WriteTail(sequence.tail(), parameters_.layer, sequence.dense_rows() + 1, mass);
  }

  // The new token's K and V join the tail; its queries are rotated and scaled.
  void AppendRow(const LayerRows& rows, float* queries) const {
    Sequence& sequence = *rows.sequence;
    const int64_t position = sequence.length();
    float key[kMaxHeadSize];
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const int64_t offset = static_cast<int64_t>(head) * shape_.head_size;
      std::memcpy(key, rows.key + offset, shape_.head_size * sizeof(float));
      if (parameters_.rotary.active()) parameters_.rotary.Rotate(key, position);
      sequence.tail().Write(parameters_.layer, head, static_cast<int>(sequence.dense_rows()), key,
                            rows.value + offset);
    }
    for (int head = 0; head < shape_.query_heads; ++head) {
      const int64_t offset = static_cast<int64_t>(head) * shape_.head_size;
      float* query = queries + offset;
      std::memcpy(query, rows.query + offset, shape_.head_size * sizeof(float));
      if (parameters_.rotary.active()) parameters_.rotary.Rotate(query, position);
      for (int j = 0; j < shape_.head_size; ++j) query[j] *= parameters_.scale;
    }
  }

  void Attend(size_t index) const {
    const Work& work = work_[index];
    const Sequence& sequence = *batch_[work.row].sequence;
    const int64_t first_head = static_cast<int64_t>(work.kv_head) * shape_.group() + work.first_query;
    const float* queries =
        queries_ + (static_cast<int64_t>(work.row) * shape_.query_heads + first_head) * shape_.head_size;
    int64_t first_rows[kMaxQueryRows];
    std::fill_n(first_rows, work.query_count, work.first_row);

    AttentionState state;
    state.Reset(work.query_count, shape_.head_size);
    AttendSlabs(sequence.slabs(parameters_.layer), work.kv_head, work.first_tile, work.tiles, queries,
                work.query_count, shape_.head_size, first_rows, parameters_.softcap, &state);
    if (work.chunk == work.chunks - 1) {
      const int64_t first_seen = parameters_.FirstSeen(sequence.length());
      const RowRange tail = {std::max<int64_t>(0, first_seen - sequence.sealed_tokens()),
                             sequence.dense_rows() + 1};
      RowRange seen[kMaxQueryRows];
      std::fill_n(seen, work.query_count, tail);
      Kernels().attend_dense(sequence.tail().Rows(parameters_.layer, work.kv_head), seen, queries,
                             work.query_count, parameters_.softcap, &state);
    }
    if (work.chunks == 1)
      Finish(work, state);
    else
      SavePartial(state, work.query_count, shape_.head_size,
                  partials_ + static_cast<int64_t>(index) * PartialFloats());
  }

  Status Pack(size_t index) const {
    const Sequence& sequence = *packing_[index / static_cast<size_t>(shape_.kv_heads)];
    return PackTailTile(sequence.manager(), sequence.policy(), sequence.tail(), sequence.sealed_tokens(),
                        parameters_.layer, static_cast<int>(index % static_cast<size_t>(shape_.kv_heads)),
                        *sequence.StepPacks(parameters_.layer));
  }

  void Merge() const {
    for (size_t index = 0; index < work_.size(); index += static_cast<size_t>(work_[index].chunks)) {
      const Work& work = work_[index];
      if (work.chunks == 1) continue;
      AttentionState merged;
      AttentionState part;
      LoadPartial(partials_ + static_cast<int64_t>(index) * PartialFloats(), work.query_count,
                  shape_.head_size, &merged);
      for (int64_t chunk = 1; chunk < work.chunks; ++chunk) {
        LoadPartial(partials_ + (static_cast<int64_t>(index) + chunk) * PartialFloats(), work.query_count,
                    shape_.head_size, &part);
        MergeAttention(part, work.query_count, shape_.head_size, &merged);
      }
      Finish(work, merged);
    }
  }

  void Finish(const Work& work, const AttentionState& state) const {
    float* output[kMaxQueryRows];
    const int64_t first_head = static_cast<int64_t>(work.kv_head) * shape_.group() + work.first_query;
    for (int q = 0; q < work.query_count; ++q)
      output[q] = batch_[work.row].output + (first_head + q) * shape_.head_size;
    const float* sinks = parameters_.sinks != nullptr ? parameters_.sinks + first_head : nullptr;
    float* log_sums = log_sums_ + static_cast<int64_t>(work.row) * shape_.query_heads + first_head;
    for (int q = 0; q < work.query_count; ++q) {
      log_sums[q] = LogSum(state, q);
      if (sinks != nullptr) log_sums[q] = LogAdd(log_sums[q], sinks[q]);
    }
    FinishAttention(state, work.query_count, shape_.head_size, sinks, output);
  }

  const LayerParameters& parameters_;
  const std::span<const LayerRows> batch_;
  const ModelShape& shape_;
  std::vector<Work> work_;
  std::vector<const Sequence*> packing_;
  Buffer scratch_;
  float* queries_ = nullptr;   // [batch, query_heads, head_size]
  float* partials_ = nullptr;  // [work, PartialFloats()]
  float* log_sums_ = nullptr;  // [batch, query_heads], of all logits of a softmax
  std::vector<const Work*> scored_;
};

}  // namespace

Status RunDecodeLayer(const LayerParameters& parameters, std::span<const LayerRows> batch,
                      TaskRunner& tasks) {
  return DecodeBatch(parameters, batch).Run(tasks);
}

}  // namespace kvprune
