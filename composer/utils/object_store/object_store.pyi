from composer.storage.object_store import *
