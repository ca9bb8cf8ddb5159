from composer.storage.uri import *
