// What the rest of the library asks of the CUDA back end.
#pragma once
#include <string>

namespace dc::cuda {

bool available();
// Why CUDA cannot be used, with the remedy; empty when available() is true.
std::string reason();

}  // namespace dc::cuda
