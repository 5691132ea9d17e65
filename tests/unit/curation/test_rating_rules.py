"""The rules of ratings: what is shown next, who is believed, what is earned."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.curation.core.rating import RULES, Answer, Opinion, Ratable, Rater, Record, Shown
from horde.curation.core.rating_agreement import consensus, correlation, judge, known_answer, word_weight
from horde.curation.core.rating_choice import Kind, order_of_kinds, pick
from horde.curation.core.rating_reward import rating_id, replaces, reward, why_nothing, worth

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ANN = Rater("ann", "requester-ann", "painter-ann")

names = st.sampled_from(["ann", "bob", "cat"])
ratables = st.builds(
    Ratable,
    st.uuids().map(str),
    names.map("requester-{}".format),
    st.integers(0, 8),
    st.sampled_from(["", "painter-ann", "painter-bob"]),
)
scores = st.integers(1, 10)
opinions = st.lists(st.builds(Opinion, scores, st.floats(0, 1)), max_size=12)
records = st.builds(
    Record,
    checked=st.integers(0, 100),
    agreement=st.floats(-1, 1),
    certain=st.floats(-1, 1),
    golds=st.integers(0, 20),
    missed=st.just(0),
    weight=st.floats(0, 1),
)


@given(st.sampled_from(Kind), st.lists(ratables, max_size=30), st.integers(0, 2**32), st.data())
def test_nobody_is_shown_his_own_what_he_painted_what_he_passed_or_what_has_enough(
    kind: Kind, candidates: list[Ratable], seed: int, data: st.DataObject
) -> None:
    passed = (
        set(data.draw(st.lists(st.sampled_from([image.image_id for image in candidates])))) if candidates else set()
    )
    found = pick(kind, candidates, ANN, passed, Random(seed), RULES)
    assert found == pick(kind, candidates, ANN, passed, Random(seed), RULES)
    fit = [
        image
        for image in candidates
        if image.requester != "requester-ann" and image.painter != "painter-ann" and image.image_id not in passed
    ]
    if kind is not Kind.GOLD:
        fit = [image for image in fit if image.ratings < RULES.target]
    if kind is Kind.BEGUN:
        fit = [image for image in fit if image.ratings]
    assert (found in fit) if fit else found is None
    if found is not None and kind is Kind.FRESH:
        assert found.ratings == min(image.ratings for image in fit)


def test_by_chance_among_equals_every_one_comes_up() -> None:
    candidates = [Ratable(str(UUID(int=number)), "x", 0) for number in range(5)]
    chance = Random(1)
    assert {pick(Kind.FRESH, candidates, ANN, set(), chance, RULES) for _ in range(200)} == set(candidates)


def test_what_is_begun_comes_to_its_target_and_newcomers_are_asked_more_known_answers() -> None:
    chance = Random(1)

    def shares(record: Record) -> dict[Kind, float]:
        drawn = [order_of_kinds(record, chance, RULES)[0] for _ in range(10_000)]
        return {kind: drawn.count(kind) / 10_000 for kind in Kind}

    known = shares(Record(checked=100))
    assert known[Kind.GOLD] == pytest.approx(0.1, abs=0.02)
    assert known[Kind.BEGUN] / known[Kind.FRESH] == pytest.approx(RULES.target - 1, rel=0.15)
    assert shares(Record())[Kind.GOLD] == pytest.approx(0.4, abs=0.02)


@given(opinions, st.integers(0, 2**32))
def test_a_consensus_does_not_depend_on_the_order_and_is_within_what_was_said(said: list[Opinion], seed: int) -> None:
    found = consensus(said, RULES)
    shuffled = list(said)
    Random(seed).shuffle(shuffled)
    assert (found is None) == (consensus(shuffled, RULES) is None)
    if found is not None:
        assert consensus(shuffled, RULES) == pytest.approx(found)
        heard = [opinion.score for opinion in said if opinion.weight > 0]
        assert min(heard) - 1e-6 <= found <= max(heard) + 1e-6


@given(scores, st.integers(4, 9), scores)
def test_one_voice_against_many_moves_the_consensus_no_further_than_it_may(usual: int, many: int, other: int) -> None:
    found = consensus([*[Opinion(usual, 1.0)] * many, Opinion(other, 1.0)], RULES)
    assert found is not None
    assert abs(found - usual) <= RULES.clip / (many + 1) + 1e-9


def test_newcomers_alone_check_nobody_and_make_no_known_answer() -> None:
    newcomers = [Opinion(9, RULES.new_weight)] * (RULES.target - 1)
    assert consensus(newcomers, RULES) is None
    assert consensus([*newcomers, Opinion(8, 1.0)], RULES) is not None
    assert known_answer([Opinion(9, RULES.new_weight)] * 100, RULES) is None
    assert known_answer([Opinion(9, 1.0)] * 3, RULES) == 9


@given(st.lists(st.tuples(scores, st.floats(1, 10)), min_size=4, max_size=60), st.floats(0.5, 3), st.floats(-5, 5))
def test_a_harsh_rater_agrees_as_much_as_a_mild_one(pairs: list[tuple[int, float]], scale: float, shift: float) -> None:
    moved = [(scale * mine + shift, theirs) for mine, theirs in pairs]
    assert correlation(moved) == pytest.approx(correlation(pairs), abs=1e-6)
    assert -1 <= correlation(pairs) <= 1


def looked(count: int, noise: float, seed: int = 1) -> list[Answer]:
    """Answers of somebody who looks, to images on which one who is known has said something."""
    chance = Random(seed)
    answers = []
    for _ in range(count):
        true = chance.gauss(5.5, 1.8)
        other = max(1, min(10, round(true + chance.gauss(0, 1))))
        answers.append(Answer(max(1, min(10, round(true + chance.gauss(0, noise)))), (Opinion(other, 1.0),)))
    return answers


def test_who_looks_comes_to_count_in_full_and_who_answers_always_the_same_never() -> None:
    assert judge(looked(8, 1.2), RULES).weight == 0
    assert judge(looked(100, 1.2), RULES).weight == 1
    same = [dataclasses.replace(answer, score=6) for answer in looked(100, 1.2)]
    assert (judge(same, RULES).agreement, judge(same, RULES).weight) == (0, 0)


@given(st.integers(0, 2**32))
def test_who_guesses_counts_for_next_to_nothing(seed: int) -> None:
    chance = Random(seed)
    guessed = [dataclasses.replace(answer, score=chance.randint(4, 7)) for answer in looked(100, 1.2, seed)]
    assert judge(guessed, RULES).weight < 0.75


def test_only_the_last_ratings_that_can_be_checked_decide() -> None:
    unheard = [Answer(1, (Opinion(9, 0.1),))] * 50
    record = judge([*unheard, *looked(100, 1.2), *[Answer(1, (Opinion(10, 1.0),))] * 500], RULES)
    assert (record.checked, record.weight) == (100, 1)


def test_who_misses_known_answers_earns_nothing_and_is_told_so() -> None:
    missing = [Answer(1, (), 9.0), Answer(10, (), 2.0), Answer(9, (), 8.5)]
    record = judge([*missing, *looked(97, 0.8)], RULES)
    assert (record.golds, record.missed, record.weight, record.earns) == (3, 2, 0, False)
    assert "known" in why_nothing(record, 0, RULES)
    assert word_weight(record, RULES) == 0
    assert judge([Answer(9, (), 8.5)] * 5 + [*missing, *looked(92, 0.8)], RULES).earns
    assert reward(missing[0], 1000, RULES) == 0
    assert reward(missing[2], 1000, RULES) == 1000


@given(records, st.integers(0, 200_000), st.booleans())
def test_a_reward_is_within_the_day_and_whoever_earns_nothing_is_told_why(
    record: Record, earned: int, artifacts: bool
) -> None:
    due = worth(record, earned, RULES, with_artifacts=artifacts)
    assert 0 <= due <= 1500
    assert earned + due <= max(earned, RULES.account_bound_per_day_mkudos)
    assert bool(why_nothing(record, earned, RULES)) == (due == 0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_who_counts_more_earns_no_less(one: float, other: float) -> None:
    less, more = sorted([one, other])
    assert worth(Record(weight=less), 0, RULES, with_artifacts=True) <= worth(
        Record(weight=more), 0, RULES, with_artifacts=True
    )


def test_nobody_looks_faster_than_somebody_can_and_a_rating_is_final_after_a_day() -> None:
    shown = Shown("i", NOW)
    assert shown.too_early(NOW + timedelta(seconds=1), RULES) == timedelta(seconds=0.5)
    assert shown.too_early(NOW + timedelta(seconds=1.5), RULES) == timedelta(0)
    assert replaces(NOW, NOW + timedelta(hours=23), RULES)
    assert not replaces(NOW, NOW + timedelta(days=1), RULES)


def test_a_newcomers_word_counts_a_little_until_he_could_be_known() -> None:
    assert word_weight(Record(checked=10), RULES) == RULES.new_weight
    assert word_weight(Record(checked=RULES.new_until), RULES) == 0
    assert word_weight(Record(checked=10, weight=0.5), RULES) == 0.5


@given(st.uuids(), st.uuids().map(str))
def test_a_rating_is_named_by_image_and_account_as_the_contract_says(image: UUID, account: str) -> None:
    assert rating_id(str(image), account) == str(uuid5(image, account))
