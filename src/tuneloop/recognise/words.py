"""Lists of words: what is part of a name, what is none, and made-up names."""

from __future__ import annotations


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PARTICLES = _set("""
    abu af al av bin bint da das de del della den der di do dos e el ibn la le san st ten ter
    van vom von y zu zur
""")
"""Words within names that begin with no capital."""

TITLES = _set("""
    dame dhr dott dr fr frau fru herr hr lady lord m madam madame mademoiselle meneer mevr
    mevrouw miss mlle mme monsieur mr mrs ms mx pan pani prof professor rev senhor senhora señor
    señora señorita sig signor signora sir sr sra srta
""")
"""What stands before a name, without its point."""

WORDS_TOO = _set("""
    amber april art august baker banks best bill bishop black brown bush carter cash chance
    chase cook dawn day dean drew early faith field good grace grant green hill hope hunter iris
    ivy jack jade joy june king lily little long love major mark mason may noble olive page pat
    price rich rose ruby sharp short small stone sue summer swift violet white will wise wood
    young
""")
"""Words that are names too: alone no sign of the person named elsewhere in the text."""

NOT_NAMES = _set("""
    a able about address admin afraid afternoon agent ai all also am american an and april are
    assistant at august be been best bot british but calling can colleague committee concerned
    confused could curious currently customer dear december did do does editor email english
    evening everyone false february file for french friday friend from german getting glad god
    going good happy having he hello here hey hi hiring how i id if in int interested into is it
    january july june just kind looking lord madam manager march monday morning my name new no
    none not november now null number october ok okay on only optional or our phone please
    really regards required saturday september service she should sir sir/madam so sorry spanish
    still string stuck sunday support sure team thank thanks that the their then there these
    they this those thursday to today tomorrow true trying tuesday unable unknown url user using
    very was we wednesday were what when where which who why with wondering working would
    writing yes yesterday you your
""")
"""What follows a cue ("I am", "Dear") and is no name."""

ORDINARY = NOT_NAMES | _set("""
    account always another any anyone anything app around as ask atm bank because before both
    bring buy by call card cash change check click code come contact copy create day days
    deliver delivery describe each eight either else enough error ever every everything exchange
    fee fees few find first five follow four get give go great happen has have help her his
    however install internet invoice its keep last later let list login long look lot made make
    many maybe me mine money more most much must need never next nine nobody nothing off often
    once one open order orders other out over own package page paid part password pay payment
    people perhaps pin place plus problem put quite rate read refund reply reset return returns
    right run said same say second see send sent set several shall show since six some somebody
    someone something soon start step stop summarise summarize take tell ten than them
    themselves thing things third though three through time too top-up transfer try two under
    unfortunately until up update us use used version via wait want way website week well
    whatever whenever wherever whether while whose within without wonder work write year yet
    yours
""")
"""Common English words that begin sentences with a capital."""

BEFORE_PLACES = _set("""
    cape costa east el fort grand great hong lake las los lower mount new north palo port puerto
    rio saint san santa sao south sri united upper west
""")
"""First words of places whose second word is a name (San Francisco)."""

BRANDS = _set("""
    alexa amazon amex android angular api apple aristotle beethoven bic bitcoin buddha chatgpt
    christ christmas chrome claude copilot cortana covid css csv darwin debian diwali django
    docker dogecoin dollar dollars easter einstein ethereum euro euros excel ferrari firefox
    flask ford galaxy gemini gmail google gpt hanukkah hitler honda html http huawei iban java
    javascript jesus json kafka klarna kotlin kubernetes linux llama maestro mastercard mercedes
    microsoft mistral mohammed monzo mozart napoleon netflix newton nintendo node nokia outlook
    paypal pdf perl plato playstation postgres pound pounds python ramadan react redis revolut
    ruby rust safari samsung scala shakespeare siri sony spark spotify sql ssn stalin stripe
    swift tesla toyota ubuntu url vat venmo visa windows wise word xbox zelle zeus
""")
"""What the small model takes for people, or a list of names holds, and is none of ours."""

THINGS = _set("""
    account airport api app bank bay beach card church city cloud college company corp county
    gmbh group hospital hotel inc island islands kong library llc ltd museum premium restaurant
    river road school server shop state station store street team university
""")
"""Words that make a run of capitals the name of a thing."""

FIRST = _list("""
    Adair Addison Aiden Alex Andie Angel Arden Ariel Ashton Aspen Aubrey Avery Bailey Blair
    Blake Briar Brook Cameron Campbell Carey Casey Charlie Corey Dakota Dale Dallas Darcy Devon
    Drew Eden Ellis Ellery Ember Emerson Emery Finley Francis Frankie Gale Harley Harper Haven
    Hayden Indigo Jamie Jaden Jess Jody Jordan Jules Kai Kendall Kerry Kim Kit Kyle Lane Lee
    Leslie Linden Logan London Lou Mallory Marley Max Merle Micah Morgan Nico Noel Oakley Parker
    Perry Peyton Phoenix Quinn Reese Remy Rene Riley River Robin Rory Rowan Rudy Sage Sam Sasha
    Sawyer Shay Shiloh Sidney Skyler Sloan Stevie Sydney Tatum Taylor Terry Toby Tracy Tristan
    Tyler Val Winter Wren Yael Zion
""")
"""Surrogate given names, of any gender, so that the pronouns around them stay right."""

LAST = _list("""
    Abernet Aldwin Ashgrove Ashworth Barlow Beckett Bellamy Birchall Blackwood Bramley Brantwood
    Brightwell Calloway Carrow Castleton Cawthorne Chadwick Chilton Claybourne Coldwell Corbin
    Cranmer Crosby Dalton Danvers Darrow Delaney Denholm Dunmore Eastman Eddowes Elderfield
    Ellwood Fairburn Fallow Farrow Fenwick Fielding Garland Garrick Gladwin Glenister Goodall
    Greaves Hadley Halloway Hargrove Hartwell Haverford Hawthorn Hollis Holloway Huxley Ingram
    Jarrow Keating Kendrick Kingsley Langford Larkin Lathrop Ledger Linwood Lockwood Lyndon
    Marchbank Marlowe Mayfield Merriman Milborne Mossley Nethercott Norwood Oakden Orwell Paxton
    Pemberton Penrose Prescott Quarles Radcliffe Ramsey Redfern Ridley Rockwell Rushton Salter
    Sedgwick Selwyn Shelby Sherwin Stanwick Sterling Stratton Sutcliffe Tarrant Thackery
    Thornbury Tilbury Tolland Underhill Vickers Wadsworth Wainscott Walden Warwick Weatherby
    Wexford Whitmore Winslow Wolcott Woodrow Wyndham Yarrow Yardley
""")
"""Surrogate family names."""

PLACES = _list("""
    Larkford Millbrook Ashbourne Elmsworth Oakhaven Fernleigh Stonebridge Westmere Northwick
    Eastholm Highfield Lowdale Brookhurst Thornby Wrenfield Marshgate Copperhill Greywater
    Redmoor Silverton Amberley Birchmont Claymere Dunhollow Everstead Foxcombe Glenwick
    Harborough Ivydale Kelmore
""")
"""Surrogate towns; none exists."""

STREETS = _list("""
    Alder Beech Birch Cedar Chestnut Clover Elder Fern Hazel Heather Holly Juniper Larch Laurel
    Linden Maple Meadow Myrtle Orchard Pine Poplar Primrose Rowan Sycamore Thistle Willow
""")
"""Surrogate streets."""

FIRMS = _list("""
    Northgate Bluefield Ironwood Clearwater Redstone Summit Harbour Lantern Keystone Meridian
""")
"""Surrogate organisations."""

ROLES = _set("""
    accounts admin billing careers contact hello help hr info jobs mail no-reply noreply office
    orders postmaster press privacy returns sales security service support team webmaster
""")
"""Mailboxes that are nobody's."""

MONTHS = _list("""
    January February March April May June July August September October November December
""")
