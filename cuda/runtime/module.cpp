// The extension module of the CUDA back end, imported by deepcore._C when a device is first asked for.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "families/precision.h"
#include "runtime/accelerator.h"
#include "runtime/gpu.h"
#include "runtime/support.h"
#ifdef DC_CUDA_EMULATED
#include "emulation/runtime/faults.h"
#endif
#ifdef DC_CUDA_HOOKS
#include <pybind11/stl.h>

#include "emulation/hooks/lint.h"
#endif

#ifndef DC_CUDA_MODULE
#error "DC_CUDA_MODULE: the name of the module"
#endif

namespace py = pybind11;

namespace {

dc::cuda::Precision precision_named(const std::string& name) {
  using dc::cuda::kPrecisionNames;
  for (size_t i = 0; i < std::size(kPrecisionNames); ++i)
    if (name == kPrecisionNames[i]) return static_cast<dc::cuda::Precision>(i);
  throw py::value_error("expected 'strict', 'accurate', 'high' or 'tf32', got '" + name + "'");
}
std::string name_of(dc::cuda::Precision precision) { return dc::cuda::kPrecisionNames[static_cast<int>(precision)]; }

}  // namespace

PYBIND11_MODULE(DC_CUDA_MODULE, m) {
  m.attr("contract") = DC_CONTRACT;
  m.def("accelerator", [] { return py::capsule(static_cast<dc::Accelerator*>(&dc::cuda_accelerator())); });
  // Both names are checked before either is set.
  m.def(
      "set_float32_precision",
      [](const std::optional<std::string>& matmul, const std::optional<std::string>& conv) {
        const auto of_matmul = matmul ? precision_named(*matmul) : dc::cuda::matmul_precision.load();
        const auto of_conv = conv ? precision_named(*conv) : dc::cuda::conv_precision.load();
        dc::cuda::matmul_precision = of_matmul;
        dc::cuda::conv_precision = of_conv;
      },
      py::arg("matmul") = py::none(), py::arg("conv") = py::none());
  m.def("float32_precision",
        [] { return py::make_tuple(name_of(dc::cuda::matmul_precision), name_of(dc::cuda::conv_precision)); });
#ifdef DC_CUDA_EMULATED
  namespace emulation = dc::emulation;
  m.def("set_mode", [](const std::string& order, const std::string& async) {
    emulation::Configuration configuration;
    const std::string error = emulation::parse_configuration(order.c_str(), async.c_str(), configuration);
    if (!error.empty()) throw py::value_error(error);
    emulation::set_configuration(configuration);
  });
  m.def("fail_allocations", &emulation::fail_allocations, py::arg("skip"), py::arg("count"));
  m.def("fail_launches", &emulation::fail_launches, py::arg("skip"), py::arg("count"), py::arg("lose_context") = false);
  m.def("allocations", &emulation::allocations);
  m.def("live_allocations", &emulation::live_allocations);
  m.def("launches", &emulation::launches_run);
  // A program of others beside this one: its streams, and its copies between any two places.
  m.def("make_stream", [](int device) { return reinterpret_cast<uintptr_t>(dc::gpu::make_stream(device)); });
  m.def("queue_copy", [](uintptr_t stream, uintptr_t to, uintptr_t from, size_t bytes) {
    dc::check(dc::gpu::copy(0, reinterpret_cast<void*>(stream), reinterpret_cast<void*>(to),
                            reinterpret_cast<const void*>(from), bytes, dc::gpu::Direction::on_device),
              "queue_copy");
  });
  m.def("finish_stream",
        [](uintptr_t stream) { dc::check(dc::gpu::synchronize(0, reinterpret_cast<void*>(stream)), "finish_stream"); });
#ifdef DC_CUDA_HOOKS
  m.attr("hooks") = true;
  m.def("count_traffic", &emulation::count_traffic);
  // (file, function, line, "global" or "shared", written, requests, actual, ideal) per line since the last call.
  m.def("take_traffic", [] {
    py::list lines;
    for (const emulation::LintLine& l : emulation::take_traffic())
      lines.append(py::make_tuple(l.file, l.function, l.line,
                                  l.kind == emulation::MemoryKind::global ? "global" : "shared", l.write, l.requests,
                                  l.actual, l.ideal));
    return lines;
  });
  // (launches, read, written, read once, written once), bytes of global memory since the last call.
  m.def("take_moved_bytes", [] {
    const emulation::MovedBytes b = emulation::take_moved_bytes();
    return py::make_tuple(b.launches, b.read, b.written, b.read_once, b.written_once);
  });
#else
  m.attr("hooks") = false;
#endif
#endif
}
