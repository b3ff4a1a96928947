#include "families/families.h"

namespace dc::cuda {

const IndexKernels<float> index_f32 = {unsupported, unsupported, unsupported, unsupported, unsupported,
                                       unsupported, unsupported, unsupported, unsupported, unsupported};
const IndexKernels<double> index_f64 = {unsupported, unsupported, unsupported, unsupported, unsupported,
                                        unsupported, unsupported, unsupported, unsupported, unsupported};

}  // namespace dc::cuda
