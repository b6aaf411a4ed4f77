"""What the benchmark of programs reads from a short optimised program."""

import pytest

from benchmarks import hlo
from benchmarks.described_gpu import usage_of

# Two steps within a loop that turns until it is done: a product of (8, 4) with (4, 2), a sum over its last axis, and
# four rows of a table, of which one is replaced.
TEXT = """\
HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0})->f32[8]{0}}

FileNames
1 "/somewhere/lobes.py"

FunctionNames
1 "Lobes._normal"

FileLocations
1 {file_name_id=1 function_name_id=1 line=12 end_line=12 column=4 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}

%adds (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%dots (x: f32[8,4], m: f32[4,2]) -> f32[8,2] {
  %x = f32[8,4]{1,0} parameter(0)
  %m = f32[4,2]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,2]{1,0} dot(%x, %m), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%sums (y: f32[8,2]) -> (f32[8], pred[8]) {
  %y = f32[8,2]{1,0} parameter(0)
  %zero = f32[] constant(0)
  %square = f32[8,2]{1,0} multiply(%y, %y)
  %total = f32[8]{0} reduce(%square, %zero), dimensions={1}, to_apply=%adds
  %above = pred[8]{0} compare(%total, %total), direction=GT
  ROOT %both = (f32[8]{0}, /*index=1*/pred[8]{0}) tuple(%total, %above)
}

%replaces (table: f32[1000,4], row: f32[1,4], at: s32[]) -> f32[1000,4] {
  %at = s32[] parameter(2)
  %row = f32[1,4]{1,0} parameter(1)
  %table = f32[1000,4]{1,0} parameter(0)
  %zero.1 = s32[] constant(0)
  %cut = f32[4,4]{1,0} dynamic-slice(%table, %at, %zero.1), dynamic_slice_sizes={4,4}
  ROOT %put = f32[1000,4]{1,0} dynamic-update-slice(%table, %row, %at, %zero.1)
}

%step (state: (f32[8,4], f32[4,2])) -> (f32[8,4], f32[4,2]) {
  %state = (f32[8,4]{1,0}, f32[4,2]{1,0}) parameter(0)
  %get.0 = f32[8,4]{1,0} get-tuple-element(%state), index=0
  %get.1 = f32[4,2]{1,0} get-tuple-element(%state), index=1
  %gemm_fusion.1 = f32[8,2]{1,0} fusion(%get.0, %get.1), kind=kCustom, calls=%dots, \
metadata={op_name="f" stack_frame_id=1}
  %reduce_fusion = (f32[8]{0}, pred[8]{0}) fusion(%gemm_fusion.1), kind=kInput, calls=%sums
  %copy.1 = f32[4,2]{1,0} copy(%get.1)
  ROOT %next = (f32[8,4]{1,0}, f32[4,2]{1,0}) tuple(%get.0, %copy.1)
}

%goes_on (state.1: (f32[8,4], f32[4,2])) -> pred[] {
  %state.1 = (f32[8,4]{1,0}, f32[4,2]{1,0}) parameter(0)
  ROOT %wrapped_compare = pred[] fusion(), kind=kLoop, calls=%yes
}

%yes () -> pred[] {
  ROOT %true = pred[] constant(true)
}

%exchange (state.2: (f32[8,4], f32[4,2])) -> (f32[8,4], f32[4,2]) {
  %state.2 = (f32[8,4]{1,0}, f32[4,2]{1,0}) parameter(0)
  ROOT %while.1 = (f32[8,4]{1,0}, f32[4,2]{1,0}) while(%state.2), condition=%goes_on, body=%step, \
backend_config={"known_trip_count":{"n":"2"},"known_init_step":{"init":"0","step":"1"}}
}

ENTRY %main (table.1: f32[1000,4], row.1: f32[1,4], at.1: s32[], m.1: f32[4,2]) -> f32[1000,4] {
  %table.1 = f32[1000,4]{1,0} parameter(0)
  %row.1 = f32[1,4]{1,0} parameter(1)
  %at.1 = s32[] parameter(2)
  %start = (f32[8,4]{1,0}, f32[4,2]{1,0}) custom-call(), custom_call_target="begin"
  %while.2 = (f32[8,4]{1,0}, f32[4,2]{1,0}) while(%start), condition=%goes_on, body=%exchange
  ROOT %update_fusion = f32[1000,4]{1,0} fusion(%table.1, %row.1, %at.1), kind=kLoop, calls=%replaces
}
"""


@pytest.fixture(scope="module")
def program():
    return hlo.program(TEXT)


def test_loops_and_their_turns(program):
    (outer,) = program.loops
    (inner,) = outer.loops
    assert (program.trips, outer.trips, inner.trips) == (1, None, 2)
    assert [kernel.opcode for kernel in inner.kernels] == ["fusion", "fusion", "copy"]
    assert [kernel.name for kernel in outer.kernels] == ["wrapped_compare"]  # the condition: turns are not known
    assert [kernel.source for kernel in inner.kernels] == ["lobes.py:12 Lobes._normal", "", ""]


def test_bytes_are_those_read_and_written(program):
    product, total, copy = program.loops[0].loops[0].kernels
    assert product.bytes == 4 * (8 * 4 + 4 * 2 + 8 * 2)
    assert total.bytes == 4 * 8 * 2 + 4 * 8 + 8
    assert copy.bytes == 2 * 4 * 4 * 2


def test_of_an_array_that_is_read_or_written_in_part_only_the_part_counts(program):
    update = program.kernels[-1]
    assert update.bytes == 4 * (4 * 4 + 4 + 1) + 4 * 4


def test_flops_of_a_product_and_of_a_sum(program):
    product, total, copy = program.loops[0].loops[0].kernels
    assert product.flops == 2 * 8 * 2 * 4
    assert total.flops == 8 * 2 + 8 * 2
    assert copy.flops == 0


def test_a_loop_inside_counts_as_often_as_it_turns(program):
    def launches(kernel):
        return 1

    outer = program.loops[0]
    assert outer.inside(launches) == 2 * 3
    assert outer.total(launches) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("shape", "size"),
    [("f32[8,4]{1,0}", 128), ("pred[]", 1), ("(s32[], f64[3]{0}, u8[5]{0})", 33), ("bf16[2,2]", 8), ("token[]", 0)],
)
def test_size_of_shapes(shape, size):
    assert hlo.size_of(shape) == size


def test_what_the_assembler_says_of_kernels():
    said = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'loop_fusion_1' for 'sm_90a'
ptxas info    : Function properties for loop_fusion_1
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 16 bytes cumulative stack size
ptxas info    : Compiling entry function 'wrapped_add' for 'sm_90a'
ptxas info    : Function properties for wrapped_add
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""
    assert usage_of(said) == {"loop_fusion_1": (255, 32), "wrapped_add": (10, 0)}
