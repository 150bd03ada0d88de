from tuneloop.report.stage import templates

ROW = {"metric": "length_words", "unit": "words", "status": "ok", "reason": None, "n": 30,
       "n_missing": 2, "champion": 3.0, "candidate": 11.0, "estimate": 8.0, "ci_low": 7.5,
       "ci_high": 8.5, "p_value": 0.0005, "null_high": None, "method": "bootstrap-t"}  # fmt: skip


def page(*rows):
    template = templates().get_template("distributions.html.j2")
    return " ".join(template.render(distributions=list(rows)).split())


def test_a_difference_a_share_a_distance_and_what_is_missing():
    share = ROW | {"metric": "refusals", "unit": "share", "champion": 0.1, "candidate": 0.4,
                   "estimate": 0.3, "ci_low": 0.2, "ci_high": 0.4}  # fmt: skip
    drift = ROW | {"metric": "meaning_drift", "unit": "distance", "champion": None,
                   "candidate": None, "estimate": 0.25, "ci_low": None, "ci_high": None,
                   "null_high": 0.0123}  # fmt: skip
    missing = ROW | {"metric": "latency_s", "status": "missing", "reason": "<b>never</b>",
                     "estimate": None}  # fmt: skip
    text = page(ROW, share, drift, missing)
    assert "+7.5 to +8.5" in text
    assert "+30.0 points" in text
    assert "up to 0.0123" in text
    assert "not measured: &lt;b&gt;never" in text
    assert '>30</td><td class="n">2</td>' in text


def test_an_evaluation_from_before_says_so():
    assert "before the answers were compared as a whole" in page()
