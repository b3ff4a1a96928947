// Nd: a strided iteration space over up to three operands, outermost axis first.
#pragma once
#include <cstdint>

namespace dc {

// The result of elementwise kernels is contiguous over `shape`; stride[i] are the element strides of input i
// (0 = broadcast). csrc/ops merges axes, so that plain arrays come as one axis.
struct Nd {
  int ndim;
  int64_t size;
  int64_t shape[8];
  int64_t stride[3][8];
};

}  // namespace dc
