#include <algorithm>
#include <string>

#include "pruning/policy.h"

namespace kvprune {
namespace {

constexpr int kLongestWindow = 1 << 20;

// Remembers the first rule that is broken. Conditions are written so that NaN breaks them.
class Rules {
 public:
  void Require(bool holds, const std::string& name, double value, const char* rule) {
    if (!holds) Refuse(name + " is " + std::to_string(value) + ", but must be " + rule);
  }
  void RequireFraction(const std::string& name, float value) {
    Require(value >= 0.0f && value < 1.0f, name, value, "in [0, 1)");
  }
  void RequireMember(const char* name, int32_t value, int32_t last, const char* type) {
    Require(value >= 0 && value <= last, name, value, type);
  }
  void RequireRange(const char* name, int32_t value, int32_t least, const char* rule) {
    Require(value >= least && value <= kLongestWindow, name, value, rule);
  }
  void Exclude(bool clash, const char* reason) {
    if (clash) Refuse(reason);
  }
  const Status& status() const { return status_; }

 private:
  void Refuse(const std::string& reason) {
    if (status_.ok()) status_ = {KVP_INVALID_ARGUMENT, "pruning policy: " + reason};
  }
  Status status_;
};

bool SameTokens(const kvp_policy& source) {
  return std::all_of(source.layers, source.layers + source.layer_count, [&](const kvp_layer_sparsity& layer) {
    return layer.token_sparsity == source.token_sparsity;
  });
}

bool RemovesEntries(const kvp_policy& source) {
  const auto removes = [](const auto& sparsities) {
    return sparsities.key_channel_sparsity > 0 || sparsities.value_channel_sparsity > 0 ||
           sparsities.key_sparsity > 0 || sparsities.value_sparsity > 0;
  };
  return removes(source) || std::any_of(source.layers, source.layers + source.layer_count, removes);
}

void CheckEntries(const kvp_policy& source, Rules* rules) {
  rules->RequireMember("key_storage", source.key_storage, KVP_STORAGE_INT4, "a kvp_storage");
  rules->RequireMember("value_storage", source.value_storage, KVP_STORAGE_INT4, "a kvp_storage");
  rules->RequireFraction("key_channel_sparsity", source.key_channel_sparsity);
  rules->RequireFraction("value_channel_sparsity", source.value_channel_sparsity);
  rules->RequireFraction("key_sparsity", source.key_sparsity);
  rules->RequireFraction("value_sparsity", source.value_sparsity);
  rules->RequireRange("recent_window", source.recent_window, 0, "in [0, 1048576]");
  rules->RequireRange("observation_window", source.observation_window, 1, "in [1, 1048576]");
  rules->RequireMember("key_pattern", source.key_pattern, KVP_PATTERN_PER_CHANNEL, "a kvp_sparsity_pattern");
  rules->RequireMember("value_pattern", source.value_pattern, KVP_PATTERN_PER_CHANNEL,
                       "a kvp_sparsity_pattern");
  rules->RequireMember("key_score", source.key_score, KVP_KEY_QUERY_RMS, "a kvp_key_score");
  rules->RequireMember("value_score", source.value_score, KVP_VALUE_OUTPUT_WEIGHT, "a kvp_value_score");
  rules->Exclude(source.value_score == KVP_VALUE_ATTENTION && source.value_pattern == KVP_PATTERN_PER_TOKEN,
                 "value_score attention is one factor for a whole V row, which leaves the order within the "
                 "row as it is: "
                 "it needs value_pattern per channel");
  rules->Exclude(
      source.value_score == KVP_VALUE_OUTPUT_WEIGHT && source.value_pattern == KVP_PATTERN_PER_CHANNEL,
      "value_score output weight is one factor for a whole V channel, which leaves the order within the "
      "channel as it is: it needs value_pattern per token");
  rules->Exclude(
      source.key_score != KVP_KEY_MAGNITUDE && source.key_pattern == KVP_PATTERN_PER_CHANNEL,
      "a key_score by queries is one factor for a whole K channel, which leaves the order within the channel "
      "as it is: it needs key_pattern per token");
  rules->Require(source.output_error >= 0.0f && source.output_error < 1.0f, "output_error",
                 source.output_error, "in (0, 1), or 0 for none");
}

void CheckLayers(const kvp_policy& source, const ModelShape& shape, Rules* rules) {
  rules->Require(source.layer_count == 0 || (source.layer_count == shape.layers && source.layers != nullptr),
                 "layer_count", source.layer_count, "0 or the model's number of layers, with layers");
  if (!rules->status().ok()) return;
  for (int32_t i = 0; i < source.layer_count; ++i) {
    const std::string name = "layers[" + std::to_string(i) + "].";
    rules->RequireFraction(name + "key_channel_sparsity", source.layers[i].key_channel_sparsity);
    rules->RequireFraction(name + "value_channel_sparsity", source.layers[i].value_channel_sparsity);
    rules->RequireFraction(name + "key_sparsity", source.layers[i].key_sparsity);
    rules->RequireFraction(name + "value_sparsity", source.layers[i].value_sparsity);
    rules->RequireFraction(name + "token_sparsity", source.layers[i].token_sparsity);
  }
  rules->Exclude(source.output_error > 0 && RemovesEntries(source),
                 "output_error chooses how many channels and elements are removed, so their sparsities must "
                 "be 0");
}

void CheckEviction(const kvp_policy& source, Rules* rules) {
  rules->RequireMember("token_score", source.token_score, KVP_TOKENS_RECONSTRUCTION, "a kvp_token_score");
  rules->RequireFraction("token_sparsity", source.token_sparsity);
  rules->Require(source.token_budget >= 0, "token_budget", source.token_budget, "at least 1, or 0 for none");
  if (!rules->status().ok()) return;
  const bool same_tokens = SameTokens(source);
  if (source.token_score == KVP_TOKENS_ALL) {
    rules->Exclude(source.token_sparsity > 0 || source.token_budget > 0 || !same_tokens,
                   "token_sparsity and token_budget need a token_score that chooses the tokens");
    return;
  }
  rules->RequireRange("sink_tokens", source.sink_tokens, 0, "in [0, 1048576]");
  rules->RequireRange("pool_kernel", source.pool_kernel, 1, "in [1, 1048576]");
  rules->Require(source.pool_kernel % 2 == 1, "pool_kernel", source.pool_kernel,
                 "odd, so that a token is in the middle of its pool");
  rules->Require(
      source.pyramid_slope == 0.0f || (source.pyramid_slope >= 1.0f && source.pyramid_slope <= 1e6f),
      "pyramid_slope", source.pyramid_slope, "0 for none, or in [1, 1000000]");
  rules->RequireMember("head_budgets", source.head_budgets, KVP_HEADS_GLOBAL, "a kvp_head_budgets");
  rules->Require(source.head_floor >= 0.0f && source.head_floor <= 1.0f, "head_floor", source.head_floor,
                 "in [0, 1]");

  rules->Exclude(source.token_budget > 0 && (source.token_sparsity > 0 || !same_tokens),
                 "token_budget replaces token_sparsity, so only one of them may be set");
  rules->Exclude(source.pyramid_slope > 0 && !same_tokens,
                 "pyramid_slope and a token_sparsity per layer both set the layers' budgets");
  const bool global = source.head_budgets == KVP_HEADS_GLOBAL;
  rules->Exclude(
      global && (source.pyramid_slope > 0 || !same_tokens),
      "global head_budgets leave the layers' budgets to the scores, so neither pyramid_slope nor a "
      "token_sparsity per layer can set them");
  const bool recency = source.token_score == KVP_TOKENS_RECENCY;
  rules->Exclude(recency && source.head_budgets != KVP_HEADS_UNIFORM,
                 "by recency every head keeps the same tokens, so head_budgets must be uniform");
  const bool weighs = source.weigh_by_value != 0;
  const bool stages = source.second_stage != 0;
  rules->Exclude(recency && (weighs || stages),
                 "recency is an order without weights, which weigh_by_value and second_stage need");
  rules->Exclude(weighs && stages, "weigh_by_value makes both halves of second_stage the same");
  if (source.while_decoding == 0) return;
  rules->Exclude(!recency && source.token_score != KVP_TOKENS_ACCUMULATED_ATTENTION,
                 "while_decoding needs a token_score that goes on after the prompt: recency or accumulated "
                 "attention");
  rules->Exclude(weighs || stages,
                 "while_decoding ranks rows whose values are compressed, so neither weigh_by_value nor "
                 "second_stage can weigh them");
  rules->Exclude(global,
                 "global head_budgets divide the tokens of a document among the layers once, so "
                 "while_decoding would undo them");
}

Eviction MakeEviction(const kvp_policy& source) {
  if (source.token_score == KVP_TOKENS_ALL) return {};
  return {static_cast<TokenScore>(source.token_score),
          source.token_sparsity,
          source.token_budget,
          source.sink_tokens,
          source.pool_kernel,
          source.pyramid_slope,
          static_cast<HeadBudgets>(source.head_budgets),
          source.head_floor,
          source.weigh_by_value != 0,
          source.second_stage != 0,
          source.while_decoding != 0};
}

}  // namespace

Status MakePolicy(const kvp_policy& source, const ModelShape& shape, Policy* policy) {
  Rules rules;
  CheckEntries(source, &rules);
  CheckLayers(source, shape, &rules);
  if (rules.status().ok()) CheckEviction(source, &rules);
  if (!rules.status().ok()) return rules.status();
  *policy = {static_cast<Storage>(source.key_storage),
             static_cast<Storage>(source.value_storage),
             source.key_channel_sparsity,
             source.key_sparsity,
             source.value_sparsity,
             static_cast<int>(std::min<int64_t>(source.recent_window, shape.max_tokens)),
             source.observation_window,
             source.value_channel_sparsity,
             static_cast<SparsityPattern>(source.key_pattern),
             static_cast<SparsityPattern>(source.value_pattern),
             static_cast<KeyScore>(source.key_score),
             static_cast<ValueScore>(source.value_score),
             MakeEviction(source),
             source.output_error,
             {}};
  for (int32_t i = 0; i < source.layer_count; ++i) {
    const kvp_layer_sparsity& layer = source.layers[i];
    policy->layers.push_back({layer.key_channel_sparsity, layer.value_channel_sparsity, layer.key_sparsity,
                              layer.value_sparsity, layer.token_sparsity});
  }
  return {};
}

}  // namespace kvprune
