// The context that kernel tests pass on.
#include "core/context.h"

namespace dc {

Context& test_context() { return context(Device{}); }

}  // namespace dc
