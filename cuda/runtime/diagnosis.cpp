#include "runtime/diagnosis.h"

#include "core/error.h"

namespace dc::gpu {

namespace {
constexpr int kLowestMajor = 8;  // compute capability: bf16 and cp.async

std::string version_text(int v) { return message(v / 1000, ".", v % 1000 / 10); }
}  // namespace

std::string reason_of(const Facts& facts) {
  if (facts.driver == 0) return "no NVIDIA driver: install one for your GPU, or use device='cpu'";
  if (facts.driver / 1000 < facts.runtime / 1000)
    return message("the NVIDIA driver is too old: it supports CUDA ", version_text(facts.driver), ", this build needs ",
                   facts.runtime / 1000, ".0; update the driver, or use device='cpu'");
  if (!facts.start_error.empty())
    return message("CUDA does not start: ", facts.start_error, "; see whether nvidia-smi works, or use device='cpu'");
  if (facts.capabilities.empty())
    return "no CUDA device: is CUDA_VISIBLE_DEVICES set to hide it? Without a GPU use device='cpu'";
  for (size_t i = 0; i < facts.capabilities.size(); ++i) {
    const auto [major, minor] = facts.capabilities[i];
    if (major < kLowestMajor)
      return message("device ", i, " has compute capability ", major, ".", minor, ", deepcore needs ", kLowestMajor,
                     ".0 or higher; hide it by CUDA_VISIBLE_DEVICES or use device='cpu'");
  }
  return {};
}

Status context_lost(const char* error) {
  thread_local std::string text;
  text = message(error,
                 "; this process can use the device no more: start a new one, where DEEPCORE_CUDA_SYNC=1 names the "
                 "operation that failed");
  return {text.c_str()};
}

}  // namespace dc::gpu
