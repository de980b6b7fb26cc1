"""fastdup over a folder, without galleries: python duplicates.py FOLDER WORK. One whole process."""

import os
import sys

os.environ.setdefault("SENTRY_OPT_OUT", "1")

import fastdup

if __name__ == "__main__":
    folder, work = sys.argv[1:]
    if folder == "--version":
        print(fastdup.__version__)
    else:
        fastdup.create(work_dir=work, input_dir=folder).run(overwrite=True, print_summary=False)
