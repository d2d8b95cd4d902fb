#ifndef KVPRUNE_PRUNING_ELEMENT_MASKS_H_
#define KVPRUNE_PRUNING_ELEMENT_MASKS_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// Tokens of a group in MUSTAFAR's per-channel pattern.
inline constexpr int kChannelGroupTokens = 32;

// Which elements of rows [count, width] stay (arXiv 2505.22913, section 2), as bytes [count, width] that are
// 1 or 0. Width at most kMaxHeadSize.

// Of every row the `kept` elements with the largest |x_j| * channel_weights[j] (null: 1); ties: the lower
// channel. A weight per token would not change the order.
Status PerTokenMask(const TokenRows& rows, int width, const float* channel_weights, int kept, uint8_t* mask);

// Of every channel in every kChannelGroupTokens consecutive tokens the `kept` elements with the largest
// |x_t| * token_weights[t] (null: 1); ties: the earlier token. A weight per channel would not change the
// order. In a last group that is shorter, `kept` of what there is.
Status PerChannelMask(const TokenRows& rows, int width, const float* token_weights, int kept, uint8_t* mask);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_ELEMENT_MASKS_H_
