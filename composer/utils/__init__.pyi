from composer.checkpoint.export import ExportFormat as ExportFormat
from composer.checkpoint.export import Transform as Transform
from composer.checkpoint.export import export_for_inference as export_for_inference
from composer.checkpoint.export import export_with_logger as export_with_logger
from composer.checkpoint.export import quantize_dynamic as quantize_dynamic
from composer.checkpoint.load_run import load_checkpoint as load_checkpoint
from composer.checkpoint.load_run import safe_torch_load as safe_torch_load
from composer.checkpoint.partial_path import PartialFilePath as PartialFilePath
from composer.checkpoint.save_run import get_save_filename as get_save_filename
from composer.checkpoint.save_run import save_checkpoint as save_checkpoint
from composer.core.interval import create_interval_scheduler as create_interval_scheduler
from composer.core.naming import (
    ensure_folder_has_no_conflicting_files as ensure_folder_has_no_conflicting_files,
)
from composer.core.naming import format_name_with_dist as format_name_with_dist
from composer.core.naming import format_name_with_dist_and_time as format_name_with_dist_and_time
from composer.devices.select import get_device as get_device
from composer.distributed.config import FSDP2Config as FSDP2Config
from composer.distributed.config import FSDPConfig as FSDPConfig
from composer.distributed.config import ParallelismConfig as ParallelismConfig
from composer.distributed.config import ParallelismType as ParallelismType
from composer.distributed.config import TPConfig as TPConfig
from composer.loggers.remote_uploader_downloader import (
    maybe_create_remote_uploader_downloader_from_uri as maybe_create_remote_uploader_downloader_from_uri,
)
from composer.storage.files import extract_path_from_symlink as extract_path_from_symlink
from composer.storage.files import get_file as get_file
from composer.storage.files import list_remote_objects as list_remote_objects
from composer.storage.files import validate_credentials as validate_credentials
from composer.storage.gcs import GCSObjectStore as GCSObjectStore
from composer.storage.libcloud import LibcloudObjectStore as LibcloudObjectStore
from composer.storage.object_store import ObjectStore as ObjectStore
from composer.storage.object_store import ObjectStoreTransientError as ObjectStoreTransientError
from composer.storage.oci import OCIObjectStore as OCIObjectStore
from composer.storage.remote_uploader import (
    RemoteFilesExistingCheckStatus as RemoteFilesExistingCheckStatus,
)
from composer.storage.remote_uploader import RemoteUploader as RemoteUploader
from composer.storage.s3 import S3ObjectStore as S3ObjectStore
from composer.storage.sftp import SFTPObjectStore as SFTPObjectStore
from composer.storage.uri import build_remote_backend as build_remote_backend
from composer.storage.uri import (
    maybe_create_object_store_from_uri as maybe_create_object_store_from_uri,
)
from composer.storage.uri import parse_uri as parse_uri
from composer.utils import dist as dist
from composer.utils import reproducibility as reproducibility
from composer.utils.atomic import atomic_write as atomic_write
from composer.utils.auto_log_hparams import (
    convert_flat_dict_to_nested_dict as convert_flat_dict_to_nested_dict,
)
from composer.utils.auto_log_hparams import (
    convert_nested_dict_to_flat_dict as convert_nested_dict_to_flat_dict,
)
from composer.utils.auto_log_hparams import extract_hparams as extract_hparams
from composer.utils.batch_helpers import batch_get as batch_get
from composer.utils.batch_helpers import batch_set as batch_set
from composer.utils.collect_env import configure_excepthook as configure_excepthook
from composer.utils.collect_env import disable_env_report as disable_env_report
from composer.utils.collect_env import enable_env_report as enable_env_report
from composer.utils.collect_env import get_composer_env_dict as get_composer_env_dict
from composer.utils.collect_env import print_env as print_env
from composer.utils.compression import KNOWN_COMPRESSORS as KNOWN_COMPRESSORS
from composer.utils.compression import CliCompressor as CliCompressor
from composer.utils.compression import get_compressor as get_compressor
from composer.utils.compression import is_compressed_pt as is_compressed_pt
from composer.utils.folders import create_symlink_file as create_symlink_file
from composer.utils.folders import ensure_folder_is_empty as ensure_folder_is_empty
from composer.utils.folders import is_tar as is_tar
from composer.utils.host import get_free_tcp_port as get_free_tcp_port
from composer.utils.host import is_notebook as is_notebook
from composer.utils.import_helpers import (
    MissingConditionalImportError as MissingConditionalImportError,
)
from composer.utils.import_helpers import import_object as import_object
from composer.utils.iter_helpers import IteratorFileStream as IteratorFileStream
from composer.utils.iter_helpers import ensure_tuple as ensure_tuple
from composer.utils.iter_helpers import map_collection as map_collection
from composer.utils.model_helpers import STR_TO_DTYPE as STR_TO_DTYPE
from composer.utils.model_helpers import is_model_fsdp as is_model_fsdp
from composer.utils.model_helpers import is_model_fsdp2 as is_model_fsdp2
from composer.utils.model_helpers import model_eval_mode as model_eval_mode
from composer.utils.module_surgery import count_module_instances as count_module_instances
from composer.utils.module_surgery import replace_module_classes as replace_module_classes
from composer.utils.module_surgery import update_params_in_optimizer as update_params_in_optimizer
from composer.utils.naming import (
    FORMAT_NAME_WITH_DIST_AND_TIME_TABLE as FORMAT_NAME_WITH_DIST_AND_TIME_TABLE,
)
from composer.utils.naming import FORMAT_NAME_WITH_DIST_TABLE as FORMAT_NAME_WITH_DIST_TABLE
from composer.utils.naming import partial_format as partial_format
from composer.utils.retrying import retry as retry
from composer.utils.string_enum import StringEnum as StringEnum
from composer.utils.vision import add_vision_dataset_transform as add_vision_dataset_transform
from composer.utils.warnings import VersionedDeprecationWarning as VersionedDeprecationWarning
