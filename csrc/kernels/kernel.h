// The contract every back end fills: tables of plain function pointers.
#pragma once
#include <cstdint>

namespace dc {

struct Context;

struct Unsupported {};
inline constexpr Unsupported unsupported{};

// A pointer to a kernel that cannot be left out of a table by accident: it has no default
// constructor, so an entry forgotten by a back end does not compile. A kernel that a back end
// lacks is written `unsupported`: a call of it raises DeviceError.
[[noreturn]] void missing_kernel();  // each extension module has its own

template <class Signature>
struct Kernel;

template <class R, class... A>
struct Kernel<R(A...)> {
  using Function = R (*)(A...);
  Function function;
  consteval Kernel(Function f) : function(f) {}  // NOLINT: implicit by design
  consteval Kernel(Unsupported) : function(&missing) {}
  R operator()(A... arguments) const { return function(arguments...); }
  [[noreturn]] static R missing(A...) { missing_kernel(); }
};

}  // namespace dc
