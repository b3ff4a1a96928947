// The whole CPU-only stub.
#include "cuda_backend.h"

namespace dc::cuda {

bool available() { return false; }

std::string reason() { return "built without CUDA: this deepcore has no CUDA back end; use device='cpu'"; }

}  // namespace dc::cuda
