"""What commands that train refuse before they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepcore.cli import main

INPUTS = {
    "tagger": "a\tA\nb\tB\n\n" * 20, "seq2seq": "ab\tba\n" * 20, "forecast": "x\n" + "1\n2\n" * 100,
}  # fmt: skip


@pytest.mark.parametrize("command", INPUTS)
@pytest.mark.parametrize("option", ["--output", "--checkpoint"])
def test_a_file_whose_folder_is_missing_is_refused_before_training(
    command: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, written = tmp_path / "data.csv", tmp_path / "model.safetensors"
    data.write_text(INPUTS[command])
    files = ["--output", str(written)] if option == "--checkpoint" else []
    assert main([command, "train", str(data), *files, option, str(tmp_path / "none" / "m"), "--quiet"]) != 0
    assert "there is no folder" in capsys.readouterr().err
    assert not written.exists()


@pytest.mark.parametrize("command", INPUTS)
def test_resuming_without_a_checkpoint_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.csv"
    data.write_text(INPUTS[command])
    output = str(tmp_path / "model.safetensors")
    assert main([command, "train", str(data), "--resume", "--output", output, "--quiet"]) != 0
    assert f"{command} train: --resume needs --checkpoint" in capsys.readouterr().err
