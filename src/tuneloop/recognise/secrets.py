"""Secrets: keys of known vendors, tokens, private keys, passwords, connection strings."""

from __future__ import annotations

import math
import re
from collections import Counter

from tuneloop.recognise.finding import Rule

_VALUE = r"[^\s\"',;<>\[\]{}\\\0]"
_NAMED = (
    r"(?:pass(?:[-_ ]?word|wd|code|phrase)|pwd|secret|(?:api|access|secret|private|account|auth"
    r"|encryption|signing|client)[-_ ]?(?:key|secret|token)|(?:refresh|bearer|session"
    r"|id)[-_ ]?token"
    r"|token|contraseña|mot de passe|passwort|kennwort|senha|hasło|wachtwoord|lösenord|passord"
    r"|adgangskode|пароль|credentials?)"
)
_WORD = (
    r"(?:pass[-_ ]?(?:word|wd|code|phrase)|pwd|contraseña|mot de passe|passwort|kennwort|senha"
    r"|hasło|wachtwoord|lösenord|passord|adgangskode|пароль)"
)
_CODE = (
    r"(?:\bpin|\bcv[vc]2?|\btan|\botp|(?:one[- ]time|verification|security|2fa|login)[- ]code)"
    r"(?:[- ](?:code|number))?"
)
_VENDORS = (
    r"\b(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-|or-)?[A-Za-z0-9_-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bgl(?:pat|rt|dt|ptt)-[\w-]{16,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bxox[abeprs]-[\w-]{10,}|\bxapp-\d-[\w-]{10,}"
    r"|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"
    r"|\bGOCSPX-[\w-]{20,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}|\bdop_v1_[0-9a-f]{40,}"
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bkey-[0-9a-f]{32}\b|\bAC[0-9a-f]{32}\b|\bSK[0-9a-f]{32}\b"
    r"|\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b|\bsq0[a-z]{3}-[\w-]{20,}|\bEAAC\w{30,}"
    r"|\blin_api_\w{20,}|\bntn_\w{20,}|\bsecret_[A-Za-z0-9]{30,}|\bdapi[0-9a-f]{32}\b"
    r"|\bhvs\.[\w-]{20,}|\br8_[A-Za-z0-9]{30,}|\bgsk_[A-Za-z0-9]{30,}|\bpplx-[A-Za-z0-9]{30,}"
    r"|\bwhsec_[\w+/=]{20,}|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}|\b\d{8,10}:AA[\w-]{33}\b"
    r"|\b(?:NRAK|PMAK)-[\w-]{24,}|\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}|\bfig[dopu]_[\w-]{30,}"
    r"|\bsbp_[0-9a-f]{40}|\bpscale_[a-z]{2,5}_[\w-]{30,}|\bdp\.[a-z]{2,5}\.[\w.-]{30,}"
    r"|\bgl(?:sa|c)_[\w+/=]{30,}|\btvly-[\w-]{20,}|\bxai-[A-Za-z0-9]{40,}|\b1//0[\w-]{40,}"
    r"|\bsntry[su]_[\w+/=]{40,}|\bATATT3[\w=-]{50,}|\batlasv1\.[\w-]{60,}"
    r"|\bSSWS [\w-]{30,}|\bdckr_[a-z]{2,5}_[\w-]{20,}|\brubygems_[0-9a-f]{40,}|\by[0-3]_[\w-]{40,}"
    r"|\b[sp]k\.eyJ[\w-]{20,}\.[\w-]{16,}|\bAPA91b[\w-]{100,}"
    r"|\bv1\.0-[0-9a-f]{24}-[0-9a-f]{100,}"
    r"|\baccess_token\$\w{2,12}\$\w{16}\$[0-9a-f]{32}"
    r"|https://hooks\.slack\.com/services/[\w/]{20,}"
    r"|https://discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"
)
_MIXED = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])")


def _without_tail(value: str) -> int:
    """Return the length without the punctuation of the sentence around it."""
    return len(value.rstrip(".!?)")) or len(value)


def _random(value: str) -> int:
    """Return the length where the value looks drawn at random, else 0.

    That is letters and digits with a Shannon entropy of at least 3.5 bits a character: words are
    below, and ids in base 16 reach 4.0.
    """
    if len(value) < 20 or not _MIXED.match(value):
        return 0
    shares = [n / len(value) for n in Counter(value).values()]
    return len(value) if -sum(p * math.log2(p) for p in shares) >= 3.5 else 0


def _rule(pattern: str, *needs: str, flags: re.RegexFlag = re.I) -> Rule:
    return Rule("secret", re.compile(pattern, flags), _without_tail, needs)


RULES = (
    # The end is looked for once for each beginning that has one; an open key takes the rest.
    _rule(
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "private key",
        flags=re.S,
    ),
    _rule(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{5,}", "eyj", flags=re.NOFLAG),
    _rule(_VENDORS, flags=re.NOFLAG),
    _rule(r"\bbearer\s+(?P<value>[\w.~+/-]{12,}=*)", "bearer"),
    _rule(r"\bauthorization\W{1,4}basic\s+(?P<value>[A-Za-z0-9+/]{8,}=*)", "basic"),
    _rule(r"\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@\0]{0,100}:(?P<value>[^\s/@\0]{1,200})@", "://"),
    _rule(r"[?&](?:sig|signature|X-Amz-Signature|access_token|api_?key|code)="
          r"(?P<value>[\w%+/.~-]{16,})", "?", "&"),
    _rule(rf"\b(?:\w{{0,20}}_)?{_NAMED}[\"']?\s{{0,3}}(?:[:=]|=>|:=)\s{{0,3}}[\"']?"
          rf"(?P<value>{_VALUE}{{4,}})", ":", "="),
    # In prose only a value that no word looks like: "my password is wrong" says nothing secret.
    _rule(rf"\b{_NAMED}\s+(?:is|was|ist|est|es|to|lautet|é|è|är|er|to:)\s{{0,3}}:?\s{{0,3}}[\"'`]?"
          rf"(?P<value>(?={_VALUE}{{0,60}}[\d!@#$%^&*_+=~]){_VALUE}{{6,}})",
          "pass", "pwd", "secret", "token", "key", "contrase", "mot de", "kennwort", "senha",
          "has", "wachtw", "credential", "lösen", "adgang", "парол"),
    # Nothing between: "login ann password x7Gq…", or the value on a line of its own.
    _rule(rf"\b{_WORD}\s{{1,3}}(?P<value>(?={_VALUE}{{0,60}}\d)(?={_VALUE}{{0,60}}[a-z]){_VALUE}{{8,}})",
          "pass", "pwd", "contrase", "mot de", "kennwort", "senha", "has", "wachtw", "lösen",
          "adgang", "парол"),
    _rule(r"\s(?:-u|--user)[ =][\"']?[^\s:\"'\0]{1,100}:(?P<value>(?!\d+\b)[^\s\"'\0]{4,200})",
          "-u", "--user"),
    _rule(rf"{_CODE}\s?(?:is|ist|est|es|lautet|[:=])\s{{0,3}}(?P<value>\d{{2,4}}[ -]?\d{{1,4}})\b",
          "pin", "cv", "tan", "otp", "code"),
    Rule("secret", re.compile(r"\b[A-Z][A-Z0-9_]{2,40}[\"']?\s?[:=]\s?[\"']?"
                              r"(?P<value>[A-Za-z0-9+/_-]{20,}={0,2})"), _random, ("=", ":")),
)  # fmt: skip
"""Always applied, before everything else, whatever the policy."""
