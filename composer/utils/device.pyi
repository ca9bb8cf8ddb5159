from composer.devices.select import *
