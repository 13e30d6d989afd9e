"""What BuildFeatures starts on EMR Serverless, in the image ``features``: ``VIEW --source FOLDER --out FOLDER``."""

import sys

from spark_jobs.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
