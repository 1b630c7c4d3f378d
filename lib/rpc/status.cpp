#include <arus/rpc_status.h>

namespace arus::rpc {

std::string_view to_string(Code code) noexcept {
  switch (code) {
    case Code::ok: return "ok";
    case Code::cancelled: return "cancelled";
    case Code::unknown: return "unknown";
    case Code::invalid_argument: return "invalid_argument";
    case Code::deadline_exceeded: return "deadline_exceeded";
    case Code::not_found: return "not_found";
    case Code::already_exists: return "already_exists";
    case Code::permission_denied: return "permission_denied";
    case Code::resource_exhausted: return "resource_exhausted";
    case Code::failed_precondition: return "failed_precondition";
    case Code::aborted: return "aborted";
    case Code::out_of_range: return "out_of_range";
    case Code::unimplemented: return "unimplemented";
    case Code::internal: return "internal";
    case Code::unavailable: return "unavailable";
    case Code::data_loss: return "data_loss";
    case Code::unauthenticated: return "unauthenticated";
  }
  return "unknown";
}

namespace {

Code code_for(Errc code) noexcept {
  switch (code) {
    case Errc::timed_out: return Code::deadline_exceeded;
    case Errc::invalid_argument: return Code::invalid_argument;
    case Errc::too_large:
    case Errc::out_of_range: return Code::out_of_range;
    case Errc::not_found: return Code::not_found;
    case Errc::already_exists: return Code::already_exists;
    case Errc::full:
    case Errc::limit_reached:
    case Errc::no_space:
    case Errc::exhausted: return Code::resource_exhausted;
    case Errc::permission_denied: return Code::permission_denied;
    case Errc::corrupt: return Code::data_loss;
    case Errc::deleted: return Code::unavailable;
    case Errc::system: return Code::internal;
    default: return Code::failed_precondition;
  }
}

}  // namespace

Status::Status(const Error& error)
    : code_(code_for(error.code())), cause_(error.code()), message_(std::make_shared<const std::string>(error.message())) {}

}  // namespace arus::rpc
