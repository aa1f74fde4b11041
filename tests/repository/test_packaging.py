"""The pins of the environments agree, and the repository says what it is and how to run it."""

import re
import subprocess
import tomllib

import pytest
import yaml

import sftlens
from repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXACT = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)")


def pins(requirements: list[str]) -> dict[str, str]:
    """Return the version of each package; every requirement must be an exact one."""
    found = {}
    for requirement in requirements:
        match = EXACT.fullmatch(requirement)
        assert match, f"{requirement} is no exact pin"
        found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return found


DIRECT = pins(PROJECT["dependencies"])
EXTRAS = {name: pins(listed) for name, listed in PROJECT["optional-dependencies"].items()}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.name)
def test_environment_has_the_pins_of_the_project(path):
    environment = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    found = pins(listed)
    assert found
    assert found == {name: DIRECT.get(name) for name in found}


def test_environments_hold_all_that_the_jobs_need():
    """Snakemake itself runs outside of them."""
    listed: set[str] = set()
    for path in (ROOT / "envs").glob("*.yaml"):
        environment = yaml.safe_load(path.read_text(encoding="utf-8"))
        listed |= set(pins(next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))))
    assert set(DIRECT) - listed == {"snakemake"}


def test_rules_name_environments_that_exist():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./\.\./(envs/[\w-]+\.yaml)"', rules))
    assert named == {f"envs/{path.name}" for path in (ROOT / "envs").glob("*.yaml")}


@pytest.mark.parametrize("group", ["direct", *EXTRAS])
def test_constraints_hold_the_same_versions(group):
    wanted = DIRECT if group == "direct" else EXTRAS[group]
    held = constraints()
    assert {name: held.get(name) for name in wanted} == wanted


def test_version_stands_in_one_voice():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["version"] == sftlens.__version__ == citation["version"]


def test_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "Apache-2.0"
    paper = citation["preferred-citation"]
    assert "Supervised Fine-Tuning" in paper["title"]
    assert paper["identifiers"][0]["value"] == "arXiv:2509.16596"


def test_default_profile_leaves_the_rest_to_the_user():
    """A key that stood here would win over the user's own profile."""
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    assert set(profile) == {"keep-going", "rerun-incomplete", "rerun-triggers"}
    assert profile["rerun-triggers"] == ["mtime", "params", "input"]


def test_the_slurm_profile_leaves_the_rest_to_the_user():
    profile = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    # It stands in for profiles/default where it is given as --workflow-profile.
    assert {key: profile[key] for key in default} == default
    own = {"executor", "jobs", "retries", "slurm-status-command", "latency-wait"}
    assert set(profile) - set(default) == own, "account, partition and default resources are the user's"


def test_make_alone_says_what_there_is_and_the_demo_ends_with_a_link():
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^make (\w+)", said, re.MULTILINE))
    assert targets == {"demo", "sample", "smollm2", "test", "lint", "setup"}
    planned = ["make", "--no-print-directory", "-n", "demo"]  # a make inside of `make test` names its folder else
    steps = subprocess.run(planned, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert steps.splitlines()[-1] == f'echo "The report: file://{ROOT}/results/demo/report.html"'


def test_a_report_is_one_click_from_the_third_line_of_the_readme():
    line = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[2]
    link = re.search(r"\((docs/[\w-]+\.html)\)", line)
    assert link and link[1] == "docs/sample-report.html"
    page = (ROOT / link[1]).read_bytes()
    assert len(page) < 8e6 and b'id="fig2"' in page and b"did not finish" not in page
    assert b"<script" not in page  # the libraries of a report are other people's


def test_commits_and_pushes_are_checked_as_make_does():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    steps = subprocess.run(["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lint = [line for line in steps.splitlines() if re.match(r"(ruff|snakefmt|mypy|snakemake) ?", line)]
    # Those that take files are given them by pre-commit.
    files = re.compile(r" (\.|Snakefile workflow)$")
    assert sorted(hook["entry"] for hook in hooks) == sorted(files.sub("", line) for line in lint)
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert any(step.get("run", "").endswith(".ci/run") for step in jobs["test"]["steps"])
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


def test_the_container_has_the_files_that_the_package_is_built_from():
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    linked = {path.name for path in (ROOT / "src/sftlens/shipped").iterdir()}
    assert linked | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "src"} == copied
    assert PROJECT["scripts"] == {"sftlens": "sftlens.cli:main"} and 'ENTRYPOINT ["sftlens"]' in lines


def test_an_editor_finds_the_schema_of_every_configuration():
    """Templates, aliases and facts have no schema."""
    for path in (ROOT / "config").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if "study" in yaml.safe_load(text):
            named = re.search(r"^# yaml-language-server: \$schema=(\S+)$", text, re.MULTILINE)
            assert named and (path.parent / named[1]).is_file(), path


def test_the_catalog_finds_the_workflow():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(catalog["usage"])
    assert (ROOT / "workflow/Snakefile").is_file() and (ROOT / "README.md").is_file()


def test_python_version_is_said_alike():
    assert PROJECT["requires-python"] == ">=3.11"
    assert "(3, 11)" in (ROOT / "Makefile").read_text(encoding="utf-8")
