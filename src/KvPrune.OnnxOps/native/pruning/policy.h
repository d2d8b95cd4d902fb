#ifndef KVPRUNE_PRUNING_POLICY_H_
#define KVPRUNE_PRUNING_POLICY_H_

#include <cstdint>
#include <vector>

#include "cache/model_shape.h"
#include "cache/status.h"
#include "kernels/tile_format.h"

namespace kvprune {

enum class SparsityPattern : uint8_t { kPerToken = 0, kPerChannel = 1 };
enum class KeyScore : uint8_t { kMagnitude = 0, kQueryMagnitude = 1, kQueryRms = 2 };
enum class ValueScore : uint8_t { kMagnitude = 0, kAttention = 1, kOutputWeight = 2 };
enum class TokenScore : uint8_t {
  kAll = 0,
  kRecency = 1,
  kWindowAttention = 2,
  kAccumulatedAttention = 3,
  kExpectedAttention = 4,
  kReconstruction = 5
};
enum class HeadBudgets : uint8_t { kUniform = 0, kAdaptive = 1, kGlobal = 2 };

// Which tokens are evicted; see kvp_policy.
struct Eviction {
  TokenScore score = TokenScore::kAll;
  float sparsity = 0;
  int token_budget = 0;  // per head on average; 0: by sparsity
  int sink_tokens = 0;
  int pool_kernel = 1;
  float pyramid_slope = 0;
  HeadBudgets heads = HeadBudgets::kUniform;
  float head_floor = 0;
  bool weigh_by_value = false;
  bool second_stage = false;
  bool while_decoding = false;  // generated tokens too

  bool active() const { return score != TokenScore::kAll; }
};

// Fractions removed in one layer.
struct LayerSparsity {
  float key_channels;
  float value_channels;
  float keys;
  float values;
  float tokens;
};

// What is removed from a sequence's K and V and how the rest is stored. Pure data; see kvp_policy.
struct Policy {
  Storage key_storage;
  Storage value_storage;
  float key_channel_sparsity;
  float key_sparsity;
  float value_sparsity;
  int recent_window;
  int observation_window;
  float value_channel_sparsity = 0;
  SparsityPattern key_pattern = SparsityPattern::kPerToken;
  SparsityPattern value_pattern = SparsityPattern::kPerToken;
  KeyScore key_score = KeyScore::kMagnitude;
  ValueScore value_score = ValueScore::kMagnitude;
  Eviction eviction = {};
  float output_error = 0;                  // 0: the sparsities count
  std::vector<LayerSparsity> layers = {};  // empty: the same in every layer

  // The sparsities of `layer`.
  LayerSparsity ForLayer(int layer) const {
    if (!layers.empty()) return layers[layer];
    return {key_channel_sparsity, value_channel_sparsity, key_sparsity, value_sparsity, eviction.sparsity};
  }

  // The last `observation_window` rotated queries of a segment.
  bool NeedsObservedQueries() const;
  // The attention mass that each token received from all queries.
  bool NeedsAccumulatedAttention() const { return eviction.score == TokenScore::kAccumulatedAttention; }
  // Mean and covariance of a prompt's queries before rotation.
  bool NeedsExpectedAttention() const { return eviction.score == TokenScore::kExpectedAttention; }
  // The attention of queries that repeat the prompt.
  bool NeedsReconstruction() const { return eviction.score == TokenScore::kReconstruction; }
  // All layers' rows at once, or steps after the prompt.
  bool NeedsDeferredSegment() const {
    return NeedsReconstruction() || eviction.heads == HeadBudgets::kGlobal;
  }
  // The attention that every stored row goes on receiving from generated tokens.
  bool ScoresWhileDecoding() const { return eviction.while_decoding && NeedsAccumulatedAttention(); }
  // The Gram matrices of the output projection.
  bool NeedsOutputGram() const;

  Storage TailKeyStorage() const { return TailStorage(key_storage); }
  Storage TailValueStorage() const { return TailStorage(value_storage); }
  // The dense tail holds the recent window and the tile that is being filled.
  int TailCapacity() const { return recent_window + kTileTokens; }
  // Of `dense_rows` rows after the last sealed one, how many leave the window in whole tiles.
  int64_t SealableTiles(int64_t dense_rows) const {
    return dense_rows > recent_window ? (dense_rows - recent_window) / kTileTokens : 0;
  }

 private:
  // Whether `sparsity` removes something in any layer.
  bool Removes(float LayerSparsity::*sparsity) const;
  static Storage TailStorage(Storage storage) {
    return storage == Storage::kFloat32 || storage == Storage::kFloat16 ? storage : Storage::kBFloat16;
  }
};

// Refuses what is out of range and what cannot be combined. A recent window beyond the model's context is the
// context.
Status MakePolicy(const kvp_policy& source, const ModelShape& shape, Policy* policy);

// ThinK removes floor(lambda * head_size) channels (arXiv 2407.21018), never all of them.
int KeptChannels(float sparsity, int head_size);
// MUSTAFAR keeps round((1 - s) * width) elements of a row or of a channel's group, at least one (arXiv
// 2505.22913).
int KeptElements(float sparsity, int width);

// How K or V rows are stored, and what is removed of them first.
struct EntrySetting {
  Storage storage;
  float channels;  // fraction removed
  float elements;  // of the remaining channels'

  bool operator==(const EntrySetting&) const = default;
};

// The format of tiles with these settings and the policy's patterns.
TileFormat MakeFormat(const Policy& policy, const EntrySetting& key, const EntrySetting& value,
                      int head_size);

// What tiles of `layer` that are sealed at a prompt's end keep; with an error budget the most that they may.
EntrySetting PromptKeySetting(const Policy& policy, int layer);
EntrySetting PromptValueSetting(const Policy& policy, int layer);
TileFormat PromptTileFormat(const Policy& policy, int layer, int head_size);
// Tiles sealed while generating keep every channel, as in ThinK's paper, and under an error budget every
// element, as nothing is measured for them. Generated rows still in the tail when a later prompt ends are
// sealed with that prompt.
TileFormat GeneratedTileFormat(const Policy& policy, int layer, int head_size);

// What the rows of an error budget that allows nothing are stored as: bfloat16 where `storage` is integers.
Storage FinestStorage(Storage storage);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_POLICY_H_
