#include "pruning/budget_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace kvprune {
namespace {

// K's or V's options with an error for each, which grows along every ladder.
struct Side {
  std::vector<BudgetOption> options;
  std::vector<double> errors;

  Side(int ladders, std::mt19937* random) {
    std::uniform_real_distribution<double> part(0, 1);
    for (int ladder = 0; ladder < ladders; ++ladder) {
      double bytes = ladder == 0 ? 10000 : 8000 * part(*random);
      double error = ladder == 0 ? 0.001 : 0.01 * part(*random);
      for (int i = 0; i < 5; ++i) {
        options.push_back({static_cast<size_t>(bytes), ladder});
        errors.push_back(error);
        bytes *= 0.5 + 0.5 * part(*random);
        error *= 1 + part(*random);
      }
    }
  }
};

TEST(BudgetSearchTest, FindsTheFewestBytesWhereSquaredErrorsAdd) {
  std::mt19937 random(1);
  for (int turn = 0; turn < 200; ++turn) {
    const Side keys(3, &random);
    const Side values(2, &random);
    const double untouched = turn % 2 == 0 ? 0 : 0.002;
    const auto error = [&](int key, int value) {
      const double of_key = key == kUntouched ? 0 : keys.errors[key];
      const double of_value = value == kUntouched ? 0 : values.errors[value];
      return std::sqrt(of_key * of_key + of_value * of_value + untouched * untouched);
    };
    int measured = 0;
    const auto measure = [&](int key, int value, double* result) {
      ++measured;
      *result = error(key, value);
      return Status();
    };
    size_t last = SIZE_MAX;
    for (const double budget : {0.0001, 0.003, 0.005, 0.01, 0.02, 0.05, 0.5}) {
      BudgetChoice choice{};
      measured = 0;
      ASSERT_TRUE(SearchBudget(keys.options, values.options, budget, measure, &choice).ok());
      size_t best = keys.options[0].bytes + values.options[0].bytes;
      for (int key = 0; key < 15; ++key)
        for (int value = 0; value < 10; ++value)
          if (error(key, value) <= budget)
            best = std::min(best, keys.options[key].bytes + values.options[value].bytes);
      const size_t bytes = keys.options[choice.key].bytes + values.options[choice.value].bytes;
      EXPECT_EQ(bytes, best) << "budget " << budget;
      EXPECT_EQ(choice.error, error(choice.key, choice.value));
      EXPECT_LE(bytes, last) << "a looser budget takes more";
      EXPECT_LE(measured, 1 + 15 + 10 + 1) << "not every pair is measured";
      last = bytes;
    }
  }
}

TEST(BudgetSearchTest, PairsThatAreWorseThanTheirPartsAreNotChosen) {
  std::mt19937 random(2);
  for (int turn = 0; turn < 200; ++turn) {
    const Side keys(2, &random);
    const Side values(2, &random);
    std::vector<double> factors(100);
    for (double& factor : factors) factor = std::uniform_real_distribution<double>(0.8, 1.6)(random);
    const auto measure = [&](int key, int value, double* result) {
      const double of_key = key == kUntouched ? 0 : keys.errors[key];
      const double of_value = value == kUntouched ? 0 : values.errors[value];
      const bool both = key != kUntouched && value != kUntouched;
      *result = (both ? factors[key * 10 + value] : 1.0) * std::hypot(of_key, of_value);
      return Status();
    };
    size_t last = SIZE_MAX;
    for (const double budget : {0.002, 0.004, 0.008, 0.016, 0.032}) {
      BudgetChoice choice{};
      ASSERT_TRUE(SearchBudget(keys.options, values.options, budget, measure, &choice).ok());
      if (choice.error > budget) EXPECT_TRUE(choice.key == 0 && choice.value == 0);
      const size_t bytes = keys.options[choice.key].bytes + values.options[choice.value].bytes;
      EXPECT_LE(bytes, last);
      last = bytes;
    }
  }
}

TEST(BudgetSearchTest, AFailureEndsTheSearch) {
  const std::vector<BudgetOption> options{{2, 0}, {1, 0}};
  for (int failing = 0; failing < 5; ++failing) {
    int calls = 0;
    BudgetChoice choice{};
    const Status status = SearchBudget(
        options, options, 0.5,
        [&](int, int, double* error) {
          *error = 0.1;
          return calls++ == failing ? Status(KVP_OUT_OF_MEMORY, "none left") : Status();
        },
        &choice);
    EXPECT_EQ(status.code(), KVP_OUT_OF_MEMORY);
    EXPECT_EQ(calls, failing + 1);
  }
}

}  // namespace
}  // namespace kvprune
