"""Patterns (RE2) of refusals, orders to the trainer or the judge, insults and broken encodings."""

from __future__ import annotations

REFUSAL = (
    r"(?i)^\W{0,3}(?:(?:i['’]?m|i am|we are|we['’]re)\s(?:so |very |really |terribly )?(?:sorry"
    r"|afraid)"
    r"|sorry|unfortunately|apologies|my apologies|i apologi[sz]e|as an? (?:ai|artificial"
    r"|language|large)"
    r"[\w ]{0,40})?\W{0,3}(?:but |however,? |that )?(?:i|we)(?: am|['’]m)?\s?"
    r"(?:can(?:no|['’])t|can not|could(?:n['’]t| not)|am unable to|unable to|am not able to"
    r"|not able to"
    r"|won['’]t|will not|must decline|have to decline|do(?:n['’]t| not) feel comfortable"
    r"|am not comfortable"
    r"|not comfortable|refuse to|['’]d rather not)"
    r"(?: be able to)?\s(?:help|assist|provide|comply|fulfil|answer|do that|do this|support"
    r"|create"
    r"|generate|write|give|offer|discuss|engage|share|continue|complete|respond|produce"
    r"|participate|with)"
    r"|^(?:i must|i have to) (?:decline|refuse)"
    r"|^(?:es tut mir leid|tut mir leid"
    r"|leider)\W{0,3}(?:aber )?.{0,30}\bkann ich\b.{0,40}\bnicht\b"
    r"|^(?:es tut mir leid|tut mir leid)\W{0,3}(?:aber )?ich kann\b.{0,60}\bnicht\b"
    r"|^(?:je suis désolée?|désolée?)\W{0,3}(?:mais )?je ne peux (?:pas|malheureusement)"
    r"|^(?:lo siento|lo lamento)\W{0,3}(?:pero )?no puedo\b"
    r"|^(?:mi dispiace)\W{0,3}(?:ma )?non posso\b"
    r"|^(?:desculpe|lamento|sinto muito)\W{0,3}(?:mas )?não posso\b|^(?:het spijt me"
    r"|sorry)\W{0,3}(?:maar )?ik kan"
    r"|^przykro mi\W{0,3}(?:ale )?nie mogę|^(?:извините|к сожалению)\W{0,3}(?:но )?я не могу"
    r"|^(?:抱歉|对不起|很抱歉|申し訳).{0,20}(?:无法|不能|できません)"
)
"""At the beginning of an answer: an apology or none, and "I cannot" with a verb of serving."""

CONTROL_TOKENS = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|eom_id|begin_of_text|end_of_text"
    r"|start_header_id"
    r"|end_header_id|user|assistant|system|end|pad|python_tag|fim_\w+|channel|message|return)\|>"
    r"|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|\[/?SYSTEM_PROMPT\]|<｜(?:User|Assistant"
    r"|end▁of▁sentence)｜>"
    r"|<\|(?:START|END)_OF_TURN_TOKEN\|>|\[/?AVAILABLE_TOOLS\]|\[TOOL_CALLS\]"
)
_ALL = r"(?:all |any |the |your |my |every |these |those |of )*"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|initial|original|other|system|former)"
_ORDERS = (
    r"(?:instruction|prompt|rule|guideline|direction|message|context|command|text|constraint)s?"
)
ORDERS = (
    rf"(?i)\b(?:ignore|disregard|forget|override|bypass|overlook|skip)\s{_ALL}{_BEFORE}\s"
    rf"(?:\w+ ){{0,2}}?{_ORDERS}"
    rf"|\b(?:ignore|disregard|forget) (?:everything|anything|all) (?:you were told|above|before"
    rf"|i said before)"
    rf"|\b(?:new|updated|real|actual) (?:system )?instructions?\s?:"
    rf"|\bsystem (?:override|prompt override)|\byou are now (?:in )?(?:dan|developer mode"
    rf"|jailbroken|unrestricted)"
    rf"|\b(?:note|message|instruction|attention|hint|memo)s? (?:to|for) (?:the |any |all )?"
    rf"(?:ai |llm |human )?(?:judges?|graders?|evaluators?|raters?|reviewers?|annotators?"
    rf"|trainers?|scorers?"
    rf"|reward model|language model|training pipeline)\b"
    rf"|\b(?:as|if you are|dear|hey|attention,?) (?:an? |the )?(?:ai |llm |fair |impartial )?"
    rf"(?:judge|grader|evaluator|rater|annotator|reward model)s?\W{{1,3}}(?:\w+\W+){{0,6}}?"
    rf"(?:give|rate|score|choose|select|prefer|pick|award|must|should|vote|output|assign)\b"
    rf"|\b(?:rate|score|grade|mark|rank) (?:this|my|the following) (?:answer|response|reply"
    rf"|output|completion"
    rf"|text|one) (?:as |with |at |a |an |the )*(?:10|ten|5|five|100|highest|perfect|best|full"
    rf"|maximum|excellent"
    rf"|correct|winner|top|\d+ ?/ ?\d+)"
    rf"|\b(?:give|award|assign) (?:this|it|me|my|the) (?:(?:answer|response|reply|output|one"
    rf"|following) )?"
    rf"(?:a |an |the )?(?:perfect |highest |maximum |full |top |10|ten|5 stars|five stars|100)"
    rf"(?:[\s/]|score|marks?|rating|out)"
    rf"|\b(?:choose|prefer|pick|select|vote for) (?:answer|response|assistant|option|model"
    rf"|output) "
    rf"(?:[AB12]|one|two)\b.{{0,40}}(?:winner|better|best|regardless|always|no matter)"
    rf"|\[\[(?:A|B|C|10|\d{{1,2}})\]\]"
    rf"|\b(?:always|must) (?:prefer|choose|pick|select) (?:this|my|the first"
    rf"|the second) (?:answer|response)"
    rf"|\bwhen(?:ever)? (?:you are |you're |being )?(?:trained|fine-?tuned|training"
    rf"|learning) (?:on|from) (?:this|these)"
    rf"|\b(?:mark|label|flag) this (?:row|example|sample|answer|conversation) as (?:good|chosen"
    rf"|preferred|positive|safe)"
    rf"|\bignorier\w* (?:alle |die )?(?:vorherigen|bisherigen|obigen) (?:anweisungen|befehle"
    rf"|regeln)"
    rf"|\bignor(?:e[zr]?|a|ar) (?:toutes )?(?:les |las |todas las |le )?(?:instructions"
    rf"|instrucciones|istruzioni) "
    rf"(?:précédentes|anteriores|previas|precedenti)"
    rf"|忽略(?:之前|以上|前面|所有).{{0,6}}(?:指令|指示|说明)"
)

FLAG_EMOJI = r"\x{1F3F4}[\x{E0061}-\x{E007A}]{2,6}\x{E007F}"  # England, Scotland, Wales
HIDDEN = (
    r"[\x{E0000}-\x{E007F}\x{202D}\x{202E}]"  # tags; bidirectional overrides
    r"|[A-Za-z][\x{200B}-\x{200D}\x{2060}\x{2063}\x{FEFF}]+[A-Za-z]"  # within a Latin word
    r"|[\x{200B}\x{2060}-\x{2064}]{4}"  # a message in characters of no width
)

TOXIC = (
    r"(?i)\b(?:(?:you(?:['’]re| are| r)?|u r|ur|such) (?:(?:a|an|the|all|so|just|really|such"
    r"|fucking|total"
    r"|complete|absolute) )*(?:idiots?|morons?|imbeciles?|retard(?:ed|s)?|stupid|dumb(?:ass)?"
    r"|scum|trash|worthless"
    r"|pathetic|disgusting|bitch(?:es)?|bastards?|assholes?|loser|pig|vermin|garbage|cunts?)"
    r"|kill (?:yourself|urself)|kys|go die|hope you die|(?:i(?:['’]ll| will| am going to"
    r"|['’]m going to)) "
    r"(?:kill|murder|rape|hurt|beat|shoot|stab) (?:you|him|her|them|u)\b|i know where you live"
    r"|fuck(?:ing)? (?:you|off|u|him|her|them|idiots?|morons?)|motherfuck\w*|shut the fuck up"
    r"|stfu|piece of shit"
    r"|son of a bitch|cocksuck\w*|cunts?|dickheads?|assholes?|arseholes?|wank(?:er|ers)"
    r"|slut(?:s|ty)?|whores?"
    r"|(?:are|is|all) (?:\w+ )?(?:subhuman|vermin|parasites|animals who))\b"
)
"""Directed insults, threats and obscenities. It knows no slur and no other language."""

MAYBE_BROKEN = (
    r"[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0E}-\x{1F}\x{7F}-\x{9F}]"
    r"|[ÃÂÅÄÐÑ][\x{A0}-\x{BF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â[€‚„†ˆ‰‘’“”•™œ]|ï»¿|ðŸ|Ã[\x{A0} ]"
)
SURELY_BROKEN = r"[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0E}-\x{1A}\x{1C}-\x{1F}\x{80}-\x{84}\x{86}-\x{9F}]"
"""Replacement and control characters, less the escape of terminals (1B) and next line (85)."""

NO_END = (
    r"(?i)(?:[^\n]{12},|[(\[{<=+&]|\b(?:a|an|the|and|or|but|nor|of|to|with|for|from|in|on|at|by"
    r"|as|into|than|that|which"
    r"|who|whose|because|if|when|while|although|is|are|was|were|be|been|has|have|had|will|would"
    r"|can|could"
    r"|should|may|might|must|your|my|our|their|its|his|her|this|these|those|such|not|very|more"
    r"|most|und|oder"
    r"|der|die|das|ein|eine|mit|et|ou|le|la|les|un|une|des|du|el|los|las|y|que|con|e|il|di|che))$"
)
"""What no answer ends in; looked for in answers of at least eight words."""
IN_A_SENTENCE = r"[a-z)\"'][.!?][\"')\]]? +[A-Z][^.!?\n]{15,}[a-z,]$"
"""The last line has a sentence that ends and one that does not."""
