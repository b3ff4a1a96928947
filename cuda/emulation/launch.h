// Launches. `launch` hands a description to the launcher in force: by default it runs at once, and a runtime with
// streams of its own replaces it and calls run() when the stream's turn has come.
#pragma once
#include <cstddef>
#include <functional>
#include <tuple>

#include "device/status.cuh"
#include "emulation/types.h"

namespace dc {

using Stream = void*;  // what the launcher makes of it; run() does not look

namespace emulation {

struct LaunchDescription {
  const void* kernel;  // for reports
  dim3 grid, block;
  size_t shared_bytes;
  bool cooperative;            // all blocks at once, grid_sync allowed
  std::function<void()> body;  // the kernel and copies of its arguments, called once per thread
};

// Runs the kernel to its end. Safe from any OS thread; one launch runs at a time.
Status run(const LaunchDescription& description);

using Launcher = Status (*)(Stream stream, const LaunchDescription& description);
// Null: run at once.
void set_launcher(Launcher launcher);
Status submit(Stream stream, const LaunchDescription& description);
// Copies `text` to where the texts of this thread's launches live.
Status failure(const char* text);

template <class... P, class... A>
Status describe_and_submit(bool cooperative, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                           Stream stream, A... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "a kernel takes as many arguments as it has parameters");
  return submit(stream, {reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, cooperative,
                         [kernel, values = std::tuple<P...>(static_cast<P>(arguments)...)] {
                           std::apply([kernel](const P&... value) { kernel(value...); }, values);
                         }});
}

}  // namespace emulation

template <class... P, class... A>
Status launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream, A... arguments) {
  return emulation::describe_and_submit(false, kernel, grid, block, shared_bytes, stream, arguments...);
}
template <class... P, class... A>
Status launch_coop(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, Stream stream, A... arguments) {
  return emulation::describe_and_submit(true, kernel, grid, block, shared_bytes, stream, arguments...);
}

}  // namespace dc
