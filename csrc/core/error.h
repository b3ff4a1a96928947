// Errors of deepcore and the check that raises them. Bindings map each to its Python class.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace dc {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error {
  using Error::Error;
};
struct DtypeError : Error {
  using Error::Error;
};
struct DeviceError : Error {
  using Error::Error;
};
struct ArgumentError : Error {
  using Error::Error;
};
struct OutOfMemoryError : Error {
  using Error::Error;
};

template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// DC_CHECK(a.ndim() == 2, ShapeError, "matmul: expected ..., got ", a.shape());
#define DC_CHECK(condition, ErrorType, ...)        \
  do {                                             \
    if (!(condition)) [[unlikely]]                 \
      throw ErrorType(::dc::message(__VA_ARGS__)); \
  } while (0)

}  // namespace dc
