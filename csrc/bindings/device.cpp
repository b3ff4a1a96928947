// Devices, threads, memory statistics.
#include "bindings/bindings.h"
#include "core/allocator.h"
#include "core/parallel.h"
#include "cpu_select.h"
#include "cuda_backend.h"

namespace dc {

Device device_from(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda" || text.rfind("cuda:", 0) == 0) throw DeviceError("device " + text + ": " + cuda::reason());
  throw ArgumentError("device: expected 'cpu' or 'cuda[:index]', got '" + text + "'");
}

std::string device_name(Device device) { return message(device); }

void bind_device(py::module_& m) {
  m.def("isa", [] { return cpu_table().name; });
  m.def("select_isa", [](const std::string& isa) { select_cpu_table(isa.c_str()); });
  m.def("supported_isas", [] { return std::string(cpu_supported()); });
  m.def("vector_bytes", [] { return cpu_table().vector_bytes; });
  m.def("num_threads", &thread_count);
  m.def("set_num_threads", &set_thread_count, py::arg("threads"));
  m.def("cuda_available", &cuda::available);
  m.def("cuda_reason", &cuda::reason);
  m.def("check_device", [](const std::string& text) { return device_name(device_from(text)); });
  m.def("memory_statistics", [](const std::string& device) {
    const MemoryStatistics s = pool(device_from(device)).statistics();
    py::dict d;
    d["current"] = s.current;
    d["peak"] = s.peak;
    d["cached"] = s.cached;
    d["allocations"] = s.allocations;
    d["cache_hits"] = s.cache_hits;
    return d;
  });
  m.def("reset_peak_memory", [](const std::string& device) { pool(device_from(device)).reset_peak(); });
  m.def("empty_cache", [](const std::string& device) { pool(device_from(device)).empty_cache(); });
}

}  // namespace dc
