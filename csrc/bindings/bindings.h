// Shared by the binding files: conversions between Python and Dims, one bind function per family.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/array.h"
#include "kernels/random.h"

namespace py = pybind11;

namespace pybind11::detail {

// Shapes travel as Python tuples of ints; an int stands for a tuple of one.
template <>
struct type_caster<dc::Dims> {
  PYBIND11_TYPE_CASTER(dc::Dims, const_name("Sequence[int]"));
  bool load(handle source, bool) {
    dc::Dims d;
    if (PyLong_Check(source.ptr())) {
      d.push_back(as_int(source.ptr()));
    } else {
      if (!PyTuple_Check(source.ptr()) && !PyList_Check(source.ptr())) return false;
      PyObject* fast = source.ptr();
      const Py_ssize_t n = PySequence_Fast_GET_SIZE(fast);
      for (Py_ssize_t i = 0; i < n; ++i) {
        PyObject* item = PySequence_Fast_GET_ITEM(fast, i);
        if (PyLong_Check(item)) {
          d.push_back(as_int(item));
        } else {
          object index = reinterpret_steal<object>(PyNumber_Index(item));
          if (!index) {
            PyErr_Clear();
            return false;
          }
          d.push_back(as_int(index.ptr()));
        }
      }
    }
    value = d;
    return true;
  }
  static handle cast(const dc::Dims& d, return_value_policy, handle) {
    PyObject* t = PyTuple_New(d.size());
    if (!t) throw error_already_set();
    for (int i = 0; i < d.size(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(d[i]));
    return t;
  }

 private:
  static int64_t as_int(PyObject* o) {
    const long long v = PyLong_AsLongLong(o);
    if (v == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      throw dc::ArgumentError("expected integers of 64 bits, got " + std::string(str(o)));
    }
    return v;
  }
};

}  // namespace pybind11::detail

namespace dc {

using NoGil = py::call_guard<py::gil_scoped_release>;

// "float32" or anything numpy takes for a dtype.
DType dtype_from(const py::handle& object);
Device device_from(const std::string& text);
std::string device_name(Device device);

// (seed, stream, offset): each taken modulo 2^64.
RandomKey random_key_from(const std::tuple<py::int_, py::int_, py::int_>& key);

void bind_array(py::module_& m);
void bind_conv(py::module_& m);
void bind_device(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_image(py::module_& m);
void bind_index(py::module_& m);
void bind_loss(py::module_& m);
void bind_matmul(py::module_& m);
void bind_peak(py::module_& m);
void bind_movement(py::module_& m);
void bind_norm(py::module_& m);
void bind_optim(py::module_& m);
void bind_pool(py::module_& m);
void bind_random(py::module_& m);
void bind_rbm(py::module_& m);
void bind_reduce(py::module_& m);
void bind_rnn(py::module_& m);

}  // namespace dc
