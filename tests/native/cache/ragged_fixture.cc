#include "cache/ragged_fixture.h"

#include <algorithm>
#include <numeric>

namespace kvprune::test {

HeadPlan RandomPlan(int head_size, int64_t span, int tiles, std::mt19937* random) {
  const auto between = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(*random);
  };
  const int key_channels = between(0, 1) == 0 ? head_size : between(1, head_size);
  const int removed = between(0, 1) == 0 ? 0 : between(0, head_size - 1);
  const int values = head_size - removed;
  HeadPlan plan;
  plan.tile = {head_size,
               key_channels,
               kStorages[between(0, 4)],
               between(0, 1) == 0 ? key_channels : between(1, key_channels),
               kStorages[between(0, 4)],
               between(0, 1) == 0 ? values : between(1, values),
               removed};
  plan.kept.resize(span);
  std::iota(plan.kept.begin(), plan.kept.end(), 0);
  std::shuffle(plan.kept.begin(), plan.kept.end(), *random);
  if (tiles < 0) tiles = between(0, static_cast<int>(span / kTileTokens));
  plan.kept.resize(static_cast<size_t>(tiles) * kTileTokens);
  std::sort(plan.kept.begin(), plan.kept.end());
  return plan;
}

std::shared_ptr<TileSlab> PackSlab(const std::shared_ptr<MemoryAccount>& account, int64_t span,
                                   const std::vector<HeadPlan>& plans, const std::vector<Rows>& keys,
                                   const std::vector<Rows>& values) {
  std::vector<HeadRun> runs;
  for (const HeadPlan& plan : plans) runs.push_back(plan.Run(span));
  std::shared_ptr<TileSlab> slab;
  const Status status = TileSlab::Create(account, span, runs, &slab);
  EXPECT_TRUE(status.ok()) << status.message();
  for (int head = 0; head < static_cast<int>(plans.size()); ++head) {
    const HeadPlan& plan = plans[head];
    const int head_size = plan.tile.head_size;
    const auto channels = EvenChannels(plan.tile.key_channels, head_size);
    std::copy(channels.begin(), channels.end(), slab->key_channels(head));
    const auto value_channels = EvenChannels(plan.tile.value_channels(), head_size);
    EXPECT_EQ(slab->value_channels(head) != nullptr, plan.tile.removed_values > 0);
    if (plan.tile.removed_values > 0)
      std::copy(value_channels.begin(), value_channels.end(), slab->value_channels(head));
    EXPECT_EQ(slab->kept(head) != nullptr, static_cast<int64_t>(plan.kept.size()) != span);
    if (slab->kept(head) != nullptr) {
      std::fill_n(slab->kept(head), span / 64, uint64_t{0});
      for (const int64_t token : plan.kept) slab->kept(head)[token / 64] |= uint64_t{1} << (token % 64);
    }
    for (size_t first = 0; first < plan.kept.size(); first += kTileTokens) {
      Rows tile_keys, tile_values;
      for (size_t row = first; row < first + kTileTokens; ++row) {
        tile_keys.push_back(keys[head][plan.kept[row]]);
        tile_values.push_back(values[head][plan.kept[row]]);
      }
      Kernels().pack_tile(slab->format(head), Flatten(tile_keys).data(), Flatten(tile_values).data(),
                          head_size, channels.data(), value_channels.data(),
                          slab->tile(head, static_cast<int64_t>(first) / kTileTokens));
    }
  }
  return slab;
}

StoredRun Stored(const HeadPlan& plan, const Rows& keys, const Rows& values) {
  const int head_size = plan.tile.head_size;
  StoredRun stored;
  const auto add = [&](const Rows& rows, size_t first, const std::vector<uint8_t>& channels,
                       const oracle::SectionRules& rules, std::vector<std::vector<double>>* to) {
    Rows gathered;
    for (size_t row = first; row < first + kTileTokens; ++row) {
      gathered.emplace_back();
      for (const uint8_t channel : channels) gathered.back().push_back(rows[plan.kept[row]][channel]);
    }
    for (const auto& row : oracle::StoredTile(gathered, rules)) {
      to->emplace_back(head_size, 0.0);
      for (size_t i = 0; i < channels.size(); ++i) to->back()[channels[i]] = row[i];
    }
  };
  for (size_t first = 0; first < plan.kept.size(); first += kTileTokens) {
    add(keys, first, EvenChannels(plan.tile.key_channels, head_size),
        {plan.tile.key_storage, plan.tile.key_nonzeros, true}, &stored.keys);
    add(values, first, EvenChannels(plan.tile.value_channels(), head_size),
        {plan.tile.value_storage, plan.tile.value_nonzeros, false}, &stored.values);
  }
  return stored;
}

}  // namespace kvprune::test
