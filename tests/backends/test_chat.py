"""How a model is asked: chat templates, system texts, several turns, pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from language_checkpoints import ROLES, picture, request, texts

from harness.backends.transformers import Transformers
from harness.records import (
    Message,
    Request,
    Sampling,
)

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + ROLES
)


def test_a_system_text_goes_into_the_first_question_where_there_is_no_system_role(
    llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text(NO_SYSTEM)
    backend = Transformers(str(tmp_path))
    assert not backend.capabilities.system_role
    assert Transformers(str(llama)).capabilities.system_role
    asked = request("here", system="the scan")
    merged = request("the scan\n\nhere")
    assert texts(backend.generate_batch([asked])) == texts(backend.generate_batch([merged]))


def test_a_conversation_of_several_turns_is_shown_whole(llama: Path) -> None:
    turns = (
        Message.of("user", "the scan"),
        Message.of("assistant", "no lesion"),
        Message.of("user", "are them seen"),
    )
    asked = Request("transformers", "local", turns, sampling=Sampling(0.0, max_tokens=4))
    backend = Transformers(str(llama))
    answer = backend.generate_batch([asked])[0]
    shown = backend._chat.decode(answer.prompt_token_ids or ())
    assert shown == "<user>the scan<assistant>no lesion<user>are them seen<assistant>"


def test_a_black_picture_is_a_picture(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    black, grey = (picture(np.full((32, 32), value)) for value in (0, 1))
    alone = texts(backend.generate_batch([request("a few", black)]))
    mixed = texts(backend.generate_batch([request("a few", grey), request("a few", black)]))
    assert mixed[1] == alone[0]


def test_two_pictures_in_one_question_stand_beside_one_in_another(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    a, b = (picture(np.full((32, 32), value)) for value in (60, 0))
    asked = [request("both", a, b), request("one", b)]
    assert texts(backend.generate_batch(asked)) == [
        texts(backend.generate_batch([one]))[0] for one in asked
    ]


def test_a_question_that_names_the_picture_token_hinders_no_other(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    grey = picture(np.full((32, 32), 90))
    hostile, honest = request("<image> <image>", grey), request("the scan", grey)
    answers = backend.generate_batch([hostile, honest])
    assert answers[1] == backend.generate_batch([honest])[0]
    assert answers[0].outcome == "server"
