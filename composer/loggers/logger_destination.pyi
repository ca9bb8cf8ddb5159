from composer.core.logger_destination import *
