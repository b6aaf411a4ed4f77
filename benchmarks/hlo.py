"""What an optimised program of XLA does: its loops, their kernels, and what each of these reads, writes and computes.

In: the text of an optimised HLO module for a GPU. Out: `Loop`s. This knows nothing of jaxsmt and needs nothing but
Python. In an optimised module each instruction of a body is one kernel, but for those that only name memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

_BYTES = {"pred": 1, "s4": 1, "u4": 1, "bf16": 2, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
# They launch nothing.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
_ENDS = ("-done", "-update")  # second halves of what another instruction has started
_READ_IN_PART = ("slice", "dynamic-slice", "gather")
_WRITTEN_IN_PART = {"dynamic-update-slice": 1, "scatter": 2}  # and which operand is what is written
_ARITHMETIC = {
    *("add", "subtract", "multiply", "divide", "negate", "maximum", "minimum", "power", "remainder"),
    *("sqrt", "rsqrt", "cbrt", "exponential", "exponential-minus-one", "log", "log-plus-one", "logistic", "erf"),
    *("sine", "cosine", "tan", "tanh", "atan2"),
}


class Instruction(NamedTuple):
    """One line of a computation. shape: as the text has it. rest: its attributes. index: of a parameter."""

    name: str
    shape: str
    opcode: str
    operands: list[str]
    rest: str
    index: int = -1

    def called(self, attribute: str) -> list[str]:
        """Names of the computations that an attribute names."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.rest)
        return [] if found is None else [name.strip("% ") for name in found.group(1).strip("{}").split(",")]


Computation = dict[str, Instruction]  #: by name, the root last


class Kernel(NamedTuple):
    """One launch.

    bytes: read and written. flops: operations on floating-point numbers, each counting once, a product with its sum
    twice. source: which line of the program computes its result, "file:line function"; "" if the text does not tell.
    """

    name: str
    opcode: str
    bytes: int
    flops: int
    source: str


class Loop(NamedTuple):
    """A while loop, or a whole program. trips: None where the text does not tell. kernels: without those of `loops`."""

    name: str
    trips: int | None
    kernels: list[Kernel]
    loops: list[Loop]

    def total(self, figure: Callable[[Kernel], float]) -> float:
        """Of one turn; loops inside count as often as they turn, or once where that is not known."""
        return sum(map(figure, self.kernels)) + self.inside(figure)

    def inside(self, figure: Callable[[Kernel], float]) -> float:
        """The part of `total` of the loops inside."""
        return sum((loop.trips or 1) * loop.total(figure) for loop in self.loops)


def program(text: str) -> Loop:
    """The program of a module's text, as a loop of one turn."""
    computations, entry = parse(text)
    return _loop("program", 1, [entry], computations, places(text))


def places(text: str) -> dict[str, str]:
    """Where the calls of a module's table were made, by their numbers."""

    def table(title: str, row: str) -> list[tuple[str, ...]]:
        part = re.search(rf"^{title}\n(.*?)(?:\n\n|\Z)", text, re.S | re.M)
        return [] if part is None else re.findall(row, part.group(1), re.M)

    files = dict(table("FileNames", r'^(\d+) "(.*)"$'))
    functions = dict(table("FunctionNames", r'^(\d+) "(.*)"$'))
    locations = {
        number: f"{files[file].rsplit('/', 1)[-1]}:{line} {functions[function]}"
        for number, file, function, line in table(
            "FileLocations", r"^(\d+) \{file_name_id=(\d+) function_name_id=(\d+) line=(\d+)"
        )
    }
    return {number: locations[place] for number, place in table("StackFrames", r"^(\d+) \{file_location_id=(\d+)")}


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """All computations by name, and the name of the one where the program starts."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if line.startswith(("%", "ENTRY")) and line.rstrip().endswith("{"):
            name = re.sub(r"^(ENTRY )?%?", "", line).split(" ", 1)[0]
            entry = name if line.startswith("ENTRY") else entry
            current = computations.setdefault(name, {})
        elif line.startswith("}"):
            current = None
        elif current is not None and " = " in line:
            instruction = _instruction(line)
            current[instruction.name] = instruction
            if line.lstrip().startswith("ROOT "):
                root = instruction.name
                current[root] = current.pop(root)
    return computations, entry


def _instruction(line: str) -> Instruction:
    """NAME = SHAPE OPCODE(OPERANDS), ATTRIBUTES."""
    name, text = line.strip().removeprefix("ROOT ").split(" = ", 1)
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    opcode, text = text.split("(", 1)
    end = _closing("(" + text) - 1
    operands, rest = text[:end], text[end + 1 :]
    index = int(operands) if opcode == "parameter" else -1
    return Instruction(name.strip("%"), shape, opcode, re.findall(r"%([\w.\-]+)", operands), rest, index)


def _closing(text: str) -> int:
    """Where the parenthesis closes with which a text starts."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i
    raise ValueError(f"no closing parenthesis in {text[:80]}")


def arrays(shape: str) -> list[tuple[str, int]]:
    """Type and number of elements of an array, or of each array of a tuple."""
    found = re.findall(r"([a-z]\w*)\[([\d,<=]*)\]", shape)
    return [(kind, math.prod(int(n.strip("<=")) for n in sizes.split(",") if n)) for kind, sizes in found]


def size_of(shape: str) -> int:
    """Bytes."""
    return sum(
        n * (_BYTES[k] if k in _BYTES else max(1, int(re.sub(r"\D.*", "", k[1:])) // 8)) for k, n in arrays(shape)
    )


def _loop(
    name: str,
    trips: int | None,
    bodies: list[str],
    computations: dict[str, Computation],
    where: dict[str, str],
) -> Loop:
    kernels: list[Kernel] = []
    loops: list[Loop] = []
    for body in bodies:
        for one in computations[body].values():
            if one.opcode == "while":
                known = re.search(r'"known_trip_count":\{"n":"(\d+)"', one.rest)
                turns = None if known is None else int(known.group(1))
                # A condition is only computed where the number of turns is not known.
                inside = one.called("body") + (one.called("condition") if turns is None else [])
                loops.append(_loop(one.name, turns, inside, computations, where))
            elif one.opcode in ("call", "conditional"):
                called = one.called("to_apply") + one.called("branch_computations")
                part = _loop(one.name, 1, called, computations, where)
                kernels += part.kernels
                loops += part.loops
            elif one.opcode not in _FREE and not one.opcode.endswith(_ENDS):
                kernels.append(_kernel(one, computations[body], computations, where))
    return Loop(name, trips, kernels, loops)


def _kernel(
    one: Instruction, around: Computation, computations: dict[str, Computation], where: dict[str, str]
) -> Kernel:
    frame = re.search(r"stack_frame_id=(\d+)", one.rest)
    source = "" if frame is None else where.get(frame.group(1), "")
    moved = 0
    if one.opcode == "fusion":
        fused = computations[one.called("calls")[0]]
        parameters = sorted((p for p in fused.values() if p.opcode == "parameter"), key=lambda p: p.index)
        moved = sum(_read(parameter, fused) for parameter in parameters) + _written(fused)
    elif one.opcode in _READ_IN_PART:
        moved = 2 * size_of(one.shape)
    elif one.opcode in _WRITTEN_IN_PART:
        moved = 2 * size_of(around[one.operands[_WRITTEN_IN_PART[one.opcode]]].shape)
    else:
        moved = sum(size_of(around[name].shape) for name in set(one.operands)) + size_of(one.shape)
    return Kernel(one.name, one.opcode, moved, flops(one, around, computations), source)


def _read(parameter: Instruction, fused: Computation) -> int:
    """Bytes of an operand that a fusion reads; of one that it only cuts pieces from, at most those."""
    names, pieces, whole = {parameter.name}, 0, size_of(parameter.shape)
    for user in fused.values():
        if names.isdisjoint(user.operands):
            continue
        if user.opcode == "bitcast":
            names.add(user.name)
        elif user.operands[0] not in names or names & set(user.operands[1:]):
            return whole
        elif user.opcode in _READ_IN_PART:
            pieces += size_of(user.shape)
        elif user.opcode not in _WRITTEN_IN_PART:  # of what is written in place, nothing is read
            return whole
    return min(pieces, whole)


def _written(fused: Computation) -> int:
    """Bytes that a fusion writes; in place, only those that change."""
    root = list(fused.values())[-1]
    results = [fused[name] for name in root.operands] if root.opcode == "tuple" else [root]
    total = 0
    for one in results:
        while one.opcode == "bitcast":
            one = fused[one.operands[0]]
        part = _WRITTEN_IN_PART.get(one.opcode)
        total += size_of(one.shape if part is None else fused[one.operands[part]].shape)
    return total


def flops(one: Instruction, around: Computation, computations: dict[str, Computation]) -> int:
    """Operations on floating-point numbers of one instruction; see `Kernel`."""
    elements = sum(n for kind, n in arrays(one.shape) if kind[0] in "fb")
    if one.opcode in _ARITHMETIC:
        return elements
    if one.opcode == "dot":
        left = around[one.operands[0]].shape
        sizes = [int(n) for n in re.findall(r"\d+", left[left.index("[") : left.index("]")])]
        over = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.rest)
        return 2 * elements * math.prod(sizes[int(i)] for i in over.group(1).split(",") if i) if over else 0
    called = one.called("calls") if one.opcode == "fusion" else one.called("to_apply")
    inside = sum(
        flops(each, computations[name], computations) for name in called for each in computations[name].values()
    )
    if one.opcode == "reduce":
        return inside * arrays(around[one.operands[0]].shape)[0][1]
    if one.opcode == "reduce-window":
        window = re.search(r"window=\{size=([\dx]+)", one.rest)
        return inside * elements * math.prod(int(n) for n in window.group(1).split("x")) if window else 0
    return inside if one.opcode in ("fusion", "call", "map") else 0
