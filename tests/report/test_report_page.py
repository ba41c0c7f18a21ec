"""The report as one page: what stands in it, what is left out, and what cannot get in."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_example
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records import HarnessError
from harness.report import page
from harness.results import Breakdown, Estimate, GoldStatus, Results

HOSTILE = (
    "</title></style></textarea><script>document.title='ran'</script>"
    "<img src=x onerror=alert(1)>\"' onmouseover='alert(1)' ]]>--><svg onload=alert(1)>"
    "javascript:alert(1) {{ 7*7 }} {% raw %} \u202e\u2066\x00 <a href=//evil.example>"
)
EMPTY = dataclasses.replace(
    report_example.example(),
    verdict=(), warnings=(), metrics=(), models=(), ranks=(), comparisons=(), breakdowns=(),
    worst_cases=(), variance=(), arm_effects=(), separations=(), agreements=(), classifier=None, views=(),
    explainers=(),    gold=GoldStatus(0, 0, {}, 0, 0), manifest={},
)  # fmt: skip


class Reader(HTMLParser):
    """Elements with their attributes, and all text outside the style block."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.style = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """All elements but those that depend on a label's width: breaks, labels, leader lines."""
        return [
            (tag, tuple(sorted(attrs)))
            for tag, attrs in self.elements
            if tag not in ("wbr", "text", "line")
        ]


@pytest.fixture(scope="module")
def results() -> Results:
    return report_example.example()


@pytest.fixture(scope="module")
def read(results: Results) -> Reader:
    return Reader(page.render(results))


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found, f"there is no section {name}"
    return found.group()


def test_the_page_is_well_formed_and_every_anchor_has_its_target(read: Reader) -> None:
    assert read.open == []
    ids = [attrs["id"] for _, attrs in read.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for tag, attrs in read.elements if tag == "a"}
    assert targets <= {f"#{name}" for name in ids}


def test_the_policy_allows_the_style_block_by_its_hash_and_nothing_else(read: Reader) -> None:
    policy = next(
        attrs["content"] or ""
        for tag, attrs in read.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(read.style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert len(rules) == 5


def test_nothing_is_loaded_run_or_styled_inline(read: Reader) -> None:
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "audio"}
    for tag, attrs in read.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
        assert (attrs.get("src") or "data:image/").startswith("data:image/"), tag
        within = "data:image/" if tag == "image" else "#"
        assert (attrs.get("href") or within).startswith(within), tag
    assert "url(" not in read.style
    assert "@import" not in read.style


def test_hostile_text_anywhere_changes_no_element_and_no_attribute(results: Results) -> None:
    benign = "x" * len(HOSTILE)
    hostile = Reader(page.render(report_example.planted(results, HOSTILE)))
    assert hostile.shape == Reader(page.render(report_example.planted(results, benign))).shape
    assert hostile.text.count("<script>document.title='ran'</script>") > 200
    assert "{{ 7*7 }}" in hostile.text


def test_no_control_character_reaches_the_page(results: Results) -> None:
    html = page.render(report_example.planted(results, HOSTILE + "\ud800\x1b[31m"))
    html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


@settings(max_examples=15, deadline=None)
@given(st.text(st.sampled_from("<>&\"'/=`{}%#-!\\ \n\x00\u202eaS"), max_size=30))
def test_no_text_whatsoever_changes_the_page_s_elements(payload: str) -> None:
    small = report_example.example(samples=1, explanations=2)
    benign = "x" * (len(payload) + 1)
    shape = Reader(page.render(report_example.planted(small, benign))).shape
    assert Reader(page.render(report_example.planted(small, "x" + payload))).shape == shape


def test_the_verdict_opens_the_report_with_the_note_and_the_warnings(
    results: Results, read: Reader
) -> None:
    opening = read.text[: read.text.index("Up is more accurate")]
    for expected in (*(s.text for s in results.verdict), "No medical device.", *results.warnings):
        assert expected in opening


def test_every_estimate_of_the_leaderboard_is_shown_with_its_interval(
    results: Results, read: Reader
) -> None:
    for model in results.models:
        for estimate in model.estimates.values():
            if estimate.value is not None and estimate.value < 10:
                value, low, high = (
                    re.sub("^0", "", f"{v:.2f}")
                    for v in (estimate.value, estimate.low or 0.0, estimate.high or 0.0)
                )
                assert f"{value} [{low}, {high}]" in read.text


def test_an_invalid_metric_is_struck_through_with_its_reason(results: Results) -> None:
    models = section(page.render(results), "models")
    estimate = results.models[0].estimates["label.consistency"]
    value, low = (f"{v or 0.0:.2f}".lstrip("0") for v in (estimate.value, estimate.low))
    shown = rf'{value}</span> <span class="ci">\[{low}'
    places = [match.start() for match in re.finditer(shown, models)]
    assert places
    for place in places:
        assert models[models.rfind("<td", 0, place) :].startswith("<td><s>")
    assert "control gold less echo is −.02" in Reader(models).text


def test_the_gold_s_status_stands_beside_every_accuracy_figure(results: Results) -> None:
    html = page.render(results)
    for name in ("scatter", "models", "aspects", "variants", "arms", "controls"):
        assert "draft gold" in section(html, name)
    for status, words in (("reviewed", "reviewed gold"), ("constructed", "exact by construction")):
        other = dataclasses.replace(results, gold=GoldStatus(4, 9, {status: 4}, 4, 4))
        assert "draft gold" not in page.render(other)
        assert words in section(page.render(other), "models")
    assert "expert-verified" not in html


def test_an_oracle_variant_named_in_the_manifest_is_marked(results: Results) -> None:
    manifest = {**results.manifest, "oracle_variants": ["gi/json"]}
    variants = section(page.render(dataclasses.replace(results, manifest=manifest)), "variants")
    assert re.search(r"json</bdi> <span class=\"tag oracle\">", variants)
    assert "oracle</span></th>" not in section(page.render(results), "variants")


def test_variants_that_preserve_meaning_are_marked_where_a_worst_case_is_named(
    results: Results,
) -> None:
    manifest = {**results.manifest, "preserving_variants": ["typos", "reworded"]}
    variants = section(page.render(dataclasses.replace(results, manifest=manifest)), "variants")
    marked = set(re.findall(r'<bdi>([\w-]+)</bdi> <span class="tag">same meaning', variants))
    assert marked == {"typos", "reworded"}
    assert "sought among the variants that preserve" in Reader(variants).text
    assert "same meaning" not in section(page.render(results), "variants")


def test_a_nearest_sentence_is_not_called_support(results: Results) -> None:
    view = results.views[0]
    shown = next(e for e in view.explanations if e.claims)
    claims = tuple(
        dataclasses.replace(shown.claims[0], verdict=verdict, sentence="It rains.", support=0.31)
        for verdict in ("supported", "contradicted", "unsupported")
    )
    view = dataclasses.replace(view, explanations=(dataclasses.replace(shown, claims=claims),))
    text = Reader(page.render(dataclasses.replace(results, views=(view,)))).text
    for words in (
        "supported by “It rains.”",
        "contradicted by “It rains.”",
        "nearest sentence “It",
    ):
        assert words in text
    assert "unsupported by" not in text


def test_metrics_stand_by_their_title_beside_their_id_in_every_table(results: Results) -> None:
    metrics = tuple(
        dataclasses.replace(s, metric=dataclasses.replace(s.metric, title=f"Title {i} in words"))
        for i, s in enumerate(results.metrics)
    )
    html = page.render(dataclasses.replace(results, metrics=metrics))
    for name, shown in {
        "scatter": (0, 3), "models": range(8), "aspects": (0, 2, 5), "variants": (0, 2),
        "groups": (0,), "arms": (0, 1, 2), "coverage": (0,), "controls": (0, 2, 3, 5),
        "samples": (0,), "provenance": range(8),
    }.items():  # fmt: skip
        text = Reader(section(html, name)).text
        for i in shown:
            assert re.search(rf"Title {i} in words\s*\({re.escape(metrics[i].id)}\)", text), name


def test_a_reason_stands_once_with_all_metrics_that_it_holds_for(results: Results) -> None:
    why = "3 labels; at least 8 are needed for this margin"
    metrics = tuple(
        dataclasses.replace(s, validity="not shown", reason=why) if s.validity == "valid" else s
        for s in results.metrics
    )
    html = page.render(dataclasses.replace(results, metrics=metrics))
    assert html.count(why) == 1
    models = Reader(section(html, "models")).text
    trust = models[models.index("What is not to be trusted") :]
    for summary in metrics:
        if summary.validity == "not shown":
            assert summary.id in trust


def test_claims_are_marked_by_symbol_and_by_word(results: Results) -> None:
    samples = section(page.render(results), "samples")
    for symbol, word in (("✓", "supported"), ("✗", "contradicted"), ("○", "unsupported")):
        marked = rf'aria-hidden="true">{symbol}</span><span><span class="vh">{word}:'
        assert re.search(marked, samples)


def test_a_supported_must_not_claim_is_shown_as_harm(results: Results) -> None:
    view = results.views[0]
    shown = view.explanations[0]
    claim = dataclasses.replace(shown.claims[3], verdict="supported", sentence="Stop them.")
    assert claim.importance == "must_not"
    changed = dataclasses.replace(shown, claims=(claim,))
    views = (dataclasses.replace(view, explanations=(changed,)),)
    text = Reader(page.render(dataclasses.replace(results, views=views))).text
    assert "says what it must not" in text
    assert "says what it must not" not in Reader(page.render(results)).text


def test_parts_without_results_are_left_out_and_the_reason_is_given() -> None:
    html = page.render(EMPTY)
    read = Reader(html)
    ids = {attrs.get("id") for tag, attrs in read.elements if tag == "section"}
    assert ids == {"verdict", "models", "provenance"}
    for reason in (
        "this suite has no classifier",
        "no person has judged these explanations",
        "this suite ran no controls",
        "there is only one aspect, or none",
    ):
        assert reason in read.text
    assert "This run reached no verdict." in read.text


def test_a_suite_of_controls_alone_is_shown(results: Results) -> None:
    controls = tuple(m for m in results.models if m.control)
    html = page.render(dataclasses.replace(results, models=controls, ranks=(), comparisons=()))
    assert "mix(0.5)" in section(html, "models")
    assert "mix(0.5)" in section(html, "aspects")


def test_where_people_judged_the_opening_compares_scorer_baselines_and_people(
    results: Results,
) -> None:
    opening = Reader(section(page.render(results), "verdict")).text
    pooled = [a for a in results.agreements if a.group == "all"]
    for agreed in pooled:
        assert f"{agreed.measure}" in opening
        assert f"{agreed.auc.value:.2f}".lstrip("0") in opening
    without = dataclasses.replace(results, agreements=())
    assert "against people" not in Reader(section(page.render(without), "verdict")).text


def test_people_s_own_agreement_and_that_within_models_stand_beside_the_pooled_one(
    results: Results,
) -> None:
    read = Reader(section(page.render(results), "agreement")).text
    for words in ("all models together", "within models", "north-8b", "Krippendorff's alpha"):
        assert words in read


def test_the_shares_of_variance_say_what_makes_the_score_differ(results: Results) -> None:
    html = page.render(results)
    assert "chance between repeats" in section(html, "variants")
    without = tuple(dataclasses.replace(v, shares=v.shares[:3]) for v in results.variance)
    text = section(page.render(dataclasses.replace(results, variance=without)), "variants")
    assert "no repeats" in text
    assert "Without repeats" in text


def test_the_time_of_the_run_is_written_as_people_write_it(results: Results) -> None:
    stamped = dataclasses.replace(results, created="2026-06-01T09:30:05+00:00")
    assert "2026-06-01 09:30 UTC" in Reader(page.render(stamped)).text


def test_an_unfinished_run_says_so(results: Results) -> None:
    assert "not finished" in page.render(dataclasses.replace(results, finished=False))
    assert "not finished" not in page.render(results)


def test_a_breakdown_of_a_metric_that_is_not_listed_is_passed_over(results: Results) -> None:
    stray = Breakdown("aspect", "gone.metric", results.breakdowns[0].rows)
    page.render(dataclasses.replace(results, breakdowns=(stray,)))


def test_five_thousand_long_explanations_make_a_file_of_bounded_size(results: Results) -> None:
    shown = results.views[0].explanations[0]
    generation = dataclasses.replace(shown.generation, text="word " * 20_000)
    many = tuple(dataclasses.replace(shown, generation=generation) for _ in range(50))
    views = tuple(dataclasses.replace(results.views[i % 6], explanations=many) for i in range(100))
    html = page.render(dataclasses.replace(results, views=views, samples=100))
    assert len(html) < 10_000_000
    stated = re.search(r"(\d+) of 100 samples and ([\d,]+) of 5,280", Reader(html).text)
    assert stated
    cards = html.count('<details class="sample"')
    assert int(stated.group(1)) == cards < 100
    assert int(stated.group(2).replace(",", "")) == html.count('<details class="explanation"')
    assert "94,000 more characters are not shown" in html


def test_the_same_results_give_the_same_page(results: Results) -> None:
    assert page.render(results) == page.render(report_example.example())


def test_writing_gives_utf8_and_says_where_it_cannot(results: Results, tmp_path: Path) -> None:
    path = page.write(results, tmp_path / "report.html")
    assert path.read_bytes().decode("utf-8") == page.render(results)
    with pytest.raises(HarnessError, match="cannot be written"):
        page.write(results, tmp_path / "gone" / "report.html")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_its_background_keep_the_contrast_of_wcag_aa(mode: str) -> None:
    css = (page.FOLDER / "report.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if mode == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))
    pairs = [(f"t{i}", f"s{i}") for i in range(7)]
    pairs += [
        (text, paper)
        for text in ("ink", "muted", "accent", "good", "bad", "unsure", "oracle")
        for paper in ("paper", "soft")
    ]
    for text, paper in pairs:
        a, b = sorted((luminance(colours[text]), luminance(colours[paper])))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (text, paper)


def test_what_holds_for_all_pairs_and_variants_stands_beside_what_holds_for_one(
    results: Results,
) -> None:
    comparison = dataclasses.replace(
        results.comparisons[0], p=0.031, p_adjusted=0.124, sign_flip=0.042,
        together=Estimate(0.05, -0.0123, 0.87, 30, 30, "t"),
    )  # fmt: skip
    worst = dataclasses.replace(results.worst_cases[0], bound=0.4321)
    rank = dataclasses.replace(results.ranks[0], simultaneous=(1.0, 3.0))
    separation = dataclasses.replace(results.separations[0], sign_flip=0.002)
    html = page.render(
        dataclasses.replace(
            results, comparisons=(comparison,), worst_cases=(worst,), ranks=(rank,),
            separations=(separation,),
        )
    )  # fmt: skip
    models = Reader(section(html, "models")).text
    for words in ("0.031", "0.124", "0.042", "[−.01, .87]", "with all others [1, 3]", "adjusted p",
                  "p by sign-flips"):  # fmt: skip
        assert words in models, words
    variants = Reader(section(html, "variants")).text
    assert "simultaneous lower bound .43" in variants
    assert "shares of these wordings" in variants
    controls = Reader(section(html, "controls")).text
    assert "on this gold" in controls
    assert "0.002" in controls
