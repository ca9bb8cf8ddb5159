"""How fast accelerators can multiply matrices, from their makers' data sheets.

Dense operations per second, without the doubling that structured sparsity promises. Consumer cards
are listed with accumulation in 32 bits, which is what training uses.
"""

from __future__ import annotations

from composer.core.precision import Precision

__all__ = ["peak_flops"]

_TERA = 1e12

# Words of the device's name -> tera-operations per second by number format. The first match counts,
# so that special forms stand before the plain ones.
_PEAKS: list[tuple[str, dict[str, float]]] = [
    ("GB300", {"fp32": 80, "tf32": 1250, "fp16": 2500, "bf16": 2500, "fp8": 5000}),
    ("B300", {"fp32": 75, "tf32": 1100, "fp16": 2250, "bf16": 2250, "fp8": 4500}),
    ("GB200", {"fp32": 80, "tf32": 1250, "fp16": 2500, "bf16": 2500, "fp8": 5000}),
    ("B200", {"fp32": 75, "tf32": 1100, "fp16": 2250, "bf16": 2250, "fp8": 4500}),
    ("B100", {"fp32": 60, "tf32": 900, "fp16": 1750, "bf16": 1750, "fp8": 3500}),
    ("H200 NVL", {"fp32": 60, "tf32": 417.5, "fp16": 835.5, "bf16": 835.5, "fp8": 1671}),
    ("H200", {"fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9}),
    ("GH200", {"fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9}),
    ("H100 NVL", {"fp32": 60, "tf32": 417.5, "fp16": 835.5, "bf16": 835.5, "fp8": 1671}),
    ("H100 PCIe", {"fp32": 51.2, "tf32": 378, "fp16": 756, "bf16": 756, "fp8": 1513}),
    ("H100", {"fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9}),
    ("H800", {"fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9}),
    ("H20", {"fp32": 44, "tf32": 74, "fp16": 148, "bf16": 148, "fp8": 296}),
    ("A100", {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312}),
    ("A800", {"fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312}),
    ("A40", {"fp32": 37.4, "tf32": 74.8, "fp16": 149.7, "bf16": 149.7}),
    ("A30", {"fp32": 10.3, "tf32": 82, "fp16": 165, "bf16": 165}),
    ("A10G", {"fp32": 31.5, "tf32": 35, "fp16": 70, "bf16": 70}),
    ("A10", {"fp32": 31.2, "tf32": 62.5, "fp16": 125, "bf16": 125}),
    ("L40S", {"fp32": 91.6, "tf32": 183, "fp16": 362, "bf16": 362, "fp8": 733}),
    ("L40", {"fp32": 90.5, "tf32": 90.5, "fp16": 181, "bf16": 181, "fp8": 362}),
    ("L4", {"fp32": 30.3, "tf32": 60, "fp16": 121, "bf16": 121, "fp8": 242.5}),
    ("V100-PCIE", {"fp32": 14, "fp16": 112}),
    ("V100", {"fp32": 15.7, "fp16": 125}),
    ("T4", {"fp32": 8.1, "fp16": 65}),
    ("RTX 5090", {"fp32": 104.8, "tf32": 104.8, "fp16": 209.5, "bf16": 209.5, "fp8": 419}),
    ("RTX 4090", {"fp32": 82.6, "tf32": 82.6, "fp16": 165.2, "bf16": 165.2, "fp8": 330.3}),
    ("RTX 3090", {"fp32": 35.6, "tf32": 35.6, "fp16": 71, "bf16": 71}),
    ("MI355X", {"fp32": 157.3, "fp16": 2516.6, "bf16": 2516.6, "fp8": 5033.2}),
    ("MI350X", {"fp32": 144.2, "fp16": 2306.9, "bf16": 2306.9, "fp8": 4613.7}),
    ("MI325X", {"fp32": 163.4, "tf32": 653.7, "fp16": 1307.4, "bf16": 1307.4, "fp8": 2614.9}),
    ("MI300X", {"fp32": 163.4, "tf32": 653.7, "fp16": 1307.4, "bf16": 1307.4, "fp8": 2614.9}),
    ("MI300A", {"fp32": 122.6, "tf32": 490.3, "fp16": 980.6, "bf16": 980.6, "fp8": 1961.2}),
    ("MI250X", {"fp32": 47.9, "fp16": 383, "bf16": 383}),
    ("MI250", {"fp32": 45.3, "fp16": 362.1, "bf16": 362.1}),
    ("MI210", {"fp32": 22.6, "fp16": 181, "bf16": 181}),
]

_FORMATS = {
    Precision.FP32: "fp32",
    Precision.AMP_FP16: "fp16",
    Precision.AMP_BF16: "bf16",
    Precision.AMP_FP8: "fp8",
}


def peak_flops(device_name: str, precision: Precision, uses_tf32: bool = False) -> float | None:
    """Return how many dense floating point operations a second a device can do at best.

    Args:
        device_name: as ``torch.cuda.get_device_name()`` gives it.
        precision: the run's number format.
        uses_tf32: whether products of 32-bit matrices may use TF32.

    Returns:
        Operations per second; ``None`` for a device or a format that is not listed.
    """
    wanted = "tf32" if uses_tf32 and precision is Precision.FP32 else _FORMATS[precision]
    words = f" {_plain(device_name)} "
    for name, peaks in _PEAKS:
        if f" {_plain(name)} " in words:
            peak = peaks.get(wanted)
            return None if peak is None else peak * _TERA
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", " ")
