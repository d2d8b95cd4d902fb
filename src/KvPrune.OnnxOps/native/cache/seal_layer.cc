#include "cache/seal_layer.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

// Rows of one KV head, [count, head_size] each.
struct HeadRows {
  const float* keys;
  const float* values;
};

// The kept rows of every head, one after the other. Heads that keep all of them are read where they are;
// those of the others are copied.
class GatheredRows {
 public:
  GatheredRows(const ModelShape& shape, const PromptRows& rows, const KeptTokens& kept)
      : head_size_(shape.head_size), kept_(kept), heads_(shape.kv_heads) {
    for (int head = 0; head < shape.kv_heads; ++head) heads_[head] = {rows.keys(head), rows.values(head)};
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
    heads_[kv_head] = {keys, values};
  }

  const int64_t head_size_;
  const KeptTokens& kept_;
  std::vector<HeadRows> heads_;
  Buffer buffer_;
};

void ChooseChannels(const LayerSeal& seal, int kv_head, const float* keys, int64_t count,
                    const TileSlab& slab) {
  const int kept = slab.format(kv_head).key_channels;
  uint8_t* channels = slab.key_channels(kv_head);
  if (seal.policy.key_channel_sparsity == 0 || count == 0) {
    for (int j = 0; j < kept; ++j) channels[j] = static_cast<uint8_t>(j);
    return;
  }
  const QueryRows observed = seal.Observed(kv_head);
  SelectThinkChannels(observed.rows, static_cast<int>(observed.count), observed.stride, observed.group, keys,
                      count, seal.shape().head_size, kept, channels);
}

void WriteKept(const KeptTokens& kept, int kv_head, const TileSlab& slab) {
  uint64_t* bits = slab.kept(kv_head);
  if (bits == nullptr) return;
  std::fill_n(bits, kept.leaving() / 64, uint64_t{0});
  for (int64_t i = 0; i < kept.count(kv_head); ++i) {
    const int32_t row = kept.rows(kv_head)[i];
    bits[row / 64] |= uint64_t{1} << (row % 64);
  }
}

}  // namespace

Status SealPromptRows(const LayerSeal& seal, const KeptTokens& kept, TaskRunner& tasks,
                      std::shared_ptr<TileSlab>* slab) {
  if (kept.leaving() == 0) return {};
  const ModelShape& shape = seal.shape();
  const std::shared_ptr<MemoryAccount>& account = seal.manager.account();
  GatheredRows gathered(shape, seal.rows, kept);
  Status status = gathered.Gather(account, tasks);
  if (!status.ok()) return status;
  const TileFormat format = PromptTileFormat(seal.policy, shape.head_size);
  std::vector<HeadRun> runs;
  std::vector<int64_t> first_tile(1, 0);  // of each head, of all the layer's
  for (int head = 0; head < shape.kv_heads; ++head) {
    runs.push_back({format, kept.count(head) / kTileTokens, kept.evicts(head)});
    first_tile.push_back(first_tile.back() + runs.back().tiles);
  }
  std::shared_ptr<TileSlab> made;
  status = TileSlab::Create(account, kept.leaving(), runs, &made);
  if (!status.ok()) return status;
  tasks.For(static_cast<size_t>(shape.kv_heads), [&](size_t index) {
    const int head = static_cast<int>(index);
    ChooseChannels(seal, head, gathered[head].keys, kept.count(head), *made);
    WriteKept(kept, head, *made);
  });
  const int64_t tile_floats = static_cast<int64_t>(kTileTokens) * shape.head_size;
  tasks.For(static_cast<size_t>(first_tile.back()), [&](size_t index) {
    const auto after = std::upper_bound(first_tile.begin(), first_tile.end(), static_cast<int64_t>(index));
    const int head = static_cast<int>(after - first_tile.begin()) - 1;
    const int64_t tile = static_cast<int64_t>(index) - first_tile[head];
    Kernels().pack_tile(made->format(head), gathered[head].keys + tile * tile_floats,
                        gathered[head].values + tile * tile_floats, shape.head_size, made->key_channels(head),
                        made->value_channels(head), made->tile(head, tile));
  });
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
