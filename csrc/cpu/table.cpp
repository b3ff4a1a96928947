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
    .f32 = {.conv = &conv_f32,
            .elementwise = &elementwise_f32,
            .image = &image_f32,
            .index = &index_f32,
            .loss = &loss_f32,
            .matmul = &matmul_f32,
            .norm = &norm_f32,
            .optim = &optim_f32,
            .pool = &pool_f32,
            .random = &random_f32,
            .reduce = &reduce_f32},
    .plain = &plain,
    .movement = &movement,
    .peak = &peak,
};

#ifdef DC_ISA_SCALAR
extern const KernelTable<double> table_f64;
const KernelTable<double> table_f64 = {.conv = &conv_f64,
                                       .elementwise = &elementwise_f64,
                                       .image = &image_f64,
                                       .index = &index_f64,
                                       .loss = &loss_f64,
                                       .matmul = &matmul_f64,
                                       .norm = &norm_f64,
                                       .optim = &optim_f64,
                                       .pool = &pool_f64,
                                       .random = &random_f64,
                                       .reduce = &reduce_f64};
#endif

}  // namespace dc::DC_ISA
