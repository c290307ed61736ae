# SPDX-License-Identifier: Apache-2.0
"""What is typed is checked before anything runs, and help can be asked for everywhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from auto3dlandmark import __version__
from auto3dlandmark.cli import main
from auto3dlandmark.cli.entry import COMMANDS, GROUPS

RUN = ("run", "DATASET", "WORK")


@pytest.fixture
def fails(tmp_path, monkeypatch):
    """Run a command in an empty folder, where it must leave nothing, and give the message it ends with."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert list(tmp_path.iterdir()) == []
        return str(stop.value.code)

    return run


@pytest.mark.parametrize(
    "words, message",
    [
        ((*RUN, "--minuts", "1"), "run has no option --minuts. Did you mean --minutes?"),
        (("check", "d", "--htlm", "x.html"), "check has no option --htlm. Did you mean --html?"),
        ((*RUN, "--zzz=1"), "run has no option --zzz. It has --folds, --network"),
        ((*RUN, "-m", "3"), "run has no option -m"),
        ((*RUN, "--folds", "1", "--folds", "2"), "--folds is given twice"),
        ((*RUN, "--folds"), "--folds needs a value, as in --folds 2"),
        ((*RUN, "--folds", "--minutes", "3"), "--folds needs a value"),
        ((*RUN, "--folds", "1.5"), "folds='1.5' must be a whole number, as in 2"),
        ((*RUN, "--minutes", "soon"), "minutes='soon' must be a number, as in 1.5"),
        ((*RUN, "--minutes", "-1"), "minutes=-1 must be a number greater than 0"),
        ((*RUN, "--thresholds-mm", "2,x"), "thresholds_mm='2,x' must be numbers, as in 2,3,4"),
        ((*RUN, "--thresholds-mm", "2,-3"), "thresholds_mm=-3 must be a number greater than 0"),
        ((*RUN, "--fit-memory=perhaps"), "fit_memory='perhaps' must be true or false"),
        ((*RUN, "--network", "huge"), "network='huge' is unknown. Choose one of small, plain"),
        ((*RUN, "--recipe", "fast"), "recipe='fast' is unknown. Choose one of"),
        ((*RUN, "--network-def", "no.json"), "no.json: cannot be read"),
        (("run", "DATASET"), "run needs WORK. Usage: auto3dlandmark run DATASET WORK [options]"),
        ((*RUN, "MORE"), "run takes 2 arguments, not 3: 'MORE' is left over"),
        (("chekc", "d"), "there is no command 'chekc'. Did you mean check?"),
        (("xyz",), "there is no command 'xyz'. There are run, predict"),
        (("serve", "S", "--bundle", "B", "--port", "99999"), "port=99999 is none"),
        (("demo", "WORK", "--minutes", "0"), "minutes=0 must be a number greater than 0"),
        (("demo", "WORK", "MORE"), "demo takes 0 arguments, not 2"),
        (("evaluate", "D", "P", "O", "--thresholds-mm", "0"), "must be a number greater than 0"),
        (("convert", "lfc", "A", "B", "--complete"), "--complete is for mml alone"),
        (("stress", "B", "D", "O", "--cases", "0"), "cases=0 must be a number greater than 0"),
        (("predict", "B", "I", "O", "--cluster", "B"), "--cluster B: is no address, such as head:6379"),
        (("predict", "--cluster", "B", "I", "O"), "--cluster B: is no address"),
        (("predict", "B", "I", "O", "--cluster", "--gpus", "-1"), "gpus=-1 must be a number greater than 0"),
        (("predict", "B", "I", "O", "--cluster", "--jobs", "2"), "--jobs are not for --cluster"),
        (
            ("predict", "B", "I", "O", "--gpus", "1"),
            "--gpus are for --cluster. Leave them out, or add --cluster",
        ),
        (("predict", "B", "--list", "c.csv"), "at least two arguments with --list: BUNDLE [BUNDLE ...] OUT"),
        ((*RUN, "--gpus-per-training", "1"), "are for --cluster. Add it"),
        (("benchmark", "report", "W", "--cluster"), "benchmark report has no use for --cluster"),
        (("stress", "B", "D", "D/O"), "D/O: is in the dataset. Name another folder for the results"),
    ],
)
def test_what_is_mistyped_is_told_and_nothing_runs(fails, words, message):
    assert message in fails(*words)


def test_hyphens_and_underscores_are_the_same(fails):
    for name in ("--gpu-memory-gb", "--gpu_memory_gb"):
        assert "gpu_memory_gb=-1 must be" in fails(*RUN, name, "-1")
    assert fails("import_nnlandmark", "M", "O") == fails("import-nnlandmark", "M", "O")


def test_a_flag_takes_no_value_from_what_comes_after_it(fails, monkeypatch):
    seen = {}
    command = COMMANDS["check"]
    monkeypatch.setattr(
        command, "function", lambda dataset, **options: seen.update(dataset=dataset, **options)
    )
    main(["check", "--fix-suggestions", "DATASET"])
    assert seen == {"dataset": "DATASET", "fix_suggestions": True}


@pytest.mark.parametrize("words", [("W",), ("--work", "W"), ("--work=W",)])
def test_a_command_without_arguments_takes_its_first_option_by_its_place(monkeypatch, words):
    seen = []
    monkeypatch.setattr(COMMANDS["demo"], "function", lambda work="demo_work", **more: seen.append(work))
    main(["demo", *words])
    assert seen == ["W"]


def test_a_word_stays_a_word(monkeypatch):
    seen = []
    monkeypatch.setattr(COMMANDS["check"], "function", lambda dataset: seen.append(dataset))
    for word in ("007", "1_000", "1e3", "True", "[1]", "a=b"):
        main(["check", word])
    assert seen == ["007", "1_000", "1e3", "True", "[1]", "a=b"]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_the_first_page_lists_every_command_in_its_group(words, capsys):
    main(list(words))
    page = capsys.readouterr().out
    assert page.startswith(f"Auto3DLandmark {__version__}")
    for title, commands in GROUPS.items():
        assert f"\n{title}\n" in page
        for command in commands:
            assert f"\n  {command.name} " in page
    assert all(len(line) <= 100 for line in page.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_all_it_takes_with_its_defaults(name, capsys):
    main([name, "--help"])
    page = capsys.readouterr().out
    main(["help", name])
    assert capsys.readouterr().out == page
    command = COMMANDS[name]
    assert page.startswith(f"usage: auto3dlandmark {name}")
    for option, parameter in command.options.items():
        shown = f"--{option.replace('_', '-')}"
        (line,) = (line for line in page.splitlines() if line.split()[:1] == [shown])
        described = page[page.index(line) :].split("\n  --")[0]
        assert len(described.split()) > 2, f"{option} is not described"
        if parameter.default not in (None, False, ""):
            assert "(default: " in " ".join(described.split())
    assert "INFO" not in page


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_told(word, capsys):
    main([word])
    assert capsys.readouterr().out == f"auto3dlandmark {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("run", "/nowhere", "w"),
        ("predict", "/nowhere", ".", "o"),
        ("run", "d", "w", "--minuts", "1"),
    ],
)
def test_help_and_mistakes_load_neither_torch_nor_monai(words):
    """What makes them quick."""
    code = (
        "import sys\nfrom auto3dlandmark.cli import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'monai', 'itk') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]"), result.stdout[-200:]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_options(shell, capsys, fails):
    main(["completion", shell])
    script = capsys.readouterr().out
    words = 'COMP_WORDS=(auto3dlandmark run --min); COMP_CWORD=2; _auto3dlandmark; echo "${COMPREPLY[@]}"'
    if shell == "bash":
        result = subprocess.run(
            ["bash", "-c", f"{script}\n{words}"], capture_output=True, text=True, check=True
        )
        assert result.stdout == "--minutes\n"
    else:
        assert script.startswith("autoload -U +X bashcompinit")
    assert "shell='fish' is unknown" in fails("completion", "fish")
