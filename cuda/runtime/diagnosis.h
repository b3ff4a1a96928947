// What is wrong with the devices, in words that name the remedy: the same for NVIDIA's runtime and the emulated one.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "device/status.cuh"

namespace dc::gpu {

// What a runtime says when it is first asked.
struct Facts {
  int driver = 0, runtime = 0;                    // versions of CUDA as the runtime counts them: 12080 is 12.8
  std::string start_error;                        // of counting the devices; empty where they could be counted
  std::vector<std::pair<int, int>> capabilities;  // of each device
};

// Why no device can be used; empty when all can.
std::string reason_of(const Facts& facts);

// The error after which a process can use the device no more. The text lives until the next error on this thread.
Status context_lost(const char* error);

}  // namespace dc::gpu
