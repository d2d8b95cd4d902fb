// ONNX Runtime's headers as this library uses them: the API table comes from the caller at registration.
#ifndef KVPRUNE_OPS_ORT_H_
#define KVPRUNE_OPS_ORT_H_

#include "onnxruntime_cxx_api.h"

namespace kvprune {

// The version of the API is the runtime's minor version: 1.24 is the first whose GroupQueryAttention has the
// 12 inputs that StockAttention gives it (head_sink is the last) and counts a token itself into its
// local_window_size on every path. The library is built against and tested with the version that
// Directory.Packages.props names; versions in between load, and a GroupQueryAttention that lacks what
// StockAttention names refuses it when the session is created.
inline constexpr uint32_t kOrtApiVersion = 24;

}  // namespace kvprune

#endif  // KVPRUNE_OPS_ORT_H_
