from composer.core.naming import (
    ensure_folder_has_no_conflicting_files as ensure_folder_has_no_conflicting_files,
)
from composer.core.naming import format_name_with_dist as format_name_with_dist
from composer.core.naming import format_name_with_dist_and_time as format_name_with_dist_and_time
from composer.loggers.remote_uploader_downloader import (
    maybe_create_remote_uploader_downloader_from_uri as maybe_create_remote_uploader_downloader_from_uri,
)
from composer.storage.files import extract_path_from_symlink as extract_path_from_symlink
from composer.storage.files import get_file as get_file
from composer.storage.files import list_remote_objects as list_remote_objects
from composer.storage.files import validate_credentials as validate_credentials
from composer.storage.uri import (
    maybe_create_object_store_from_uri as maybe_create_object_store_from_uri,
)
from composer.storage.uri import parse_uri as parse_uri
from composer.utils.folders import create_symlink_file as create_symlink_file
from composer.utils.folders import ensure_folder_is_empty as ensure_folder_is_empty
from composer.utils.folders import is_tar as is_tar
from composer.utils.naming import (
    FORMAT_NAME_WITH_DIST_AND_TIME_TABLE as FORMAT_NAME_WITH_DIST_AND_TIME_TABLE,
)
from composer.utils.naming import FORMAT_NAME_WITH_DIST_TABLE as FORMAT_NAME_WITH_DIST_TABLE
