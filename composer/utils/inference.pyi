from composer.checkpoint.export import *
