"""Word lists of the embedded world: syllables of invented words, and real words that names are made with."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ONSETS = _words("b br d dr f fl g gr h j k l m n p r s st t th tr v w z")
VOWELS = _words("a e i o u")
CODAS = _words("l m n r s t nd rk sh st")

CITY_ENDINGS = _words("ton burg via polis port mar")
REGION_ENDINGS = _words("shire land ia")
COUNTRY_ENDINGS = _words("nia stan land ria")

REAL_COUNTRIES = _words("""
    albania algeria armenia austria bulgaria estonia finland holland iceland ireland liberia nigeria
    pakistan poland romania syria tanzania
""")
"""Countries that syllables and endings could spell; invented words avoid them."""

ADJECTIVES = _words("""
    Amber Ancient Autumn Brave Bright Broken Bronze Calm Crimson Crystal Distant Endless Faded Fallen
    Forgotten Frozen Gentle Gilded Hidden Hollow Humble Ivory Lonely Lost Painted Patient Quiet Restless
    Scarlet Secret Shallow Silent Sleeping Stolen Sunken Velvet Wandering Weary Winter Yellow
""")
NOUNS = _words("""
    Anchor Arrow Basin Beacon Bell Bridge Candle Canyon Carpet Castle Chapel Circle Clock Comet Compass
    Desert Dragon Engine Falcon Feather Ferry Forest Fountain Garden Gate Glacier Harbor Hunter Island
    Journey Kitchen Ladder Lantern Letter Lighthouse Mask Meadow Mirror Monument Mountain Needle Ocean
    Orchard Organ Palace Pigeon Pilgrim Prophet Raven Riddle River Shadow Signal Song Stranger Throne Tower
    Valley Voyage Window
""")
ORGANISATION_ENDINGS = _words("""
    Airways Consulting Energy Foods Furniture Group Holdings Industries Instruments Logistics Mining Motors
    Press Shipyards Systems Textiles
""")
PLACE_BEGINNINGS = _words("""
    Central Cold Dark Deep Dry East Fort Great Green High Inner Lake Little Long Lower Mount New North Old
    Outer Point Saint South Upper Warm West White Wide
""")
SERIES = _words("Alto Comet Delta Falcon Mistral Nova Orbit Pilot Quartz Solar Turbo Vector")
NUMERALS = _words("Two Three Four Five Six Seven")

OCCUPATIONS = _words("""
    accountant architect baker biologist carpenter chemist diplomat engineer farmer geologist journalist
    lawyer mathematician nurse photographer pilot sculptor surgeon teacher translator
""")
POSITIONS = _words("""
    catcher centre defender fullback goalkeeper halfback midfielder pitcher quarterback shortstop striker
    winger
""")
GENRES = _words("""
    ambient bluegrass calypso disco flamenco funk gospel jazz metal opera polka reggae samba techno
""")
LANGUAGES = _words("""
    Arabic Bengali Dutch English French German Hindi Italian Japanese Korean Polish Russian Spanish Turkish
""")

PLAIN = {
    "adjective": ADJECTIVES,
    "noun": NOUNS,
    "organisation_ending": ORGANISATION_ENDINGS,
    "place_beginning": PLACE_BEGINNINGS,
    "series": SERIES,
    "numeral": NUMERALS,
}
"""Real words by the pool they belong to; none may contain another of its pool."""
