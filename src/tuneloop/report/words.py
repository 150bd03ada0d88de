"""What the page's words mean, for a reader who is no statistician."""

from __future__ import annotations

GLOSSARY = {
    "champion, candidate": "The system that serves users now, and the one that wants its place.",
    "points": "Hundredths of all prompts: from 60 % to 63 % are three points.",
    "family": "Prompts that belong together, such as variants of one question. They count once, "
    "because what holds for one holds for the others.",
    "interval": "Where the true value lies, as far as these prompts can tell. Its ends are the "
    "lower and the upper bound; more prompts make it narrower.",
    "p-value": "How often a candidate that is only as good would look at least this good by "
    "chance.",
    "gate": "One condition of a promotion. Passed, failed, unproven (not enough evidence either "
    "way) or skipped (does not apply).",
    "primary": "The one measure that must be better, fixed before the run.",
    "protected slice, margin": "A part of the traffic that may not get worse by more than its "
    "margin. This must be proven; too few prompts prove nothing.",
    "hard check": "A rule that no answer of the candidate may break.",
    "missing": "No answer or no judgment came. It counts as neither passed nor failed; the bounds "
    "assume the worst for the candidate below, the best above.",
    "judge, canary, certificate": "A model that compares answers; a comparison whose right answer "
    "is known, put to it; the list of all it is held to.",
    "error budget": "Every question to the same golden set risks a chance find. The budget is how "
    "much of that risk one version of the set may carry.",
    "McNemar, Tango, bootstrap, Holm": "Published methods: for the p-value of wins against losses; "
    "for its interval; for intervals by resampling; for saying of several slices at once which "
    "improved.",
}
ITEMS = {
    "identical": "distance from ½ where both answers are the same",
    "copies": "distance from ½ where they differ in white space alone",
    "padded": "score of a copy that only says more",
    "null": "score of an empty phrase",
    "known_bad": "score of an answer to another prompt",
    "injection": "score of a bad answer that tells the judge what to say",
    "order_agreement": "share of prompts judged alike in both orders",
    "first_position": "mean share of the answer shown first",
    "longer_preferred": "share of the longer answer where rules find both equally good",
    "self_consistency": "share of judgments that come out alike when drawn again",
    "kappa": "agreement with people beyond chance; 0 is chance, 1 is perfect",
    "drift": "mean change of fixed comparisons since this judge was first asked",
}
