#include "cache/error_budget.h"

#include <algorithm>
#include <vector>

#include "cache/head_error.h"
#include "pruning/budget_search.h"
#include "pruning/error_ladders.h"

namespace kvprune {
namespace {

constexpr EntrySetting kAsItIs{Storage::kFloat32, 0, 0};

// K's or V's settings, one ladder after the other.
struct Settings {
  std::vector<EntrySetting> settings;
  std::vector<BudgetOption> options;
  size_t most_bytes = 0;  // of a tile whose other half is untouched

  EntrySetting operator[](int option) const {
    return option == kUntouched ? kAsItIs : settings[static_cast<size_t>(option)];
  }
};

template <class Bytes>
Settings Flatten(const ErrorLadders& ladders, const Bytes& bytes) {
  Settings flat;
  for (size_t ladder = 0; ladder < ladders.size(); ++ladder)
    for (const EntrySetting& setting : ladders[ladder]) {
      flat.settings.push_back(setting);
      flat.options.push_back({bytes(setting), static_cast<int>(ladder)});
      flat.most_bytes = std::max(flat.most_bytes, flat.options.back().bytes);
    }
  return flat;
}

}  // namespace

Status ChooseWithinError(const std::shared_ptr<MemoryAccount>& account, const Policy& policy, int kv_head,
                         HeadSealing* sealing, float* error) {
  const int head_size = sealing->source().rule.head_size;
  const Settings keys = Flatten(KeyLadders(policy), [&](const EntrySetting& setting) {
    return MakeFormat(policy, setting, kAsItIs, head_size).stride;
  });
  const Settings values = Flatten(ValueLadders(policy), [&](const EntrySetting& setting) {
    return MakeFormat(policy, kAsItIs, setting, head_size).stride;
  });
  const size_t untouched = MakeFormat(policy, kAsItIs, kAsItIs, head_size).stride;
  HeadError head;
  Status status = head.Prepare(account, kv_head, sealing->source(),
                               std::max({untouched, keys.most_bytes, values.most_bytes}));
  if (!status.ok()) return status;
  const bool evicts = sealing->Run().evicted;
  const auto measure = [&](int key, int value, double* measured) {
    if (key == kUntouched && value == kUntouched && !evicts) {
      *measured = 0;
      return Status();
    }
    sealing->Use(keys[key], values[value]);
    return head.Measure(*sealing, measured);
  };
  BudgetChoice choice{};
  status =
      SearchBudget(keys.options, values.options, static_cast<double>(policy.output_error), measure, &choice);
  if (!status.ok()) return status;
  sealing->Use(keys[choice.key], values[choice.value]);
  *error = static_cast<float>(choice.error);
  return {};
}

}  // namespace kvprune
