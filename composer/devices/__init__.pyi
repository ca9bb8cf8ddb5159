from composer.devices.device import Device as Device
from composer.devices.device_cpu import DeviceCPU as DeviceCPU
from composer.devices.device_gpu import DeviceGPU as DeviceGPU
from composer.devices.device_mps import DeviceMPS as DeviceMPS
