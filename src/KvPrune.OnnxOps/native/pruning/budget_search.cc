#include "pruning/budget_search.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace kvprune {
namespace {

struct Measured {
  int option;
  double error;
};

// The options of every ladder up to the first one beyond the budget.
template <class Measure>
Status MeasureLadders(const std::vector<BudgetOption>& options, double budget, const Measure& measure,
                      std::vector<Measured>* within) {
  for (int i = 0; i < static_cast<int>(options.size()); ++i) {
    double error = 0;
    Status status = measure(i, &error);
    if (!status.ok()) return status;
    if (error <= budget) {
      within->push_back({i, error});
      continue;
    }
    while (i + 1 < static_cast<int>(options.size()) && options[i + 1].ladder == options[i].ladder) ++i;
  }
  return {};
}

}  // namespace

Status SearchBudget(const std::vector<BudgetOption>& keys, const std::vector<BudgetOption>& values,
                    double budget, const std::function<Status(int key, int value, double* error)>& measure,
                    BudgetChoice* choice) {
  std::vector<Measured> key_errors;
  std::vector<Measured> value_errors;
  double untouched = 0;
  Status status = measure(kUntouched, kUntouched, &untouched);
  if (status.ok() && untouched <= budget) {
    status = MeasureLadders(
        keys, budget, [&](int key, double* error) { return measure(key, kUntouched, error); }, &key_errors);
    if (status.ok() && !key_errors.empty())
      status = MeasureLadders(
          values, budget, [&](int value, double* error) { return measure(kUntouched, value, error); },
          &value_errors);
  }
  if (!status.ok()) return status;

  std::vector<std::tuple<size_t, int, int>> pairs;
  for (const Measured& key : key_errors)
    for (const Measured& value : value_errors)
      // What both of them hold is there once.
      if (key.error * key.error + value.error * value.error - untouched * untouched <= budget * budget)
        pairs.emplace_back(keys[key.option].bytes + values[value.option].bytes, key.option, value.option);
  std::sort(pairs.begin(), pairs.end());
  for (const auto& [bytes, key, value] : pairs) {
    *choice = {key, value, 0};
    status = measure(key, value, &choice->error);
    if (!status.ok() || choice->error <= budget) return status;
  }
  *choice = {0, 0, 0};
  return measure(0, 0, &choice->error);
}

}  // namespace kvprune
