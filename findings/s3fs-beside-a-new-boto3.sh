#!/usr/bin/env bash
# `pip install s3fs` beside a new boto3 gives a release of 2020, without a word.
#
# Surprising: s3fs from 0.5 on needs aiobotocore, which pins botocore to a narrow range below the newest; s3fs 0.4.2 of
# March 2020 needs only "botocore>=1.12.91". Where boto3 is given first (by the SageMaker SDK, a lock, a range above),
# pip goes back through all releases to 0.4.2 and installs it: an s3fs without asyncio, of another calendar, whose
# `storage_options` differ. Nothing is printed; `pip check` is content.
# Documented: aiobotocore's page says that it pins botocore; neither page says what becomes of s3fs.
# A product that tells users to install s3fs beside boto3 names a lower bound (`s3fs>=2023`), so that pip refuses instead,
# and a separate environment.
# Seen: pip 26.2, boto3 1.44.8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet pip==26.2
"$folder/env/bin/python" -m pip install --quiet boto3==1.44.8 s3fs
found=$("$folder/env/bin/python" -c 'from importlib.metadata import version; print(version("s3fs"))')
echo "beside boto3 1.44.8: s3fs $found"
"$folder/env/bin/python" -m pip check
[ "$found" = 0.4.2 ]
if "$folder/env/bin/python" -m pip install --quiet boto3==1.44.8 's3fs>=2023' 2>"$folder/said"; then exit 1; fi
grep -i "conflict\|no matching\|cannot install" "$folder/said" | head -1 | cut -c1-160
