// The extension module: exceptions and one bind call per family.
#include "bindings/bindings.h"

namespace {

void raise(const char* class_name, const char* text) {
  py::object type = py::module_::import("deepcore.errors").attr(class_name);
  PyErr_SetString(type.ptr(), text);
}

void translate(std::exception_ptr p) {
  try {
    if (p) std::rethrow_exception(p);
  } catch (const dc::ShapeError& e) {
    raise("ShapeError", e.what());
  } catch (const dc::DtypeError& e) {
    raise("DtypeError", e.what());
  } catch (const dc::DeviceError& e) {
    raise("DeviceError", e.what());
  } catch (const dc::ArgumentError& e) {
    raise("ArgumentError", e.what());
  } catch (const dc::OutOfMemoryError& e) {
    raise("OutOfMemoryError", e.what());
  } catch (const dc::Error& e) {
    raise("Error", e.what());
  }
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Kernels and arrays of deepcore. Private: use the Python package.";
  m.attr("__version__") = DC_VERSION;
  py::register_exception_translator(translate);
  dc::bind_array(m);
  dc::bind_conv(m);
  dc::bind_device(m);
  dc::bind_elementwise(m);
  dc::bind_image(m);
  dc::bind_index(m);
  dc::bind_loss(m);
  dc::bind_peak(m);
  dc::bind_movement(m);
  dc::bind_norm(m);
  dc::bind_optim(m);
  dc::bind_matmul(m);  // takes StepOptions
  dc::bind_pool(m);
  dc::bind_random(m);
  dc::bind_rbm(m);
  dc::bind_reduce(m);
  dc::bind_rnn(m);
}
