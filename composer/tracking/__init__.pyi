from composer.tracking.server.options import ServerOptions as ServerOptions
from composer.tracking.server.serve import serve as serve
from composer.tracking.store.store import Store as Store
