"""For tests of deepcore and of operations built on it: cases, references, gradient checks, tolerances."""

from deepcore.testing.case import Case, all_cases, check_gradients_in_float32, check_values
from deepcore.testing.gradcheck import check_gradients
from deepcore.testing.tolerance import assert_close

__all__ = ["Case", "all_cases", "assert_close", "check_gradients", "check_gradients_in_float32", "check_values"]
