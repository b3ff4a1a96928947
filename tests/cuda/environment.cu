// Fails a launch and prints why: the text names the modes that the environment chose.
#include "device/primitives.cuh"

namespace dc {

DC_KERNEL void nothing() {}

}  // namespace dc

#ifndef __CUDACC__
#include <cstdio>

int main() {
  const dc::Status status = dc::launch(dc::nothing, 0, 32, 0, nullptr);
  std::printf("%s\n", status ? "right" : status.error);
  return status ? 1 : 0;
}
#endif
