#include "cache/seal_layer.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cache/seal_head.h"

namespace kvprune {
namespace {

// The rows of every head. The kept ones lie one after the other: where heads evict some they are copied.
class GatheredRows {
 public:
  GatheredRows(const LayerSeal& seal, const KeptTokens& kept)
      : head_size_(seal.shape().head_size), kept_(kept), heads_(seal.shape().kv_heads) {
    for (int head = 0; head < seal.shape().kv_heads; ++head) {
      const float* keys = seal.rows.keys(head);
      const float* values = seal.rows.values(head);
      heads_[head] = {keys, values, seal.dense_rows,  kept.leaving(),
                      keys, values, kept.count(head), kept.rows(head)};
    }
  }

  Status Gather(const std::shared_ptr<MemoryAccount>& account, TaskRunner& tasks) {
    int64_t floats = 0;
    for (size_t head = 0; head < heads_.size(); ++head) floats += CopiedFloats(static_cast<int>(head));
    if (floats == 0) return {};
    Status status = Buffer::Allocate(account, MemoryUse::kScratch,
                                     2 * floats * static_cast<int64_t>(sizeof(float)), &buffer_);
    if (!status.ok()) return status;
    std::vector<float*> copies(heads_.size());
    auto* next = reinterpret_cast<float*>(buffer_.data());
    for (size_t head = 0; head < heads_.size(); ++head) {
      copies[head] = next;
      next += 2 * CopiedFloats(static_cast<int>(head));
    }
    tasks.For(heads_.size(), [&](size_t head) { Copy(static_cast<int>(head), copies[head]); });
    return {};
  }

  const HeadRows& operator[](int kv_head) const { return heads_[kv_head]; }

 private:
  int64_t CopiedFloats(int kv_head) const {
    return kept_.evicts(kv_head) ? kept_.count(kv_head) * head_size_ : 0;
  }

  void Copy(int kv_head, float* keys) {
    if (!kept_.evicts(kv_head)) return;
    float* values = keys + CopiedFloats(kv_head);
    const int32_t* rows = kept_.rows(kv_head);
    for (int64_t row = 0; row < kept_.count(kv_head); ++row) {
      const int64_t from = static_cast<int64_t>(rows[row]) * head_size_;
      std::copy_n(heads_[kv_head].keys + from, head_size_, keys + row * head_size_);
      std::copy_n(heads_[kv_head].values + from, head_size_, values + row * head_size_);
    }
    heads_[kv_head].kept_keys = keys;
    heads_[kv_head].kept_values = values;
  }

  const int64_t head_size_;
  const KeptTokens& kept_;
  std::vector<HeadRows> heads_;
  Buffer buffer_;
};

void WriteKept(const KeptTokens& kept, int kv_head, const TileSlab& slab) {
  uint64_t* bits = slab.kept(kv_head);
  if (bits == nullptr) return;
  std::fill_n(bits, kept.leaving() / 64, uint64_t{0});
  for (int64_t i = 0; i < kept.count(kv_head); ++i) {
    const int32_t row = kept.rows(kv_head)[i];
    bits[row / 64] |= uint64_t{1} << (row % 64);
  }
}

HeadSource SourceOf(const LayerSeal& seal, int kv_head, const HeadRows& rows) {
  HeadSource source{rows,
                    {},
                    {seal.shape().head_size, 0},
                    &seal.past,
                    seal.sealed_tokens,
                    seal.manager.output_gram().Find(seal.layer, kv_head)};
  if (seal.policy.NeedsObservedQueries()) {
    source.observed = seal.Observed(kv_head);
    source.rule = seal.rows.record().Rule(kv_head);
  }
  return source;
}

}  // namespace

Status SealPromptRows(const LayerSeal& seal, const KeptTokens& kept, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab) {
  if (kept.leaving() == 0) return {};
  const ModelShape& shape = seal.shape();
  const std::shared_ptr<MemoryAccount>& account = seal.manager.account();
  GatheredRows gathered(seal, kept);
  Status status = gathered.Gather(account, tasks);
  if (!status.ok()) return status;
  const size_t heads = static_cast<size_t>(shape.kv_heads);
  std::vector<HeadSealing> sealing(heads);
  status = tasks.Try(heads, [&](size_t index) {
    const int head = static_cast<int>(index);
    return sealing[index].Choose(account, seal.policy, seal.layer, head,
                                 SourceOf(seal, head, gathered[head]));
  });
  if (!status.ok()) return status;
  std::vector<HeadRun> runs;
  std::vector<int64_t> first_tile(1, 0);  // of each head, of all the layer's
  for (const HeadSealing& head : sealing) {
    runs.push_back(head.Run());
    first_tile.push_back(first_tile.back() + runs.back().tiles);
  }
  std::shared_ptr<TileSlab> made;
  status = TileSlab::Create(account, kept.leaving(), runs, &made);
  if (!status.ok()) return status;
  for (int head = 0; head < shape.kv_heads; ++head) {
    sealing[static_cast<size_t>(head)].WriteChannels(*made, head);
    WriteKept(kept, head, *made);
  }
  status = tasks.Try(static_cast<size_t>(first_tile.back()), [&](size_t index) {
    const auto after = std::upper_bound(first_tile.begin(), first_tile.end(), static_cast<int64_t>(index));
    const auto head = static_cast<size_t>(after - first_tile.begin()) - 1;
    const int64_t tile = static_cast<int64_t>(index) - first_tile[head];
    return sealing[head].Pack(tile, made->tile(static_cast<int>(head), tile));
  });
  if (!status.ok()) return status;
  *slab = std::move(made);
  return {};
}

void WriteTailRows(const ModelShape& shape, const Policy& policy, const PromptRows& rows, int64_t dense_rows,
                   int layer, DenseTail& tail) {
  const int64_t first = policy.SealableTiles(dense_rows) * kTileTokens;
  for (int head = 0; head < shape.kv_heads; ++head)
    for (int64_t row = first; row < dense_rows; ++row)
      tail.Write(layer, head, static_cast<int>(row - first), rows.keys(head) + row * shape.head_size,
                 rows.values(head) + row * shape.head_size);
}

}  // namespace kvprune
