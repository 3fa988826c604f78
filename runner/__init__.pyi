from runner.compose.client import Client as Client
from runner.entity.status import JobStatus as JobStatus
from runner.errors import RunnerError as RunnerError
from runner.errors import ValidationError as ValidationError
from runner.errors import ValidationException as ValidationException
from runner.spec.jobs import Job as Job
from runner.spec.jobs import ParallelJob as ParallelJob
from runner.spec.load import load_job as load_job
from runner.spec.pieces import Input as Input
from runner.spec.pieces import JobResourceConfiguration as JobResourceConfiguration
from runner.spec.pieces import Output as Output
from runner.spec.pieces import ResourceConfiguration as ResourceConfiguration
from runner.spec.pieces import RetrySettings as RetrySettings
from runner.spec.pieces import RunFunction as RunFunction
from runner.spec.pieces import SystemData as SystemData

__version__: str
