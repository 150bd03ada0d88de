"""What an answer does that speaks to its judge: patterns of acts, in the commonest languages."""

from __future__ import annotations

import regex


def _any(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


_JUDGES = _any(
    r"""
    \b(?:evaluator|judge|grader|assessor|rater|reviewer|arbiter|referee)s?\b bewerter gutachter
    richter prüfer évaluateur juge correcteur evaluador juez calificador avaliador juiz valutatore
    giudice beoordelaar oceniając\w* sędzi\w* değerlendirici hakem судь\w* оценщик\w* эксперт\w*
    评审 评委 裁判 评估者 评判 審査員 評価者 평가자 심사 المقيم الحكم القاضي न्यायाधीश मूल्यांकनकर्ता
    """
)
_CHOOSE = _any(
    r"""
    choose prefer pick select vote rank rate score grade award give mark output print respond answer
    return declare say write wähle bevorzuge bewerte antworte choisis\w* préfér\w* note[zr]? elige
    elija prefiere califica escolha prefira scegli preferisci kies wybierz seç выбер\w* поставь\w*
    оцени\w* 选择 选 给 打分 選んで 選択 선택 اختر चुनें
    """
)
_PRIZES = _any(
    r"""
    better best winner winning superior preferred top highest full perfect maximum besser\w*
    beste\w* gewinn\w* meilleure?s? gagnante? mejor ganador\w* melhor vencedor\w* migliore
    vincitore beter lepsz\w* en\siyi лучш\w* победител\w* 更好 最好 最佳 满分 获胜 優れて 最良
    勝者 더\s나은 최고 승자 أفضل الأفضل बेहतर सर्वश्रेष्ठ
    """
)
_PLACE = _any(
    r"""
    answer response option assistant candidate antwort réponse respuesta resposta risposta antwoord
    odpowied\w* ответ\w* 回答 答案 대답 답변
    """
)
_RULES = _any(
    r"""
    instructions? rubric rules? prompts? criteria guidelines? directives? anweisung\w* regeln
    instrucciones reglas instruções regras istruzioni regole instructies instrukcj\w* talimat\w*
    инструкци\w* указани\w* правил\w* 指令 指示 说明 規則 规则 지시 지침 التعليمات निर्देश\w*
    """
)
_IGNORE = _any(
    r"""
    ignor\w* disregard\w* forget overrid\w* bypass do\snot\sfollow stop\sfollowing discard vergiss
    missachte oublie\w* ne\stiens\spas\scompte olvida\w* esque[cç]a\w* desconsider\w* dimentica\w*
    negeer vergeet zignoruj pomiń yok\ssay görmezden игнориру\w* забудь\w* 忽略 无视 忽視 無視 무시
    تجاهل अनदेखा
    """
)
_BEFORE = _any(
    r"""
    previous prior above earlier preceding system vorherig\w* bisherig\w* précédent\w*
    anterior(?:es)? precedenti vorige poprzedni\w* önceki предыдущ\w* 之前 以上 以前 先前 上記 이전
    السابقة पिछले
    """
)
_LABELLED = _any(
    r"""
    verdict final\s(?:answer|verdict|decision|judge?ment|label|choice) label decision winner
    preference urteil veredicto veredito verdetto вердикт 结论 判定 結論 판정
    """
)
_SCORES = _any("score rating grade points? note puntuación bewertung оценка 评分 得分")
_THIS = _any(r"this the\spresent my diese cette esta questa данн\w+ этот")
_ANSWER = _any("answer response antwort réponse respuesta resposta risposta ответ")
_NOTE = _any(
    r"""
    dear attention note\s(?:to|for) message\s(?:to|for) to hey instructions?\s(?:to|for) an à\sl'
    al для
    """
)
_AB = r"(?:[ _-]?(?-i:[AB12])|_[ab])"
_NEAR = r"[^.!?\n。！？]{0,60}?"
_ENDS = r"(?=\s*(?:$|[.,;!\n]))"

OVERRIDES = (
    rf"{_IGNORE}{_NEAR}{_BEFORE}{_NEAR}{_RULES}",
    rf"{_IGNORE}{_NEAR}{_RULES}{_NEAR}{_BEFORE}",
    rf"{_RULES}{_NEAR}(?:を無視|무시|अनदेखा|yok say|no longer apply"
    r"|are (?:void|cancelled|superseded))",
    rf"(?:之前|以上|先前|所有){_NEAR}(?:指令|指示|说明|规则){_NEAR}(?:忽略|无视)",
    rf"\b(?:ignore|disregard|forget)\b{_NEAR}\b(?:your|the)\b{_NEAR}\b"
    r"(?:rubric|criteria|instructions?)\b",
    r"\b(?:new|updated|revised|real|actual|hidden|secret)\s+(?:system\s+)?"
    r"(?:instructions?|rubric|prompt)\s*[:(]",
)
"""Putting something in the place of what was said before."""
ADDRESSES = (
    rf"{_JUDGES}{_NEAR}(?:{_CHOOSE}|{_PRIZES}|must|should|please|not(?:e|ice)|attention|verdict"
    r"|settled)",
    rf"\b{_NOTE}\s*(?:(?:the|all|any|den|die)\s+)?(?:(?:ai|llm|automat\w+)\s+)?{_JUDGES}"
    r"(?=\s*[:,—–-])",
    rf"\b(?:as|you are)\s+(?:an?|the)\s+(?:\w+\s+)?{_JUDGES}",
    r"(?:if|when|since|because)\s+you\s+(?:are|have been)\s+(?:asked|told|instructed)?\s*(?:to\s+)?"
    r"(?:judg|evaluat|compar|grad|scor)(?:e|ing)\b",
    rf"\b{_CHOOSE}\b{_NEAR}\b(?:this|my|the (?:first|second|other))\s+"
    rf"(?:answer|response|one)\b{_NEAR}{_PRIZES}",
)
"""Speaking to an evaluator about its judgment."""
CLAIMS = (
    rf"\b{_LABELLED}[\"'*_\s]*[:：=][\s\"'*_\[\](){{}}`]*"
    rf"(?:(?-i:[ABT])|tie|(?:answer|response|option|assistant)[ _]?[ab12])"
    r"(?=\W*(?:$|\n|[.,;}\]]))",
    r"\[\[\s*(?:A|B|C|T|tie)\s*\]\]",
    rf"\b{_PLACE}{_AB}\b{_NEAR}(?:{_PRIZES}|wins?\b|gewinnt|gana|gagne|vince)",
    rf"{_PRIZES}{_NEAR}\b{_PLACE}{_AB}\b",
    r"\b(?:choose|prefer|pick|select|vote(?:\s+for)?|output|print|respond with|answer with)\s+"
    r"(?:only\s+)?(?:the\s+)?(?:letter|label|token|word|answer|response|option)?\s*"
    rf"[\"'`(*]*(?-i:[AB])[\"'`)*]*{_ENDS}",
    r"\b(?:choose|prefer|pick|select|vote\s+for)\s+(?:answer|response|option)[ _][ab]\b",
    rf"\b{_SCORES}\s*[:：=]?\s*"
    r"(?:(?:10|100|5)\s*(?:/|out of|von|sur|de|из)\s*(?:10|100|5)\b|满分)",
    rf"\b{_THIS}\s+{_ANSWER}\b{_NEAR}"
    rf"(?:{_PRIZES}|correct one|(?:the )?reference|verified|approved|certified)",
    r"\b(?:the )?other (?:answer|response|one|assistant)\b[^.\n]{0,40}\b"
    r"(?:is|was|contains|should|must|wrong|incorrect|unsafe|harmful|plagiari)\w*",
    r"[\"'](?:winner|verdict|preference|better|choice|score)[\"']\s*:\s*[\"']?(?:answer_?)?"
    r"(?:[ab]|candidate|champion|10|100)\b",
)
"""A verdict in the form in which a judge gives it."""
TURNS = (
    r"<\s*/?\s*(?:task|reference|answer_[ab]|answer|requirement)(?:[-_]\w+)?\s*>",
    r"<\|?\s*(?:im_(?:start|end)|start_header_id|end_header_id|eot_id|endoftext|system|user"
    r"|assistant)\s*\|?>",
    r"<(?:start|end)_of_turn>|\[/?INST\]|<<\s*/?\s*SYS\s*>>|<｜",
    r"^\s*(?:#{1,4}\s*|\*{2}|\[)?(?:system|assistant|developer)"
    r"(?:\s+(?:message|prompt|note|override|update|notice))?(?:\*{2}|\])?\s*[:：](?=\s)",
    r"[\"']role[\"']\s*:\s*[\"'](?:system|assistant|developer)[\"']",
)
"""Closing a fence, opening a turn."""
ACTS = tuple(
    regex.compile(pattern, regex.IGNORECASE | regex.MULTILINE)
    for pattern in (*OVERRIDES, *ADDRESSES, *CLAIMS, *TURNS)
)
