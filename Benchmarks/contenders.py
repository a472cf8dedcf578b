"""Who takes part in a race: our tool and its peers, each as something that computes one case again and again.

Inputs and outputs rotate for everybody: a call reads the next copy of the input, and its output lives until all copies
have had their turn. How many there are is what the tool chooses for the case: enough that they fill the
cores' own caches eight times. Otherwise a small layer would find in the nearest cache what a network has to fetch.
"""

import json
import os
import subprocess
import time

import numpy as np

from cases import TOOL

#: For each of our instruction sets, lowest first, what oneDNN (in PyTorch and OpenVINO), PyTorch and MKL call it.
LIMITS = {"baseline": ("SSE41", "default", "SSE4_2"), "avx2": ("AVX2", "avx2", "AVX2"), "avx512": None}


def limit_instructions(isa):
    """Limits us and, as far as they let themselves be limited, the peers; before any of them is imported.

    Returns the names of those that keep using more: ONNX Runtime has no such switch.
    """
    best = bench("--case", "vocos.dw7", "--seconds", 0.001, "--no-machine")[0]["isa"]
    os.environ["TOEPLITZ_ISA"] = isa
    if LIMITS[isa]:
        for name, value in zip(("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS"), LIMITS[isa]):
            os.environ[name] = value
    return [OnnxRuntime.name] if list(LIMITS).index(isa) < list(LIMITS).index(best) else []


def bench(*arguments):
    """The objects that `toeplitz bench --json` prints."""
    command = [TOOL, "bench", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Ours:
    """The tool runs as a process that times itself; start-up and preparing the weights are not counted."""

    def __init__(self, case, threads, folder, numerics="invariant"):
        self.name = "toeplitz" if numerics == "invariant" else f"toeplitz.{numerics}"
        self.folder = folder
        self.arguments = ["--case", case.name, "--threads", threads, "--data", folder, "--no-machine"]
        self.arguments += ["--numerics", numerics]
        first = self.run(0.001)
        self.buffers = first["buffers"]
        self.operations = first["gflops"] * first["ms"] * 1e6
        self.output = np.load(folder / "y.npy")

    def run(self, seconds):
        return bench(*self.arguments, "--seconds", seconds, "--times")[0]

    def times(self, seconds):
        return self.run(seconds)["times_ms"]


class InProcess:
    """A peer that is called in this process."""

    def __init__(self, case, threads, buffers):
        self.calls = self.prepare(case, threads, buffers)
        self.kept = [None] * buffers
        self.turn = 0
        self.once()
        self.output = np.array(self.array(self.kept[0]))

    def once(self):
        slot = self.turn % len(self.kept)
        self.turn += 1
        start = time.perf_counter()
        self.kept[slot] = self.calls(slot)
        return (time.perf_counter() - start) * 1e3

    def times(self, seconds):
        for _ in self.kept:
            self.once()
        found = []
        end = time.perf_counter() + seconds
        while len(found) < 3 or time.perf_counter() < end:
            found.append(self.once())
        return found


class Torch(InProcess):
    """PyTorch, eager."""

    name = "torch"

    def prepare(self, case, threads, buffers):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        x = torch.from_numpy(case.input)
        inputs = [x.clone() for _ in range(buffers)]
        function = self.function(case)
        return lambda slot: function(inputs[slot])

    def function(self, case):
        return case.torch_function()

    def array(self, output):
        return output.numpy()


class TorchCompile(Torch):
    """PyTorch, compiled, with the weights as constants; networks only."""

    name = "compile"

    def function(self, case):
        import torch
        import torch._inductor.config

        torch._inductor.config.freezing = True
        torch._dynamo.reset()
        return torch.compile(case.torch_function(), dynamic=False)


class OnnxRuntime(InProcess):
    name = "ort"

    #: Its workers would otherwise spin on the others' time.
    spins = False

    def prepare(self, case, threads, buffers):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self.spins else "0")
        session = onnxruntime.InferenceSession(case.onnx_model(), options, providers=["CPUExecutionProvider"])
        inputs = [{"x": onnxruntime.OrtValue.ortvalue_from_numpy(case.input)} for _ in range(buffers)]
        # Values of its own: the call for arrays would copy the output once more.
        return lambda slot: session.run_with_ort_values(["y"], inputs[slot])[0]

    def array(self, output):
        return output.numpy()


class OpenVino(InProcess):
    name = "openvino"

    def prepare(self, case, threads, buffers):
        import openvino

        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
        compiled = core.compile_model(core.read_model(case.onnx_model()), "CPU")
        request = compiled.create_infer_request()
        shape = list(compiled.output(0).shape)
        inputs = [openvino.Tensor(case.input.copy(), shared_memory=True) for _ in range(buffers)]
        outputs = [openvino.Tensor(np.empty(shape, np.float32), shared_memory=True) for _ in range(buffers)]

        def call(slot):
            request.set_input_tensor(inputs[slot])
            request.set_output_tensor(outputs[slot])
            request.infer()
            return outputs[slot]

        return call

    def array(self, output):
        return output.data


PEERS = {peer.name: peer for peer in (Torch, TorchCompile, OnnxRuntime, OpenVino)}


def make_peers(names, case, threads, buffers):
    """The peers of the given names that take part in a case."""
    return [
        PEERS[name](case, threads, buffers) for name in names if case.is_network or PEERS[name] is not TorchCompile
    ]


def relative_error(output, reference):
    """The largest distance between two outputs for each unit of the largest magnitude."""
    if output.shape != reference.shape:
        return float("inf")
    return float(np.max(np.abs(output - reference)) / np.max(np.abs(reference)))
