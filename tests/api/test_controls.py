import pytest

from harness.api import near_copies, share_alike


def test_a_constant_answer_is_shared_by_all():
    assert share_alike(["I am\na helpful model."] * 5) == 1


def test_case_order_and_space_do_not_hide_a_copy():
    assert share_alike(["one two three", "Three  one two", "four"]) == pytest.approx(2 / 3)


def test_a_copy_with_a_word_changed_is_near_and_with_half_of_them_is_not():
    words = [f"w{n}" for n in range(20)]
    near, far = [*words[:-1], "other"], [*words[:10], *(f"v{n}" for n in range(10))]
    assert share_alike([" ".join(words), " ".join(near)]) == 1
    assert share_alike([" ".join(words), " ".join(far)]) == 1 / 2


def test_texts_near_to_one_of_them_count_though_they_are_not_near_to_each_other():
    words = [f"w{n}" for n in range(20)]
    ends = [" ".join(words[2:]), " ".join(words[:-3])]
    assert share_alike([" ".join(words), *ends]) == 1
    assert share_alike(ends) == 1 / 2


def test_different_answers_are_each_alone_and_empty_ones_are_alike():
    assert share_alike([f"answer number {n}, about {n * n} {n**3} things" for n in range(10)]) == 1 / 10
    assert share_alike(["", " ", "something"]) == pytest.approx(2 / 3)


def test_no_texts_are_no_share():
    with pytest.raises(ValueError, match="no texts"):
        share_alike([])


def test_the_copies_are_those_of_the_text_that_has_most():
    assert near_copies(["a b", "yes", "B a", "Yes", "b  a"]) == [True, False, True, False, True]
    assert near_copies([]) == []
