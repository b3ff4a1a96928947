// The families of the CUDA back end, defined at the end of their files and collected in table.cu.
#pragma once
#include "kernels/table.h"

namespace dc::cuda {

DC_FAMILIES(DC_DECLARE_FAMILY_F32)
DC_FAMILIES(DC_DECLARE_FAMILY_F64)
extern const MovementKernels movement;
extern const PeakKernels peak;
extern const PlainKernels plain;

extern const BackendTable table;
extern const KernelTable<double> table_f64;

}  // namespace dc::cuda
