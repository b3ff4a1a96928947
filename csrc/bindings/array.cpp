// Array, numpy in and out, buffer protocol, DLPack.
#include <pybind11/numpy.h>

#include "bindings/bindings.h"
#include "bindings/dlpack.h"
#include "core/accelerator.h"
#include "core/context.h"
#include "ops/movement.h"

namespace dc {

DType dtype_from(const py::handle& object) {
  py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(object));
  switch (d.kind()) {
    case 'f':
      if (d.itemsize() == 4) return DType::float32;
      if (d.itemsize() == 8) return DType::float64;
      break;
    case 'i':
      if (d.itemsize() == 4) return DType::int32;
      if (d.itemsize() == 8) return DType::int64;
      break;
    case 'u':
      if (d.itemsize() == 1) return DType::uint8;
      break;
    case 'b':
      return DType::boolean;
    default:
      break;
  }
  throw DtypeError("array: expected float32, float64, int32, int64, uint8 or bool, got " +
                   py::cast<std::string>(py::str(d)));
}

namespace {

const char* numpy_code(DType t) {
  switch (t) {
    case DType::float32:
      return "f4";
    case DType::float64:
      return "f8";
    case DType::int32:
      return "i4";
    case DType::int64:
      return "i8";
    case DType::uint8:
      return "u1";
    default:
      return "?";
  }
}

// Keeps a Python object alive for a Storage; released under the GIL wherever the last array dies.
std::function<void()> holder(py::object owner) {
  PyObject* raw = owner.release().ptr();
  return [raw] {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(raw);
  };
}

struct Span {
  int64_t low = 0, high = 0;  // reachable element offsets
};

Span span_of(const Dims& shape, const Dims& strides) {
  Span s;
  if (count(shape) == 0) return s;
  for (int d = 0; d < shape.size(); ++d) {
    const int64_t reach = (shape[d] - 1) * strides[d];
    (reach < 0 ? s.low : s.high) += reach;
  }
  ++s.high;
  return s;
}

Array wrap(void* data, const Dims& shape, const Dims& strides, DType dtype, Device device, bool readonly,
           std::function<void()> release) {
  const Span s = span_of(shape, strides);
  const int64_t size = static_cast<int64_t>(itemsize(dtype));
  char* base = static_cast<char*>(data) + s.low * size;
  auto storage =
      Storage::wrap(base, static_cast<size_t>((s.high - s.low) * size), device, readonly, std::move(release));
  return Array(std::move(storage), -s.low, shape, strides, dtype);
}

// Zero-copy where numpy's layout allows (native byte order, aligned, strides in whole elements); a copy else.
Array from_numpy(py::array a) {
  const DType dtype = dtype_from(a.dtype());
  const py::ssize_t size = a.itemsize();
  bool direct = (reinterpret_cast<uintptr_t>(a.data()) % static_cast<uintptr_t>(size)) == 0 &&
                py::cast<bool>(a.dtype().attr("isnative"));
  for (py::ssize_t d = 0; d < a.ndim(); ++d) direct = direct && a.strides(d) % size == 0;
  DC_CHECK(a.ndim() <= kMaxDims, ShapeError, "array: expected at most ", kMaxDims, " axes, got ", a.ndim());
  if (!direct) a = py::array(py::module_::import("numpy").attr("array")(a, py::dtype(numpy_code(dtype))));
  Dims shape, strides;
  for (py::ssize_t d = 0; d < a.ndim(); ++d) {
    shape.push_back(a.shape(d));
    strides.push_back(a.strides(d) / size);
  }
  void* data = const_cast<void*>(a.data());
  const bool readonly = !a.writeable();
  return wrap(data, shape, strides, dtype, Device{}, readonly, holder(std::move(a)));
}

// Shape and strides in bytes, as Python wants them. Strides that nobody follows may wrap around.
struct ByteLayout {
  std::vector<py::ssize_t> shape, strides;
  explicit ByteLayout(const Array& a) {
    for (int d = 0; d < a.ndim(); ++d) {
      shape.push_back(a.shape(d));
      strides.push_back(wrapping_product(a.strides()[d], static_cast<int64_t>(itemsize(a.dtype()))));
    }
  }
};

py::array to_numpy(py::object self) {
  if (py::cast<const Array&>(self).device().kind != DeviceKind::cpu)
    self = py::cast(ops::to_device(py::cast<const Array&>(self), Device{}));
  const Array& a = py::cast<const Array&>(self);
  const ByteLayout layout(a);
  py::array result(py::dtype(numpy_code(a.dtype())), layout.shape, layout.strides, a.data(), self);
  if (a.storage()->readonly()) result.attr("flags").attr("writeable") = false;
  return result;
}

py::object item(const Array& a0) {
  DC_CHECK(a0.size() == 1, ShapeError, "item: expected one element, got shape ", a0.shape());
  const Array a = ops::to_device(a0, Device{});
  switch (a.dtype()) {
    case DType::float32:
      return py::float_(*a.data<float>());
    case DType::float64:
      return py::float_(*a.data<double>());
    case DType::int32:
      return py::int_(*a.data<int32_t>());
    case DType::int64:
      return py::int_(*a.data<int64_t>());
    case DType::uint8:
      return py::int_(*a.data<uint8_t>());
    default:
      return py::bool_(*a.data<uint8_t>() != 0);
  }
}

py::buffer_info buffer(Array& a) {
  if (a.device().kind != DeviceKind::cpu)
    throw py::buffer_error(message("buffer: memory of ", a.device(), " has no buffer; use .numpy()"));
  const ByteLayout layout(a);
  static const char* formats[] = {"f", "d", "i", "q", "B", "?"};
  return py::buffer_info(a.data(), static_cast<py::ssize_t>(itemsize(a.dtype())), formats[static_cast<int>(a.dtype())],
                         a.ndim(), layout.shape, layout.strides, a.storage()->readonly());
}

// ---- DLPack ----

struct Export {
  Array array;
  int64_t shape[kMaxDims], strides[kMaxDims];
};

dlpack::DataType dl_dtype(DType t) {
  switch (t) {
    case DType::float32:
      return {dlpack::kFloat, 32, 1};
    case DType::float64:
      return {dlpack::kFloat, 64, 1};
    case DType::int32:
      return {dlpack::kInt, 32, 1};
    case DType::int64:
      return {dlpack::kInt, 64, 1};
    case DType::uint8:
      return {dlpack::kUInt, 8, 1};
    default:
      return {dlpack::kBool, 8, 1};
  }
}

void fill_tensor(dlpack::Tensor& t, Export& e) {
  for (int d = 0; d < e.array.ndim(); ++d) {
    e.shape[d] = e.array.shape(d);
    e.strides[d] = e.array.strides()[d];
  }
  const Device device = e.array.device();
  t = {e.array.data(),
       {device.kind == DeviceKind::cpu ? dlpack::kCpu : dlpack::kCuda, device.index},
       e.array.ndim(),
       dl_dtype(e.array.dtype()),
       e.shape,
       e.strides,
       0};
}

template <class M>
py::object make_capsule(const Array& a, const char* capsule_name) {
  auto* e = new Export{a, {}, {}};
  auto* managed = new M{};
  fill_tensor(managed->tensor, *e);
  managed->manager = e;
  managed->deleter = [](M* self) {
    delete static_cast<Export*>(self->manager);
    delete self;
  };
  if constexpr (requires { managed->flags; }) {
    managed->major = 1;
    managed->minor = 0;
    managed->flags = a.storage()->readonly() ? dlpack::kReadOnly : 0;
  }
  PyObject* capsule = PyCapsule_New(managed, capsule_name, [](PyObject* self) {
    // A consumer renames the capsule when it takes the tensor.
    const char* name = PyCapsule_GetName(self);
    if (name && (std::string(name) == "dltensor" || std::string(name) == "dltensor_versioned")) {
      auto* m = static_cast<M*>(PyCapsule_GetPointer(self, name));
      m->deleter(m);
    }
  });
  return py::reinterpret_steal<py::object>(capsule);
}

py::object to_dlpack(const Array& a, const py::object& max_version) {
  if (!max_version.is_none() && py::cast<int>(max_version.attr("__getitem__")(0)) >= 1)
    return make_capsule<dlpack::ManagedVersioned>(a, "dltensor_versioned");
  return make_capsule<dlpack::Managed>(a, "dltensor");
}

// The owner of device memory may use it for something else at once: queued work that reads it ends before.
std::function<void()> after_use(Device device, std::function<void()> release) {
  if (device.kind == DeviceKind::cpu) return release;
  return [device, release = std::move(release)] {
    accelerator_of(device).finish(device.index);
    release();
  };
}

template <class M>
Array take_capsule(py::object capsule, const char* capsule_name, const char* used_name) {
  auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule.ptr(), capsule_name));
  if (!m) throw py::error_already_set();
  const dlpack::Tensor& t = m->tensor;
  DC_CHECK(t.device.kind == dlpack::kCpu || t.device.kind == dlpack::kCuda, DeviceError,
           "from_dlpack: expected memory of the CPU or of CUDA, got DLPack device ", t.device.kind);
  const Device device = t.device.kind == dlpack::kCpu ? Device{} : device_from(message("cuda:", t.device.index));
  DC_CHECK(t.ndim >= 0 && t.ndim <= kMaxDims, ShapeError, "from_dlpack: expected at most ", kMaxDims, " axes, got ",
           t.ndim);
  DType dtype = DType::float32;
  const int key = t.dtype.code * 1000 + t.dtype.bits;
  if (t.dtype.lanes == 1 && key == dlpack::kFloat * 1000 + 32)
    dtype = DType::float32;
  else if (t.dtype.lanes == 1 && key == dlpack::kFloat * 1000 + 64)
    dtype = DType::float64;
  else if (t.dtype.lanes == 1 && key == dlpack::kInt * 1000 + 32)
    dtype = DType::int32;
  else if (t.dtype.lanes == 1 && key == dlpack::kInt * 1000 + 64)
    dtype = DType::int64;
  else if (t.dtype.lanes == 1 && key == dlpack::kUInt * 1000 + 8)
    dtype = DType::uint8;
  else if (t.dtype.lanes == 1 && key == dlpack::kBool * 1000 + 8)
    dtype = DType::boolean;
  else
    throw DtypeError(message("from_dlpack: expected float32, float64, int32, int64, uint8 or bool, got code ",
                             int(t.dtype.code), " with ", int(t.dtype.bits), " bits"));
  Dims shape, strides;
  for (int d = 0; d < t.ndim; ++d) shape.push_back(t.shape[d]);
  if (t.strides) {
    for (int d = 0; d < t.ndim; ++d) strides.push_back(t.strides[d]);
  } else {
    strides = contiguous_strides(shape);
  }
  bool readonly = false;
  if constexpr (requires { m->flags; }) readonly = (m->flags & dlpack::kReadOnly) != 0;
  void* data = static_cast<char*>(t.data) + t.byte_offset;
  Array result = wrap(data, shape, strides, dtype, device, readonly, after_use(device, [m] {
                        if (!m->deleter || !Py_IsInitialized()) return;
                        py::gil_scoped_acquire gil;
                        m->deleter(m);
                      }));
  PyCapsule_SetName(capsule.ptr(), used_name);
  return result;
}

Array from_dlpack(const py::object& object) {
  py::object capsule = object;
  if (!PyCapsule_CheckExact(object.ptr())) {
    DC_CHECK(py::hasattr(object, "__dlpack__"), DtypeError, "from_dlpack: expected an object with __dlpack__, got ",
             py::cast<std::string>(py::str(py::type::of(object))));
    py::object method = object.attr("__dlpack__");
    py::dict options;
    options["max_version"] = py::make_tuple(1, 0);
    // The producer makes the values ready on the stream that will read them.
    if (py::hasattr(object, "__dlpack_device__")) {
      const py::tuple where = object.attr("__dlpack_device__")();
      if (py::cast<int>(where[0]) == dlpack::kCuda)
        options["stream"] =
            reinterpret_cast<intptr_t>(context(device_from(message("cuda:", py::cast<int>(where[1])))).stream);
    }
    try {
      capsule = method(**options);
    } catch (py::error_already_set& e) {
      if (!e.matches(PyExc_TypeError)) throw;
      capsule = method();
    }
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned"))
    return take_capsule<dlpack::ManagedVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
  return take_capsule<dlpack::Managed>(capsule, "dltensor", "used_dltensor");
}

// Foreign device memory described by __cuda_array_interface__.
Array from_cuda_pointer(uintptr_t pointer, const Dims& shape, const Dims& strides, const py::object& dtype,
                        bool readonly, py::object owner) {
  Device device = device_from("cuda");
  void* const data = reinterpret_cast<void*>(pointer);
  if (count(shape) > 0) {  // without elements the pointer may be null
    device.index = accelerator_of(device).device_of(data);
    DC_CHECK(device.index >= 0, DeviceError,
             "from_dlpack: expected memory of a CUDA device in __cuda_array_interface__, got other memory");
    accelerator_of(device);
  }
  return wrap(data, shape, strides, dtype_from(dtype), device, readonly, after_use(device, holder(std::move(owner))));
}

}  // namespace

void bind_array(py::module_& m) {
  py::class_<Array>(m, "Array", py::buffer_protocol())
      .def_property_readonly("shape", [](const Array& a) { return a.shape(); })
      .def_property_readonly("strides", [](const Array& a) { return a.strides(); })
      .def_property_readonly("ndim", &Array::ndim)
      .def_property_readonly("size", &Array::size)
      .def_property_readonly("dtype", [](const Array& a) { return name(a.dtype()); })
      .def_property_readonly("device", [](const Array& a) { return device_name(a.device()); })
      .def_property_readonly("is_contiguous", &Array::is_contiguous)
      .def_property_readonly("readonly", [](const Array& a) { return a.storage()->readonly(); })
      .def_property_readonly("pointer", [](const Array& a) { return reinterpret_cast<uintptr_t>(a.data()); })
      .def_property_readonly("storage", [](const Array& a) { return reinterpret_cast<uintptr_t>(a.storage().get()); })
      .def_property_readonly("version", [](const Array& a) { return a.storage()->version(); })
      .def("touch", [](const Array& a) { a.storage()->touch(); })
      .def("numpy", [](py::object self) { return to_numpy(std::move(self)); })
      .def("item", &item)
      .def("__dlpack__", &to_dlpack, py::arg("max_version") = py::none())
      .def_buffer(&buffer);
  m.def("from_numpy", &from_numpy);
  m.def("from_dlpack", &from_dlpack);
  m.def("from_cuda_pointer", &from_cuda_pointer);
  m.def("to_device", [](const Array& a, const std::string& device) { return ops::to_device(a, device_from(device)); });
  m.def("full", [](const Dims& shape, double value, const py::object& dtype, const std::string& device) {
    return ops::full(shape, value, dtype_from(dtype), device_from(device));
  });
  m.def("empty", [](const Dims& shape, const py::object& dtype, const std::string& device) {
    return Array(shape, dtype_from(dtype), device_from(device));
  });
  m.def("scalar", [](double value, const Array& like) { return ops::full({}, value, like.dtype(), like.device()); });
  m.def("arange", [](double start, double stop, double step, const py::object& dtype, const std::string& device) {
    return ops::to_device(ops::arange(start, stop, step, dtype_from(dtype)), device_from(device));
  });
}

}  // namespace dc
