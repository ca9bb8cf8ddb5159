from composer.core.logger import Logger as Logger
from composer.core.logger_destination import LoggerDestination as LoggerDestination
from composer.loggers.console_logger import ConsoleLogger as ConsoleLogger
from composer.loggers.file_logger import FileLogger as FileLogger
from composer.loggers.in_memory_logger import InMemoryLogger as InMemoryLogger
from composer.loggers.progress_bar_logger import ProgressBarLogger as ProgressBarLogger
from composer.loggers.remote_uploader_downloader import (
    RemoteUploaderDownloader as RemoteUploaderDownloader,
)
from composer.loggers.wandb_logger import WandBLogger as WandBLogger
