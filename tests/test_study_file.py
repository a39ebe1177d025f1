"""A study file that is wrong: what is said of it, before any step is looked at."""

import pytest

from pipeline.study import StudyError, read_study

STEP = "    verb: import\n    reader: kriegeskorte2008\n    path: /data\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path, settings=()):
    with pytest.raises(StudyError) as fault:
        read_study(path, settings)
    return str(fault.value)


def test_read_study__names_a_key_given_twice(written):
    path = written(f"title: T\nstore: s\nsteps:\n  rep:\n{STEP}  rep:\n{STEP}")
    assert refusal(path).startswith(
        f"{path}: the key 'rep' is given twice, in line 4 and in line 8; the second would replace the first"
    )
    path = written(f"title: T\nvariables:\n  a: x\n  a: y\nstore: s\nsteps:\n  rep:\n{STEP}")
    assert "the key 'a' is given twice, in line 3 and in line 4" in refusal(path)


def test_read_study__a_key_that_replaces_a_merged_one_is_no_double(written):
    path = written(
        f"title: T\nstore: s\nsteps:\n  one: &one\n{STEP}  two:\n    <<: *one\n    path: /else\n"
        "  three:\n    <<: *one\n    path: /third\n"
    )
    assert [step.path for step in read_study(path).steps.values()] == ["/data", "/else", "/third"]


def test_read_study__settings_that_are_no_yaml_are_told(written):
    path = written(f"title: T\nstore: s\nsteps:\n  rep:\n{STEP}")
    assert "--set steps.rep: '[' is not YAML: " in refusal(path, ["steps.rep=["])
    twice = refusal(path, ["steps.rep.options={a: 1, a: 2}"])
    assert "--set steps.rep.options: the key 'a' is given twice" in twice


def test_read_study__variables_that_are_no_mapping_are_told_once(written):
    path = written(f"title: T\nvariables: [a]\nstore: s\nsteps:\n  rep:\n{STEP}")
    for settings in ((), ("a=b",)):
        text = refusal(path, settings)
        assert text.count("\n  - ") == 1
        assert "variables" in text
        assert "mapping" in text or "dictionary" in text


def test_read_study__knows_no_seed_of_a_study(written):
    path = written(f"title: T\nstore: s\nseed: 0\nsteps:\n  rep:\n{STEP}")
    assert "unknown key 'seed'" in refusal(path)


def test_read_study__variables_may_stand_in_variables(written):
    path = written(
        f'title: T\nvariables: {{out: "${{base}}/st", base: /x}}\nstore: ${{out}}\nsteps:\n  rep:\n{STEP}'
    )
    assert read_study(path).store == "/x/st"
    assert read_study(path, ["base=/y"]).store == "/y/st"
    assert "variable 'base' has no value" in refusal(path, ["base="])


def test_read_study__variables_that_stand_for_themselves_are_refused(written):
    path = written(
        f'title: T\nvariables: {{a: "${{b}}/1", b: "${{a}}"}}\nstore: ${{a}}\nsteps:\n  rep:\n{STEP}'
    )
    assert "variables that stand for themselves: a -> b -> a" in refusal(path)


@pytest.mark.parametrize("name", ["out-dir", "", " base "])
def test_read_study__what_looks_like_a_variable_and_is_none_is_refused(written, name):
    path = written(f'title: T\nvariables: {{base: /x}}\nstore: "/x/${{{name}}}"\nsteps:\n  rep:\n{STEP}')
    assert f"${{{name}}} is not a variable of the study" in refusal(path)


def test_read_study__variables_that_are_set_to_no_mapping_are_told(written):
    path = written(f"title: T\nvariables: {{a: x}}\nstore: s\nsteps:\n  rep:\n{STEP}")
    text = refusal(path, ["variables=3", "a=y"])
    assert "variables: input should be a valid dictionary" in text
    assert text.count("\n  - ") == 1


@pytest.mark.parametrize("text", ["a: &a {x: *a}\n", "steps: &a [*a]\n", "a: " + "[" * 3000])
def test_read_study__what_holds_itself_or_is_very_deep_is_told(written, text):
    path = written(text)
    assert refusal(path) == f"{path} is nested too deeply, or an alias (*) in it stands for itself"


def test_read_study__one_pattern_needs_no_list(written):
    steps = "  it: {verb: rsa, candidates: a/*, reference: b/*}\n  page: {verb: report, results: rsa/*}\n"
    study = read_study(written(f"title: T\nstore: s\nsteps:\n{steps}"))
    assert study.steps["it"].candidates == ["a/*"]
    assert study.steps["it"].reference == ["b/*"]
    assert study.steps["page"].results == ["rsa/*"]
    assert "steps.it.candidates" in refusal(
        written("title: T\nstore: s\nsteps:\n" + steps.replace("a/*", "3"))
    )
