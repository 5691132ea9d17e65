#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "doors.h"

namespace horde {

namespace {

std::string told(const std::string& reason, grpc::StatusCode code, const std::string& message) {
  return (reason.empty() ? code_name(code) : reason) + ": " + message;
}

}  // namespace

Error::Error(grpc::StatusCode code, const std::string& message, std::string reason, std::map<std::string, std::string> metadata)
    : std::runtime_error(told(reason, code, message)), code(code), reason(std::move(reason)), metadata(std::move(metadata)) {}

std::string code_name(grpc::StatusCode code) {
  static const char* const NAMES[] = {
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
      "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
      "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
  const auto place = static_cast<std::size_t>(code);
  return place < std::size(NAMES) ? NAMES[place] : "UNKNOWN";
}

Error error_of(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest wrong;
  google::rpc::RetryInfo retry;
  std::vector<Violation> violations;
  std::optional<std::chrono::duration<double>> retry_after;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&wrong)) {
      for (const auto& violation : wrong.field_violations()) {
        violations.push_back({violation.field(), violation.description()});
      }
    } else if (detail.UnpackTo(&retry)) {
      retry_after.emplace(static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() / 1e9);
    } else if (detail.Is<google::rpc::ErrorInfo>()) {
      detail.UnpackTo(&info);
    }
  }
  Error found(status.error_code(), status.error_message(), info.reason(), {info.metadata().begin(), info.metadata().end()});
  found.domain = info.domain();
  found.violations = std::move(violations);
  found.retry_after = retry_after;
  return found;
}

}  // namespace horde
