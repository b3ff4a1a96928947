// The families of this instruction set, defined at the end of their files and collected in table.cpp.
#pragma once
#include "kernels/table.h"

namespace dc::DC_ISA {

DC_FAMILIES(DC_DECLARE_FAMILY_F32)
extern const MovementKernels movement;
extern const PeakKernels peak;
extern const PlainKernels plain;
#ifdef DC_ISA_SCALAR
DC_FAMILIES(DC_DECLARE_FAMILY_F64)
#endif

}  // namespace dc::DC_ISA
