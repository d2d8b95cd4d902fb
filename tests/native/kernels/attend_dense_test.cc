#include <algorithm>
#include <cmath>

#include "kernels/fixture.h"

namespace kvprune {
namespace {

using AttendDenseTest = KernelTest;
KVPRUNE_ALL_KERNELS(AttendDenseTest);

constexpr Storage kFloating[] = {Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16};

struct Plain {
  Rows rows;
  std::vector<float> floats;
  std::vector<uint16_t> halves;

  Plain(int count, int head_size, Storage storage, std::mt19937* random)
      : rows(RandomRows(count, head_size, random)) {
    for (auto& row : rows) {
      for (float& value : row) {
        if (storage == Storage::kBFloat16) {
          value = static_cast<float>(oracle::RoundToBFloat16(value));
          halves.push_back(FloatToBFloat16(value));
        } else if (storage == Storage::kFloat16) {
          value = static_cast<float>(oracle::RoundToFloat16(value));
          halves.push_back(FloatToFloat16(value));
        } else {
          floats.push_back(value);
        }
      }
    }
  }
  const void* data() const {
    return floats.empty() ? static_cast<const void*>(halves.data()) : floats.data();
  }
};

std::vector<std::vector<double>> Doubles(const Rows& rows, int64_t count) {
  std::vector<std::vector<double>> doubles;
  for (int64_t i = 0; i < count; ++i) doubles.emplace_back(rows[i].begin(), rows[i].end());
  return doubles;
}

void ExpectOracle(int head_size, Storage key_storage, Storage value_storage,
                  const std::vector<RowRange>& seen, float softcap, double tolerance, std::mt19937* random) {
  SCOPED_TRACE("head size " + std::to_string(head_size) + ", query rows " + std::to_string(seen.size()) +
               ", first sees " + std::to_string(seen[0].begin) + " to " + std::to_string(seen[0].end));
  const int query_rows = static_cast<int>(seen.size());
  // Exactly as many rows as the furthest query sees: AddressSanitizer catches a read beyond.
  int count = 0;
  for (const RowRange& range : seen) count = std::max(count, static_cast<int>(range.end));
  const Plain keys(count, head_size, key_storage, random), values(count, head_size, value_storage, random);
  Rows queries = RandomRows(query_rows, head_size, random);
  for (auto& row : queries) {
    for (float& value : row) value /= std::sqrt(static_cast<float>(head_size));
  }
  AttentionState state;
  state.Reset(query_rows, head_size);
  const DenseRows rows{keys.data(), values.data(), key_storage, value_storage, head_size};
  Kernels().attend_dense(rows, seen.data(), Flatten(queries).data(), query_rows, softcap, &state);

  const auto expected =
      Expected(queries, Doubles(keys.rows, count), Doubles(values.rows, count), seen, softcap);
  EXPECT_LE(RelativeError(state, head_size, expected), tolerance);
  EXPECT_LE(LogSumError(state, expected), LogSumTolerance(tolerance));
}

// Every query row sees a prefix.
void ExpectOracle(int head_size, Storage key_storage, Storage value_storage,
                  const std::vector<int64_t>& visible, double tolerance, std::mt19937* random) {
  std::vector<RowRange> seen;
  for (int64_t end : visible) seen.push_back({0, end});
  ExpectOracle(head_size, key_storage, value_storage, seen, 0, tolerance, random);
}

double Tolerance(Storage key_storage, Storage value_storage, const std::string& kernels) {
  const bool rounds = key_storage == Storage::kBFloat16 || value_storage == Storage::kBFloat16;
  return kernels == "avx512_bf16" && rounds ? 1e-2 : 2e-5;
}

TEST_P(AttendDenseTest, AgreesWithTheOracleForEveryRowCount) {
  std::mt19937 random(21);
  for (int head_size : {64, 96, 128}) {
    for (Storage key : kFloating) {
      for (Storage value : kFloating) {
        for (int count : {1, 31, 32, 33, 63, 64, 65, 95, 96, 97}) {
          for (int query_rows : {1, 2, 4, 7, 8}) {
            if (head_size > 64 && (count + query_rows) % 3 != 0) continue;
            ExpectOracle(head_size, key, value, std::vector<int64_t>(query_rows, count),
                         Tolerance(key, value, GetParam()), &random);
          }
        }
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(AttendDenseTest, AgreesWithTheOracleForLongRows) {
  std::mt19937 random(25);
  for (Storage storage : kFloating) {
    for (int count : {1023, 1024, 1025, std::uniform_int_distribution<int>(130, 1500)(random)}) {
      for (int head_size : {32, 80, 160})
        ExpectOracle(head_size, storage, storage, std::vector<int64_t>(5, count),
                     Tolerance(storage, storage, GetParam()), &random);
    }
  }
}

TEST_P(AttendDenseTest, EveryQueryRowSeesItsOwnPrefix) {
  std::mt19937 random(22);
  for (Storage storage : kFloating) {
    const double tolerance = Tolerance(storage, storage, GetParam());
    ExpectOracle(64, storage, storage, {1, 2, 3, 4, 5, 6, 7, 8}, tolerance, &random);
    ExpectOracle(64, storage, storage, {61, 62, 63, 64, 65, 66, 67, 68}, tolerance, &random);
    ExpectOracle(96, storage, storage, {130, 130, 2, 64}, tolerance, &random);
    ExpectOracle(128, storage, storage, {0, 200, 0}, tolerance, &random);
    ExpectOracle(64, storage, storage, {300, 1, 128, 129}, tolerance, &random);
  }
}

TEST_P(AttendDenseTest, EveryQueryRowSeesItsOwnWindow) {
  std::mt19937 random(24);
  for (Storage storage : kFloating) {
    for (float softcap : {0.0f, 2.0f}) {
      const double tolerance = Tolerance(storage, storage, GetParam());
      for (int64_t window : {1, 5, 63, 64, 65, 130}) {
        std::vector<RowRange> seen;
        for (int64_t end = 140; end < 148; ++end) seen.push_back({end - window, end});
        ExpectOracle(64, storage, storage, seen, softcap, tolerance, &random);
      }
      ExpectOracle(96, storage, storage, {{0, 200}, {64, 128}, {199, 200}, {128, 128}, {63, 65}}, softcap,
                   tolerance, &random);
    }
  }
}

// Logits of a few units, from caps that hardly touch them to caps that leave nothing of them.
TEST_P(AttendDenseTest, CapsOfEverySizeKeepTheirPrecision) {
  std::mt19937 random(25);
  for (float softcap : {1e-30f, 1e-3f, 0.5f, 4.0f, 8.0f, 16.0f, 50.0f, 1e3f, 1e6f, 1e20f, 3e38f}) {
    SCOPED_TRACE("softcap " + std::to_string(softcap));
    ExpectOracle(64, Storage::kFloat32, Storage::kFloat32, {{0, 200}, {64, 128}}, softcap,
                 Tolerance(Storage::kFloat32, Storage::kFloat32, GetParam()), &random);
  }
}

TEST_P(AttendDenseTest, TakesEveryHeadSize) {
  std::mt19937 random(23);
  for (Storage storage : kFloating) {
    for (int head_size = 8; head_size <= kMaxHeadSize; head_size += 8) {
      ExpectOracle(head_size, storage, storage, {70, 69, 68}, Tolerance(storage, storage, GetParam()),
                   &random);
    }
  }
}

TEST_P(AttendDenseTest, AgreesWithTheOtherKernels) {
  std::mt19937 random(26);
  const RowRange seen[] = {{0, 97}, {31, 33}, {64, 65}, {1, 96}};
  const std::vector<float> queries = Flatten(RandomRows(4, 72, &random));
  for (Storage key : kFloating) {
    for (Storage value : kFloating) {
      const Plain keys(97, 72, key, &random), values(97, 72, value, &random);
      const auto attend = [&](const char* kernels) {
        AttentionState state;
        state.Reset(4, 72);
        EXPECT_TRUE(UseKernels(kernels));
        const DenseRows rows{keys.data(), values.data(), key, value, 72};
        Kernels().attend_dense(rows, seen, queries.data(), 4, 30, &state);
        return state;
      };
      const AttentionState own = attend(GetParam());
      for (const char* other : kAllKernels) {
        if (!UseKernels(other)) continue;
        ExpectClose(own, attend(other), 4, 72,
                    Tolerance(key, value, GetParam()) + Tolerance(key, value, other), other);
      }
    }
  }
}

TEST_P(AttendDenseTest, NoVisibleRowsChangeNothing) {
  AttentionState state;
  state.Reset(2, 64);
  const RowRange seen[] = {{0, 0}, {0, 0}};
  const std::vector<float> queries(2 * 64, 1.0f);
  Kernels().attend_dense({nullptr, nullptr, Storage::kFloat32, Storage::kBFloat16, 64}, seen, queries.data(),
                         2, 0, &state);
  float output[2][64];
  float* rows[] = {output[0], output[1]};
  FinishAttention(state, 2, 64, nullptr, rows);
  for (float value : output[1]) EXPECT_EQ(value, 0);
}

}  // namespace
}  // namespace kvprune
