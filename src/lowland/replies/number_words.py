"""Number words in English, in Hindi in Devanagari, and in Hindi in Latin letters as people write it; and units."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lowland.replies.wording import listed

# In order from 0. Hindi has ten numbers to a line (with its continuation); further spellings stand after a slash.
_ENGLISH = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_HINDI = """
शून्य एक दो तीन चार पाँच/पांच छह/छः/छे/छ सात आठ नौ
दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह/सतरह अठारह/अट्ठारह उन्नीस
बीस इक्कीस बाईस/बाइस तेईस/तेइस चौबीस पच्चीस छब्बीस सत्ताईस/सत्ताइस अट्ठाईस/अठाईस/अट्ठाइस/अठाइस
  उनतीस/उन्तीस
तीस इकतीस/इकत्तीस बत्तीस तैंतीस/तेंतीस/तैतीस चौंतीस/चौतीस पैंतीस/पैतीस छत्तीस सैंतीस/सैतीस अड़तीस
  उनतालीस/उन्तालीस/उनचालीस
चालीस इकतालीस बयालीस/बियालीस तैंतालीस/तैतालीस चौवालीस/चवालीस/चौंवालीस पैंतालीस/पैतालीस छियालीस
  सैंतालीस/सैतालीस अड़तालीस उनचास/उन्चास
पचास इक्यावन/इक्यावान बावन तिरपन/तिरेपन चौवन/चौअन पचपन छप्पन सत्तावन अट्ठावन/अठावन उनसठ
साठ इकसठ बासठ तिरसठ/तिरेसठ चौंसठ/चौसठ पैंसठ/पैसठ छियासठ/छाछठ सड़सठ/सरसठ अड़सठ उनहत्तर
सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर/पिचहत्तर छिहत्तर सतहत्तर अठहत्तर
  उन्यासी/उनासी/उन्नासी
अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी/सतासी अट्ठासी/अठासी नवासी
नब्बे इक्यानवे/इक्यानबे बानवे/बानबे तिरानवे/तिरानबे चौरानवे/चौरानबे पचानवे/पंचानवे/पंचानबे
  छियानवे/छियानबे सत्तानवे/सत्तानबे/सतानवे अट्ठानवे/अट्ठानबे/अठानवे निन्यानवे/निन्यानबे
"""
_ROMANISED = """
shunya/sifar ek do teen/tin chaar/char paanch/pach chhah/chhe/chah/che saat/sat aath nau
das/dus gyarah/gyaarah barah terah chaudah pandrah solah satrah atharah/attharah unnis
bees ikkis bais/baees/baaees teis/teees chaubis pachchis/pachis/pacchis chhabbis sattais/sattaees
  atthais/athais/atthaees untis/unatis
tees iktis/ikattis battis taintis/tentis/taitis chauntis/chautis paintis/paitis chhattis
  saintis/saitis adtis/artis/adatis untalis/untaalis
chalis iktalis bayalis/byalis taintalis/tetalis/taitalis chauvalis/chavalis/chauwalis
  paintalis/paitalis chhiyalis/chiyalis saintalis/saitalis adtalis/artalis/adatalis unchas/unachas
pachas ikyavan/ikavan bavan tirpan/tirepan chauvan/chauan pachpan/pachapan chhappan sattavan
  atthavan/athavan unsath/unasath
saath/sath iksath/ikasath basath tirsath/tiresath chaunsath/chausath painsath/paisath
  chhiyasath/chiyasath/chhachhath sadsath/sarsath/sadasath adsath/arsath/adasath unhattar/unahattar
sattar ikhattar/ikahattar bahattar tihattar chauhattar pachhattar/pachahattar chhihattar/chihattar
  sathattar/satahattar athhattar/athahattar unyasi/unasi/unnasi
assi ikyasi/ikasi bayasi/byasi tirasi chaurasi pachasi chhiyasi/chiyasi sattasi/satasi
  atthasi/athasi navasi
nabbe ikyanve/ikyanbe/ikyanave banve/banbe/banave tiranve/tiranbe/tiranave
  chauranve/chauranbe/chauranave pachanve/pachanbe/panchanve/pachanave
  chhiyanve/chiyanve/chhiyanbe sattanve/sattanbe/sattanave atthanve/athanve/atthanbe
  ninyanve/ninyanbe/ninyanave
"""
ENGLISH, TENS, HINDI, ROMANISED = (words.split() for words in (_ENGLISH, _TENS, _HINDI, _ROMANISED))

SCALES: Mapping[str, int] = {
    form: value
    for forms, value in (
        ("hundred hundreds sau saikdon सौ सैकडों", 100),
        ("thousand thousands hazaar hazar hajar hazaron hazaaron हजार हजारों", 1_000),
        ("lakh lakhs lac lacs laakh lakhon laakhon लाख लाखों", 100_000),
        ("million millions mn मिलियन", 1_000_000),
        ("crore crores karod karor cr crs karodon karoron करोड करोडों", 10_000_000),
        ("billion billions bn बिलियन arab arbon अरब अरबों", 1_000_000_000),
        ("kharab खरब", 100_000_000_000),
        ("trillion trillions tn ट्रिलियन", 1_000_000_000_000),
        ("quadrillion quadrillions", 10**15),
        ("quintillion quintillions", 10**18),
        ("dozen dozens darjan darjanon दर्जन दर्जनों", 12),
        ("score scores", 20),
        ("gross", 144),
    )
    for form in forms.split()
}
NEEDS_NUMBER = listed("mn bn tn cr crs score scores gross kharab")
"""Scales that are read only behind a number, because they have other meanings by themselves."""
MAGNITUDES: Mapping[str, int] = {"k": 1_000, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000, "Cr": 10_000_000}
"""Letters right behind digits that multiply them: 5k, 1.2M. The metre is a lower-case m."""

AMBIGUOUS = listed("one ek do teen tin char chaar che saat sat das dus bees tees saath sath no arab एक दो")
"""Number words that are ordinary words, too; one of them alone is read as a number only if there is no other."""

UNITS: Mapping[str, str] = {
    form: name
    for name, forms in {
        "celsius": "°c|° c|degrees celsius|degree celsius|degrees centigrade|degree centigrade|degrees c|degree c|deg c"
        "|celsius|centigrade|c|डिग्री सेल्सियस|डिग्री सेल्सियस|डिग्री सेंटीग्रेड|सेल्सियस|डिग्री c",
        "fahrenheit": "°f|° f|degrees fahrenheit|degree fahrenheit|degrees f|degree f|fahrenheit|f|डिग्री फारेनहाइट"
        "|फारेनहाइट",
        "kelvin": "kelvin|kelvins|k|केल्विन",
        "degree": "°|degrees|degree|deg|डिग्री",
        "per mille": "‰",
        "percent": "%|percent|per cent|प्रतिशत|pratishat|फीसदी|fisadi|feesadi",
        "kilometre per second": "km/s|kilometers per second|kilometres per second|kilometer per second"
        "|kilometre per second|किलोमीटर प्रति सेकंड",
        "kilometre per hour": "km/h|kmph|kph|kilometers per hour|kilometres per hour|किलोमीटर प्रति घंटा",
        "metre per second": "m/s|meters per second|metres per second|मीटर प्रति सेकंड",
        "metre per second squared": "m/s^2|m/s2|meters per second squared|metres per second squared",
        "mile": "mile|miles|mi|मील",
        "kilometre": "km|kms|kilometer|kilometers|kilometre|kilometres|किलोमीटर|किमी",
        "metre": "m|meter|meters|metre|metres|मीटर",
        "centimetre": "cm|centimeter|centimeters|centimetre|centimetres|सेंटीमीटर|सेमी",
        "millimetre": "mm|millimeter|millimeters|millimetre|millimetres|मिलीमीटर",
        "foot": "ft|foot|feet|फुट|फीट",
        "inch": "inch|inches|इंच",
        "kilogram": "kg|kgs|kilogram|kilograms|kilo|kilos|किलोग्राम|किलो",
        "gram": "g|gram|grams|ग्राम",
        "litre": "l|liter|liters|litre|litres|लीटर",
        "millilitre": "ml|milliliter|milliliters|millilitre|millilitres",
        "second": "s|sec|secs|second|seconds|सेकंड",
        "minute": "min|mins|minute|minutes|मिनट",
        "light year": "light year|light years|light-year|light-years|प्रकाश वर्ष",
        "hour": "h|hr|hrs|hour|hours|ghante|ghanta|घंटा|घंटे",
        "day": "day|days|din|दिन",
        "week": "week|weeks|hafte|सप्ताह|हफ्ते",
        "month": "month|months|mahine|महीने",
        "year": "year|years|saal|वर्ष|साल",
        "bc": "bc|bce|b.c.|b.c.e.|ईसा पूर्व|isa purv",
    }.items()
    for form in forms.split("|")
}
"""Written form of a unit -> its name; longer forms are tried first."""


def skeleton(word: str) -> str:
    """Return a romanised Hindi word in one spelling, whichever of the usual ones it is written in.

    Long vowels become short, double letters single, w becomes v, z becomes j, sh becomes s, chh becomes ch, and an h
    at the end after a vowel is removed.

    Examples:
        >>> skeleton("chaalees"), skeleton("chalis"), skeleton("unnees")
        ('chalis', 'chalis', 'unis')
    """
    for before, after in (
        ("aa", "a"),
        ("ee", "i"),
        ("oo", "u"),
        ("w", "v"),
        ("z", "j"),
        ("sh", "s"),
        ("chh", "ch"),
    ):
        word = word.replace(before, after)
    word = re.sub(r"(.)\1+", r"\1", word)
    return re.sub(r"(?<=[aeiou])h$", "", word)
