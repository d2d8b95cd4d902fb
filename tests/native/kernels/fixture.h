#ifndef KVPRUNE_TESTS_NATIVE_KERNELS_FIXTURE_H_
#define KVPRUNE_TESTS_NATIVE_KERNELS_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/oracle.h"

namespace kvprune {

using Rows = std::vector<std::vector<float>>;

// Runs with the kernels named by the parameter, skipped where this CPU lacks them.
class KernelTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!UseKernels(GetParam())) GTEST_SKIP() << "this CPU does not run the " << GetParam() << " kernels";
  }
  void TearDown() override { UseKernels(nullptr); }
};

inline std::string KernelName(const testing::TestParamInfo<const char*>& info) {
  return info.param;
}

inline constexpr const char* kAllKernels[] = {"scalar", "avx2", "avx512", "avx512_bf16"};

#define KVPRUNE_ALL_KERNELS(suite) \
  INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(kAllKernels), KernelName)

inline constexpr Storage kStorages[] = {Storage::kFloat32, Storage::kBFloat16, Storage::kInt8,
                                        Storage::kFloat16, Storage::kInt4};

// Normal values with channels of different size, as keys have.
Rows RandomRows(int count, int width, std::mt19937* random);

std::vector<uint8_t> EvenChannels(int kept, int head_size);

// What a policy decides, before it becomes a TileFormat.
struct TileCase {
  int head_size;
  int key_channels;
  Storage key_storage;
  int key_nonzeros;
  Storage value_storage;
  int value_nonzeros;
  int removed_values = 0;  // V channels, which value_nonzeros does not count

  int value_channels() const { return head_size - removed_values; }
  TileFormat Format() const {
    return MakeTileFormat(head_size, {key_storage, key_channels, kTileTokens * key_nonzeros},
                          {value_storage, value_channels(), kTileTokens * value_nonzeros});
  }
  std::string Name() const;
};

// Every pair of storages of K and V; every storage of each with and without removed channels and elements.
std::vector<TileCase> TileCases(int head_size);

// Tiles of random rows with what the oracle says they hold. The buffer ends where the contract lets kernels
// read to, so that AddressSanitizer sees a byte more.
struct TileData {
  TileData(const TileCase& tile_case, int tile_count, std::mt19937* random);
  uint8_t* tile(int index) const { return bytes.get() + index * format.stride; }

  struct Free {
    void operator()(uint8_t* pointer) const { std::free(pointer); }
  };
  TileCase tile_case;
  TileFormat format;
  std::vector<uint8_t> channels;                   // of K
  std::vector<uint8_t> value_channels;             // of V
  Rows keys, values;                               // [tokens][head_size], as given
  std::vector<std::vector<double>> stored_keys;    // [tokens][key_channels]
  std::vector<std::vector<double>> stored_values;  // [tokens][value_channels]
  std::unique_ptr<uint8_t[], Free> bytes;
};

// What every query row gets from the rows that it sees: zeros and a log-sum of -infinity from none.
std::vector<oracle::Output> Expected(const Rows& queries, const std::vector<std::vector<double>>& keys,
                                     const std::vector<std::vector<double>>& values,
                                     const std::vector<RowRange>& seen, double softcap);

std::vector<float> Flatten(const Rows& rows);

// Finishes `state` and returns the relative L2 distance to the oracle over all query rows.
double RelativeError(const AttentionState& state, int channels, const std::vector<oracle::Output>& expected);
// Largest difference of log-sum-exp, over the query rows that saw something.
double LogSumError(const AttentionState& state, const std::vector<oracle::Output>& expected);
// What it may be for an output tolerance: logits reach several units, so rounded queries move them further.
inline double LogSumTolerance(double output_tolerance) {
  return 4 * output_tolerance;
}

// Of what two kernels made of the same rows.
void ExpectClose(const AttentionState& own, const AttentionState& other, int query_rows, int head_size,
                 double tolerance, const char* other_name);

}  // namespace kvprune

#endif  // KVPRUNE_TESTS_NATIVE_KERNELS_FIXTURE_H_
