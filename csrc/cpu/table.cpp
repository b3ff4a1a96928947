// This instruction set's table. The scalar build also holds the only float64 table.
#include "cpu/families.h"
#include "cpu/simd/vec.h"

namespace dc::DC_ISA {

#define DC_STRING2(x) #x
#define DC_STRING(x) DC_STRING2(x)

extern const BackendTable table;
const BackendTable table = {
    .name = DC_STRING(DC_ISA),
    .vector_bytes = VecF::W * 4,
    .f32 = {DC_FAMILIES(DC_FAMILY_ENTRY_F32)},
    .plain = &plain,
    .movement = &movement,
    .peak = &peak,
};

#ifdef DC_ISA_SCALAR
extern const KernelTable<double> table_f64;
const KernelTable<double> table_f64 = {DC_FAMILIES(DC_FAMILY_ENTRY_F64)};
#endif

}  // namespace dc::DC_ISA
