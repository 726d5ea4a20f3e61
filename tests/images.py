"""An image of one's own, made without the network: this machine's Python and its libraries.

`FROM scratch`, so paths of the interpreter are the same inside. Its programs are what users write:
`train` and `serve` by SageMaker's contract, and `process.py`.
"""

import base64
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from loopwright.aws.registry import PROGRAM, Registry
from loopwright.compute.engine import Engine
from tests.server import Server

LEFT_OUT = frozenset(
    "test tests site-packages idlelib tkinter ensurepip lib2to3 pydoc_data __pycache__ turtledemo "
    "unittest distutils".split()
)
DOCKERFILE = """\
FROM scratch
COPY system /
COPY program /opt/program
ENV PATH=/opt/program:/usr/bin:/bin PYTHONUNBUFFERED=1
WORKDIR /opt/program
"""
TRAIN = """\
#!/usr/bin/python3
import json, os, pathlib, sys

base = pathlib.Path("/opt/ml")
parameters = json.loads((base / "input/config/hyperparameters.json").read_text())
try:
    if "code" in parameters:
        exec(json.loads(parameters["code"]))
        sys.exit()
    rows = []
    for path in sorted((base / "input/data/train").iterdir()):
        rows += [float(line) for line in path.read_text().split()]
    mean = sum(rows) / len(rows)
    for step in range(1, 4):
        print(f"step {step} loss={1 / step:.3f}")
    print("job", os.environ["TRAINING_JOB_NAME"], "rows", len(rows))
    (base / "model/mean.json").write_text(json.dumps({"mean": mean, "scale": parameters["scale"]}))
except Exception as error:
    (base / "output/failure").write_text(f"train: {error!r}")
    raise
"""
SERVE = """\
#!/usr/bin/python3
import http.server, json, os, signal, sys, urllib.request

model = json.load(open("/opt/ml/model/mean.json"))
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if os.environ.get("CALL_BACK"):
    try:
        urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=10)
    except urllib.error.HTTPError as error:
        print("loopwright answers", error.code)
    except OSError as error:
        print("no way out", error)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self):
        value = float(self.rfile.read(int(self.headers["Content-Length"])))
        found = (value - model["mean"]) * float(model["scale"])
        self.answer(200, json.dumps({"score": found}).encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
PROCESS = """\
import os, pathlib, sys

base = pathlib.Path("/opt/ml/processing")
words = (base / "input/data.csv").read_text().split()
told = [str(len(words)), *sys.argv[1:], os.environ["MARK"]]
(base / "output/count.txt").write_text(" ".join(told))
print("counted", len(words))
"""


REPOSITORY = "workshop/mean"


@dataclass
class Workshop:
    """A server with an engine and a registry, and the image that was built and pushed there.

    Attributes:
        uri: Of the image, with its tag.
        environment: Of a user's shell.
    """

    server: Server
    engine: Engine
    uri: str
    environment: dict[str, str]

    def docker(
        self, *arguments: str, given: str | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run the docker command as a user does."""
        done = subprocess.run(
            ["docker", *arguments], env=self.environment, input=given, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done

    def login(self) -> None:
        """What ECR's documentation says to do before a push."""
        token = self.server.client("ecr").get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
        self.docker("login", "-u", user, "--password-stdin", token["proxyEndpoint"], given=password)

    def containers(self) -> list[str]:
        """Names of the containers that there are, running or not."""
        client = self.engine.client()
        try:
            return [found.name for found in client.containers.list(all=True)]
        finally:
            client.close()


def open_workshop(folder: Path) -> Workshop:
    """Start a server and go the first three of the course's steps: write, build, push."""
    server = Server(folder / "home", cpus=2, engine="")
    server.start()
    home = server.home
    registry = Registry(home)
    engine = Engine(home, "podman", lambda: registry.address)
    shell = {**os.environ, **server.variables(), "DOCKER_CONFIG": str(folder / "docker")}
    made = Workshop(server, engine, "", {**shell, "PATH": os.environ["PATH"]})
    ecr = server.client("ecr")
    repository = ecr.create_repository(repositoryName=REPOSITORY)["repository"]
    made.uri = f"{repository['repositoryUri']}:1"
    made.login()
    build_context(folder / "context")
    made.docker("build", "-q", "-t", made.uri, str(folder / "context"))
    made.docker("push", "-q", made.uri)
    return made


def why_no_containers() -> str | None:
    """What is missing to build, push and run images; None when nothing is."""
    missing = [name for name in ("podman", "docker", PROGRAM) if shutil.which(name) is None]
    if os.getuid() != 0:
        return "containers are tested as root only"
    return f"not installed: {', '.join(missing)}" if missing else None


def build_context(folder: Path) -> None:
    """Fill a folder with what `docker build` makes the image of."""
    system, program = folder / "system", folder / "program"
    folder.mkdir(parents=True)
    python = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_paths()["stdlib"])
    shutil.copytree(library, system / str(library)[1:], ignore=_left_out, symlinks=True)
    shell = Path("/bin/sh")
    extensions = sorted((system / str(library)[1:] / "lib-dynload").glob("*.so"))
    for path in _libraries([python, shell, *extensions]) | {python, shell}:
        target = system / str(path)[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), target)
    (system / "usr/bin").mkdir(parents=True, exist_ok=True)
    (system / "usr/bin/python3").symlink_to(python)
    (system / "tmp").mkdir(mode=0o777)
    program.mkdir()
    for name, text in (("train", TRAIN), ("serve", SERVE), ("process.py", PROCESS)):
        (program / name).write_text(text)
        (program / name).chmod(0o755)
    (folder / "Dockerfile").write_text(DOCKERFILE)


def _left_out(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in LEFT_OUT or name.startswith("config-")]


def _libraries(programs: list[Path]) -> set[Path]:
    command = ["ldd", *map(str, programs)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    words = {word for line in told.splitlines() if line[:1].isspace() for word in line.split()}
    return {Path(word) for word in words if word.startswith("/")}
