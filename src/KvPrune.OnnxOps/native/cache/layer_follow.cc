#include "cache/layer_follow.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <thread>

namespace kvprune {
namespace {

// Query rows (token x group) of one KV head go through the kernels in blocks of kMaxQueryRows. A task holds
// the states of this many blocks: they stay in the second-level cache, and expanding a tile is a small part
// of reading it.
constexpr int64_t kMostBlocks = 32;
// Where threads would be idle, tasks get smaller, but not so small that they mostly expand.
constexpr int64_t kLeastBlocks = 4;

int64_t CeilingOf(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t RoundUp(int64_t bytes) {
  return CeilingOf(bytes, 64) * 64;
}

struct Block {
  AttentionState state;
  int rows;
  RowRange seen[kMaxQueryRows];  // of the rows that are read now; begins and ends ascend
};

class FollowUp {
 public:
  FollowUp(const LayerParameters& parameters, const LayerRows& rows, const PromptRows& prompt_rows,
           float* past)
      : parameters_(parameters),
        rows_(rows),
        prompt_rows_(prompt_rows),
        past_(past),
        sequence_(*rows.sequence),
        shape_(sequence_.shape()),
        slabs_(sequence_.slabs(parameters.layer)),
        head_rows_(static_cast<int64_t>(sequence_.step_tokens()) * shape_.group()) {
    for (const auto& [slab, first_token, prompt] : slabs_)
      for (int head = 0; head < shape_.kv_heads; ++head)
        fewer_values_ = fewer_values_ || slab->value_channels(head) != nullptr;
  }

  Status Run(TaskRunner& tasks) {
    const auto threads = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
    const int64_t blocks = CeilingOf(head_rows_, kMaxQueryRows);
    const int64_t ranges = std::max(CeilingOf(blocks, kMostBlocks),
                                    std::min(blocks / kLeastBlocks, CeilingOf(threads, shape_.kv_heads)));
    range_blocks_ = CeilingOf(blocks, ranges);
    const int64_t per_head = CeilingOf(blocks, range_blocks_);
    const int64_t count = shape_.kv_heads * per_head;
    const int64_t workers = std::min(count, threads);
    Status status = Buffer::Allocate(sequence_.manager().account(), MemoryUse::kScratch,
                                     workers * WorkerBytes(), &scratch_);
    if (!status.ok()) return status;

    std::atomic<int64_t> next{0};
    tasks.For(static_cast<size_t>(workers), [&](size_t worker) {
      uint8_t* scratch = scratch_.data() + static_cast<int64_t>(worker) * WorkerBytes();
      for (int64_t task = next.fetch_add(1); task < count; task = next.fetch_add(1)) {
        const int64_t first = task % per_head * range_blocks_;
        Attend(static_cast<int>(task / per_head), first, std::min(range_blocks_, blocks - first), scratch);
      }
    });
    return {};
  }

 private:
  int64_t RowFloats() const { return range_blocks_ * kMaxQueryRows * shape_.head_size; }
  int64_t TileFloats() const {
    return static_cast<int64_t>(FloatTileFormat(shape_.head_size, shape_.head_size, shape_.head_size).stride /
                                sizeof(float));
  }
  int64_t BlockBytes() const { return RoundUp(range_blocks_ * static_cast<int64_t>(sizeof(Block))); }
  int64_t FewerBytes() const {
    return fewer_values_ ? RoundUp(range_blocks_ * static_cast<int64_t>(sizeof(AttentionState))) : 0;
  }
  // The blocks, their states of slabs that keep a part of the V channels, one tile, the queries, the queries
  // of a slab's channels.
  int64_t WorkerBytes() const {
    return BlockBytes() + FewerBytes() +
           RoundUp((TileFloats() + 2 * RowFloats()) * static_cast<int64_t>(sizeof(float)));
  }

  void Attend(int kv_head, int64_t first_block, int64_t count, uint8_t* scratch) const {
    auto* blocks = reinterpret_cast<Block*>(scratch);
    auto* fewer = reinterpret_cast<AttentionState*>(scratch + BlockBytes());
    auto* tile = reinterpret_cast<float*>(scratch + BlockBytes() + FewerBytes());
    float* queries = tile + TileFloats();
    float* gathered = queries + RowFloats();
    const int64_t first_row = first_block * kMaxQueryRows;
    const int64_t row_count = std::min(count * kMaxQueryRows, head_rows_ - first_row);
    for (int64_t block = 0; block < count; ++block) {
      new (&blocks[block]) Block;
      blocks[block].rows =
          static_cast<int>(std::min<int64_t>(kMaxQueryRows, row_count - block * kMaxQueryRows));
      blocks[block].state.Reset(blocks[block].rows, shape_.head_size);
      if (fewer_values_) new (&fewer[block]) AttentionState;
    }
    for (int64_t row = 0; row < row_count; ++row) {
      const int64_t token = (first_row + row) / shape_.group();
      const int64_t position = sequence_.length() + token;
      float* query = queries + row * shape_.head_size;
      std::memcpy(query, rows_.query + Offset(kv_head, first_row + row),
                  static_cast<size_t>(shape_.head_size) * sizeof(float));
      if (parameters_.rotary.active()) parameters_.rotary.Rotate(query, position);
      for (int j = 0; j < shape_.head_size; ++j) query[j] *= parameters_.scale;
    }
    AttendSealed(kv_head, first_row, row_count, queries, gathered, tile, blocks, fewer);
    for (int64_t row = 0; past_ != nullptr && row < row_count; ++row)
      past_[(first_row + row) / shape_.group() * shape_.query_heads + QueryHead(kv_head, first_row + row)] =
          LogSum(blocks[row / kMaxQueryRows].state, static_cast<int>(row % kMaxQueryRows));
    AttendNew(kv_head, first_row, row_count, queries, tile, blocks);
    for (int64_t block = 0; block < count; ++block)
      Finish(kv_head, first_row + block * kMaxQueryRows, blocks[block]);
  }

  // seen(position) is the range that a query at that position sees.
  template <class Seen>
  void SetSeen(int64_t first_row, int64_t row_count, const Seen& seen, Block* blocks) const {
    for (int64_t row = 0; row < row_count; ++row)
      blocks[row / kMaxQueryRows].seen[row % kMaxQueryRows] =
          seen(sequence_.length() + (first_row + row) / shape_.group());
  }

  void AttendSealed(int kv_head, int64_t first_row, int64_t row_count, const float* queries, float* gathered,
                    float* tile, Block* blocks, AttentionState* fewer) const {
    const int64_t count = CeilingOf(row_count, kMaxQueryRows);
    const int64_t rows = slabs_.Tiles(kv_head) * kTileTokens;
    const auto seen = [&](int64_t position) {
      return RowRange{slabs_.RowsBefore(kv_head, parameters_.FirstSeen(position)), rows};
    };
    SetSeen(first_row, row_count, seen, blocks);
    const int64_t first_tile = blocks[0].seen[0].begin / kTileTokens;
    for (size_t i = slabs_.Find(kv_head, first_tile); i < slabs_.size(); ++i) {
      const TileSlab& slab = *slabs_[i].slab;
      const TileFormat& format = slab.format(kv_head);
      const int64_t start = slabs_.FirstTile(kv_head, i);
      const float* slab_queries = queries;
      if (format.key_channels != shape_.head_size) {
        const uint8_t* channels = slab.key_channels(kv_head);
        for (int64_t row = 0; row < row_count; ++row)
          for (int j = 0; j < format.key_channels; ++j)
            gathered[row * format.key_channels + j] = queries[row * shape_.head_size + channels[j]];
        slab_queries = gathered;
      }
      const uint8_t* value_channels = slab.value_channels(kv_head);
      AttentionState* states = value_channels != nullptr ? fewer : nullptr;
      for (int64_t block = 0; states != nullptr && block < count; ++block)
        states[block].Reset(blocks[block].rows, format.value_channels);
      const TileFormat expanded =
          FloatTileFormat(shape_.head_size, format.key_channels, format.value_channels);
      for (int64_t index = std::max<int64_t>(0, first_tile - start); index < slab.tiles(kv_head); ++index) {
        Kernels().expand_tile(format, slab.tile(kv_head, index), tile);
        AttendTile(expanded, tile, (start + index) * kTileTokens, slab_queries, count, blocks, states);
      }
      for (int64_t block = 0; states != nullptr && block < count; ++block)
        MergeChannels(states[block], blocks[block].rows, shape_.head_size, value_channels,
                      format.value_channels, &blocks[block].state);
    }
  }

  void AttendNew(int kv_head, int64_t first_row, int64_t row_count, const float* queries, float* tile,
                 Block* blocks) const {
    const int64_t count = CeilingOf(row_count, kMaxQueryRows);
    const int64_t sealed = sequence_.sealed_tokens();
    const auto seen = [&](int64_t position) {
      return RowRange{std::max<int64_t>(0, parameters_.FirstSeen(position) - sealed), position + 1 - sealed};
    };
    SetSeen(first_row, row_count, seen, blocks);
    const Block& last = blocks[count - 1];
    const int64_t end = last.seen[last.rows - 1].end;
    const TileFormat format = FloatTileFormat(shape_.head_size, shape_.head_size, shape_.head_size);
    for (int64_t first = blocks[0].seen[0].begin; first < end; first += kTileTokens) {
      const int64_t offset = first * shape_.head_size;
      Kernels().expand_rows(prompt_rows_.keys(kv_head) + offset, prompt_rows_.values(kv_head) + offset,
                            static_cast<int>(std::min<int64_t>(kTileTokens, end - first)), shape_.head_size,
                            tile);
      AttendTile(format, tile, first, queries, count, blocks, nullptr);
    }
  }

  // The tile's rows are those from `first` on. Adds to `states` where not null, else to the blocks' own.
  void AttendTile(const TileFormat& format, const float* tile, int64_t first, const float* queries,
                  int64_t count, Block* blocks, AttentionState* states) const {
    for (int64_t index = 0; index < count; ++index) {
      Block& block = blocks[index];
      const int last = block.rows - 1;
      if (block.seen[0].begin >= first + kTileTokens || block.seen[last].end <= first) continue;
      const bool whole = block.seen[last].begin <= first && block.seen[0].end >= first + kTileTokens;
      RowRange seen[kMaxQueryRows];
      if (!whole)
        for (int r = 0; r < block.rows; ++r)
          seen[r] = {block.seen[r].begin - first, block.seen[r].end - first};
      Kernels().attend_tiles(format, reinterpret_cast<const uint8_t*>(tile), 1,
                             queries + index * kMaxQueryRows * format.key_channels, block.rows,
                             whole ? nullptr : seen, parameters_.softcap,
                             states != nullptr ? &states[index] : &block.state);
    }
  }

  void Finish(int kv_head, int64_t first_row, const Block& block) const {
    float* output[kMaxQueryRows];
    float sinks[kMaxQueryRows];
    for (int r = 0; r < block.rows; ++r) {
      output[r] = rows_.output + Offset(kv_head, first_row + r);
      if (parameters_.sinks != nullptr) sinks[r] = parameters_.sinks[QueryHead(kv_head, first_row + r)];
    }
    FinishAttention(block.state, block.rows, shape_.head_size, parameters_.sinks != nullptr ? sinks : nullptr,
                    output);
  }

  int64_t QueryHead(int kv_head, int64_t row) const {
    return static_cast<int64_t>(kv_head) * shape_.group() + row % shape_.group();
  }
  // Where a KV head's query row lies in query and output.
  int64_t Offset(int kv_head, int64_t row) const {
    return (row / shape_.group() * shape_.query_heads + QueryHead(kv_head, row)) * shape_.head_size;
  }

  const LayerParameters& parameters_;
  const LayerRows& rows_;
  const PromptRows& prompt_rows_;
  float* const past_;  // [tokens, query_heads]; null: not wanted
  const Sequence& sequence_;
  const ModelShape& shape_;
  const SlabList& slabs_;
  const int64_t head_rows_;
  bool fewer_values_ = false;  // a slab keeps a part of the V channels
  int64_t range_blocks_ = 0;
  Buffer scratch_;  // [workers, WorkerBytes()]
};

}  // namespace

Status AttendFollowUp(const LayerParameters& parameters, const LayerRows& rows, const PromptRows& prompt_rows,
                      TaskRunner& tasks, float* past) {
  return FollowUp(parameters, rows, prompt_rows, past).Run(tasks);
}

}  // namespace kvprune
