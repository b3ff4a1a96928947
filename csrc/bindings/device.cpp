// Devices, threads, memory statistics.
#include <cstdlib>

#include "bindings/bindings.h"
#include "core/accelerator.h"
#include "core/allocator.h"
#include "core/context.h"
#include "core/parallel.h"
#include "cpu_select.h"

namespace dc {

namespace {

// What Python holds of a recorded step: the graph, and the blocks of memory that belong to it.
class RecordedStep {
 public:
  explicit RecordedStep(Device device) : device_(device) {
    pool(device).begin_private(&blocks_);
    try {
      accelerator_of(device).begin_recording(device.index);
    } catch (...) {
      leave();
      throw;
    }
  }
  ~RecordedStep() {
    if (!recording_ && recording_on_) {
      try {
        recording_ = accelerator_of(device_).end_recording(device_.index);
      } catch (const Error&) {  // what was being recorded is given up
      }
    }
    recording_.reset();
    leave();
  }
  RecordedStep(const RecordedStep&) = delete;
  RecordedStep& operator=(const RecordedStep&) = delete;

  void end() {
    DC_CHECK(recording_on_, DeviceError, "record: expected a recording under way");
    recording_on_ = false;
    pool(device_).end_private();
    recording_ = accelerator_of(device_).end_recording(device_.index);
  }
  Recording& recording() {
    DC_CHECK(recording_, DeviceError, "launch: expected a finished recording");
    return *recording_;
  }

 private:
  void leave() {
    pool(device_).end_private();
    pool(device_).drop_private(&blocks_);
    recording_on_ = false;
  }

  Device device_;
  bool recording_on_ = true;
  PrivateBlocks blocks_;
  std::unique_ptr<Recording> recording_;
};

// Copies of arrays on a device that are on their way while Python goes on.
class SentArrays {
 public:
  SentArrays(const std::vector<Array>& host, Device device) : device_(device) {
    std::vector<StagedPiece> pieces;
    for (const Array& a : host) {
      DC_CHECK(a.device() == Device{} && a.is_contiguous(), ArgumentError,
               "send: expected contiguous arrays of the CPU, got one of shape ", a.shape(), " on ", a.device());
      arrays_.emplace_back(a.shape(), a.dtype(), device);
      pieces.push_back({arrays_.back().data(), a.data(), static_cast<size_t>(a.size()) * itemsize(a.dtype())});
    }
    ticket_ = accelerator_of(device).send(device.index, pieces);
  }
  ~SentArrays() {
    try {
      arrive();               // before the arrays give their memory back
    } catch (const Error&) {  // whoever uses the device next hears of it
    }
  }
  SentArrays(const SentArrays&) = delete;
  SentArrays& operator=(const SentArrays&) = delete;

  const std::vector<Array>& arrive() {
    if (!arrived_) accelerator_of(device_).arrive(device_.index, ticket_);
    arrived_ = true;
    return arrays_;
  }

 private:
  Device device_;
  std::vector<Array> arrays_;
  uint64_t ticket_ = 0;
  bool arrived_ = false;
};

// Imports the back end when it is first asked for: a program for the CPU never loads it. Returns why there is none.
std::string load_accelerator() {
  static std::string failure;
  static bool tried = false;
  if (accelerator()) return accelerator()->reason();
  if (tried) return failure;
  tried = true;
  const char* emulate = std::getenv("DEEPCORE_CUDA_EMULATE");
  const bool emulated = emulate && std::string(emulate) == "1";
  const char* name = emulated ? "deepcore._cuda_emulated" : "deepcore._cuda";
  try {
    const py::module_ module = py::module_::import(name);
    // Numbers of operations and layouts of tables mean something else to a module of other sources.
    if (py::cast<std::string>(module.attr("contract")) != DC_CONTRACT)
      return failure = message("the CUDA back end ", name, " and deepcore._C were built from different sources; ",
                               "build both anew, or use device='cpu'");
    py::capsule made = module.attr("accelerator")();
    auto* const loaded = made.get_pointer<Accelerator>();
    loaded->empty_pool = [](Device device) { pool(device).empty_cache(); };
    install(loaded);
    return accelerator()->reason();
  } catch (py::error_already_set& error) {
    if (error.matches(PyExc_ModuleNotFoundError))
      failure = emulated ? "DEEPCORE_CUDA_EMULATE=1, but this build has no emulated device: build it with "
                           "DEEPCORE_CUDA_EMULATION=ON, or unset the variable"
                         : kNoAccelerator;
    else if (error.matches(PyExc_ImportError))
      failure = message("the CUDA back end does not load: ", py::cast<std::string>(py::str(error.value())),
                        "; install deepcore anew, or use device='cpu'");
    else
      throw;
    return failure;
  }
}

}  // namespace

Device device_from(const std::string& text) {
  if (text == "cpu") return {};
  const bool indexed = text.rfind("cuda:", 0) == 0;
  if (text != "cuda" &&
      !(indexed && text.size() > 5 && text.size() < 9 && text.find_first_not_of("0123456789", 5) == std::string::npos))
    throw ArgumentError("device: expected 'cpu' or 'cuda[:index]', got '" + text + "'");
  const std::string why = load_accelerator();
  if (!why.empty()) throw DeviceError("device " + text + ": " + why);
  const Device device{DeviceKind::cuda, indexed ? std::stoi(text.substr(5)) : 0};
  accelerator_of(device);
  return device;
}

std::string device_name(Device device) { return message(device); }

void bind_device(py::module_& m) {
  py::class_<RecordedStep>(m, "RecordedStep")
      .def(py::init([](const std::string& device) { return std::make_unique<RecordedStep>(device_from(device)); }))
      .def("end", &RecordedStep::end)
      .def("launch",
           [](RecordedStep& r, const std::vector<std::pair<uint64_t, uint64_t>>& advancing) {
             py::gil_scoped_release released;
             r.recording().launch(advancing);
           })
      .def("calls", [](RecordedStep& r, uint64_t seed, uint64_t stream) { return r.recording().calls(seed, stream); })
      .def("refresh", [](RecordedStep& r, bool on) { r.recording().refresh(on); });
  py::class_<SentArrays>(m, "SentArrays")
      .def(py::init([](const std::vector<Array>& host, const std::string& text) {
        const Device device = device_from(text);
        DC_CHECK(device.kind == DeviceKind::cuda, ArgumentError, "send: expected a CUDA device, got ", text);
        py::gil_scoped_release released;
        return std::make_unique<SentArrays>(host, device);
      }))
      .def("arrive", &SentArrays::arrive);
  // The two directions between the stream of computations and one of others, by its handle.
  m.def("wait_for_stream", [](const std::string& text, uintptr_t other) {
    const Device device = device_from(text);
    accelerator_of(device).order(device.index, reinterpret_cast<void*>(other), context(device).stream);
  });
  m.def("let_stream_wait", [](const std::string& text, uintptr_t other) {
    const Device device = device_from(text);
    accelerator_of(device).order(device.index, context(device).stream, reinterpret_cast<void*>(other));
  });
  m.def("isa", [] { return cpu_table().name; });
  m.def("select_isa", [](const std::string& isa) { select_cpu_table(isa.c_str()); });
  m.def("supported_isas", [] { return std::string(cpu_supported()); });
  m.def("vector_bytes", [] { return cpu_table().vector_bytes; });
  m.def("num_threads", &thread_count);
  m.def("set_num_threads", &set_thread_count, py::arg("threads"));
  m.def("cuda_reason", &load_accelerator);
  m.def("cuda_emulated", [] { return load_accelerator().empty() && accelerator()->emulated(); });
  m.def("cuda_device_count", [] { return load_accelerator().empty() ? accelerator()->device_count() : 0; });
  m.def("cuda_properties", [](const std::string& text) {
    const Device device = device_from(text);
    const AcceleratorProperties p = accelerator_of(device).properties(device.index);
    py::dict d;
    d["name"] = p.name;
    d["compute_capability"] = py::make_tuple(p.major, p.minor);
    d["multiprocessors"] = p.multiprocessors;
    d["memory"] = p.memory;
    return d;
  });
  m.def("synchronize", [](const std::string& text) {
    const Device device = device_from(text);
    if (device.kind == DeviceKind::cpu) return;
    py::gil_scoped_release released;
    accelerator_of(device).synchronize(device.index);
  });
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
  m.def("empty_cache", [](const std::string& text) {
    const Device device = device_from(text);
    py::gil_scoped_release released;
    pool(device).empty_cache();
    if (device.kind != DeviceKind::cpu) accelerator_of(device).empty_cache(device.index);
  });
}

}  // namespace dc
