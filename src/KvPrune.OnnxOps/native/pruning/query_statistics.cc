#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"
#include "pruning/expected_attention.h"

namespace kvprune {
namespace {

constexpr int kBlock = 64;

// products[i][j] += sum over the block's queries of x_i x_j, for j from i's panel on. `columns` holds the
// block transposed: [head_size, kBlock]; `rows` as it was, `row_stride` apart and padded to whole panels.
void AddProducts(const float* columns, const float* rows, int row_stride, int count, int head_size,
                 float* products) {
  float panel[kMaxHeadSize * kPanelLanes];
  for (int first = 0; first < head_size; first += kPanelLanes) {
    const int lanes = std::min(kPanelLanes, head_size - first);
    const int above = std::min(head_size, first + kPanelLanes);
    Kernels().scores->multiply(columns, kBlock, above, count, rows + first, row_stride, panel);
    for (int i = 0; i < above; ++i)
      for (int lane = 0; lane < lanes; ++lane)
        products[static_cast<int64_t>(i) * head_size + first + lane] += panel[i * kPanelLanes + lane];
  }
}

}  // namespace

int64_t QueryStatistics::count() const {
  int64_t count;
  std::memcpy(&count, storage_, sizeof(count));
  return count;
}

void QueryStatistics::Add(const float* queries, int64_t stride, int64_t count) {
  if (count <= 0) return;
  int64_t total = this->count();
  if (total == 0) std::copy_n(queries, head_size_, Reference());
  total += count;
  std::memcpy(storage_, &total, sizeof(total));

  // Not a power of two, whose rows would share few lines of the first-level cache.
  constexpr int kStride = kMaxHeadSize + kPanelLanes;
  float rows[kBlock * kStride] = {};
  float columns[kMaxHeadSize * kBlock];
  for (int64_t first = 0; first < count; first += kBlock) {
    const int block = static_cast<int>(std::min<int64_t>(kBlock, count - first));
    for (int i = 0; i < block; ++i) {
      const float* query = queries + (first + i) * stride;
      for (int j = 0; j < head_size_; ++j)
        rows[i * kStride + j] = columns[j * kBlock + i] = query[j] - Reference()[j];
    }
    for (int j = 0; j < head_size_; ++j) {
      double sum = 0;
      for (int i = 0; i < block; ++i) sum += static_cast<double>(columns[j * kBlock + i]);
      Sums()[j] += static_cast<float>(sum);
    }
    AddProducts(columns, rows, kStride, block, head_size_, Products());
  }
}

void QueryStatistics::Read(double* mean, double* covariance) const {
  const int64_t total = count();
  const double weight = total == 0 ? 0.0 : 1.0 / static_cast<double>(total);
  for (int j = 0; j < head_size_; ++j) mean[j] = static_cast<double>(Sums()[j]) * weight;
  for (int i = 0; i < head_size_; ++i)
    for (int j = i; j < head_size_; ++j) {
      const int64_t above = static_cast<int64_t>(i) * head_size_ + j;
      const int64_t below = static_cast<int64_t>(j) * head_size_ + i;
      covariance[above] = covariance[below] =
          static_cast<double>(Products()[above]) * weight - mean[i] * mean[j];
    }
  for (int j = 0; j < head_size_; ++j) mean[j] += static_cast<double>(Reference()[j]);
}

}  // namespace kvprune
