#include "cache/join_slabs.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/gather_rows.h"

namespace kvprune {
namespace {

class Joiner {
 public:
  Joiner(const SlabList& slabs, size_t first, size_t count, std::span<const DroppedRows> dropped)
      : slabs_(slabs), first_(first), end_(first + count), first_tiles_(1, 0) {
    for (int head = 0; head < slabs.kv_heads(); ++head) {
      const int64_t begin = FirstRow(head), end = begin + Tiles(head) * kTileTokens;
      const DroppedRows all = dropped.empty() ? DroppedRows() : dropped[static_cast<size_t>(head)];
      const auto from = std::lower_bound(all.begin(), all.end(), begin);
      dropped_.emplace_back(from, std::lower_bound(from, all.end(), end));
    }
  }

  Status Run(const std::shared_ptr<MemoryAccount>& account, TaskRunner& tasks,
             std::shared_ptr<TileSlab>* slab) {
    std::vector<HeadRun> runs;
    for (int head = 0; head < slabs_.kv_heads(); ++head) {
      runs.push_back(RunOf(head));
      first_tiles_.push_back(first_tiles_.back() + runs.back().tiles);
    }
    int64_t tokens = 0;
    for (size_t i = first_; i < end_; ++i) tokens += slabs_[i].slab->tokens();
    Status status = TileSlab::Create(account, tokens, runs, &made_);
    if (!status.ok()) return status;
    for (int head = 0; head < slabs_.kv_heads(); ++head) {
      WriteChannels(head);
      WriteKept(head);
    }
    tasks.For(static_cast<size_t>(first_tiles_.back()), [this](size_t index) {
      const auto after =
          std::upper_bound(first_tiles_.begin(), first_tiles_.end(), static_cast<int64_t>(index));
      const auto head = static_cast<int>(after - first_tiles_.begin()) - 1;
      WriteTile(head, static_cast<int64_t>(index) - first_tiles_[static_cast<size_t>(head)]);
    });
    *slab = std::move(made_);
    return {};
  }

 private:
  const TileSlab& Slab(size_t index) const { return *slabs_[index].slab; }
  int64_t FirstRow(int head) const { return slabs_.FirstTile(head, first_) * kTileTokens; }
  int64_t Tiles(int head) const {
    return slabs_.FirstTile(head, end_ - 1) + Slab(end_ - 1).tiles(head) - slabs_.FirstTile(head, first_);
  }
  DroppedRows Dropped(int head) const { return dropped_[static_cast<size_t>(head)]; }

  HeadRun RunOf(int head) const {
    HeadRun run{Slab(first_).format(head),
                Tiles(head) - static_cast<int64_t>(Dropped(head).size()) / kTileTokens,
                !Dropped(head).empty()};
    for (size_t i = first_; i < end_; ++i) {
      run.evicted = run.evicted || Slab(i).kept(head) != nullptr;
      if (slabs_[i].prompt) run.output_error = Slab(i).output_error(head);
    }
    return run;
  }

  void WriteChannels(int head) const {
    const TileFormat& format = made_->format(head);
    std::memcpy(made_->key_channels(head), Slab(first_).key_channels(head),
                static_cast<size_t>(format.key_channels));
    if (made_->value_channels(head) != nullptr)
      std::memcpy(made_->value_channels(head), Slab(first_).value_channels(head),
                  static_cast<size_t>(format.value_channels));
  }

  void WriteKept(int head) const {
    uint64_t* words = made_->kept(head);
    if (words == nullptr) return;
    auto dropped = Dropped(head).begin();
    const auto end = Dropped(head).end();
    int64_t row = FirstRow(head);
    for (size_t i = first_; i < end_; ++i) {
      const uint64_t* source = Slab(i).kept(head);
      for (int64_t word = 0; word < Slab(i).tokens() / kTileTokens; ++word) {
        const uint64_t held = source != nullptr ? source[word] : ~uint64_t{0};
        uint64_t stays = held;
        for (uint64_t left = held; left != 0; left &= left - 1, ++row)
          if (dropped != end && *dropped == row) {
            stays &= ~(left & -left);
            ++dropped;
          }
        *words++ = stays;
      }
    }
  }

  // The row that is the head's `index`-th of those that stay.
  int64_t Staying(int head, int64_t index) const {
    const DroppedRows dropped = Dropped(head);
    const int64_t base = FirstRow(head);
    int64_t low = 0, high = static_cast<int64_t>(dropped.size());
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (dropped[static_cast<size_t>(middle)] - base - middle <= index)
        low = middle + 1;
      else
        high = middle;
    }
    return base + index + low;
  }

  const uint8_t* Tile(int head, int64_t tile) const {
    const size_t entry = slabs_.Find(head, tile);
    return Slab(entry).tile(head, tile - slabs_.FirstTile(head, entry));
  }

  void WriteTile(int head, int64_t tile) const {
    const TileFormat& format = made_->format(head);
    uint8_t* target = made_->tile(head, tile);
    int64_t row = Staying(head, tile * kTileTokens);
    if (row % kTileTokens == 0 &&
        Staying(head, tile * kTileTokens + kTileTokens - 1) == row + kTileTokens - 1) {
      std::memcpy(target, Tile(head, row / kTileTokens), format.stride);
      return;
    }
    const DroppedRows dropped = Dropped(head);
    auto next = std::lower_bound(dropped.begin(), dropped.end(), row);
    TileRow rows[kTileTokens];
    const uint8_t* source = nullptr;
    for (int64_t count = 0, open = -1; count < kTileTokens; ++row) {
      if (next != dropped.end() && *next == row) {
        ++next;
        continue;
      }
      if (row / kTileTokens != open) source = Tile(head, open = row / kTileTokens);
      rows[count++] = {source, static_cast<int>(row % kTileTokens)};
    }
    GatherRows(format, rows, target);
  }

  const SlabList& slabs_;
  const size_t first_;
  const size_t end_;
  std::vector<DroppedRows> dropped_;  // of these entries, per head
  std::vector<int64_t> first_tiles_;  // of each head, of all that are written
  std::shared_ptr<TileSlab> made_;
};

}  // namespace

bool CanJoin(const TileSlab& first, const TileSlab& second) {
  for (int head = 0; head < first.kv_heads(); ++head) {
    const TileFormat& format = first.format(head);
    if (format != second.format(head)) return false;
    if (!std::equal(first.key_channels(head), first.key_channels(head) + format.key_channels,
                    second.key_channels(head)))
      return false;
    const uint8_t* values = first.value_channels(head);  // as null as the second one's: the formats agree
    if (values != nullptr && !std::equal(values, values + format.value_channels, second.value_channels(head)))
      return false;
  }
  return true;
}

size_t JoinableFrom(const SlabList& slabs, size_t first) {
  size_t end = first;
  while (end < slabs.size() && CanJoin(*slabs[first].slab, *slabs[end].slab)) ++end;
  return end - first;
}

Status JoinSlabs(const std::shared_ptr<MemoryAccount>& account, const SlabList& slabs, size_t first,
                 size_t count, std::span<const DroppedRows> dropped, TaskRunner& tasks,
                 std::shared_ptr<TileSlab>* slab) {
  return Joiner(slabs, first, count, dropped).Run(account, tasks, slab);
}

}  // namespace kvprune
