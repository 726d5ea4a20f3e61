#!/usr/bin/env bash
# pyarrow's S3FileSystem passes over AWS_ENDPOINT_URL, which its own addresses follow.
#
# Surprising: `FileSystem.from_uri("s3://…")` and `parquet.read_table("s3://…")` send their requests to AWS_ENDPOINT_URL;
# `S3FileSystem()`, in the same process and environment, sends them to Amazon. So a program that is pointed at an
# emulator or a private store by the variable reads there by address and goes to the public service, with the store's
# keys, by class. No error and no warning; where the network is closed it ends after long retries.
# Documented: "endpoint_override: Override region with a connect string"; no page names the variable for either way.
# A product that tells its users "the variables are enough" has to except the class, and name endpoint_override and scheme.
# Seen: pyarrow 25.0.1. Every request here goes to this machine: the class is given a proxy that notes where it was to go.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet pyarrow==25.0.1
unset AWS_PROFILE AWS_ENDPOINT_URL_S3 http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
"$folder/env/bin/python" - <<'P'
import http.server
import os
import threading

import pyarrow
from pyarrow import fs

seen = {"store": [], "proxy": []}


def serve(name):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen[name].append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_CONNECT = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


store, proxy = serve("store"), serve("proxy")
os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{store}"
by_address, path = fs.FileSystem.from_uri("s3://some-bucket/key")
by_address.get_file_info(path)
through = {"scheme": "http", "host": "127.0.0.1", "port": proxy}
by_class = fs.S3FileSystem(proxy_options=through, request_timeout=2, connect_timeout=2,
                           retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1))
at_store = len(seen["store"])
try:
    by_class.get_file_info(path)
except OSError as error:
    print("class:", str(error)[:90].replace(str(proxy), "PORT"))
print("pyarrow", pyarrow.__version__, "| by address:", at_store, "requests to AWS_ENDPOINT_URL",
      "| by class:", len(seen["store"]) - at_store, "there, and to", sorted(set(seen["proxy"])))
assert at_store and len(seen["store"]) == at_store
assert all("amazonaws.com" in target for target in seen["proxy"]) and seen["proxy"]
P
