// ONNX Runtime's headers as this library uses them: the API table comes from the caller at registration.
#ifndef KVPRUNE_OPS_ORT_H_
#define KVPRUNE_OPS_ORT_H_

#include "onnxruntime_cxx_api.h"

namespace kvprune {

// The version of the API is the runtime's minor version. StockAttention needs a GroupQueryAttention with 12
// inputs (head_sink is the last) whose local_window_size counts the token itself, as it does since
// microsoft/onnxruntime#25927 of September 2025: 1.24 has both for certain. Only the version that
// Directory.Packages.props names (1.31.1) was tried.
inline constexpr uint32_t kOrtApiVersion = 24;

}  // namespace kvprune

#endif  // KVPRUNE_OPS_ORT_H_
