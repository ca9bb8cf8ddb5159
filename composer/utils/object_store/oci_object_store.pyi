from composer.storage.oci import *
