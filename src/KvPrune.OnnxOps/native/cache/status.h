#ifndef KVPRUNE_CACHE_STATUS_H_
#define KVPRUNE_CACHE_STATUS_H_

#include <string>
#include <utility>

#include "api/kvprune.h"

namespace kvprune {

// Outcome of an operation that callers can make fail; carried across the C ABI as kvp_status plus message.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(kvp_status code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == KVP_OK; }
  kvp_status code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  kvp_status code_ = KVP_OK;
  std::string message_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_STATUS_H_
