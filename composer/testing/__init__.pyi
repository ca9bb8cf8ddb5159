from composer.testing.certificate import Difference as Difference
from composer.testing.certificate import ResumeCertificate as ResumeCertificate
from composer.testing.verify import verify_resume as verify_resume
