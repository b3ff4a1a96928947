// What a launch answers. The text of an error lives until the next launch on the same thread.
#pragma once

namespace dc {

struct Status {
  const char* error = nullptr;
  explicit operator bool() const { return error == nullptr; }
};

}  // namespace dc
