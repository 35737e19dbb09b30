"""HaGoop installed into an empty environment: from a wheel, and in place."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
SCRIPTS = ["hagoop-demo", "hagoop-request", "hagoop-server", "hagoop-worker"]


def run(*command: object, cwd: Path) -> str:
    """What a command prints; it must end well, and knows nothing of how these tests were started."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ended = subprocess.run(
        [str(each) for each in command], cwd=cwd, env=env, timeout=120, capture_output=True, text=True
    )
    assert ended.returncode == 0, f"{command} ended badly:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def pip(*words: object, cwd: Path, python: object = sys.executable) -> None:
    """Run our pip, for an environment that may have none."""
    run(sys.executable, "-m", "pip", "--python", python, *words, cwd=cwd)


def borrow(ours: Path, theirs: Path) -> None:
    """Link all installed packages into an empty environment, save HaGoop and what an install writes.

    Nothing is downloaded again, and our own plugin cannot be found by mistake.
    """
    theirs.mkdir(parents=True, exist_ok=True)
    for entry in ours.iterdir():
        if "hagoop" in entry.name or entry.suffix == ".pth" or entry.name == "dropin.cache":
            continue
        if entry.relative_to(site()).as_posix() in ("twisted", "twisted/plugins"):
            borrow(entry, theirs / entry.name)
        else:
            (theirs / entry.name).symlink_to(entry)


def site() -> Path:
    """The folder of the packages that these tests run with."""
    return Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder)
    [built] = folder.glob("hagoop-*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that had all but HaGoop."""
    folder = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    programs = folder / "venv/bin"
    borrow(site(), Path(run(programs / "python", "-c", SITE, cwd=folder).strip()))
    what = ["--editable", ROOT] if request.param == "editable" else [request.getfixturevalue("wheel")]
    pip("install", "--no-index", "--no-build-isolation", *what, cwd=folder, python=programs / "python")
    return programs


def test_wheel_holds_the_package_and_one_plugin(wheel: Path) -> None:
    """Nothing else travels along: no cache of Twisted's, no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    elsewhere = [each for each in names if not each.startswith(("hagoop/", "hagoop-"))]
    assert elsewhere == ["twisted/plugins/hagoop_plugin.py"]
    assert {"hagoop/py.typed", "hagoop/demo/count.sh"} < set(names)
    assert any(each.endswith("/licenses/LICENSE") for each in names)


def test_twistd_lists_both_programs(installed: Path, tmp_path: Path) -> None:
    """Twisted finds the plugin, and it names nothing that is missing."""
    listed = run(installed / "python", "-c", TWISTD, "--help", cwd=tmp_path)
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("    hagoop-")] == [
        "hagoop-server",
        "hagoop-worker",
    ]


def test_twistd_knows_the_options(installed: Path, tmp_path: Path) -> None:
    """The module behind each program can be imported from there."""
    for program, option in [("hagoop-server", "--listen="), ("hagoop-worker", "--slots=")]:
        assert option in run(installed / "python", "-c", TWISTD, program, "--help", cwd=tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_there(installed: Path, tmp_path: Path, script: str) -> None:
    """Each script of the interface starts."""
    assert script in run(installed / script, "--help", cwd=tmp_path)
