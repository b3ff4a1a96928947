#include "ops/peak.h"

#include "bindings/bindings.h"

namespace dc {

void bind_peak(py::module_& m) {
  using namespace py::literals;
  m.def("measure_peak_flops", &ops::measure_peak_flops, "seconds"_a, NoGil());
  m.def("measure_read_bandwidth", &ops::measure_read_bandwidth, "bytes"_a, "seconds"_a, NoGil());
}

}  // namespace dc
